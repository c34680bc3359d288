"""Laws of time-travel tests: a case passes if exactly its changes happen, each at its very instant."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.casebook import CasebookError, Verdict, check_cases, read_casebook, run_case
from stream.casebook.clock import instant, length, told
from stream.core.config import CoreSettings
from stream.core.segments import compile_book, load_book
from stream.core.time import parse_iso
from tests.unit.markdown import blocks

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "docs" / "examples"
BOOK = """
attributes: {age: integer, seen_at: timestamp}
segments:
  viewer: {sql: last_viewed_at > now() - INTERVAL '1 hour'}
  buyer: {sql: order_count >= 1}
  grown: {sql: age >= 18}
  met: {sql: seen_at >= '2026-01-01'}
"""
MINUTE = 60_000_000


def verdicts(tmp_path: Path, text: str, book: str = BOOK) -> list[Verdict]:
    path = tmp_path / "cases.yaml"
    path.write_text(text, "utf-8")
    casebook = read_casebook(path)
    check_cases(casebook.cases, compile_book(load_book(book)))
    return [run_case(case, book, CoreSettings()) for case in casebook.cases]


def verdict(tmp_path: Path, case: str, clock: str = "2026-03-02T10:00:00Z") -> Verdict:
    (found,) = verdicts(tmp_path, f"clock: {clock}\ncases:\n  a case:\n{case}")
    return found


# -- the clock -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "micros"),
    [
        ("0 minutes", 0),
        ("30 minutes", 30 * MINUTE),
        ("1 day 6 hours", 30 * 60 * MINUTE),
        ("90min", 90 * MINUTE),
        ("-2 hours", -120 * MINUTE),
        ("0.5 seconds", 500_000),
        ("24 hours 1 microsecond", 24 * 60 * MINUTE + 1),
        ("1.5 weeks", 907_200_000_000),
    ],
)
def test_lengths_of_time_are_written_as_in_an_interval(text: str, micros: int) -> None:
    assert length(text) == micros


@pytest.mark.parametrize("text", ["", "-", "30", "minutes", "1 month", "30 minutes ago", "0.0000001 seconds", "1e3 s"])
def test_what_is_no_length_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        length(text)


@given(st.integers(-(10**15), 10**15))
def test_a_length_that_is_told_is_the_length(micros: int) -> None:
    assert length(told(micros)) == micros


def test_an_instant_is_iso_or_counts_from_the_clock_s_zero() -> None:
    zero = parse_iso("2026-03-02T10:00:00Z")
    assert instant("30 minutes", zero) == instant("2026-03-02T10:30:00Z", None) == zero + 30 * MINUTE
    with pytest.raises(ValueError, match="needs a `clock:`"):
        instant("30 minutes", None)


# -- a case --------------------------------------------------------------------------------------------------


def test_a_case_passes_if_exactly_its_changes_happen(tmp_path: Path) -> None:
    found = verdict(
        tmp_path,
        """
    events:
      - {at: 0 minutes, event_type: product_view}
      - {at: 30 minutes, event_type: purchase, price: 5}
    until: 2 hours
    changes:
      - {at: 0 minutes, enters: viewer}
      - {at: 30 minutes, enters: [buyer]}
      - {at: 1 hour, exits: viewer}
""",
    )
    assert found.passed and len(found.right) == 3


def test_a_change_that_is_missing_late_or_too_many_fails_the_case(tmp_path: Path) -> None:
    """By as little as a microsecond."""
    found = verdict(
        tmp_path,
        """
    events:
      - {at: 0 minutes, event_type: product_view}
      - {at: 1 minute, event_type: purchase, price: 5}
    changes:
      - {at: 0 minutes, enters: viewer}
      - {after: 1 hour, exits: viewer}
