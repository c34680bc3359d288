"""The general evaluator: any value and condition as ``(customer, now) -> (value, until)``. Instants are µs.

``until`` is the first instant after ``now`` at which the value may change with no new fact, ``NEVER`` if it cannot; up
to ``until - 1`` it is the same. A value of None is NULL, and so is a condition's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from stream.core.segments import aggregates, calendar
from stream.core.segments.functions import cast, function, unit_of
from stream.core.segments.moving import Timed, meeting, meeting_by_months, months_apart, moves, moving, stepping
from stream.core.segments.rows import comparison, like, options, row_condition, row_value
from stream.core.segments.stairs import climbed, stair, steps_of
from stream.core.segments.tree import (
    MIRRORED,
    Aggregate,
    And,
    Call,
    Case,
    Cast,
    Column,
    Compare,
    Condition,
    Distinct,
    EventCount,
    Flag,
    In,
    Is,
    IsNull,
    Like,
    Not,
    Now,
    Null,
    Op,
    Or,
    Truth,
    Value,
    is_timeless,
    type_of,
    within,
)
from stream.core.time import NEVER

Three: TypeAlias = bool | None
#: How far (changes of its own, µs) a condition may look ahead, to announce only the change that changes its truth.
_CHANGES, _AHEAD = 400, 400 * calendar.DAY


def value_at(value: Value) -> Timed:
    """The function for a value. Raises ``TypeError`` for one that moves (see ``moving``)."""
    if is_timeless(value):
        get = row_value(value)
        return lambda customer, now: (get(customer), NEVER)
    match value:
        case Aggregate() | EventCount():
            return aggregates.evaluator(value)
        case Truth(condition=condition):
            return condition_at(condition)
        case Cast(value=inner, type="date") if moves(inner):
            return stepping(
                moving(inner, value_at), lambda instant: instant // calendar.DAY, lambda day: day * calendar.DAY
            )
        case Cast(value=inner):
            return _applied(cast(value), [inner])
        case Case():
            return _case(value)
        case Call(name="coalesce"):
            return _first_known([value_at(arg) for arg in value.args])
        case Call(name="date_trunc" | "date_part", args=(_, inner)) if moves(inner):
            return _part_of_moving(value, inner)
        case Call(name="date_diff", args=(_, *sides)) if any(map(moves, sides)):
            return _difference(value, sides)
        case Call():
            return _applied(function(value), value.args)
    raise TypeError(f"{type(value).__name__} does not stand still")


def condition_at(condition: Condition) -> Timed:
    """The function for a condition."""
    if is_timeless(condition):
        asked = row_condition(condition)
        return lambda customer, now: (asked(customer), NEVER)
    return _condition(condition)


def is_of_the_clock(condition: Condition) -> bool:
    """Whether it says the same of all customers."""
    return not any(isinstance(part, Column | Aggregate | EventCount) for part in within(condition))


def _condition(condition: Condition) -> Timed:
    match condition:
        case Not(condition=inner):
            return _mapped(condition_at(inner), lambda truth: None if truth is None else not truth)
        case Is(condition=inner, truth=wanted):
            return _mapped(condition_at(inner), lambda truth: truth is wanted)
        case And(parts=parts):
            return _joined([condition_at(part) for part in parts], True)
        case Or(parts=parts):
            return _joined([condition_at(part) for part in parts], False)
        case Compare(op=op, left=left, right=right):
            return _compare(op, left, right)
        case Distinct(left=left, right=right):
            return _distinct(left, right)
        case IsNull(column=value):
            return _mapped(_known(value), lambda found: found is None)
        case Flag(column=value):
            return value_at(value)
        case In(column=value):
            return _mapped(value_at(value), options(condition))
        case Like():
            return _applied(like(condition), [condition.value, condition.pattern])
    raise TypeError(f"{type(condition).__name__} is not known here")


# -- values ------------------------------------------------------------------------------------------------


def _applied(does: Callable[..., Any], args: Sequence[Value]) -> Timed:
    if len(args) == 1:
        return _mapped(value_at(args[0]), does)
    gets = [value_at(arg) for arg in args]
    if len(args) == 2:
        return _of_two(does, gets[0], gets[1])

    def applied(customer: Any, now: int) -> tuple[Any, int]:
        values, soonest = [], NEVER
        for get in gets:
            value, until = get(customer, now)
            values.append(value)
            if until < soonest:
                soonest = until
        return does(*values), soonest

    return applied


def _of_two(does: Callable[..., Any], first: Timed, second: Timed) -> Timed:
    """``_applied`` for two, which is the usual number."""

    def of_two(customer: Any, now: int) -> tuple[Any, int]:
        one, soonest = first(customer, now)
        other, until = second(customer, now)
        return does(one, other), until if until < soonest else soonest

    return of_two


def _mapped(get: Timed, does: Callable[[Any], Any]) -> Timed:
    def mapped(customer: Any, now: int) -> tuple[Any, int]:
        value, until = get(customer, now)
        return does(value), until

    return mapped


def _case(case: Case) -> Timed:
    branches = [(condition_at(asked), value_at(then)) for asked, then in case.branches]
    default = value_at(case.default if case.default is not None else Null())

    def chosen(customer: Any, now: int) -> tuple[Any, int]:
        soonest = NEVER
        result = default
        for asked, then in branches:
            truth, until = asked(customer, now)
            soonest = min(soonest, until)
            if truth is True:
                result = then
                break
        value, until = result(customer, now)
        return value, min(soonest, until)

    return chosen


def _first_known(gets: Sequence[Timed]) -> Timed:
    def first(customer: Any, now: int) -> tuple[Any, int]:
        soonest = NEVER
        for get in gets:
            value, until = get(customer, now)
            soonest = min(soonest, until)
            if value is not None:
                return value, soonest
        return None, soonest

    return first


def _part_of_moving(call: Call, inner: Value) -> Timed:
    name = unit_of(call)
    unit = name if call.name == "date_trunc" else calendar.PARTS[name]
    number = stepping(
        moving(inner, value_at), lambda at: calendar.index(unit, at), lambda count: calendar.start(unit, count)
    )

    def shown(count: int | None) -> int | None:
        if count is None:
            return None
        begin = calendar.start(unit, count)
        return begin if call.name == "date_trunc" else calendar.part(name, begin)

    return _mapped(number, shown)


def _difference(call: Call, sides: Sequence[Value]) -> Timed:
    unit = unit_of(call)
    counted = "day" if unit == "week" else unit

    def number(side: Value) -> Timed:
        if moves(side):
            return stepping(
                moving(side, value_at),
                lambda at: calendar.index(counted, at),
                lambda count: calendar.start(counted, count),
            )
        scale = calendar.DAY if type_of(side) == "date" else 1
        return _mapped(value_at(side), lambda at: None if at is None else calendar.index(counted, at * scale))

    def difference(first: int | None, second: int | None) -> int | None:
        if first is None or second is None:
            return None
        between = second - first
        return between if unit != "week" else between // 7 if between >= 0 else -(-between // 7)

    first, second = map(number, sides)

    def both(customer: Any, now: int) -> tuple[int | None, int]:
        one, until = first(customer, now)
        other, then = second(customer, now)
        return difference(one, other), min(until, then)

    return both


def _known(value: Value) -> Timed:
    """The value, as far as it matters whether it is NULL."""
    if not moves(value):
        return value_at(value)
    at = moving(value, value_at).at

    def known(customer: Any, now: int) -> tuple[Any, int]:
        found, _, still = at(customer, now)
        return found, still

    return known


# -- conditions --------------------------------------------------------------------------------------------


def _compare(op: Op, left: Value, right: Value) -> Timed:
    if moves(left):
        return _meet(op, left, right)
    if moves(right):
        return _meet(MIRRORED[op], right, left)
    found = _climb(op, left, right) or _climb(MIRRORED[op], right, left)
    if found is not None:
        return found
    compare = comparison(op, left, right)
    return _applied(lambda a, b: None if a is None or b is None else compare(a, b), [left, right])


def _meet(op: Op, left: Value, right: Value) -> Timed:
    """The comparison of something that moves with something that stands still."""
    fixed = value_at(right)
    met = meeting(op, moving(left, value_at), fixed)
    apart = months_apart(left)
    return met if apart is None else meeting_by_months(op, *apart, fixed, met)


def _climb(op: Op, left: Value, right: Value) -> Timed | None:
    """The comparison of a stair with something in which there is no ``now()``; None if it is not that."""
    if any(isinstance(part, Now) for part in within(right)):
        return None
    target = right
    match left:
        case Call(name="date_diff", args=(_, first, second)) if type_of(right) == "integer":
            unit = unit_of(left)
            if moves(first):
                # The other way around it is the same number with the other sign.
                return _counted(MIRRORED[op], unit, second, first, Call("neg", (right,), "integer"))
            return _counted(op, unit, first, second, right)
        case Call(name="-", args=(day, first), type="integer") if type_of(first) == type_of(day) == "date":
            steps = stair(day) if type_of(right) == "integer" else None
            target = Call("+", (first, right), "date")
        case _:
            steps = stair(left)
    if steps is None or any(isinstance(part, Now) for part in within(target)):
        return None
    climb = steps

    def ends(height: int | None) -> tuple[int, int] | None:
        return None if height is None else (climb.step(height), climb.step(height + 1))

    return climbed(op, climb, _mapped(value_at(target), ends))


def _counted(op: Op, unit: str, first: Value, second: Value, right: Value) -> Timed | None:
    """``date_diff(unit, first, second) op right`` where the second moves and nothing else does."""
    week = unit == "week"
    counted = "day" if week else unit
    steps = steps_of(counted, second, lambda number: number, lambda number: number)
    if steps is None or any(isinstance(part, Now) for part in within(first)):
        return None
    scale = calendar.DAY if type_of(first) == "date" else 1
    begin, count = value_at(first), value_at(right)

    def days(weeks: int) -> int:
        return 7 * weeks if weeks > 0 else 7 * weeks - 6

    def ends(customer: Any, now: int) -> tuple[tuple[int, int] | None, int]:
        at, until = begin(customer, now)
        number, then = count(customer, now)
        if at is None or number is None:
            return None, min(until, then)
        base = calendar.index(counted, at * scale)
        lower, upper = (days(number), days(number + 1)) if week else (number, number + 1)
        return (base + lower, base + upper), min(until, then)

    return climbed(op, steps, ends)


def _distinct(left: Value, right: Value) -> Timed:
    if moves(left) or moves(right):
        first, second, differ = _known(left), _known(right), _compare("<>", left, right)

        def distinct(customer: Any, now: int) -> tuple[Three, int]:
            truth, until = differ(customer, now)
            if truth is not None:
                return truth, until
            (one, then), (other, later) = first(customer, now), second(customer, now)
            return one is not other, min(until, then, later)

        return distinct
    differ_ = comparison("<>", left, right)
    return _applied(lambda a, b: a is not b if a is None or b is None else differ_(a, b), [left, right])


def _joined(parts: Sequence[Timed], conjunction: bool) -> Timed:
    """Decided by one part as long as one does; else the same until the first part changes."""
    decides = not conjunction

    def joined(customer: Any, now: int) -> tuple[Three, int]:
        found: Three = conjunction
        soonest, latest = NEVER, now
        for part in parts:
            truth, until = part(customer, now)
            if truth is decides:
                latest = max(latest, until)
            elif truth is None:
                found = None
            soonest = min(soonest, until)
        return (decides, latest) if latest > now else (found, soonest)

    return joined


def same_for_all(get: Timed) -> Timed:
    """What is of the clock: asked once for as long as the truth stays the same, and ahead to where it changes."""
    begin, end, held = 0, 0, None

    def shared(customer: Any, now: int) -> tuple[Any, int]:
        nonlocal begin, end, held
        if begin <= now < end:
            return held, end
        truth, until = get(customer, now)
        for _ in range(_CHANGES):
            if until > now + _AHEAD:
                break
            later, then = get(customer, until)
            if later is not truth:
                break
            until = then
        begin, end, held = now, until, truth
        return truth, until

    return shared
