"""What producers send in a simulation: behaviour, late and repeated events, poison, ticks and definition books."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

import msgspec

from stream.core.routing import partition_of
from tests.simulation import books

START_MS = 1_772_438_400_000
_MINUTE = 60_000
POISON: tuple[bytes | None, ...] = (
    None,
    b"{",
    b"\xff",
    b"[]",
    b'{"customer_id": " ", "event_type": "search"}',
    b'{"customer_id": "c1", "event_type": "search", "user_agent": "Googlebot/2.1 (+http://www.google.com/bot.html)"}',
)


@dataclass(frozen=True, slots=True)
class Input:
    """One record on its way into ``events``; timestamps in ms."""

    partition: int
    timestamp: int
    next_timestamp: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...] = ()


def make(
    rng: random.Random, partitions: int, length: int, customers: int, ticks: float, new_books: float
) -> list[Input]:
    """A log of about ``length`` records. ``ticks`` and ``new_books`` are shares of them."""
    at = START_MS
    made: list[tuple[int, int, bytes | None, bytes | None, tuple[tuple[str, bytes], ...]]] = []

    def everywhere(value: bytes, kind: bytes) -> None:
        for partition in range(partitions):
            made.append((partition, at, None, value, (("fact", kind),)))

    everywhere(books.fact(books.FIRST), b"definitions")
    said: list[tuple[str, bytes]] = []
    while len(made) < length:
        at += rng.choice((0, 0, 1, 2_000, 30_000, 4 * _MINUTE, 12 * _MINUTE, 35 * _MINUTE))
        dice = rng.random()
        if dice < ticks:
            everywhere(b"{}", b"tick")
        elif dice < ticks + new_books:
            everywhere(books.fact(rng.choice((*books.BOOKS, *books.BOOKS, books.BROKEN))), b"definitions")
        elif dice < ticks + new_books + 0.05:
            made.append((rng.randrange(partitions), at, None, rng.choice(POISON), ()))
        elif dice < ticks + new_books + 0.15 and said:
            name, value = rng.choice(said[-12:])  # again, as producers that are not sure do
            made.append((partition_of(name, partitions), at, name.encode(), value, ()))
        else:
            for _ in range(12 if rng.random() < 0.01 else 1):  # a robot now and then
                name = f"c{rng.randrange(customers)}"
                value = event(rng, name, at, f"e{len(made)}" if rng.random() < 0.75 else None)
                said.append((name, value))
                astray = partitions > 1 and rng.random() < 0.04  # a producer with another partitioner
                partition = rng.randrange(partitions) if astray else partition_of(name, partitions)
                made.append((partition, at, name.encode(), value, ()))
    at += rng.choice((0, 1, 3 * _MINUTE, 70 * _MINUTE))
    everywhere(b"{}", b"tick")
    following = [*(stamp for _, stamp, _, _, _ in made[1:]), at]
    return [
        Input(partition, stamp, after, key, value, headers)
        for (partition, stamp, key, value, headers), after in zip(made, following, strict=True)
    ]


def event(rng: random.Random, name: str, at: int, event_id: str | None) -> bytes:
    """Something that the customer ``name`` does at about ``at`` (ms)."""
    late = rng.choice((0, 0, 0, 0, 1_000, 90_000, 25 * _MINUTE, -60_000))
    views, searches = ["product_view"] * 3, ["search"] * 2
    kind = rng.choice((*views, "add_to_cart", "purchase", *searches, "profile_update"))
    said: dict[str, Any] = {"customer_id": name, "event_type": kind, "timestamp": at - late}
    if kind in ("product_view", "add_to_cart", "purchase"):
        said["product_id"] = rng.choice("AB")
    if kind == "product_view":
        said["category"] = rng.choice(("Electronics", "Electronics", "Books"))
    if kind in ("add_to_cart", "purchase"):
        said["price"] = rng.choice((20.5, 100, 250.25))
    if kind == "profile_update":
        said["properties"] = {"age": rng.choice((20, 30, 34, "x"))}
    if event_id is not None:
        said["event_id"] = event_id
    return msgspec.json.encode(said)
