"""What moves with ``now()`` itself: a microsecond more of it each microsecond, or a microsecond less.

Such a value is made of straight pieces: ``now() - INTERVAL '1 month'`` jumps at midnight after a short month, a clock
that is set jumps too, and in between both go on evenly. So the instant at which it meets a value that stands still is
found exactly. All instants are µs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

from stream.core.segments import calendar
from stream.core.segments.calendar import DAY
from stream.core.segments.functions import zone_of
from stream.core.segments.getters import OPERATORS
from stream.core.segments.tree import MIRRORED, Call, Cast, Length, Now, Op, Shifted, Value, type_of
from stream.core.segments.zones import Zone
from stream.core.time import NEVER

#: (customer, now) -> (the value or None for NULL, the end of its straight piece, until when the rest stands still).
At: TypeAlias = Callable[[Any, int], tuple[int | None, int, int]]
#: (customer, now) -> (value, until).
Timed: TypeAlias = Callable[[Any, int], tuple[Any, int]]


class Moving(NamedTuple):
    """A value of which ``at`` gives the present piece. It never is further than ``slack`` µs off an even course."""

    at: At
    falls: bool
    slack: int


def moves(value: Value) -> bool:
    """Whether the value is another one each microsecond."""
    match value:
        case Now():
            return True
        case Shifted(base=base):
            return isinstance(base, Now)
        case Call(name="+" | "-" | "timezone") if type_of(value) in ("timestamp", "local", "interval"):
            return any(moves(arg) for arg in value.args)
        case Cast(type="timestamp" | "local", value=inner):
            return moves(inner)
    return False


def moving(value: Value, timed: Callable[[Value], Timed]) -> Moving:
    """The value as pieces; ``timed`` is asked for what in it stands still. For values that ``moves`` says do move."""
    match value:
        case Now():
            return Moving(lambda customer, now: (now, NEVER, NEVER), False, 0)
        case Shifted(by=by):
            return Moving(lambda customer, now: (now + by, NEVER, NEVER), False, 0)
        case Cast(value=inner):
            return moving(inner, timed)
        case Call(name="timezone", args=(_, inner)):
            return _on_the_clock(moving(inner, timed), zone_of(value))
        case Call(name="+" | "-", args=(inner, Length() as length)):
            sign = 1 if value.name == "+" else -1
            return _shifted(moving(inner, timed), sign * length.months, sign * length.by)
        case Call(name="-", args=(first, second)) if moves(first):
            return _less(moving(first, timed), timed(second))
        case Call(name="-", args=(first, second)):
            return _from(timed(first), moving(second, timed))
    raise TypeError(f"{value} is not known to move")


def _shifted(inner: Moving, months: int, by: int) -> Moving:
    at = inner.at

    def evenly(customer: Any, now: int) -> tuple[int | None, int, int]:
        value, end, still = at(customer, now)
        return None if value is None else value + by, end, still

    def by_the_calendar(customer: Any, now: int) -> tuple[int | None, int, int]:
        value, end, still = at(customer, now)
        if value is None:
            return value, end, still
        midnight = now + DAY - value % DAY
        return calendar.add_months(value, months) + by, min(end, midnight), still

    if not months:
        return Moving(evenly, inner.falls, inner.slack)
    return Moving(by_the_calendar, inner.falls, inner.slack + 4 * DAY)


def _on_the_clock(inner: Moving, place: Zone) -> Moving:
    at = inner.at

    def shown(customer: Any, now: int) -> tuple[int | None, int, int]:
        value, end, still = at(customer, now)
        if value is None:
            return value, end, still
        offset, change = place.piece(value)
        return value + offset, min(end, now + change - value), still

    return Moving(shown, inner.falls, inner.slack + 2 * DAY)


def _less(inner: Moving, fixed: Timed) -> Moving:
    at = inner.at

    def difference(customer: Any, now: int) -> tuple[int | None, int, int]:
        value, end, still = at(customer, now)
        other, until = fixed(customer, now)
        return None if value is None or other is None else value - other, end, min(still, until)

    return Moving(difference, inner.falls, inner.slack)


def _from(fixed: Timed, inner: Moving) -> Moving:
    at = inner.at

    def difference(customer: Any, now: int) -> tuple[int | None, int, int]:
        value, end, still = at(customer, now)
        other, until = fixed(customer, now)
        return None if value is None or other is None else other - value, end, min(still, until)

    return Moving(difference, not inner.falls, inner.slack)


def meeting(op: Op, left: Moving, right: Timed) -> Timed:
    """``left op right`` as a function ``(customer, now) -> (True, False or None, until)``."""
    at, falls, slack = left
    # What falls is turned over: then the left side comes from below, meets the right side, and leaves it behind.
    compare = OPERATORS[MIRRORED[op] if falls else op]
    below, same, above = compare(-1, 0), compare(0, 0), compare(1, 0)

    def met(customer: Any, now: int) -> tuple[bool | None, int]:
        value, end, still = at(customer, now)
        other, until = right(customer, now)
        limit = min(still, until)
        if value is None or other is None:
            return None, limit
        gap = value - other if falls else other - value
        truth = below if gap > 0 else same if gap == 0 else above
        instant = now
        while True:
            if gap >= 0:
                for change, after in ((instant + gap, same), (instant + gap + 1, above)):
                    if instant < change < end and after is not truth:
                        return truth, min(change, limit)
            if end >= limit or gap < -slack:
                return truth, limit
            # Before this instant the sides cannot meet, whatever the calendar does.
            instant = max(end, instant + gap - slack)
            if instant >= limit:
                return truth, limit
            value, end, _ = at(customer, instant)
            assert value is not None
            gap = value - other if falls else other - value
            if (below if gap > 0 else same if gap == 0 else above) is not truth:
                return truth, instant

    return met


def months_apart(value: Value) -> tuple[int, int, int] | None:
    """Of ``now()`` with one number of months added: what is added before them (µs), the months, what after (µs)."""
    match value:
        case Call(name="+", args=(Now(), Length(by=by, months=months))) if months:
            return 0, months, by
        case Call(name="+", args=(Shifted(base=Now(), by=before), Length(by=by, months=months))) if months:
            return before, months, by
    return None


def meeting_by_months(op: Op, before: int, months: int, after: int, right: Timed, near: Timed) -> Timed:
    """``meeting`` for what ``months_apart`` finds, in one step; on days on which months end, ``near`` is asked."""
    below, same, above = (OPERATORS[op](sign, 0) for sign in (-1, 0, 1))

    def met(customer: Any, now: int) -> tuple[bool | None, int]:
        other, until = right(customer, now)
        if other is None:
            return None, until
        day, time = divmod(other - after, DAY)
        today, first, past = (now + before) // DAY, calendar.first_day(day, months), calendar.first_day(day + 1, months)
        if today >= past:
            return above, until
        if today >= first:
            return near(customer, now)
        if first < past:
            change = first * DAY + time + (same is below)
        elif above is below:
            return below, until
        else:
            change = first * DAY
        return below, min(change - before, until)

    return met


def stepping(left: Moving, number: Callable[[int], int], begin: Callable[[int], int]) -> Timed:
    """The number of the unit of time in which a value that rises is: ``(customer, now) -> (number, until)``.

    ``begin(number)`` is where the unit of that number begins.
    """
    at, falls, _ = left
    assert not falls

    def stepped(customer: Any, now: int) -> tuple[int | None, int]:
        value, end, still = at(customer, now)
        if value is None:
            return None, still
        present = number(value)
        instant = now
        while True:
            change = instant + begin(present + 1) - value
            if change < end:
                return present, min(change, still)
            if end >= still:
                return present, still
            instant = end
            value, end, _ = at(customer, instant)
            assert value is not None
            if number(value) != present:
                return present, min(instant, still)

    return stepped