""",
    )
    assert not found.passed
    assert [
        (each.change.at - (found.case.zero or 0), each.change.segment, each.happened) for each in found.mismatches
    ] == [
        (MINUTE, "buyer", True),
        (60 * MINUTE, "viewer", True),
        (60 * MINUTE + 1, "viewer", False),
    ]
    assert [each.why for each in found.mismatches] == ["by purchase", "by time", ""]


def test_a_case_may_look_at_some_segments_only(tmp_path: Path) -> None:
    found = verdict(
        tmp_path,
        """
    segments: buyer
    events:
      - {at: 0 minutes, event_type: product_view}
    until: 2 hours
    changes: []
""",
    )
    assert found.passed


def test_what_comes_after_until_is_not_looked_at(tmp_path: Path) -> None:
    found = verdict(
        tmp_path,
        """
    events: [{at: 0 minutes, event_type: product_view}]
    until: 59 minutes
    changes: [{at: 0 minutes, enters: viewer}]
""",
    )
    assert found.passed


def test_late_events_other_customers_and_repetitions_are_told_apart(tmp_path: Path) -> None:
    """`timestamp` counts from the clock too; a repetition moves it on as well."""
    found = verdict(
        tmp_path,
        """
    events:
      - {at: 0 minutes, event_type: product_view, customer_id: ann, timestamp: -50 minutes}
      - {at: 0 minutes, event_type: product_view, customer_id: bob, times: 3, every: 20 minutes}
    until: 2 hours
    changes:
      - {at: 0 minutes, customer: ann, enters: viewer}
      - {at: 0 minutes, customer: bob, enters: viewer}
      - {at: 10 minutes, customer: ann, exits: viewer}
      - {at: 100 minutes, customer: bob, exits: viewer}
""",
    )
    assert found.passed, found.mismatches


def test_an_event_has_to_end_as_it_is_said_to(tmp_path: Path) -> None:
    """Applied, if nothing is said: a slip in an example must not pass for "nothing changed"."""
    case = """
    events:
      - {{at: 0 minutes, event_type: purchase, price: {price}, event_id: x{ends}}}
      - {{at: 1 minute, event_type: purchase, price: 2, event_id: {other}}}
    changes: [{{at: {enters}, enters: buyer}}]
"""
    assert verdict(tmp_path, case.format(price=1, ends="", other="x, ends: duplicate", enters="0 s")).passed
    assert verdict(tmp_path, case.format(price="much", ends=", ends: rejected", other="x", enters="1 min")).passed
    assert verdict(tmp_path, case.format(price="much", ends=", ends: invalid_type", other="x", enters="1 min")).passed
    found = verdict(tmp_path, case.format(price="much", ends="", other="x", enters="1 min"))
    assert not found.passed and not found.mismatches
    assert found.endings[0].startswith("event 1 was to end as applied, and ended as rejected: invalid_type: ")


def test_instants_of_yaml_are_texts(tmp_path: Path) -> None:
    """YAML would read them as its own; attributes get what was written."""
    found = verdict(
        tmp_path,
        """
    events:
      - {at: 2026-03-02T10:00:00Z, event_type: profile_update, properties: {age: 18, seen_at: 2026-02-01}}
    changes: [{at: 2026-03-02 10:00:00, enters: [grown, met]}]
""",
    )
    assert found.passed, found


def test_without_a_clock_instants_are_iso(tmp_path: Path) -> None:
    (found,) = verdicts(
        tmp_path,
        """
cases:
  a: {events: [{at: 2026-03-02T10:00:00Z, event_type: purchase}], changes: [{at: 2026-03-02T10:00:00Z, enters: buyer}]}
