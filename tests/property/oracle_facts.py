"""What is known after each record of a log, worked out from the facts by brute force and without the core.

Only the columns of the cart are taken from the core's record: they have their own proof (``test_cart_order``).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from stream.core.columns import COLUMNS
from stream.core.time import parse_iso
from tests.property.oracle_logs import CONTENTS, Entry
from tests.property.oracle_words import ATTRIBUTES

CART = tuple(name for name in COLUMNS if name.startswith("cart_"))
#: The columns of a row of customers, in the order of the oracle's table.
ROW = (*COLUMNS, *ATTRIBUTES)
Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Known:
    """A fact that was accepted: the ``arrived``-th record of the log, which said that at ``time`` (µs) it happened."""

    arrived: int
    time: int
    event: dict[str, Any]


def accepted(log: Sequence[Entry]) -> list[Known]:
    """The facts of the log without those that it had said already."""
    ids: set[tuple[str, str]] = set()
    contents: dict[bytes, int] = {}
    facts: list[Known] = []
    for arrived, entry in enumerate(log, 1):
        event = entry.event
        if event is None:
            continue
        if "event_id" in event:
            name = event["customer_id"], event["event_id"]
            if name in ids:
                continue
            ids.add(name)
        else:
            content = msgspec.json.encode(event, order="deterministic")
            if entry.at - contents.get(content, -CONTENTS - 1) <= CONTENTS:
                continue
            contents[content] = entry.at
        time = parse_iso(event["timestamp"]) if "timestamp" in event else entry.at
        facts.append(Known(arrived, time, event))
    return facts


def row_of(customer: str, facts: Sequence[Known]) -> Row:
    """The customer's row over the facts given, which are all of that customer; the cart's columns are missing."""
    row: Row = dict.fromkeys(ROW)
    views = [fact for fact in facts if fact.event["event_type"] == "product_view"]
    orders = [fact for fact in facts if fact.event["event_type"] == "purchase"]
    last = max(views, key=_newest, default=None)
    named = {fact.event["order_id"] for fact in orders if "order_id" in fact.event}
    row.update(
        customer_id=customer,
        first_seen_at=min(fact.time for fact in facts),
        last_seen_at=max(fact.time for fact in facts),
        view_count=len(views),
        order_count=len(named) + sum("order_id" not in fact.event for fact in orders),
        total_spent=float(sum(_amount(fact.event) for fact in orders)),
        last_order_at=max((fact.time for fact in orders), default=None),
    )
    if last is not None:
        row.update(
            last_viewed_at=last.time,
            last_viewed_product=last.event.get("product_id"),
            recent_view_category=last.event.get("category"),
        )
    stated = [fact for fact in facts if fact.event["event_type"] == "profile_update"]
    for fact in sorted(stated, key=_newest):
        for name, value in fact.event["properties"].items():
            row[name] = parse_iso(value) if ATTRIBUTES[name] == "timestamp" and value is not None else value
    return row


def _newest(fact: Known) -> tuple[int, int]:
    """Of facts of one event time the one that is later in the log is newer."""
    return fact.time, fact.arrived


def _amount(event: dict[str, Any]) -> float:
    return float(event.get("price", 0.0) * event.get("quantity", 1.0))


CartOf = Callable[[str], dict[str, Any]]


def rows_after(arrived: int, facts: Sequence[Known], cart_of: CartOf) -> dict[str, Row]:
    """The rows of all customers over the facts that had arrived by then."""
    by_customer: dict[str, list[Known]] = {}
    for fact in facts:
        if fact.arrived <= arrived:
            by_customer.setdefault(fact.event["customer_id"], []).append(fact)
    return {name: row_of(name, known) | cart_of(name) for name, known in by_customer.items()}
