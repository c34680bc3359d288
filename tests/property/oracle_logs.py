"""Generated logs: events late, early, twice, at one instant, on the days on which clocks and calendars are odd."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import msgspec
from hypothesis import strategies as st

from stream.core.time import format_iso, parse_iso
from stream.interpreter import InMemoryRecord
from tests.property import oracle_words as words
from tests.property.oracle_words import SECOND, World

#: How long (µs of log time) an event id is certainly remembered, and how long exactly a content without an id is.
IDS, CONTENTS = 20 * words.HOUR, 10 * SECOND


@dataclass(frozen=True, slots=True)
class Entry:
    """One record of a log at log time ``at`` (µs, whole ms); ``event`` None is a tick."""

    at: int
    event: dict[str, Any] | None

    def record(self, offset: int) -> InMemoryRecord:
        """The entry as the interpreter takes it."""
        if self.event is None:
            return InMemoryRecord(offset, self.at // 1000, None, b"{}", (("fact", b"tick"),))
        return InMemoryRecord(offset, self.at // 1000, None, msgspec.json.encode(self.event))

    def __str__(self) -> str:
        value = "a tick" if self.event is None else msgspec.json.encode(self.event).decode()
        return f"{format_iso(self.at)} {value}"


@st.composite
def logs(draw: st.DrawFn, world: World, ties: bool = True) -> list[Entry]:
    """A log around the world's anchor. Without ``ties`` no two events of a customer have one event time."""
    size = draw(st.integers(3, 24))
    gaps = draw(st.lists(st.sampled_from(world.pace.gaps), min_size=size, max_size=size))
    # The anchor lies in the middle, or on a record.
    now = world.anchor - sum(gaps[: len(gaps) // 2]) - draw(st.sampled_from((0, 0, world.pace.gaps[1])))
    now -= now % 1000
    log: list[Entry] = []
    taken: set[tuple[str, int]] = set()
    for number, gap in enumerate(gaps):
        now += gap
        kind = draw(_KINDS)
        if kind == "tick":
            event = None
        elif kind == "again":
            event = _again(draw, log, now)
        else:
            event = _event(draw, world, log, now, number, ties)
            if not ties:
                _untie(event, taken)
        log.append(Entry(now, event))
    log.append(Entry(now + draw(st.sampled_from(world.pace.gaps)) * draw(st.integers(1, 6)), None))
    return log


_KINDS = st.sampled_from(("event", "event", "event", "event", "event", "event", "again", "tick"))


def _again(draw: st.DrawFn, log: list[Entry], now: int) -> dict[str, Any] | None:
    """What has been said before, byte by byte; None where it would no longer be certain that it is a duplicate."""
    said = [entry.event for entry in log if entry.event is not None]
    if not said:
        return None
    event = draw(st.sampled_from(said))
    first = next(entry.at for entry in log if entry.event == event)
    return event if "event_id" not in event or now - first <= IDS else None


def _event(draw: st.DrawFn, world: World, log: list[Entry], now: int, number: int, ties: bool) -> dict[str, Any]:
    kind = draw(_TYPES)
    event: dict[str, Any] = {"customer_id": draw(_CUSTOMERS), "event_type": kind}
    if not ties or draw(_MOSTLY):
        event["event_id"] = f"{number}"
    time = _time(draw, world, log, now)
    if time is not None or not ties:
        event["timestamp"] = format_iso(now if time is None else time)
    if kind == "profile_update":
        event["properties"] = draw(_profiles(world))
        return event
    for name, values in _FIELDS:
        value = draw(values)
        if value is not None:
            event[name] = value
    return event


def _time(draw: st.DrawFn, world: World, log: list[Entry], now: int) -> int | None:
    """When the event happened: now, late, in the near future, on the anchor, or when another one did."""
    kind = draw(_TIMES)
    if kind == "unsaid":
        return None
    if kind == "late":
        return now - draw(st.sampled_from(world.pace.gaps)) * draw(st.integers(1, 3)) - draw(st.integers(0, 1))
    if kind == "ahead":
        return now + draw(st.sampled_from((60 * SECOND, 1, 300 * SECOND)))
    if kind == "anchor":
        at = draw(st.sampled_from(world.instants()))
        return at if at <= now else now
    stamped = [entry.event["timestamp"] for entry in log if entry.event is not None and "timestamp" in entry.event]
    if kind == "tie" and stamped:
        return parse_iso(draw(st.sampled_from(stamped)))
    return now


def _untie(event: dict[str, Any], taken: set[tuple[str, int]]) -> None:
    """Move the event back to an instant at which nothing else happened to its customer."""
    time = parse_iso(event["timestamp"])
    while (event["customer_id"], time) in taken:
        time -= 1
    taken.add((event["customer_id"], time))
    event["timestamp"] = format_iso(time)


_MOSTLY = st.sampled_from((True, True, True, False))
_TIMES = st.sampled_from(("now", "now", "unsaid", "late", "late", "tie", "anchor", "ahead"))
_CUSTOMERS = st.sampled_from((*words.CUSTOMERS[:1], *words.CUSTOMERS))
_TYPES = st.sampled_from((*words.EVENT_TYPES, "product_view", "purchase", "purchase", "profile_update"))
_FIELDS: tuple[tuple[str, st.SearchStrategy[Any]], ...] = (
    ("product_id", st.sampled_from((*words.PRODUCTS, None))),
    ("category", st.sampled_from((*words.CATEGORIES, None))),
    ("price", st.sampled_from((*words.PRICES, None))),
    ("quantity", st.sampled_from((None, *words.QUANTITIES))),
    ("order_id", st.sampled_from((None, *words.ORDERS))),
)


@lru_cache(64)
def _profiles(world: World) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries(
        {},
        optional={
            "renews_at": st.sampled_from((*map(format_iso, world.instants()), None)),
            "age": st.sampled_from((*words.AGES, None)),
            "score": st.sampled_from((*words.SCORES, None)),
            "city": st.sampled_from((*words.CITIES, None)),
            "newsletter": st.sampled_from((True, False, None)),
        },
    )
