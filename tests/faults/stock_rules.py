"""The rules of the stock app, pure: what it is to say of a log follows from these and the order of its records."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

Customer = dict[str, Any]
RATE_LIMIT, RATE_SECONDS = 60, 10
FUTURE_SECONDS = 300.0
MAX_BYTES = 256 * 1024


class Refused(ValueError):
    """An event that is no event; ``reason`` says why."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def read(value: bytes | None, now: float, is_bot: Callable[[str], Any]) -> dict[str, Any]:
    """An event with the fields that the rules use, or ``Refused``. ``now`` in seconds since the epoch."""
    if value is None:
        raise Refused("tombstone")
    if len(value) > MAX_BYTES:
        raise Refused("too_large")
    try:
        event = json.loads(value)
    except (ValueError, RecursionError):
        raise Refused("not_json") from None
    if not isinstance(event, dict):
        raise Refused("not_an_object")
    name, kind, price = (event.get(field) for field in ("customer_id", "event_type", "price"))
    if not isinstance(name, str) or not name.strip() or not isinstance(kind, str):
        raise Refused("incomplete")
    if price is not None and (not isinstance(price, int | float) or not -1e15 < price < 1e15):
        raise Refused("invalid_price")
    at = event.get("timestamp", now * 1000)
    if not isinstance(at, int | float):
        raise Refused("invalid_timestamp")
    if at > (now + FUTURE_SECONDS) * 1000:
        raise Refused("future")
    agent = event.get("user_agent")
    if isinstance(agent, str) and is_bot(agent):
        raise Refused("bot_user_agent")
    event_id = event.get("event_id")
    return event | {"at": at / 1000, "event_id": event_id if isinstance(event_id, str) else None}


def fold(customer: Customer, event: dict[str, Any]) -> None:
    """Bring a customer's record up to date."""
    kind, price, at, product = event["event_type"], event.get("price") or 0.0, event["at"], event.get("product_id")
    if kind == "product_view":
        customer["view_count"] = customer.get("view_count", 0) + 1
        if event.get("category") == "Electronics":
            customer["electronics"] = sorted([*customer.get("electronics", ()), at])[-3:]
    elif kind == "add_to_cart":
        cart = customer.setdefault("cart", {})
        quantity, _ = cart.get(product, (0, price))
        cart[product] = (quantity + 1, price)
        customer["cart_updated_at"] = at
    elif kind == "purchase":
        customer["total_spent"] = customer.get("total_spent", 0.0) + price
        customer["bought"] = sorted([*customer.get("bought", ()), at])[-2:]
        if (cart := customer.get("cart")) and cart.pop(product, None):
            customer["cart_updated_at"] = at
    elif kind == "search":
        customer["searched_at"] = max(at, customer.get("searched_at", at))
    elif kind == "profile_update":
        age = (event.get("properties") or {}).get("age")
        if isinstance(age, int):
            customer["age"] = age


def _cart_left(customer: Customer, now: float) -> bool:
    value = sum(count * each for count, each in customer.get("cart", {}).values())
    return bool(value > 0 and 30 * 60 <= now - customer["cart_updated_at"] <= 24 * 3600)


SEGMENTS: dict[str, Callable[[Customer, float], bool]] = {
    "cart_left": _cart_left,
    "keen": lambda c, now: len(c.get("electronics", ())) >= 3 and c["electronics"][-3] >= now - 2 * 3600,
    "vip": lambda c, now: c.get("total_spent", 0.0) >= 500,
    "seeking": lambda c, now: c.get("searched_at", 0.0) > now - 20 * 60,
    "young": lambda c, now: 25 <= c.get("age", 0) <= 35,
}


def decide(customer: Customer, event: dict[str, Any], now: float) -> list[dict[str, Any]]:
    """Fold an event into the customer's record; the changes that it brings at ``now`` (s since the epoch)."""
    fold(customer, event)
    members = customer.setdefault("members", [])
    changes = []
    for name, rule in SEGMENTS.items():
        entered = bool(rule(customer, now))
        if entered is (name in members):
            continue
        (members.append if entered else members.remove)(name)
        customer["sequence"] = customer.get("sequence", 0) + 1
        changes.append(
            {
                "customer_id": event["customer_id"],
                "segment": name,
                "action": "entered" if entered else "exited",
                "at": now,
                "sequence": customer["sequence"],
                "cause": {"kind": "event", "event_id": event["event_id"], "event_type": event["event_type"]},
                "profile": {"total_spent": customer.get("total_spent"), "view_count": customer.get("view_count")},
            }
        )
    return changes
