"""New windows are honest about their past, and are filled from the log where it still reaches back."""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.core.time import format_iso, parse_iso
from stream.interpreter import Interpreter

SECOND = 1_000_000
START = parse_iso("2026-03-02T10:00:00Z")
OLD = """
segments:
  looks: {sql: "(SELECT count(*) FROM events WHERE event_type = 'page_view') >= 2"}
  rich: {sql: "total_spent > 5"}
"""
NEW = """
segments:
  looks: {sql: "(SELECT count(*) FROM events WHERE event_type = 'page_view') >= 2"}
  keen: {sql: "(SELECT count(*) FROM events WHERE event_type = 'product_view'
               AND event_time >= now() - INTERVAL '20 seconds') >= 2"}
  quiet: {sql: "NOT EXISTS (SELECT 1 FROM events WHERE event_time > now() - INTERVAL '5 seconds')"}
"""
#: Looks at what `keen` looks at, for ever: it is never complete.
FAITHFUL = """
  faithful: {sql: "(SELECT count(*) FROM events WHERE event_type = 'product_view') >= 2"}
"""
lines = st.lists(
    st.tuples(
        st.integers(0, 3),  # seconds since the line before
        st.sampled_from("ab"),
        st.sampled_from(["product_view", "purchase", "page_view"]),
        st.integers(0, 4),  # which event id: some come twice
        st.integers(0, 8),  # seconds late
    ),
    max_size=40,
)


def piped(log: Interpreter, at: int, line: tuple[int, str, str, int, int]) -> None:
    _, customer, kind, event_id, late = line
    event = {
        "event_id": f"{event_id}-{at}" if event_id else "same",
        "customer_id": customer,
        "event_type": kind,
        "timestamp": format_iso(at - late * SECOND),
        "price": 3,
    }
    log.pipe(at, customer.encode(), msgspec.json.encode(event))


def members(log: Interpreter) -> dict[str, dict[str, Any]]:
    """Who is in what, and when that changes by itself."""
    return {
        name: {"in": sorted(customer.members or {}), "due": customer.due or {}}
        for name, customer in log.partition.customers.items()
    }


@settings(max_examples=150)
@given(lines, lines, lines)
def test_after_a_fill_everybody_is_where_the_book_would_always_have_had_them(
    before: list[Any], between: list[Any], after: list[Any]
) -> None:
    """And every customer whom the fill moves gets a change with the cause `definition` at its instant."""
    live, always = Interpreter(OLD, keeps_log=True), Interpreter(NEW)
    at = START
    for line in before:
        at += line[0] * SECOND
        piped(live, at, line)
        piped(always, at, line)
    live.apply(NEW, at)
    for line in between:
        at += line[0] * SECOND
        piped(live, at, line)
        piped(always, at, line)
    said = len(live.decided)
    passed = sum(line[0] for line in between)
    # The window of `keen` is the longest that is new; the microsecond is its inclusive end.
    assert live.fill(at) is (bool(before) and passed <= 20), "there is something to gain while a window misses its past"
    causes = {msgspec.json.decode(change.value)["cause"]["kind"] for change in live.decided[said:]}
    assert causes <= {"definition"}
    assert members(live) == members(always)
    assert not live.fill(at), "and nothing to gain any more"
    said = len(live.decided)
    for line in after:
        at += line[0] * SECOND
        piped(live, at, line)
        piped(always, at, line)
        assert members(live) == members(always)
    assert all(b"complete_since" not in change.value for change in live.decided[said:])


def test_until_it_is_filled_or_old_enough_a_membership_says_since_when_it_is_complete() -> None:
    """Only of the segments whose own windows reach further back than their memory, whoever shares it."""
    log = Interpreter(OLD, keeps_log=True)
    view = (0, "a", "product_view", 1, 0)
    for second in (0, 1):
        piped(log, START + second * SECOND, view)
    applied = START + 2 * SECOND
    log.apply(NEW + FAITHFUL, applied)
    for second in (3, 4, 40, 41):
        piped(log, START + second * SECOND, view)
    said = [msgspec.json.decode(change.value) for change in log.decided]
    incomplete = {(c["segment"], c["action"], c["at"]) for c in said if "complete_since" in c}
    assert {c["complete_since"] for c in said if "complete_since" in c} == {format_iso(applied)}
    assert ("keen", "entered", format_iso(START + 4 * SECOND)) in incomplete
    assert ("keen", "entered", format_iso(START + 41 * SECOND)) not in incomplete, "by then its window is complete"
    assert ("faithful", "entered", format_iso(START + 4 * SECOND)) in incomplete
    assert not any(c["segment"] in ("looks", "rich") for c in said if "complete_since" in c)


def test_a_fill_from_what_retention_has_left_says_so() -> None:
    """It is complete since the first record that was left, and a longer look back gains nothing."""
    log = Interpreter(OLD, keeps_log=True)
    view = (0, "a", "product_view", 1, 0)
    for second in (0, 10, 15):
        piped(log, START + second * SECOND, view)
    log.apply(NEW, START + 16 * SECOND)
    assert log.fill(START + 17 * SECOND, first=2)
    keen = [c for c in map(msgspec.json.decode, log.changes) if c["segment"] == "keen"]
    assert [(c["action"], c["complete_since"]) for c in keen] == [("entered", format_iso(START + 10 * SECOND))]
    assert not log.fill(START + 17 * SECOND, first=2)
    assert not log.fill(START + 17 * SECOND, first=3)
