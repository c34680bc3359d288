"""Membership that follows its condition slowly: exactly what enter_after, min_stay and cooldown say."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from stream.core.customer import Customer
from stream.core.hysteresis import damped
from stream.core.time import NEVER

END = 60
waits = st.integers(0, 12)


def brute(truth: list[bool], enter_after: int, min_stay: int, cooldown: int) -> list[bool]:
    """What the words say, one instant after the other."""
    member, entered, left = False, 0, None
    said = []
    for now in range(END):
        if member and not truth[now] and now >= entered + min_stay:
            member, left = False, now
        elif not member:
            lasting = now >= enter_after and all(truth[now - enter_after : now + 1])
            if lasting and (left is None or now >= left + cooldown):
                member, entered = True, now
        said.append(member)
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
    expected = brute(truth, enter_after, min_stay, cooldown)
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
