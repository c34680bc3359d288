"""The instants of changes, to the microsecond, and how early a segment announces them."""

from __future__ import annotations

from typing import Any

import pytest

from stream.core.customer import Customer
from stream.core.fact import Fact
from stream.core.segments import Definition, DefinitionBook, Segment, compile_book
from stream.core.time import NEVER

DAY = 86_400_000_000
HOUR = DAY // 24
T = 1_772_366_400_000_000
ATTRIBUTES: dict[str, Any] = {"born": "timestamp", "age": "integer"}


def segment_of(sql: str) -> Segment:
    return compile_book(DefinitionBook(ATTRIBUTES, {"asked": Definition(sql)})).segments[0]


def customer(**columns: Any) -> Customer:
    return Customer(0, "c", T, T, **columns)


def remembering(sql: str, *times: int) -> tuple[Segment, Customer]:
    """The segment, and a customer with events that all of its sub-queries count."""
    book = compile_book(DefinitionBook(ATTRIBUTES, {"asked": Definition(sql)}))
    somebody = customer(memory={})
    assert somebody.memory is not None
    for time in times:
        for memory in book.memories:
            memory.remember(somebody.memory, Fact(None, "c", "seen", time, True), time)
    return book.segments[0], somebody


@pytest.mark.parametrize(
    ("op", "before", "instant"),
    [
        ("<", False, T + HOUR + 1),
        ("<=", False, T + HOUR),
        (">", True, T + HOUR),
        (">=", True, T + HOUR + 1),
    ],
)
def test_a_moving_bound_changes_a_comparison_once_at_an_exact_instant(op: str, before: bool, instant: int) -> None:
    """``column op now() - INTERVAL``: > and >= differ by the microsecond that equality lasts."""
    segment = segment_of(f"last_seen_at {op} now() - INTERVAL '1 hour'")
    assert segment.evaluate(customer(), T) == (before, instant)
    assert segment.evaluate(customer(), instant - 1) == (before, instant)
    assert segment.evaluate(customer(), instant) == (not before, NEVER)


def test_equality_with_a_moving_instant_lasts_one_microsecond() -> None:
    """And is announced like everything else."""
    same = segment_of("last_seen_at = now() - INTERVAL '1 hour'")
    assert same.evaluate(customer(), T) == (False, T + HOUR)
    assert same.evaluate(customer(), T + HOUR) == (True, T + HOUR + 1)
    assert same.evaluate(customer(), T + HOUR + 1) == (False, NEVER)
    other = segment_of("last_seen_at <> now() - INTERVAL '1 hour'")
    assert other.evaluate(customer(), T) == (True, T + HOUR)
    assert other.evaluate(customer(), T + HOUR) == (False, T + HOUR + 1)
    assert other.evaluate(customer(), T + HOUR + 1) == (True, NEVER)


