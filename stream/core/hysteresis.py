"""Slowness that marketers ask for: enter only after a while, stay at least so long, come back only after a pause.

The condition of a segment says what is true; with ``enter_after``, ``min_stay`` and ``cooldown`` (µs, 0 for none)
membership follows it more slowly, and as exactly: the instants at which it does are deadlines like any other.

- Who is outside enters once the condition has been true without a break for ``enter_after`` and the last exit is
  ``cooldown`` ago.
- Who is inside leaves when the condition is not true and the entry is ``min_stay`` ago.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from stream.core.customer import Customer

Evaluate: TypeAlias = Callable[[Any, int], tuple[bool, int]]
#: Since when (µs) the condition is true of somebody outside, and when they left last; None where it does not matter.
Hold: TypeAlias = tuple[int | None, int | None]

_NEITHER: Hold = (None, None)


def damped(evaluate: Evaluate, name: str, enter_after: int, min_stay: int, cooldown: int) -> Evaluate:
    """``evaluate`` of the segment ``name``, made slow. Remembers in the customer's ``holds`` what it needs.

    Has to be asked at every instant at which the condition changes, as deadlines and facts see to. To ask twice at
    one instant is harmless.
    """

    def evaluate_damped(customer: Customer, now: int) -> tuple[bool, int]:
        true, until = evaluate(customer, now)
        since, left = (customer.holds or {}).get(name, _NEITHER)
        if left is not None and now >= left + cooldown:
            left = None
        members = customer.members
        entered = None if members is None else members.get(name)
        if entered is not None:
            since = None
            earliest = entered + min_stay
            member = true or now < earliest
            if not member:
                left = now if cooldown else None
            elif not true:
                until = min(until, earliest)
        elif true:
            since = now if since is None else since
            earliest = since + enter_after
            if left is not None:
                earliest = max(earliest, left + cooldown)
            member = now >= earliest
            if not member:
                until = min(until, earliest)
        else:
            since, member = None, False
        _keep(customer, name, (since, left))
        return member, until

    return evaluate_damped


def forget(customer: Customer, name: str) -> None:
    """A segment is defined anew, or no more: what held it back is over."""
    _keep(customer, name, _NEITHER)


def _keep(customer: Customer, name: str, hold: Hold) -> None:
    holds = customer.holds
    if hold != _NEITHER:
        if holds is None:
            holds = customer.holds = {}
        holds[name] = hold
    elif holds is not None and name in holds:
        del holds[name]
        if not holds:
            customer.holds = None
