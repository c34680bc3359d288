"""Laws of an explanation: it says what the core says, of the past as on the topic and of the time to come exactly."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from stream.core.explanation import CustomerExplained, Held, SegmentExplained, Turn, explained
from stream.core.time import NEVER, format_iso, parse_iso
from stream.interpreter import Interpreter

MINUTE = 60_000_000
HOUR = 60 * MINUTE
NOON = parse_iso("2026-03-02T12:00:00Z")
BOOK = """
attributes: {city: text}
segments:
  abandoned_cart:
    sql: cart_value > 0 AND cart_updated_at BETWEEN now() - INTERVAL '24 hours' AND now() - INTERVAL '30 minutes'
  quiet: {sql: last_seen_at < now() - INTERVAL '2 hours'}
  local: {sql: city = 'NYC'}
"""


def log_of(*events: tuple[int, dict[str, Any]], book: str = BOOK) -> Interpreter:
    """Ann's events, each at its own time."""
    log = Interpreter(book)
    for at, event in events:
        log.pipe(at, b"ann", orjson.dumps({"customer_id": "ann", "timestamp": format_iso(at), **event}))
    return log


def explain(log: Interpreter, said: list[bytes] | None = None) -> CustomerExplained:
    """All of Ann's segments as the log stands; ``said`` are the changes that are kept (all of them, if None)."""
    customer, edition = log.partition.customers["ann"], log.partition.membership.edition
    assert edition is not None
    changes = map(orjson.loads, log.changes if said is None else said)
    return explained(log.partition, customer, edition, list(edition.book.by_name), changes)


def segment(found: CustomerExplained, name: str) -> SegmentExplained:
    (one,) = [each for each in found.segments if each.name == name]
    return one


CART = (NOON, {"event_id": "e1", "event_type": "add_to_cart", "product_id": "P1", "price": 20})


def test_a_member_is_in_since_its_entry_and_by_the_change_that_said_so() -> None:
    """The event that decided is in the change, as it left."""
    log = log_of(CART, (NOON + MINUTE, {"event_type": "profile_update", "properties": {"city": "NYC"}}))
    found = segment(explain(log), "local")
    assert (found.member, found.since, found.turn, found.seen) == (True, NOON + MINUTE, None, NEVER)
    assert found.last is not None
    assert found.last == orjson.loads(log.changes[-1])
    assert found.last["cause"]["event_type"] == "profile_update"


def test_whoever_was_never_in_is_told_from_whom_nothing_is_known_of() -> None:
    """Changes are kept for some time only; numbers have no gaps, so the first says that all are there."""
    away = (NOON + MINUTE, {"event_type": "profile_update", "properties": {"city": "LA"}})
    log = log_of(CART, away)
    assert segment(explain(log), "local").never
    home = (NOON + 2 * MINUTE, {"event_type": "profile_update", "properties": {"city": "NYC"}})
    gone = (NOON + 3 * MINUTE, {"event_type": "profile_update", "properties": {"city": "LA"}})
    log = log_of(CART, home, gone)
    found = segment(explain(log), "local")
    assert (found.member, found.never, found.since) == (False, False, NOON + 3 * MINUTE)
    found = segment(explain(log, []), "local")
    assert (found.member, found.never, found.since, found.last) == (False, False, None, None)


def test_a_change_that_tells_of_an_older_time_decides_nothing() -> None:
    """The entry is no longer kept, an exit before it still would be: the record has the instant, nobody the cause."""
    update = {"event_type": "profile_update"}
    cities = ["NYC", "LA", "NYC"]
    log = log_of(CART, *((NOON + n * MINUTE, {**update, "properties": {"city": c}}) for n, c in enumerate(cities, 1)))
    found = segment(explain(log, log.changes[:2]), "local")
    assert (found.member, found.since, found.last) == (True, NOON + 3 * MINUTE, None)


@pytest.mark.parametrize(
    ("name", "after", "turn"),
    [
        ("abandoned_cart", 0, Turn(True, NOON + 30 * MINUTE)),
        ("abandoned_cart", 31 * MINUTE, Turn(False, NOON + 24 * HOUR + 1)),
        ("abandoned_cart", 25 * HOUR, None),
        ("quiet", 0, Turn(True, NOON + 2 * HOUR + 1)),
        ("quiet", 3 * HOUR, None),
        ("local", 0, None),
    ],
)
def test_what_time_alone_will_do_is_said_to_the_microsecond(name: str, after: int, turn: Turn | None) -> None:
    """And it is what then happens."""
    log = log_of(CART)
    log.advance(NOON + after)
    found = segment(explain(log), name)
    assert found.turn == turn
    before = len(log.changes)
    log.advance(NOON + 1000 * HOUR)
    then = [change for change in map(orjson.loads, log.changes[before:]) if change["segment"] == name]
    assert (turn is None) is (not then)
    if turn is not None:
        assert (then[0]["action"] == "entered", parse_iso(then[0]["at"])) == (turn.enters, turn.at)