def test_an_abandoned_cart_comes_after_30_minutes_and_goes_after_24_hours() -> None:
    """With no event in between."""
    sql = "cart_value > 0 AND cart_updated_at BETWEEN now() - INTERVAL '24 hours' AND now() - INTERVAL '30 minutes'"
    segment = segment_of(sql)
    somebody = customer(cart_value=9.5, cart_updated_at=T)
    assert segment.evaluate(somebody, T) == (False, T + HOUR // 2)
    assert segment.evaluate(somebody, T + HOUR // 2) == (True, T + DAY + 1)
    assert segment.evaluate(somebody, T + DAY + 1) == (False, NEVER)
    assert segment.evaluate(customer(cart_updated_at=T), T) == (False, NEVER)


@pytest.mark.parametrize(("op", "extra"), [(">=", 1), (">", 0)])
def test_an_event_counts_to_the_very_end_of_its_window(op: str, extra: int) -> None:
    """``event_time >= now() - W``: an event at t counts while now <= t + W."""
    segment, somebody = remembering(f"EXISTS (SELECT 1 FROM events WHERE event_time {op} now() - INTERVAL '1 hour')", T)
    assert segment.evaluate(somebody, T) == (True, T + HOUR + extra)
    assert segment.evaluate(somebody, T + HOUR + extra - 1) == (True, T + HOUR + extra)
    assert segment.evaluate(somebody, T + HOUR + extra) == (False, NEVER)


def test_a_count_falls_when_the_deciding_event_leaves_the_window() -> None:
    """Of three that are needed, the third most recent; and events ahead of now count at once."""
    query = "(SELECT count(*) FROM events WHERE event_time >= now() - INTERVAL '1 hour')"
    times = (T, T + 5, T + 9, T + HOUR)
    segment, somebody = remembering(f"{query} >= 3", *times)
    assert segment.evaluate(somebody, T + 9) == (True, T + 5 + HOUR + 1)
    segment, somebody = remembering(f"{query} < 3", *times)
    assert segment.evaluate(somebody, T + 9) == (False, T + 5 + HOUR + 1)
    assert segment.evaluate(somebody, T + 5 + HOUR + 1) == (True, NEVER)
    segment, somebody = remembering(f"{query} = 3", *times)
    assert segment.evaluate(somebody, T + 9) == (False, T + HOUR + 1)
    assert segment.evaluate(somebody, T + HOUR + 1) == (True, T + 5 + HOUR + 1)
    assert segment.evaluate(somebody, T + 5 + HOUR + 1) == (False, NEVER)


def test_what_happened_at_all_stays_so() -> None:
    """Without a window nothing changes by time alone."""
    segment, somebody = remembering("(SELECT count(*) FROM events) >= 2", T, T)
    assert segment.evaluate(somebody, T + 9000 * DAY) == (True, NEVER)


@pytest.mark.parametrize(
    ("sql", "answer"),
    [
        # AND, false: as long as any part stays false
        (
            "last_seen_at < now() - INTERVAL '1 hour' AND last_seen_at < now() - INTERVAL '1 day'",
            (False, T + DAY + 1),
        ),
        ("last_seen_at < now() - INTERVAL '1 hour' AND view_count > 0", (False, NEVER)),
        ("last_seen_at < now() - INTERVAL '1 hour' AND born < now()", (False, NEVER)),
        # AND, true: until the first part changes
        (
            "last_seen_at > now() - INTERVAL '1 day' AND first_seen_at > now() - INTERVAL '1 hour'",
            (True, T + HOUR),
        ),
        # OR, true: as long as any part stays true
        (
            "last_seen_at > now() - INTERVAL '1 day' OR last_seen_at > now() - INTERVAL '1 hour'",
            (True, T + DAY),
        ),
        ("last_seen_at > now() - INTERVAL '1 day' OR view_count = 0", (True, NEVER)),
        # OR, false: until the first part changes
        (
            "last_seen_at < now() - INTERVAL '1 day' OR first_seen_at <= now() - INTERVAL '1 hour'",
            (False, T + HOUR),
        ),
        # NOT goes down to the comparisons
        ("NOT (last_seen_at > now() - INTERVAL '1 hour' OR view_count > 0)", (False, T + HOUR)),
        ("NOT (last_seen_at > now() - INTERVAL '1 hour' AND view_count > 0)", (True, NEVER)),
        # against a fixed instant, and with no customer in it
        ("now() >= TIMESTAMP '2026-03-01 12:00:01'", (False, T + 1_000_000)),
        ("now() < TIMESTAMP '2026-03-01 12:00:01'", (True, T + 1_000_000)),
        ("now() > now() - INTERVAL '1 day'", (True, NEVER)),
        # no time in it at all
        ("view_count = 0", (True, NEVER)),
        ("last_seen_at = first_seen_at", (True, NEVER)),
        ("last_seen_at > first_seen_at + INTERVAL '1 hour'", (False, NEVER)),
    ],
)
def test_an_announcement_is_as_late_as_it_can_be(sql: str, answer: tuple[bool, int]) -> None:
    """Deadlines that change nothing cost something."""
    assert segment_of(sql).evaluate(customer(), T) == answer
