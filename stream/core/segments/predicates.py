"""Rules that know no time, as functions of a row: a customer, or an event for the filters of sub-queries."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from stream.core.segments.codegen import SYMBOLS, Source
from stream.core.segments.getters import field, getter, is_known
from stream.core.segments.normal import AllOf, Always, Among, AnyOf, Formula, Missing, Rule, Test
from stream.core.segments.rows import row_condition
from stream.core.segments.tree import Column, Literal, is_timeless

Predicate: TypeAlias = Callable[[Any], bool]

#: Levels of AND in OR in AND that one expression has, at most: the parser of Python has a limit of its own.
_DEEPEST = 10


def predicate(rule: Rule) -> Predicate:
    """The function for a rule in which time does not occur. Raises ``TypeError`` if it does."""
    source = Source("row")
    source.line(f"return {expression(rule, source)}")
    return source.function()


def expression(rule: Rule, source: Source, depth: int = 0) -> str:
    """The rule as an expression over ``row``, in brackets if need be. Raises ``TypeError`` where time occurs."""
    match rule:
        case Always():
            return "True" if rule.truth else "False"
        case AllOf() | AnyOf() if depth >= _DEEPEST:
            return f"{source.value(predicate(rule))}(row)"
        case AllOf() | AnyOf():
            word = " and " if isinstance(rule, AllOf) else " or "
            return f"({word.join(expression(part, source, depth + 1) for part in rule.parts)})"
        case Test():
            return _test(rule, source)
        case Among():
            return _among(rule, source)
        case Missing():
            return f"({read(rule.column, source)} {'is' if rule.missing else 'is not'} None)"
        case Formula() if is_timeless(rule.condition):
            return f"{source.value(_formula(rule))}(row)"
        case _:
            raise TypeError(f"{type(rule).__name__} depends on time")


def read(column: Column, source: Source) -> str:
    """The value of a column of ``row``; None is NULL."""
    if column.table == "attributes":
        return f"{source.value(getter(column))}(row)"
    return f"row.{field(column)}"


def _test(rule: Test, source: Source) -> str:
    symbol = SYMBOLS[rule.op]
    if isinstance(rule.right, Literal):
        fixed = source.value(rule.right.value)
        if (rule.op == "=" and not rule.null) or is_known(rule.left):
            return f"({read(rule.left, source)} {symbol} {fixed})"  # None equals no value
        left = source.local("v")
        return _where_known([(left, read(rule.left, source))], f"{left} {symbol} {fixed}", rule.null)
    left, right = source.local("v"), source.local("v")
    shifted = f"{left} + {source.value(rule.shift)}" if rule.shift else left
    sides = [(left, read(rule.left, source)), (right, read(rule.right, source))]
    return _where_known(sides, f"{shifted} {symbol} {right}", rule.null)


def _where_known(values: list[tuple[str, str]], then: str, null: bool) -> str:
    """``then``, with the values under their names; ``null`` where one of them is NULL."""
    word, check = (" or ", "is") if null else (" and ", "is not")
    known = [f"({name} := {value}) {check} None" for name, value in values]
    return f"({word.join([*known, then])})"


def _among(rule: Among, source: Source) -> str:
    value, options = read(rule.column, source), source.value(frozenset(rule.options))
    word = "in" if rule.inside else "not in"
    if rule.null is not rule.inside or is_known(rule.column):  # None is in no list
        return f"({value} {word} {options})"
    name = source.local("v")
    return _where_known([(name, value)], f"{name} {word} {options}", rule.null)


def _formula(rule: Formula) -> Predicate:
    asked, truth, null = row_condition(rule.condition), rule.truth, rule.null

    def holds(row: Any) -> bool:
        found = asked(row)
        return null if found is None else found is truth

    return holds
