"""Values and conditions in which time does not occur, as functions of a row: a customer, or one event.

Closures from a whitelist; nothing that a user wrote is ever evaluated as code. A value of None is NULL, and so is a
condition's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from stream.core.segments import numbers, texts
from stream.core.segments.calendar import MONTH
from stream.core.segments.functions import cast, function
from stream.core.segments.getters import OPERATORS, Getter, getter
from stream.core.segments.tree import (
    And,
    Call,
    Case,
    Cast,
    Column,
    Compare,
    Condition,
    Distinct,
    Flag,
    In,
    Is,
    IsNull,
    Known,
    Length,
    Like,
    Literal,
    Not,
    Null,
    Op,
    Or,
    Shifted,
    Truth,
    Value,
    type_of,
)

#: True, False, or None for NULL.
Three: TypeAlias = bool | None
Asked: TypeAlias = Callable[[Any], Three]


def row_value(value: Value) -> Getter:
    """The function from a row to the value. Raises ``TypeError`` where time or the memory of events is needed."""
    match value:
        case Column():
            return getter(value)
        case Literal(value=fixed):
            return lambda row: fixed
        case Null():
            return lambda row: None
        case Length():
            compared = length(value)
            return lambda row: compared
        case Shifted(base=Column() as base, by=by):
            get = getter(base)
            return lambda row: None if (instant := get(row)) is None else instant + by
        case Call():
            return _call(value)
        case Cast(value=inner):
            get, does = row_value(inner), cast(value)
            return lambda row: does(get(row))
        case Case():
            return _case(value)
        case Truth(condition=condition):
            return row_condition(condition)
    raise TypeError(f"{type(value).__name__} is no value of a row alone")


def row_condition(condition: Condition) -> Asked:
    """The function from a row to TRUE, FALSE or NULL (None). Raises ``TypeError`` as ``row_value`` does."""
    match condition:
        case Known(truth=truth):
            return lambda row: truth
        case Not(condition=inner):
            return _negated(row_condition(inner))
        case And(parts=parts):
            return _joined([row_condition(part) for part in parts], True)
        case Or(parts=parts):
            return _joined([row_condition(part) for part in parts], False)
        case Is(condition=inner, truth=truth):
            asked = row_condition(inner)
            return lambda row: asked(row) is truth
        case Flag(column=value):
            return row_value(value)
        case IsNull(column=value):
            get = row_value(value)
            return lambda row: get(row) is None
        case Compare(left=left, right=right):
            first, second, compare = row_value(left), row_value(right), comparison(condition.op, left, right)

            def compared(row: Any) -> Three:
                a, b = first(row), second(row)
                return None if a is None or b is None else compare(a, b)

            return compared
        case Distinct(left=left, right=right):
            first, second, differ = row_value(left), row_value(right), comparison("<>", left, right)

            def distinct(row: Any) -> Three:
                a, b = first(row), second(row)
                return a is not b if a is None or b is None else differ(a, b)

            return distinct
        case In(column=value):
            get, among = row_value(value), options(condition)
            return lambda row: among(get(row))
        case Like():
            get, pattern, likes = row_value(condition.value), row_value(condition.pattern), like(condition)
            return lambda row: likes(get(row), pattern(row))
    raise TypeError(f"{type(condition).__name__} is no condition of a row alone")


# -- what conditions do with values, also where time occurs --------------------------------------------------


def comparison(op: Op, left: Value, right: Value) -> Callable[[Any, Any], bool]:
    """How the two sides compare when neither is NULL; a BIGINT beside a DOUBLE becomes one, as in DuckDB."""
    kinds = (type_of(left), type_of(right))
    if "number" not in kinds:
        return OPERATORS[op]
    compare = numbers.compared(op)
    if "integer" in kinds:
        return lambda a, b: compare(float(a), float(b))
    return compare


def options(condition: In) -> Callable[[Any], Three]:
    """Whether a value is in the list: NULL if it is not, but NULL is."""
    among = frozenset(option.value for option in condition.options)
    missed = None if condition.with_null else False
    return lambda value: None if value is None else (True if value in among else missed)


def like(condition: Like) -> Callable[[Any, Any], Three]:
    """Whether a text is like a pattern. A pattern that ends with its escape character is an error: NULL."""
    escape, ignore_case = condition.escape, condition.ignore_case

    def likes(text: str | None, pattern: str | None) -> Three:
        if text is None or pattern is None:
            return None
        matches = texts.matcher(pattern, escape, ignore_case)
        return None if matches is None else matches(text)

    return likes


def length(value: Length) -> int:
    """What a length of time is worth beside another, in µs: a month is 30 days there."""
    return value.by + value.months * MONTH


def _negated(asked: Asked) -> Asked:
    return lambda row: None if (truth := asked(row)) is None else not truth


def _joined(parts: list[Asked], conjunction: bool) -> Asked:
    decides = not conjunction

    def joined(row: Any) -> Three:
        found: Three = conjunction
        for part in parts:
            truth = part(row)
            if truth is decides:
                return decides
            if truth is None:
                found = None
        return found

    return joined


def _call(call: Call) -> Getter:
    does = function(call)
    gets = [row_value(arg) for arg in call.args]
    if len(gets) == 1:
        (only,) = gets
        return lambda row: does(only(row))
    if len(gets) == 2:
        first, second = gets
        return lambda row: does(first(row), second(row))
    return lambda row: does(*[get(row) for get in gets])


def _case(case: Case) -> Getter:
    branches = [(row_condition(asked), row_value(then)) for asked, then in case.branches]
    default = row_value(case.default if case.default is not None else Null())

    def chosen(row: Any) -> Any:
        for asked, then in branches:
            if asked(row) is True:
                return then(row)
        return default(row)

    return chosen
