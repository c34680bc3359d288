"""Laws of how an explanation is shown: to people in lines, to programs as JSON that says the same."""

from __future__ import annotations

import json
from typing import Any

import pytest

from stream.cli import explain as shown
from stream.core.explanation import CustomerExplained, Held, SegmentExplained, Turn
from stream.core.segments.explain import Explained
from stream.core.time import NEVER, parse_iso

NOON = parse_iso("2026-03-02T12:00:00Z")
MINUTE = 60_000_000
LEFT: dict[str, Any] = {
    "id": "0123456789abcdef0123456789abcdef",
    "segment": "s",
    "action": "exited",
    "at": "2026-03-02T11:00:00Z",
    "sequence": 7,
    "cause": {"kind": "time"},
}


def one(**given: Any) -> SegmentExplained:
    """A segment that the customer was never in, and what is otherwise."""
    nothing: dict[str, Any] = dict.fromkeys(["since", "last", "turn", "held", "complete_since"])
    plain = {"name": "s", "member": False, "never": True, "seen": NEVER, **nothing}
    condition = Explained("city = 'NYC'", None, {"city": None}, NEVER)
    return SegmentExplained(**{**plain, "condition": condition, **given})


def printed(capsys: pytest.CaptureFixture[str], *segments: SegmentExplained, newer: Any = ()) -> list[str]:
    """The lines about the segments."""
    shown.print_explanation(CustomerExplained("ann", 0, NOON, "0123456789abcdef", NOON - MINUTE, segments, newer))
    head, *lines = capsys.readouterr().out.splitlines()
    assert head == (
        "ann as of 2026-03-02T12:00:00Z (log time), by version 0123456789abcdef, in force since 2026-03-02T11:59:00Z"
    )
    return [line for line in lines if line]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "out, never in so far; does not change by itself"),
        ({"never": False}, "out, for longer than changes are kept; does not change by itself"),
        ({"seen": NOON}, "out, never in so far; does not change by itself before 2026-03-02T12:00:00Z"),
        ({"turn": Turn(True, NOON + 1)}, "out, never in so far; enters by itself at 2026-03-02T12:00:00.000001Z"),
        (
            {"member": True, "since": NOON, "never": False, "turn": Turn(False, NOON + MINUTE)},
            "in since 2026-03-02T12:00:00Z; leaves by itself at 2026-03-02T12:01:00Z",
        ),
    ],
)
def test_membership_is_one_line(given: dict[str, Any], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert printed(capsys, one(**given))[0] == f"s: {said}"


@pytest.mark.parametrize(
    ("cause", "said"),
    [
        ({"kind": "time"}, "by time alone"),
        (
            {"kind": "event", "event_id": "e1", "event_type": "purchase", "event_time": "2026-03-02T10:59:59Z"},
            "by the purchase event e1 of 2026-03-02T10:59:59Z",
        ),
        (
            {"kind": "event", "event_id": None, "event_type": "[b]", "event_time": "2026-03-02T10:59:59Z"},
            "by the [b] event of 2026-03-02T10:59:59Z",
        ),
        (
            {"kind": "definition", "definition_version": "0123456789abcdef"},
            "by the definitions of version 0123456789abcdef",
        ),
    ],
)
def test_what_decided_is_said(cause: dict[str, Any], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    """What a producer wrote is never taken for markup."""
    lines = printed(capsys, one(last=LEFT | {"cause": cause}, since=NOON, never=False))
    assert lines[1] == f"  exited {said} (change {LEFT['id']}, number 7)"


@pytest.mark.parametrize("by", ["enter_after", "min_stay", "cooldown"])
def test_what_holds_a_membership_back_is_said_with_its_end(by: Any, capsys: pytest.CaptureFixture[str]) -> None:
    (line,) = [each for each in printed(capsys, one(held=Held(by, NOON, 10 * MINUTE))) if by in each]
    assert "2026-03-02T12:00:00Z" in line
    assert "2026-03-02T12:10:00Z" in line


def test_conditions_are_shown_with_truth_values_and_their_time(capsys: pytest.CaptureFixture[str]) -> None:
    """As in SQL: NULL, texts in quotes; a long sub-query is not repeated before its value."""
    query = "(SELECT count(*) FROM events WHERE event_type = 'product_view' AND category = 'Games')"
    count = {"count": 2, "or_more": True, "latest": "2026-03-02T11:00:00Z"}
    condition = Explained(
        "city = 'NYC' OR name = 'O''Hara' OR x > 1",
        True,
        {},
        NOON + 1,
        (
            Explained("city = 'NYC'", None, {"city": None}, NEVER),
            Explained("name = 'O''Hara'", False, {"name": "D'Arc", "vip": True}, NEVER),
            Explained(f"{query} > 1", True, {query: count}, NOON + 1),
        ),
    )
    assert printed(capsys, one(condition=condition))[1:] == [
        "  true   city = 'NYC' OR name = 'O''Hara' OR x > 1",
        "      NULL   city = 'NYC'",
        "               city = NULL",
        "      false  name = 'O''Hara'",
        "               name = 'D''Arc'",
        "               vip = true",
        f"      true   {query} > 1",
        f"               {query[:60]}… = 2 or more (latest 2026-03-02T11:00:00Z)",
        "               stays so by itself until 2026-03-02T12:00:00.000001Z",
    ]


def test_what_has_left_since_is_told_at_the_end(capsys: pytest.CaptureFixture[str]) -> None:
    assert printed(capsys, one(), newer=(LEFT,))[-2:] == [
        "Said since then, and to be explained by the next checkpoint:",
        "  exited s at 2026-03-02T11:00:00Z",
    ]


def test_programs_get_the_same() -> None:
    """Instants as ISO 8601; null where there is none."""
    segment = one(turn=Turn(True, NOON), held=Held("cooldown", NOON, MINUTE), complete_since=NOON)
    found = CustomerExplained("ann", 3, NOON, "0123456789abcdef", NOON, (segment,), (LEFT,))
    data = json.loads(json.dumps(shown.as_data(found)))
    assert (data["customer_id"], data["partition"], data["as_of"]) == ("ann", 3, "2026-03-02T12:00:00Z")
    (told,) = data["segments"]
    assert told["changes_by_itself"] == {"action": "enters", "at": "2026-03-02T12:00:00Z"}
    assert told["held"] == {"by": "cooldown", "until": "2026-03-02T12:01:00Z"}
    assert told["complete_since"] == "2026-03-02T12:00:00Z"
    assert told["condition"] == {
        "sql": "city = 'NYC'",
        "truth": None,
        "values": {"city": None},
        "until": None,
        "parts": [],
    }
    assert data["newer_changes"] == [LEFT]
