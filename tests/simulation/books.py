"""The definition books of the simulation. The oracle knows these conditions by their text, and no others."""

from __future__ import annotations

from typing import Any

import msgspec

CART = "cart_value > 0 AND cart_updated_at BETWEEN now() - INTERVAL '24 hours' AND now() - INTERVAL '30 minutes'"
KEEN = (
    "(SELECT count(*) FROM events WHERE event_type = 'product_view' AND category = 'Electronics' "
    "AND event_time >= now() - INTERVAL '2 hours') >= 3"
)
QUIET = (
    "NOT EXISTS (SELECT 1 FROM events WHERE event_type = 'product_view' "
    "AND event_time >= now() - INTERVAL '1 hour') AND view_count > 0"
)
VIP, RICH = "total_spent >= 500", "total_spent >= 300"
SEEKING = "EXISTS (SELECT 1 FROM events WHERE event_type = 'search' AND event_time > now() - INTERVAL '20 minutes')"
YOUNG = "age BETWEEN 25 AND 35"
BUSY = (
    "(SELECT count(*) FROM events WHERE event_type IN ('add_to_cart', 'purchase') "
    "AND event_time >= now() - INTERVAL '40 minutes') >= 2"
)


def _book(**segments: Any) -> dict[str, Any]:
    written = {name: {"sql": said} if isinstance(said, str) else said for name, said in segments.items()}
    return {
        "attributes": {"age": "integer"},
        "segments": {name: {"description": "", **said} for name, said in sorted(written.items())},
    }


FIRST = _book(cart_left=CART, keen=KEEN, quiet=QUIET, vip=VIP, seeking={"sql": SEEKING, "enter_after": "5 minutes"})
BOOKS: tuple[dict[str, Any], ...] = (
    FIRST,
    _book(
        cart_left=CART,
        keen={"sql": KEEN, "min_stay": "3 hours"},
        vip=RICH,
        seeking={"sql": SEEKING, "enter_after": "5 minutes", "cooldown": "1 hour"},
        young=YOUNG,
        busy=BUSY,
    ),
    _book(
        keen=KEEN,
        quiet={"sql": QUIET, "min_stay": "1 hour 30 minutes", "cooldown": "2 hours"},
        seeking=SEEKING,
        busy=BUSY,
    ),
)
BROKEN = {"segments": {"vip": {"sql": "total_spent >="}}}


def fact(book: dict[str, Any]) -> bytes:
    """The value of a ``definitions`` fact."""
    return msgspec.json.encode({"book": book})
