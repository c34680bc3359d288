"""Laws of a backtest: its figures are those of the changes, in whatever order its partitions come."""

from __future__ import annotations

import json
import re
from collections import Counter
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.changes import read_change
from connectors.platforms import klaviyo
from stream.backtest.calls import cost
from stream.backtest.figures import figures, series, slice_of
from stream.backtest.limits import ROWS, SEGMENTS, Platform, Row, platforms
from stream.backtest.plots import bars, chart, save_png
from stream.backtest.run import Backtest, NothingToTest, Outcome
from stream.backtest.tally import Flapping, Tally
from stream.core.changes import Change
from stream.core.config import CoreSettings
from stream.core.routing import partition_of
from stream.core.segments import DefinitionErrors
from stream.core.time import parse_iso
from stream.interpreter import InMemoryRecord, Interpreter
from stream.rehearsal import rehearse
from stream.sources import SourceRecord
from tests.conformance.scenarios import BOOK, merged

START = parse_iso("2026-03-02T10:00:00Z")
SECOND = 1_000_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE


def change(at: int, customer: str, segment: str, entered: bool, cause: str = "event") -> Change:
    return Change(customer, 1, b"", segment, "entered" if entered else "exited", at, cause)


def log_of_scenarios() -> list[SourceRecord]:
    """All scenarios as one log."""
    return [SourceRecord(*record) for record in merged()]


def told(outcome: Outcome) -> dict[str, Any]:
    found = figures(outcome)
    json.dumps(found)
    return found


# -- the run -------------------------------------------------------------------------------------------------


def test_a_backtest_says_what_the_interpreter_says() -> None:
    """Entries, exits, sizes and endings; and the parts of the log do not matter."""
    records = log_of_scenarios()
    until = records[-1].log_time + 100 * HOUR
    log = Interpreter(BOOK)
    for record in records:
        log.pipe(record.log_time, record.key, record.value)
    log.advance(until)
    run = Backtest(BOOK, CoreSettings())
    run.feed_file(iter(records))
    data = told(run.finish(until))
    report = log.report()
    assert {name: data[name] for name in report if name != "members"} == {
        name: report[name] for name in report if name != "members"
    }
    counts = Counter((change.segment, change.action) for change in log.decided)
    for name, segment in data["segments"].items():
        assert segment["entries"] == counts[name, "entered"], name
        assert segment["exits"] == counts[name, "exited"], name
        assert segment["size_at_end"] == segment["entries"] - segment["exits"] == segment["series"][-1]["size"]
        assert sum(slice_["entries"] for slice_ in segment["series"]) == segment["entries"]
    assert sum(counts.values()) > 20