def test_looking_ahead_changes_nothing() -> None:
    """The customer of the log is as before."""
    log = log_of(CART)
    explain(log)
    customer = log.partition.customers["ann"]
    assert (customer.sequence, customer.members) == (0, None)


def test_members_come_first_then_the_names() -> None:
    log = log_of(CART)
    log.advance(NOON + 31 * MINUTE)
    assert [each.name for each in explain(log).segments] == ["abandoned_cart", "local", "quiet"]
    log.advance(NOON + 25 * HOUR)
    assert [each.name for each in explain(log).segments] == ["quiet", "abandoned_cart", "local"]


def test_changes_that_the_checkpoint_does_not_cover_are_told_apart() -> None:
    """They have left already; why is for the next checkpoint to say."""
    log = log_of(CART)
    earlier = explain(log)
    assert earlier.newer == ()
    ahead = log_of(CART)
    ahead.advance(NOON + 31 * MINUTE)
    found = explain(log, ahead.changes)
    assert [(change["segment"], change["action"]) for change in found.newer] == [("abandoned_cart", "entered")]
    assert not segment(found, "abandoned_cart").member


def test_a_truth_is_shown_for_each_condition_with_its_values() -> None:
    """TRUE exactly where the customer is a member."""
    log = log_of(CART)
    log.advance(NOON + 31 * MINUTE)
    for each in explain(log).segments:
        assert (each.condition.truth is True) is each.member
    found = segment(explain(log), "local").condition
    assert (found.truth, dict(found.values)) == (None, {"city": None})


SLOW = """
segments:
  big_cart: {sql: cart_value > 50, enter_after: 10 minutes, min_stay: 1 hour, cooldown: 1 day}
"""


def cart(at: int, kind: str, price: int = 100) -> tuple[int, dict[str, Any]]:
    """A cart that becomes big, or is emptied."""
    event = {"event_id": str(at), "event_type": kind, "product_id": "P1", "quantity": 1, "price": price}
    return at, event


def test_why_membership_is_not_what_the_condition_says_is_told() -> None:
    """What is being waited for, since when, and when it is over; and of the condition what it says by itself."""
    added = cart(NOON, "add_to_cart")
    found = segment(explain(log_of(added, book=SLOW)), "big_cart")
    assert (found.member, found.condition.truth, found.turn) == (False, True, Turn(True, NOON + 10 * MINUTE))
    assert found.held == Held("enter_after", NOON, 10 * MINUTE)

    removed = cart(NOON + 30 * MINUTE, "remove_from_cart")
    found = segment(explain(log_of(added, removed, book=SLOW)), "big_cart")
    assert (found.member, found.condition.truth, found.turn) == (True, False, Turn(False, NOON + 70 * MINUTE))
    assert found.held == Held("min_stay", NOON + 10 * MINUTE, HOUR)

    again = cart(NOON + 3 * HOUR, "add_to_cart")
    found = segment(explain(log_of(added, removed, again, book=SLOW)), "big_cart")
    back = NOON + 70 * MINUTE + 24 * HOUR
    assert (found.member, found.condition.truth, found.turn) == (False, True, Turn(True, back))
    assert found.held == Held("cooldown", NOON + 70 * MINUTE, 24 * HOUR)
    log = log_of(added, removed, again, book=SLOW)
    log.advance(NOON + 100 * HOUR)
    assert segment(explain(log), "big_cart").held is None


def test_a_window_that_does_not_know_its_past_says_since_when_it_does() -> None:
    """Until all that it has missed has left the window."""
    log = log_of(CART)
    window = "EXISTS (SELECT 1 FROM events WHERE event_type = 'search' AND event_time >= now() - INTERVAL '2 hours')"
    log.apply(f"{BOOK}  seeker:\n    sql: {window}\n", NOON + HOUR)
    log.advance(NOON + 2 * HOUR)
    assert segment(explain(log), "seeker").complete_since == NOON + HOUR
    assert segment(explain(log), "quiet").complete_since is None
    log.advance(NOON + 4 * HOUR)
    assert segment(explain(log), "seeker").complete_since is None
