"""What a customer's log must say, once: the same list is run by the in-process interpreter and by the engine.

Each scenario has one customer of its own, so that all can share one log; instants are minutes after ``START``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import orjson

#: 2026-03-02T08:00:00Z in µs.
START = 1_772_438_400_000_000
MINUTE = 60_000_000
HOUR = 60

BOOK = """
attributes: {age: integer, location: text}
segments:
  abandoned_cart:
    description: cart left alone for 30 minutes, on the same day
    sql: cart_value > 0 AND cart_updated_at BETWEEN now() - INTERVAL '24 hours' AND now() - INTERVAL '30 minutes'
  browsing_electronics:
    sql: >-
      (SELECT count(*) FROM events WHERE event_type = 'product_view' AND category = 'Electronics'
      AND event_time >= now() - INTERVAL '2 hours') >= 3
  vip:
    sql: total_spent >= 500
  young_new_yorkers:
    sql: SELECT customer_id FROM customers WHERE age BETWEEN 25 AND 35 AND location = 'NYC'
  gone_quiet:
    sql: >-
      NOT EXISTS (SELECT 1 FROM events WHERE event_type = 'product_view' AND event_time >= now() - INTERVAL '1 hour')
      AND view_count > 0
"""


@dataclass(frozen=True)
class Step:
    """One record at ``at`` minutes of log time."""

    at: float
    value: bytes | None
    key: bytes | None = None

    @property
    def log_time(self) -> int:
        return START + round(self.at * MINUTE)


def event(at: float, kind: str, *, time: float | None = None, **fields: Any) -> Step:
    """An event of the scenario's customer; ``time`` is its event time in minutes, ``at`` unless said otherwise."""
    body: dict[str, Any] = {
        "event_type": kind,
        "timestamp": (START + round((at if time is None else time) * MINUTE)) // 1000,
    }
    return Step(at, orjson.dumps(body | fields))


def view(at: float, product: str = "P1", category: str = "Electronics", **fields: Any) -> Step:
    return event(at, "product_view", product_id=product, category=category, **fields)


def add(at: float, product: str = "P1", price: float = 100.0, **fields: Any) -> Step:
    return event(at, "add_to_cart", product_id=product, price=price, **fields)


@dataclass(frozen=True)
class Scenario:
    """``expected``: (minutes, segment, action, kind of cause), in order. An instant by time alone is one µs late
    where the window's edge still belongs to it."""

    law: str
    steps: tuple[Step, ...]
    expected: tuple[tuple[float, str, str, str], ...]

    @property
    def customer(self) -> str:
        return "-".join(self.law.split()[:6])


US = 1 / MINUTE

SCENARIOS = (
    Scenario(
        "a cart left alone enters and leaves by time alone, at its exact instants",
        (add(0),),
        ((30, "abandoned_cart", "entered", "time"), (24 * HOUR + US, "abandoned_cart", "exited", "time")),
    ),
    Scenario(
        "a cart that is bought leaves at the purchase",
        (add(0), event(45, "purchase", product_id="P1", price=100.0)),
        ((30, "abandoned_cart", "entered", "time"), (45, "abandoned_cart", "exited", "event")),
    ),
    Scenario(
        "a purchase clears only what it covers",
        (add(0), add(1, "P2", 20.0), event(2, "purchase", product_id="P1", price=100.0)),
        ((32, "abandoned_cart", "entered", "time"), (2 + 24 * HOUR + US, "abandoned_cart", "exited", "time")),
    ),
    Scenario(
        "who adds again after an order is not at once among the abandoned",
        (add(0), event(5, "purchase", product_id="P1", price=100.0), add(40, "P2")),
        ((70, "abandoned_cart", "entered", "time"), (40 + 24 * HOUR + US, "abandoned_cart", "exited", "time")),
    ),
    Scenario(
        "a late addition of before the purchase does not revive the cart",
        (add(0), event(10, "purchase", product_id="P1", price=100.0), add(20, time=5)),
        (),
    ),
    Scenario(
        "three views within two hours enter, and the first to age out exits",
        (view(0), view(10), view(20)),
        (
            (20, "browsing_electronics", "entered", "event"),
            (80 + US, "gone_quiet", "entered", "time"),
            (120 + US, "browsing_electronics", "exited", "time"),
        ),
    ),
    Scenario(
        "late views count at their own time",
        (view(30), view(40), view(50, time=1)),
        (
            (50, "browsing_electronics", "entered", "event"),
            (100 + US, "gone_quiet", "entered", "time"),
            (121 + US, "browsing_electronics", "exited", "time"),
        ),
    ),
    Scenario(
        "the same event id again changes nothing",
        tuple(view(m, event_id=f"e{min(m, 1)}") for m in (0, 1, 2, 3)),
        ((61 + US, "gone_quiet", "entered", "time"),),
    ),
    Scenario(
        "the same content within seconds and without an id changes nothing",
        (view(0), view(0.1, time=0), view(1)),
        ((61 + US, "gone_quiet", "entered", "time"),),
    ),
    Scenario(
        "a bot is not a customer",
        tuple(view(m, user_agent="Googlebot/2.1 (+http://www.google.com/bot.html)") for m in (0, 1, 2)),
        (),
    ),
    Scenario(
        "broken records stop nothing",
        (view(0), Step(1, b"\xff\xfe"), Step(1, b"{"), Step(1, None), Step(1, b"[]"), view(2), view(3)),
        (
            (3, "browsing_electronics", "entered", "event"),
            (63 + US, "gone_quiet", "entered", "time"),
            (120 + US, "browsing_electronics", "exited", "time"),
        ),
    ),
    Scenario(
        "attributes decide, and the newer by event time holds",
        (
            event(0, "profile_update", properties={"age": 30, "location": "NYC"}),
            event(10, "profile_update", properties={"age": 50}),
            event(20, "profile_update", time=5, properties={"age": 31}),
        ),
        ((0, "young_new_yorkers", "entered", "event"), (10, "young_new_yorkers", "exited", "event")),
    ),
    Scenario(
        "money adds up",
        (
            event(0, "purchase", order_id="o1", product_id="P1", price=200.0, quantity=2),
            event(1, "Order Completed", properties={"order_id": "o2", "revenue": 100.0}),
        ),
        ((1, "vip", "entered", "event"),),
    ),
    Scenario(
        "a segment may be left and entered again and again",
        (view(0, category="Books"), view(90, category="Books"), view(95, category="Books")),
        (
            (60 + US, "gone_quiet", "entered", "time"),
            (90, "gone_quiet", "exited", "event"),
            (155 + US, "gone_quiet", "entered", "time"),
        ),
    ),
)
UNTIL = START + 30 * HOUR * MINUTE


def merged() -> list[tuple[int, bytes | None, bytes | None]]:
    """All scenarios in one log: (log time µs, key, value), in the order of log time."""
    log = []
    for scenario in SCENARIOS:
        for step in scenario.steps:
            value = step.value
            if value is not None and value.startswith(b'{"'):
                value = orjson.dumps({"customer_id": scenario.customer} | orjson.loads(value))
            log.append((step.log_time, scenario.customer.encode(), value))
    return sorted(log, key=lambda record: record[0])
