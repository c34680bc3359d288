"""What one customer's record, and one change, can grow to: valid events that go to every limit at once.

No event is refused for its size, and each is within what the contract of ``events`` allows. Prices are left out, so
that the carts hold many items and are worth nothing: the oracle knows carts by their value.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from schemas.scalars import MAX_TEXT
from stream.core import attributes
from stream.core.cart import MAX_CARTS, MAX_ENTRIES, MAX_LINES

#: Text attributes that the books declare for it, as many as a customer may have full.
NOTES = tuple(f"note_{number:02d}" for number in range(attributes.MAX_TEXTS // attributes.MAX_TEXT))
#: Four bytes in UTF-8, as long as a character gets.
_WIDE = "\U0001f6d2"
#: Six bytes in JSON: the longest escape.
_ESCAPED = "\x01"
#: Times that an item stands in one event: what 256 KiB hold of ``MAX_LINES`` items.
_TOGETHER = 2
CARTS, LONG, TALKER = "crafted-carts", "crafted-long", "crafted-notes"


def events(name: str) -> Iterator[dict[str, Any]]:
    """All events of one of the three customers, in order; each ends with a purchase that is a change."""
    if name == CARTS:
        for _ in range(0, MAX_ENTRIES, _TOGETHER):
            for cart in range(MAX_CARTS):
                items = [{"product_id": f"{n:04d}".ljust(MAX_TEXT, _WIDE)} for n in range(MAX_LINES)] * _TOGETHER
                yield {
                    "event_type": "add_to_cart",
                    "cart_id": str(cart).ljust(MAX_TEXT, _WIDE),
                    "properties": {"items": items},
                }
    elif name == LONG:  # too long to be taken for products: the event counts, and they do not
        for number in range(8):
            items = [{"product_id": f"{number} {which}".ljust(120_000, "x")} for which in "ab"]
            yield {"event_type": "add_to_cart", "properties": {"items": items}}
    elif name == TALKER:
        for notes in (NOTES[::2], NOTES[1::2]):  # all of them together are more than an event may have
            said = dict.fromkeys(notes, f"x{_ESCAPED * (attributes.MAX_TEXT - 2)}x")
            yield {"event_type": "profile_update", "properties": said}
    yield {"event_type": "purchase", "product_id": "A", "price": 600}


def value(name: str, event: dict[str, Any], now_ms: int) -> bytes:
    """An event of a customer as a producer sends it at ``now_ms``."""
    said = {"customer_id": name, "timestamp": now_ms, **event}
    wide = _ESCAPED not in str(event)
    return json.dumps(said, separators=(",", ":"), ensure_ascii=not wide).encode()