""",
    )
    assert found.passed


# -- mistakes ------------------------------------------------------------------------------------------------

EVENT = "{at: 0 minutes, event_type: x}"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "cases: is missing"),
        ("cases: {}", "cases: Dictionary should have at least 1 item"),
        ("cases: [", "is not understood: while parsing"),
        ("clock: x\ncases: " + "[" * 9_999, "line 2: nested too deeply"),
        (f"cases: {{a: {{clock: 2026-01-01T00:00:00Z, events: [{EVENT}], until: 3000000 days, changes: []}}}}", "9999"),
        ("cases: {a: !!int x}", "a value that cannot be read"),
        (f"cases: {{a: {'9' * 5_000}}}", "a value that cannot be read"),
        ("cases: {a: {}}", "case 'a', events: is missing"),
        ("cases: {a: {events: [], changes: []}}", "case 'a', events: List should have at least 1 item"),
        ("cases: {a: {events: [{event_type: x}], changes: []}}", "case 'a', event 1, at: is missing"),
        (f"cases: {{a: {{events: [{EVENT}], changes: []}}}}", "case 'a', event 1, at: '0 minutes' needs a `clock:`"),
        (f"cases: {{a: {{event: [{EVENT}], changes: []}}}}", "case 'a', event: there is nothing of this name"),
        (f"cases: {{a: {{events: [{EVENT}], changes: [{{at: 1 s}}]}}}}", "change 1: a change has `enters:`"),
        (f"cases: {{a: {{events: [{EVENT}], changes: [{{enters: b}}]}}}}", "change 1: a change has `at:`, or `after:`"),
        ("cases: {a: {events: [], changes: []}, a: {events: [], changes: []}}", "'a' is there twice"),
        (
            "clock: 2026-03-02T10:00:00Z\ncases: {a: {events: [{at: 0.5 ms, event_type: x}], changes: []}}",
            "event 1, at: the log's time is in milliseconds",
        ),
        (
            f"clock: 2026-03-02T10:00:00Z\ncases: {{a: {{until: -1 s, events: [{EVENT}], changes: []}}}}",
            "until: something comes later than it",
        ),
        (
            f"clock: 2026-03-02T10:00:00Z\n"
            f"cases: {{a: {{segments: [b], events: [{EVENT}], changes: [{{at: 1 s, enters: c}}]}}}}",
            "c is none of the segments that the case looks at",
        ),
        (
            f"clock: 2026-03-02T10:00:00Z\ncases: {{a: {{events: [{EVENT}], changes: [{{at: 1 s, enters: c}}]}}}}",
            "the book has no segment c",
        ),
    ],
)
def test_a_mistake_is_told_with_its_place(tmp_path: Path, text: str, why: str) -> None:
    with pytest.raises(CasebookError) as refusal:
        verdicts(tmp_path, text)
    assert why in str(refusal.value)


# -- what we ship --------------------------------------------------------------------------------------------

SHIPPED = sorted(EXAMPLES.glob("*.cases.yaml"))


def book_of(path: Path) -> str:
    """The book that a file of cases names; where it names none, the `segments.yaml` of the page of its name."""
    casebook = read_casebook(path)
    if casebook.book is not None:
        return casebook.book.read_text("utf-8")
    page = ROOT / "docs" / f"{path.name.removesuffix('.cases.yaml')}.md"
    return next(block.text for block in blocks(page, "yaml") if block.name == "segments.yaml")


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_the_examples_that_we_ship_hold(path: Path) -> None:
    """And every segment of their books is entered in some case."""
    casebook, text = read_casebook(path), book_of(path)
    book = compile_book(load_book(text))
    check_cases(casebook.cases, book)
    for case in casebook.cases:
        found = run_case(case, text, CoreSettings())
        assert found.passed, (case.name, found.mismatches, found.endings)
    assert {each.segment for case in casebook.cases for each in case.expected if each.entered} == set(book.by_name)


def test_every_book_that_we_ship_has_examples() -> None:
    """Those of the demo, and those that pages of the documentation call `segments.yaml`."""
    shipped = {path.name for path in (ROOT / "stream" / "demo").glob("segments*.yaml")}
    books = {read_casebook(path).book for path in SHIPPED}
    assert shipped == {book.name for book in books if book is not None}
    pages = {
        page.stem
        for page in (ROOT / "docs").glob("*.md")
        if "segments.yaml" in (names := {block.name for block in blocks(page)}) and "cases.yaml" not in names
    }
    assert pages <= {path.name.removesuffix(".cases.yaml") for path in SHIPPED}
