"""Rules that know no time, as functions of a row: a customer, or an event for the filters of sub-queries.

Closures from a whitelist; nothing that a user wrote is ever evaluated as code.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from stream.core.segments.getters import OPERATORS, Getter, getter
from stream.core.segments.normal import AllOf, Always, Among, AnyOf, Formula, Missing, Rule, Test
from stream.core.segments.rows import row_condition
from stream.core.segments.tree import Literal, is_timeless

__all__ = ["OPERATORS", "Getter", "Predicate", "getter", "joined", "predicate"]

Predicate: TypeAlias = Callable[[Any], bool]


def predicate(rule: Rule) -> Predicate:
    """The function for a rule in which time does not occur. Raises ``TypeError`` if it does."""
    match rule:
        case Always():
            return _yes if rule.truth else _no
        case AllOf() | AnyOf():
            return joined([predicate(part) for part in rule.parts], isinstance(rule, AllOf))
        case Test():
            return _test(rule)
        case Among():
            return _among(rule)
        case Missing():
            return _missing(getter(rule.column), rule.missing)
        case Formula() if is_timeless(rule.condition):
            return _formula(rule)
        case _:
            raise TypeError(f"{type(rule).__name__} depends on time")


def joined(tests: Sequence[Predicate], conjunction: bool) -> Predicate:
    """AND of the tests if ``conjunction``, else their OR."""
    if len(tests) == 1:
        return tests[0]
    if len(tests) == 2:
        first, second = tests
        if conjunction:
            return lambda row: first(row) and second(row)
        return lambda row: first(row) or second(row)

    def several(row: Any) -> bool:
        for test in tests:
            if test(row) is not conjunction:
                return not conjunction
        return conjunction

    return several


def _yes(row: Any) -> bool:
    return True


def _no(row: Any) -> bool:
    return False


def _test(rule: Test) -> Predicate:
    get, compare, null, shift = getter(rule.left), OPERATORS[rule.op], rule.null, rule.shift
    if isinstance(rule.right, Literal):
        fixed = rule.right.value

        def against_literal(row: Any) -> bool:
            value = get(row)
            return null if value is None else compare(value, fixed)

        return against_literal
    get_other = getter(rule.right)

    def against_column(row: Any) -> bool:
        value, other = get(row), get_other(row)
        return null if value is None or other is None else compare(value + shift if shift else value, other)

    return against_column


def _among(rule: Among) -> Predicate:
    get, options, inside, null = getter(rule.column), frozenset(rule.options), rule.inside, rule.null

    def among(row: Any) -> bool:
        value = get(row)
        return null if value is None else (value in options) is inside

    return among


def _missing(get: Getter, missing: bool) -> Predicate:
    def test(row: Any) -> bool:
        return (get(row) is None) is missing

    return test


def _formula(rule: Formula) -> Predicate:
    asked, truth, null = row_condition(rule.condition), rule.truth, rule.null

    def holds(row: Any) -> bool:
        found = asked(row)
        return null if found is None else found is truth

    return holds