def test_partitions_one_by_one_are_the_same_as_one_log() -> None:
    """Figures depend on instants, not on the order in which partitions are read."""
    records = log_of_scenarios()
    until = records[-1].log_time + 10 * HOUR
    whole = Backtest(BOOK, CoreSettings())
    whole.feed_file(iter(records))
    expected = told(whole.finish(until))
    for order in ([0, 1, 2], [2, 0, 1]):
        run = Backtest(BOOK, CoreSettings())
        for number in order:
            mine = [
                InMemoryRecord(offset, record.log_time // 1000, record.key, record.value)
                for offset, record in enumerate(records, 1)
                if partition_of((record.key or b"").decode(), 3) == number
            ]
            run.feed(mine[:5], number, 3)
            run.feed(mine[5:], number, 3)
        assert told(run.finish(until)) == expected


def test_what_is_later_than_until_is_left_out() -> None:
    records = log_of_scenarios()
    cut = records[len(records) // 2].log_time
    run = Backtest(BOOK, CoreSettings())
    run.feed_file(iter(records), cut)
    outcome = run.finish(cut)
    assert outcome.end == cut
    assert outcome.accounting["read"] == sum(record.log_time <= cut for record in records)


def test_a_book_with_a_mistake_and_a_log_without_events_are_refused() -> None:
    with pytest.raises(DefinitionErrors):
        Backtest("segments: {a: {sql: nothing > 1}}", CoreSettings())
    with pytest.raises(NothingToTest):
        Backtest("segments: {a: {sql: view_count > 1}}", CoreSettings()).finish(START)


def test_windows_that_reach_back_before_the_log_are_told() -> None:
    """Until they are full, a segment knows less than it would live. Columns and endless windows have no such time."""
    book = """
segments:
  week: {sql: "EXISTS (SELECT 1 FROM events WHERE event_type = 'x' AND event_time >= now() - INTERVAL '7 days')"}
  ever: {sql: "EXISTS (SELECT 1 FROM events WHERE event_type = 'x')"}
  column: {sql: view_count >= 1}
"""
    run = Backtest(book, CoreSettings())
    run.feed_file([SourceRecord(START, b"a", b'{"customer_id": "a", "event_type": "x"}')])
    data = told(run.finish())
    assert {name: segment.get("whole_from") for name, segment in data["segments"].items()} == {
        "week": "2026-03-09T10:00:00Z",
        "ever": None,
        "column": None,
    }


# -- the tally -----------------------------------------------------------------------------------------------


def test_who_enters_often_within_a_time_flaps() -> None:
    """Three times within an hour by these settings; spread over more, it is a habit."""
    tally = Tally(Flapping(3, HOUR))
    for customer, gap in (("fast", 30 * MINUTE), ("slow", 31 * MINUTE)):
        for n in range(4):
            tally.add([change(START + n * gap, customer, "a", True)])
            tally.add([change(START + n * gap + MINUTE, customer, "a", False, "time")])
    assert tally.sums["a"].flapping == {"fast": 4}
    assert (tally.sums["a"].entries, tally.sums["a"].exits, tally.sums["a"].by_time) == (8, 8, 8)
    assert tally.sums["a"].stays == [60] * 8


Steps = list[tuple[int, str, str]]
steps: st.SearchStrategy[Steps] = st.lists(
    st.tuples(st.integers(0, 300), st.sampled_from("xyz"), st.sampled_from("abc")), max_size=40
)


@given(steps)
def test_overlap_is_the_time_in_both(steps: Steps) -> None:
    """Equal to a count of the minutes, one by one."""
    end = 300
    flips = sorted(steps)
    tally = Tally(Flapping())
    inside: set[tuple[str, str]] = set()
    alone: Counter[str] = Counter()
    both: Counter[tuple[str, str]] = Counter()
    by_minute = {minute: list(group) for minute, group in groupby(flips, key=lambda flip: flip[0])}
    for minute in range(end):
        for _, customer, segment in by_minute.get(minute, []):
            entered = (customer, segment) not in inside
            inside ^= {(customer, segment)}
            tally.add([change(START + minute * MINUTE, customer, segment, entered)])
        for customer, segment in inside:
            alone[segment] += 1
            both.update((segment, other) for who, other in inside if who == customer and other != segment)
    for _, customer, segment in by_minute.get(end, []):
        entered = (customer, segment) not in inside
        inside ^= {(customer, segment)}
        tally.add([change(START + end * MINUTE, customer, segment, entered)])
    tally.end(START + end * MINUTE)
    assert {name: sum_.time // MINUTE for name, sum_ in tally.sums.items() if sum_.time} == dict(alone)
    found = {
        (name, other): time // MINUTE for name, sum_ in tally.sums.items() for other, time in sum_.together.items()
    }
    assert found == dict(both)


def test_the_series_has_every_change_in_its_slice() -> None:
    tally = Tally(Flapping())
    tally.add([change(START, "x", "a", True), change(START + HOUR, "y", "a", True)])
    tally.add([change(START + 2 * HOUR - 1, "x", "a", False)])
    found = series(tally, "a", START + 5 * MINUTE, START + 2 * HOUR, 3_600)
    assert found == [
        {"from": "2026-03-02T10:05:00Z", "size": 1, "entries": 1, "exits": 0},
        {"from": "2026-03-02T11:00:00Z", "size": 1, "entries": 1, "exits": 1},
        {"from": "2026-03-02T12:00:00Z", "size": 1, "entries": 0, "exits": 0},
    ]


@given(st.integers(1, 10 * 365 * 86_400))
def test_slices_are_at_most_about_a_hundred(seconds: int) -> None:
    assert seconds / slice_of(seconds) <= 100 or slice_of(seconds) == 28 * 86_400


# -- calls ---------------------------------------------------------------------------------------------------

LIST = Platform("lists", "POST", 10, "direction", ((2, 1), (60, 60)), "a page")
FIELD = Platform("fields", "POST", 10, "all", ((1_000, 86_400),), "a page")
BOTH = Platform("both", "POST", 10, "segment", (), "a page")


def test_a_call_holds_what_may_share_it() -> None:
    """Of one minute: 11 and 9 entries into one list, 1 exit, 1 entry into another."""
    changes = {("a", True): {7: 11, 8: 9}, ("a", False): {7: 1}, ("b", True): {7: 1}}
    assert cost(LIST, changes, 1).total == (2 + 1 + 1) + 1
    assert cost(BOTH, changes, 1).total == (2 + 1) + 1
    assert cost(FIELD, changes, 1).total == 2 + 1
    assert cost(BOTH, changes, 1)[-3:] == (None, None, None)


def test_the_busiest_hour_is_compared_with_the_narrowest_limit() -> None:
    """60 calls a minute bind more than 2 a second do: 3,600 an hour, not 7,200."""
    found = cost(LIST, {("a", True): {60: 300, 61: 300, 130: 10}}, 4)
    assert (found.total, found.mean) == (61, 61 / 4)
    assert (found.busiest, found.most, found.per_hour) == (1, 60, 3_600)
    assert found.share == 60 / 3_600


def test_a_daily_limit_is_compared_with_the_busiest_day() -> None:
    day = 24 * 60
    found = cost(FIELD, {("a", True): {0: 100, 60: 100, day: 50}}, 48)
    assert found.share == 20 / 1_000
    assert found.wait == 0


@pytest.mark.parametrize(
    ("minutes", "wait"),
    [
        ({0: 600}, 0),
        ({0: 1_200}, 1),
        ({0: 1_200, 1: 600}, 1),
        ({0: 1_200, 1: 1_200}, 2),
        ({0: 1_200, 5: 600}, 0 + 1),
        ({}, 0),
    ],
)
def test_changes_wait_where_more_come_than_the_platform_takes(minutes: dict[int, int], wait: float) -> None:
    """60 calls of ten people a minute."""
    assert cost(LIST, {("a", True): minutes}, 1).wait == wait


def test_every_platform_has_its_source_once() -> None:
    """And a limit is a number of calls in a number of seconds."""
    assert len({platform.name for platform in platforms()}) == len(platforms())
    for platform in platforms():
        assert (
            platform.name.split(".")[0] in ("SFMC", *platform.source.split(" ")[0].split(".")) and platform.people > 0
        )
        assert all(count > 0 and seconds > 0 for count, seconds in platform.limits)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.module)
def test_the_call_is_one_that_the_platform_makes_and_counts_against_its_rate(row: Row) -> None:
    """As the module says the rate and the batch, it is what leaves: the table cannot drift from delivery."""
    change = read_change(
        b'{"id":"1","customer_id":"c","segment":"%b","action":"entered","at":"2026-03-02T10:00:00Z","sequence":1,'
        b'"profile":{"email":"c@example.com"}}' % SEGMENTS[0].encode()
    )
    requests = rehearse(row.connector(), change, 1_772_445_600.0).requests
    methods = re.findall(r"\b[A-Z]{3,}\b", row.call)
    (path,) = re.findall(r"/.*", row.call.partition(", remove_")[0]) or [""]
    shape = re.sub(r"\\\{.*?\\\}", "[^/?]+", re.escape(path))
    made = [request for request in requests if request.method in methods and re.search(shape, request.url)]
    assert made and {request.limit for request in made} == {row.limit}


def test_the_numbers_are_those_of_the_platforms_modules() -> None:
    """Rates, batch sizes, and what may share a request: by what is known of some of them."""
    found = {platform.name: platform for platform in platforms()}
    assert found["Klaviyo"].limits == tuple((w.requests, w.seconds) for w in klaviyo.LIMITS["list-add"])
    assert (found["Klaviyo"].people, found["Klaviyo"].shared) == (
        klaviyo.Config.model_fields["batch_size"].default,
        "direction",
    )
    assert (found["HubSpot"].limits, found["HubSpot"].shared) == (((190, 10), (625_000, 86_400)), "all")
    assert found["SFMC"].shared == "segment", "rows of one data extension with the same column"


# -- pictures ------------------------------------------------------------------------------------------------


@given(st.lists(st.integers(0, 10**6), max_size=300), st.integers(1, 6), st.integers(1, 120))
def test_bars_are_as_wide_as_they_may_be_and_nothing_vanishes(values: list[int], height: int, width: int) -> None:
    """Whatever is above 0 is seen; the largest reaches the top."""
    lines = bars(values, height, width)
    assert len(lines) == height and all(len(line) <= width for line in lines)
    if any(values):
        assert "█" in lines[0]
    below = lines[-1].ljust(len(values))
    if len(values) <= width:
        assert [mark != " " for mark in below] == [value > 0 for value in values]


def test_a_chart_names_its_largest_value_and_its_ends() -> None:
    slices = [{"from": f"2026-03-{day:02}T00:00:00Z", "size": day} for day in range(1, 31)]
    lines = chart("a", slices, 3)
    assert lines[0] == "a"
    assert [line[:4] for line in lines[1:4]] == ["30 ┤", "   ┤", " 0 ┤"]
    assert lines[-1] == "    2026-03-01 00:00"
    assert chart("a", [*slices, *slices], 3)[-1].endswith("2026-03-30 00:00")


def test_a_picture_is_a_png(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    run = Backtest(BOOK, CoreSettings())
    run.feed_file(iter(log_of_scenarios()))
    save_png(tmp_path / "a.png", told(run.finish()))
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
