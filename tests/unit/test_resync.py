"""Laws of a resync: it says what is so of every customer, as of their last change, and nothing else."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from schemas.changes import SegmentChange
from stream.core.time import format_iso, parse_iso
from stream.interpreter import Interpreter
from stream.resync import Exits, PartitionState, Wants, note, said

BOOK = """
attributes: {email: text}
segments:
  viewer: {sql: view_count >= 1}
  fresh: {sql: last_viewed_at > now() - INTERVAL '1 hour'}
  buyer: {sql: order_count >= 1}
"""
START = parse_iso("2026-03-02T10:00:00Z")
MINUTE = 60_000_000


def event(log: Interpreter, customer: str, minute: int, kind: str = "product_view", **fields: Any) -> None:
    at = START + minute * MINUTE
    value = {"customer_id": customer, "event_type": kind, "timestamp": format_iso(at), **fields}
    log.pipe(at, customer.encode(), json.dumps(value).encode())


def day() -> Iterator[Interpreter]:
    """Ann looks and buys, bob looks and goes stale, cem only buys; an hour and a half pass."""
    log = Interpreter(BOOK)
    event(log, "ann", 0, product_id="p")
    event(log, "bob", 1)
    event(log, "ann", 60, "purchase", price=20)
    event(log, "ann", 61, "profile_update", properties={"email": "ann@example.com"})
    event(log, "cem", 70, "purchase", price=10)
    log.advance(START + 90 * MINUTE)
    yield log


def everything(_: str) -> bool:
    return True


def resync(log: Interpreter, wants: Wants = everything) -> PartitionState:
    """With the exits as the log's own changes have them."""
    left: Exits = {}
    for value in log.changes:
        note(left, value, wants)
    return said(log.partition, left, wants)


def told(state: PartitionState) -> dict[tuple[str, str], tuple[str, str, int]]:
    """By customer and segment: what is said, its instant, and the number up to which it holds."""
    changes = [json.loads(value) for _, value in state.changes]
    found = {(c["customer_id"], c["segment"]): (c["action"], c["at"], c["sequence"]) for c in changes}
    assert len(found) == len(changes), "each is said once"
    return found


def clock(minute: int) -> str:
    return format_iso(START + minute * MINUTE)


def test_members_are_said_as_entered_and_those_who_left_as_exited() -> None:
    """Each at its own instant, and with the customer's newest number."""
    state = resync(next(day()))
    assert told(state) == {
        ("ann", "viewer"): ("entered", clock(0), 4),
        ("ann", "fresh"): ("exited", clock(60), 4),
        ("ann", "buyer"): ("entered", clock(60), 4),
        ("bob", "viewer"): ("entered", clock(1), 3),
        ("bob", "fresh"): ("exited", clock(61), 3),
        ("cem", "buyer"): ("entered", clock(70), 1),
    }
    assert (state.entered, state.exited) == (4, 2)


def test_what_it_says_is_a_change_by_the_contract_with_the_present_profile() -> None:
    """An old change's profile would write old values over newer ones."""
    state = resync(next(day()))
    for customer, value in state.changes:
        change = SegmentChange.model_validate_json(value)
        assert (change.customer_id, change.cause.kind) == (customer, "resync")
        if customer == "ann":
            assert (change.profile["order_count"], change.profile["email"]) == (1, "ann@example.com")
            assert change.evidence == {"viewer": {"view_count": 1}, "buyer": {"order_count": 1}}.get(
                change.segment, change.evidence
            )


def test_it_says_the_same_in_the_same_bytes_and_under_ids_of_its_own() -> None:
    """Asked for twice it is a repeat; and no id is that of a change with other bytes."""
    (log,) = day()
    first, second = resync(log), resync(log)
    assert first.changes == second.changes
    ids = {json.loads(value)["id"] for _, value in first.changes}
    assert len(ids) == 6
    assert not ids & {json.loads(value)["id"] for value in log.changes}
    event(log, "ann", 95)
    assert ids - {json.loads(value)["id"] for _, value in resync(log).changes}, "ann's number has moved on"


def test_only_the_segments_that_are_wanted_are_spoken_of() -> None:
    """Of one destination, or of one segment."""
    state = resync(next(day()), lambda segment: segment == "fresh")
    assert told(state).keys() == {("ann", "fresh"), ("bob", "fresh")}
    assert (state.entered, state.exited) == (0, 2)


def test_who_came_back_is_in_and_whose_exit_nobody_remembers_is_not_spoken_of() -> None:
    """The last word counts; and what `segment-changes` has forgotten is not made up."""
    (log,) = day()
    event(log, "bob", 91)
    assert told(resync(log))["bob", "fresh"][:2] == ("entered", clock(91))
    assert ("ann", "fresh") not in told(said(log.partition, {}, everything))


def test_a_customer_whom_the_state_does_not_know_is_not_spoken_of() -> None:
    """Whoever was erased stays so, whatever the changes still say of them."""
    (log,) = day()
    del log.partition.customers["bob"]
    assert {customer for customer, _ in told(resync(log))} == {"ann", "cem"}


def test_a_deadline_that_the_checkpoint_has_not_let_pass_is_let_pass_first() -> None:
    """Its instant lies before the log time: the worker says it too, and with the same number."""
    (log,) = day()
    event(log, "dan", 91)
    log.partition.log_time = START + 152 * MINUTE
    state = told(resync(log))
    assert state["dan", "fresh"] == ("exited", clock(151), 3)
    assert state["dan", "viewer"] == ("entered", clock(91), 3)


def test_what_was_said_after_the_checkpoint_is_not_said_again_and_not_contradicted() -> None:
    """`segment-changes` is ahead of the state: what is newer there comes by itself, behind what the state says."""
    (at_checkpoint,), (now,) = day(), day()
    for log in (at_checkpoint, now):
        event(log, "dan", 91)
    event(now, "ann", 95)  # in again
    now.advance(START + 152 * MINUTE)  # dan is out
    left: Exits = {}
    for value in now.changes:
        note(left, value, everything)
    state = told(said(at_checkpoint.partition, left, everything))
    assert state["dan", "fresh"] == ("entered", clock(91), 2)
    assert ("ann", "fresh") not in state
