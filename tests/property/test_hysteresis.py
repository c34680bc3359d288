"""Membership that follows its condition slowly: exactly what enter_after, min_stay and cooldown say."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.core.customer import Customer
from stream.core.hysteresis import damped
from stream.core.time import NEVER
from stream.interpreter import Interpreter

END = 60
waits = st.integers(0, 12)


def brute(truth: list[tuple[int, bool]], enter_after: int, min_stay: int, cooldown: int) -> list[tuple[int, bool]]:
    """What the words say, one moment after the other: (instant, truth) to (instant, member)."""
    member, true_since, entered, left = False, None, 0, -cooldown
    said = []
    for now, true in truth:
        true_since = None if not true else now if true_since is None else true_since
        if member and not true and now >= entered + min_stay:
            member, left = False, now
        elif not member and true_since is not None and now >= max(true_since + enter_after, left + cooldown):
            member, entered = True, now
        said.append((now, member))
    return said


@settings(max_examples=500)
@given(st.lists(st.booleans(), min_size=END, max_size=END), waits, waits, waits, st.data())
def test_membership_is_what_the_words_say_and_changes_only_when_announced(
    truth: list[bool], enter_after: int, min_stay: int, cooldown: int, data: st.DataObject
) -> None:
    """It is asked at the changes of the condition, at the announced instants, and whenever a fact happens to come."""
    flips = [at for at, (one, other) in enumerate(pairwise(truth), start=1) if one is not other]

    def condition(customer: Any, now: int) -> tuple[bool, int]:
        return truth[now], next((at for at in flips if at > now), NEVER)

    evaluate = damped(condition, "s", enter_after, min_stay, cooldown)
    customer = Customer(0, "c", 0, 0)
    expected = [member for _, member in brute(list(enumerate(truth)), enter_after, min_stay, cooldown)]
    facts = data.draw(st.sets(st.integers(0, END - 1)))
    due, said = 0, []
    for now in range(END):
        if now == due or now in facts:
            member, due = evaluate(customer, now)
            assert (member, due) == evaluate(customer, now), "asked twice, it says the same"
            assert due > now
            members = customer.members or {}
            if member and "s" not in members:
                customer.members = {**members, "s": now}
            elif not member and "s" in members:
                del members["s"]
        said.append("s" in (customer.members or {}))
    assert said == expected
    if not any(truth[-(cooldown + 1) :]) and not any(said[-(cooldown + 1) :]):
        evaluate(customer, END - 1)
        assert customer.holds is None, "what matters no more is forgotten"


BOOK = """
segments:
  plain: {sql: "cart_items >= 1"}
  slow: {sql: "cart_items >= 1", enter_after: 5 seconds, min_stay: 8 seconds, cooldown: 10 seconds}
"""
SECOND = 1_000_000
START = 1_772_445_600 * SECOND


def said(log: Interpreter, segment: str) -> list[tuple[str, int]]:
    """(action, seconds after the start) of every change of a segment."""
    return [(c.action, (c.at - START) // SECOND) for c in log.decided if c.segment == segment]


@settings(max_examples=200)
@given(st.lists(st.tuples(st.integers(1, 9), st.booleans()), max_size=25), st.data())
def test_the_waits_of_a_book_hold_through_the_whole_step(acts: list[tuple[int, bool]], data: st.DataObject) -> None:
    """Facts and deadlines alone bring the changes, at the instants at which the words say, however time is cut."""
    log = Interpreter(BOOK)
    at, end = 0, 300
    flips = {0: False}
    for number, (pause, filling) in enumerate(acts):
        at += pause
        if data.draw(st.booleans()):
            log.advance(START + at * SECOND - data.draw(st.integers(0, pause)) * SECOND)
        kind = "add_to_cart" if filling else "remove_from_cart"
        event = {"customer_id": "c", "event_id": str(number), "event_type": kind, "product_id": "p"}
        log.pipe(START + at * SECOND, None, msgspec.json.encode(event))
        flips[at] = filling
    log.advance(START + end * SECOND)
    # At one instant deadlines come before the fact.
    truth, true = [], False
    for second in range(end):
        truth += [(second, true), (second, true := flips.get(second, true))]
    for segment, waits in (("plain", (0, 0, 0)), ("slow", (5, 8, 10))):
        members = [(0, False), *brute(truth, *waits)]
        changes = [
            (("exited", "entered")[member], now) for (_, was), (now, member) in pairwise(members) if was is not member
        ]
        assert said(log, segment) == changes
    assert all(log.decided[n].at <= log.decided[n + 1].at for n in range(len(log.decided) - 1))


def test_a_segment_written_anew_keeps_nobody_whom_it_does_not_want_and_starts_its_waits_afresh() -> None:
    """Whoever stays keeps the instant of the entry; whose rule is the same as before keeps waiting where it was."""
    log = Interpreter(BOOK.replace("8 seconds", "1 day"))

    def act(second: int, customer: str, kind: str) -> None:
        event = {"customer_id": customer, "event_id": f"{customer}{second}", "event_type": kind, "product_id": "p"}
        log.pipe(START + second * SECOND, None, msgspec.json.encode(event))

    act(0, "a", "add_to_cart")
    act(0, "b", "add_to_cart")
    act(10, "a", "remove_from_cart")
    assert said(log, "slow") == [("entered", 5), ("entered", 5)]
    log.apply(
        BOOK.replace("8 seconds", "1 day").replace("segments:", "segments:\n  other: {sql: order_count > 0}"), START
    )
    assert log.partition.customers["a"].members == {"slow": START + 5 * SECOND}, "the rule is the same"
    act(11, "c", "add_to_cart")
    log.apply(BOOK.replace("8 seconds", "2 days"), START + 12 * SECOND)
    assert said(log, "slow")[2:] == [("exited", 12)], "a leaves although one has to stay for two days"
    assert (log.partition.customers["b"].members or {})["slow"] == START + 5 * SECOND
    log.advance(START + 30 * SECOND)
    assert said(log, "slow")[3:] == [("entered", 17)], "c waits five seconds from the new rule on"
