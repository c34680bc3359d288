"""The edges of a window: which events are past one now, and when the next goes past. Instants and lengths are µs.

An event goes past the lower edge as it grows old, and leaves the window; it goes past the upper edge and enters.
An edge with months in it also moves back now and then: on March 29th at midnight ``now() - INTERVAL '1 month'`` is
where it was a day before, on February 28th at midnight, so what had left the window is in it again. An edge by the
calendar, such as ``date_trunc('day', now())``, moves in steps; on a clock that is set back, it may take one back, too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import NamedTuple, TypeAlias

from stream.core.segments import calendar
from stream.core.segments.calendar import DAY
from stream.core.segments.functions import unit_of
from stream.core.segments.stairs import climbed, stair
from stream.core.segments.tree import Bound, Call, Cast, Length, Literal, Now, Shifted, Value, type_of
from stream.core.time import NEVER

#: (times in order, their number, how many are past the edge, now) -> the first instant after ``now`` at which another
#: number may be.
Crossing: TypeAlias = Callable[[Sequence[int], int, int, int], int]

#: How far an edge with months in it can be off an even course.
_SLACK = 4 * DAY


class Edge(NamedTuple):
    """``mark(now)``: events of that time or before are past the edge. One of time t is so for good at ``t + most``."""

    mark: Callable[[int], int]
    crossing: Crossing
    most: int


def lower(bound: Bound) -> Edge:
    """The edge over which events leave."""
    return _edge(bound, bound.inclusive)


def upper(bound: Bound) -> Edge:
    """The edge over which events enter."""
    return _edge(bound, not bound.inclusive)


def _edge(bound: Bound, after: bool) -> Edge:
    """Events before the bound are past it; those at it are, too, but one µs later if ``after``."""
    if bound.value is not None:
        return _by_steps(bound.value, after)
    delay = bound.by + after
    if bound.months:
        return _by_the_calendar(delay, bound.months)

    def crossing(times: Sequence[int], number: int, past: int, now: int) -> int:
        return times[past] + delay if past < number else NEVER

    return Edge(lambda now: now - delay, crossing, delay)


def _by_the_calendar(delay: int, months: int) -> Edge:
    @lru_cache(maxsize=1024)
    def back(day: int) -> int:
        """The same for all times of a day, and for all customers."""
        return day * DAY - calendar.add_months(day * DAY, -months) + delay

    def mark(now: int) -> int:
        return now - back(now // DAY)

    def crossing(times: Sequence[int], number: int, past: int, now: int) -> int:
        instant, there = now, mark(now)
        while True:
            midnight = instant - instant % DAY + DAY
            if past < number:
                change = instant + times[past] - there
                if change < midnight:
                    return change
            settled = not past or there - times[past - 1] > _SLACK
            if settled and past == number:
                return NEVER
            # Until then the next event cannot go past, and none can come back.
            instant = max(midnight, change - _SLACK) if settled else midnight
            there = mark(instant)
            if (past < number and there >= times[past]) or (past and there < times[past - 1]):
                return instant

    return Edge(mark, crossing, delay + 31 * months * DAY)


def _by_steps(value: Value, after: bool) -> Edge:
    found = stair(value)
    if found is None:
        raise TypeError(f"{value} is no steps of now()")
    steps = found
    is_past = climbed(
        ">" if after else ">=", steps, lambda time, now: ((steps.step(time), steps.step(time + 1)), NEVER)
    )

    def mark(now: int) -> int:
        return steps.height(steps.now(now)[0]) - after

    def crossing(times: Sequence[int], number: int, past: int, now: int) -> int:
        # The next one up, and, should a clock be set back, the next one down.
        near = times[max(0, past - 1) : min(past + 1, number)]
        return min((is_past(time, now)[1] for time in near), default=NEVER)

    return Edge(mark, crossing, lag(value) + after)


#: How long a unit of the calendar is at most, in µs.
_LONGEST = {
    "second": 1_000_000,
    "minute": 60_000_000,
    "hour": 3_600_000_000,
    "day": DAY,
    "week": 7 * DAY,
    "month": 31 * DAY,
    "quarter": 92 * DAY,
    "year": 366 * DAY,
}


def lag(value: Value) -> int:
    """How far behind ``now()`` (µs) the steps of it can be, at most. Raises ``TypeError`` for what is no steps."""
    match value:
        case Now():
            return 0
        case Shifted(base=Now(), by=by):
            return -by
        case Cast(value=inner, type="date"):
            return lag(inner) + DAY
        case Cast(value=inner):
            return lag(inner)
        case Call(name="date_trunc", args=(_, inner)):
            return lag(inner) + _LONGEST[unit_of(value)]
        case Call(name="timezone", args=(_, inner)):
            # Of a day that a place has left out, the clock shows nothing.
            return lag(inner) + (DAY if type_of(inner) == "timestamp" else 2 * DAY)
        case Call(name="+" | "-", args=(inner, Length() as length)):
            sign = 1 if value.name == "+" else -1
            by, months = sign * length.by, sign * length.months
            return lag(inner) - by - months * (28 if months > 0 else 31) * DAY
        case Call(name="+" | "-", args=(inner, Literal(value=int() as days)), type="date"):
            return lag(inner) - (days if value.name == "+" else -days) * DAY
    raise TypeError(f"{value} is no steps of now()")
