"""The same job as a plain Faust app, as Faust's documentation would have one write it, measured beside ours.

    STOCK_BROKER=localhost:9092 STOCK_EVENTS=events python -m tests.bench.stock_faust worker

An agent over JSON events; a table for the customer's record; windowed tables for the ids that were seen and
for the rate; the same list of crawlers; the same five segments in plain Python; a change produced for each.
Faust's defaults, except for the broker, the number of partitions, and a commit every five seconds, as the
worker's checkpoints. What would slow it down without need is left out: events are plain dicts
(``faust.Record`` costs more), verdicts on user agents are remembered, changelog records are what has to be
kept and no more.

What it does not do, and the worker does: exits that only time causes, acknowledged writes before a commit
(Faust's are neither awaited nor checked), a result that survives a crash or a replay.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any

import faust
from crawleruseragents import is_crawler

RATE_LIMIT = int(os.environ.get("STOCK_RATE_LIMIT", "300"))
PARTITIONS = int(os.environ.get("STOCK_PARTITIONS", "4"))

app = faust.App(
    os.environ.get("STOCK_ID", "stock-faust"),
    broker=f"kafka://{os.environ.get('STOCK_BROKER', 'localhost:9092')}",
    store="memory://",
    topic_partitions=PARTITIONS,
    broker_commit_interval=5.0,
    # Faust's defaults, but on the embedded broker, which delays a join in proportion to them.
    broker_session_timeout=float(os.environ.get("STOCK_SESSION_SECONDS", "60")),
    broker_rebalance_timeout=float(os.environ.get("STOCK_REBALANCE_SECONDS", "60")),
)
events_topic = app.topic(os.environ.get("STOCK_EVENTS", "events"), value_serializer="json")
changes_topic = app.topic(os.environ.get("STOCK_CHANGES", "segment-changes"), value_serializer="json")

customers = app.Table("customers", default=dict)
seen = app.Table("seen", default=bool).tumbling(timedelta(hours=24), expires=timedelta(hours=24))
rates = app.Table("rates", default=int).tumbling(timedelta(minutes=1), expires=timedelta(minutes=1))

is_bot = lru_cache(maxsize=50_000)(is_crawler)
Customer = dict[str, Any]
processed = 0


def fold(customer: Customer, event: dict[str, Any], at: float) -> None:
    """Bring a customer's record up to date with one event of the time ``at`` (seconds since the epoch)."""
    kind, price = event["event_type"], event.get("price") or 0.0
    if kind == "product_view":
        customer["view_count"] = customer.get("view_count", 0) + 1
        if at >= customer.get("last_viewed_at", 0.0):
            customer["last_viewed_at"] = at
            customer["last_viewed_product"] = event.get("product_id")
            customer["recent_view_category"] = event.get("category")
        if event.get("category") == "Electronics":
            customer["electronics"] = sorted([*customer.get("electronics", ()), at])[-3:]
    elif kind == "add_to_cart":
        cart = customer.setdefault("cart", {})
        quantity, _ = cart.get(event["product_id"], (0, price))
        cart[event["product_id"]] = (quantity + 1, price)
        customer["cart_value"] = sum(count * each for count, each in cart.values())
        customer["cart_updated_at"] = at
    elif kind == "purchase":
        customer["order_count"] = customer.get("order_count", 0) + 1
        customer["total_spent"] = customer.get("total_spent", 0.0) + price
        customer["last_order_at"] = at
        cart = customer.get("cart")
        if cart and cart.pop(event["product_id"], None):
            customer["cart_value"] = sum(count * each for count, each in cart.values())
            customer["cart_updated_at"] = at
    customer["last_seen_at"] = max(at, customer.get("last_seen_at", at))


def abandoned_cart(customer: Customer, now: float) -> bool:
    """A cart left alone for 30 minutes, on the same day."""
    return bool(customer.get("cart_value", 0.0) > 0 and 30 * 60 <= now - customer["cart_updated_at"] <= 24 * 3600)


def browsing_electronics(customer: Customer, now: float) -> bool:
    """Three or more views of electronics within a week."""
    times = customer.get("electronics", ())
    return len(times) >= 3 and bool(times[-3] >= now - 7 * 24 * 3600)


def big_spender(customer: Customer, now: float) -> bool:
    """Has spent 500 or more."""
    return bool(customer.get("total_spent", 0.0) >= 500)


def full_cart(customer: Customer, now: float) -> bool:
    """Worth 200 or more in the cart."""
    return bool(customer.get("cart_value", 0.0) >= 200)


def book_lover(customer: Customer, now: float) -> bool:
    """Looked at a book last, and has seen five things or more."""
    return bool(customer.get("recent_view_category") == "Books" and customer.get("view_count", 0) >= 5)


SEGMENTS: dict[str, Callable[[Customer, float], bool]] = {
    rule.__name__: rule for rule in (abandoned_cart, browsing_electronics, big_spender, full_cart, book_lover)
}


def decide(customer: Customer, event: dict[str, Any], now: float) -> list[dict[str, Any]]:
    """Fold an event into the customer's record; the changes that it brings at ``now`` (s since the epoch)."""
    fold(customer, event, datetime.fromisoformat(event["timestamp"]).timestamp())
    members = customer.setdefault("members", [])
    changes = []
    for name, rule in SEGMENTS.items():
        entered = rule(customer, now)
        if entered is (name in members):
            continue
        (members.append if entered else members.remove)(name)
        customer["sequence"] = customer.get("sequence", 0) + 1
        changes.append(
            {
                "customer_id": event["customer_id"],
                "segment": name,
                "action": "entered" if entered else "exited",
                "at": event["timestamp"],
                "sequence": customer["sequence"],
                "cause": {"kind": "event", "event_id": event["event_id"], "event_type": event["event_type"]},
                "profile": {
                    "last_viewed_product": customer.get("last_viewed_product"),
                    "cart_value": customer.get("cart_value"),
                    "total_spent": customer.get("total_spent"),
                },
            }
        )
    return changes


@app.agent(events_topic)
async def segment(stream: faust.StreamT[Any]) -> None:
    """One event after the other."""
    global processed
    async for event in stream:
        processed += 1
        if is_bot(event["user_agent"]):
            continue
        customer_id, event_id = event["customer_id"], event["event_id"]
        if seen[event_id].current():
            continue
        seen[event_id] = True
        rates[customer_id] += 1
        if rates[customer_id].current() > RATE_LIMIT:
            continue
        customer = customers[customer_id]
        changes = decide(customer, event, time.time())
        customers[customer_id] = customer
        for change in changes:
            await changes_topic.send(key=customer_id, value=change)


@app.page("/processed/")
async def count(web: Any, request: Any) -> Any:
    """How many events came to an end, for the bench."""
    return web.json({"processed": processed})


if __name__ == "__main__":
    app.main()
