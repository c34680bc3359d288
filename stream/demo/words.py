"""A segment change in a sentence that a stranger understands: who, what, and why."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from stream.demo.board import News
from stream.sources import instant

#: An event that comes later (µs) than this after it happened is called late.
LATE = 5 * 60_000_000

_DID = {
    "product_view": "looked at a product",
    "search": "searched",
    "add_to_cart": "put something into the cart",
    "remove_from_cart": "took something out of the cart",
    "checkout_started": "went to the checkout",
    "purchase": "bought",
    "email_open": "opened an e-mail",
    "email_click": "clicked in an e-mail",
    "profile_update": "has a new profile",
}

#: What time alone does, in the words of the demo's own segments.
_BY_TIME = {
    ("abandoned_cart", "entered"): "the cart of {who} (${value:,.2f}) was left alone for 30 min",
    ("abandoned_cart", "exited"): "the cart of {who} has been there for a day: too late to remind",
    ("browsing_electronics", "exited"): "{who} has not looked at electronics for days",
    ("window_shopper", "exited"): "{who} has stopped looking around",
    ("window_shopper", "entered"): "the last order of {who} is a day ago",
    ("just_bought", "exited"): "the order of {who} is an hour old",
}
#: What an event did, where that says more than the event's name.
_BY_EVENT = {
    ("abandoned_cart", "exited", "purchase"): "{who} came back and bought: do not remind",
    ("abandoned_cart", "exited", "add_to_cart"): "{who} came back to the cart",
    ("browsing_electronics", "entered", "product_view"): "{who} looked at electronics for the third time",
    ("window_shopper", "entered", "product_view"): "{who} looked at eight products and bought nothing",
    ("window_shopper", "exited", "purchase"): "{who} bought after all",
    ("big_spender", "entered", "purchase"): "{who} has now spent ${spent:,.2f}",
}


def news(change: dict[str, Any]) -> News:
    """Put a segment change (as on ``segment-changes``) into words."""
    cause, profile = change["cause"], change.get("profile") or {}
    segment, action = change["segment"], change["action"]
    by_time = cause["kind"] == "time"
    if by_time:
        text = _BY_TIME.get((segment, action), "time passed for {who}")
        text += " → by time alone"
    elif cause["kind"] == "event":
        kind = str(cause["event_type"])
        text = _BY_EVENT.get((segment, action, kind), "{who} " + _did(kind))
    else:
        text = "the segment was defined anew for {who}"
    at = instant(change["at"]) or 0
    happened = instant(cause.get("event_time"))
    if happened is not None and at - happened > LATE:
        text += f" at {clock(happened)[:5]}, and it is known only now"
    words = text.format(
        who=change["customer_id"],
        value=float(profile.get("cart_value") or 0),
        spent=float(profile.get("total_spent") or 0),
    )
    return News(at, action == "entered", segment, words, by_time)


def _did(kind: str) -> str:
    return _DID.get(kind) or kind.replace("_", " ").replace("{", "{{").replace("}", "}}")


def clock(time: int, days: bool = False) -> str:
    """The time of day of an instant in µs, after its date if ``days``."""
    moment = datetime.fromtimestamp(time / 1e6, UTC)
    return moment.strftime("%a %d %b %H:%M" if days else "%H:%M:%S")
