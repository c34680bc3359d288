"""Finds segments that nobody can be in, that everybody is in, and that nobody can leave.

What is found is so; not everything that is so is found. A rule is taken apart into cases, each a list of tests that
would all have to be true; a case is impossible if the tests of one column leave no value to it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import TypeAlias

from stream.core.segments.errors import Severity
from stream.core.segments.getters import OPERATORS
from stream.core.segments.normal import (
    AllOf,
    Always,
    Among,
    AnyOf,
    AtLeast,
    Before,
    Formula,
    From,
    Missing,
    Rule,
    Test,
)
from stream.core.segments.ranges import Range
from stream.core.segments.tree import OPPOSITE, Column, Condition, EventCount, Literal

#: Cases of one rule that are looked at; of more, nothing is said.
_CASES = 256
#: Columns that everybody has a value of.
_KNOWN = frozenset(
    {
        *("customer_id", "view_count", "order_count", "cart_value", "cart_items", "total_spent"),
        *("first_seen_at", "last_seen_at", "event_type", "event_time"),
    }
)
_COUNTS = frozenset({"view_count", "order_count"})
_GROWING = _COUNTS | {"last_seen_at", "last_viewed_at", "last_order_at"}

Case: TypeAlias = Sequence[Rule]


@dataclass(frozen=True, slots=True)
class Finding:
    """What is odd about a segment, and what its author may do."""

    message: str
    hint: str
    severity: Severity


def finding(rule: Rule) -> Finding | None:
    """What is odd about the segment with this rule, if anything."""
    if not possible(rule):
        return Finding(
            "this can never be true: nobody would ever be in the segment", "look for AND between opposites", "error"
        )
    if rule == Always(True):
        return Finding("everybody is in this segment, and nobody can leave it", "", "warning")
    if not possible(opposite(rule)):
        return Finding(
            "this is always true: everybody would be in the segment", "look for OR between opposites", "error"
        )
    if lasts(rule):
        return Finding(
            "whoever is in this segment can never leave it",
            "add a time, such as event_time >= now() - INTERVAL '30 days', unless it is meant",
            "warning",
        )
    return None


def possible(rule: Rule) -> bool:
    """Whether the rule may be true of somebody at some time."""
    cases = _cases(rule)
    return cases is None or any(_is_possible(case) for case in cases)


def opposite(rule: Rule) -> Rule:
    """The rule that is true where ``rule`` is false."""
    match rule:
        case Always():
            return Always(not rule.truth)
        case AllOf():
            return AnyOf(tuple(map(opposite, rule.parts)))
        case AnyOf():
            return AllOf(tuple(map(opposite, rule.parts)))
        case Test():
            return replace(rule, op=OPPOSITE[rule.op], null=not rule.null)
        case Among():
            return replace(rule, inside=not rule.inside, null=not rule.null)
        case Missing():
            return replace(rule, missing=not rule.missing)
        case From():
            return Before(rule.base, rule.delay, not rule.null)
        case Before():
            return From(rule.base, rule.delay, not rule.null)
        case AtLeast():
            return replace(rule, reached=not rule.reached)
        case Formula():
            return replace(rule, truth=not rule.truth, null=not rule.null)


def lasts(rule: Rule) -> bool:
    """Whether the rule, once true of somebody, stays so whatever happens."""
    match rule:
        case AllOf() | AnyOf():
            return all(map(lasts, rule.parts))
        case AtLeast():
            return rule.reached and rule.events.reach is None
        case From(base=base):
            return isinstance(base, Literal) or (_is_live(base) and base.name == "first_seen_at")
        case Test(left=column, right=Literal()) if _is_live(column) and not rule.null:
            return (
                (column.name in _GROWING and rule.op in (">", ">="))
                or (column.name == "first_seen_at" and rule.op in ("<", "<="))
                or column.name == "customer_id"
            )
        case Among(column=column):
            return _is_live(column) and column.name == "customer_id"
        case Missing(column=column):
            return _is_live(column) and column.name in _GROWING and not rule.missing
    return False


def _is_live(column: Column) -> bool:
    return column.table == "customers"


# -- cases -------------------------------------------------------------------------------------------------


def _cases(rule: Rule) -> list[Case] | None:
    """The rule as alternatives; None if there are too many."""
    if isinstance(rule, AnyOf):
        found: list[Case] = []
        for part in rule.parts:
            cases = _cases(part)
            if cases is None or len(found) + len(cases) > _CASES:
                return None
            found += cases
        return found
    if isinstance(rule, AllOf):
        alternatives = [_cases(part) for part in rule.parts]
        known = [cases for cases in alternatives if cases is not None]
        if math.prod(map(len, known)) > _CASES:
            # Those parts that have a single case may contradict each other all the same.
            known = [cases for cases in known if len(cases) == 1]
        return [[leaf for case in chosen for leaf in case] for chosen in product(*known)]
    return [] if rule == Always(False) else [[rule]]


def _is_possible(case: Case) -> bool:
    by_column: dict[Column, list[Rule]] = {}
    pairs: dict[tuple[Column, Column, int], list[Test]] = {}
    formulas: dict[Condition, set[bool | None]] = {}
    now = Range("timestamp")
    for leaf in case:
        match leaf:
            case Always(truth=False):
                return False
            case Test(right=Column() as right):
                pairs.setdefault((leaf.left, right, leaf.shift), []).append(leaf)
            case Test(left=column) | Among(column=column) | Missing(column=column):
                by_column.setdefault(column, []).append(leaf)
            case From(base=Column() as base) | Before(base=Column() as base):
                by_column.setdefault(base, []).append(leaf)
            case From(base=Literal(value=at)):
                now.apply(">=", int(at) + leaf.delay)
            case Before(base=Literal(value=at)):
                now.apply("<", int(at) + leaf.delay)
            case Formula():
                wanted: set[bool | None] = {leaf.truth, None} if leaf.null else {leaf.truth}
                formulas[leaf.condition] = formulas.get(leaf.condition, {True, False, None}) & wanted
    return (
        not now.is_empty()
        and all(formulas.values())
        and all(_column_is_possible(column, leaves) for column, leaves in by_column.items())
        and all(map(_pair_is_possible, pairs.values()))
        and _counts_are_possible([leaf for leaf in case if isinstance(leaf, AtLeast)])
    )


def _column_is_possible(column: Column, leaves: Sequence[Rule]) -> bool:
    nullable = column.table == "attributes" or column.name not in _KNOWN
    if nullable and all(_holds_of_null(leaf) for leaf in leaves):
        return True
    values, age = Range(column.type), Range("timestamp")
    if column.table == "customers" and column.name in _COUNTS:
        values.apply(">=", 0)
    for leaf in leaves:
        match leaf:
            case Missing(missing=True):
                return False
            case Test(op=op, right=Literal(value=value)):
                values.apply(op, value)
            case Among(options=options, inside=inside):
                values.among(options, inside)
            case From(delay=delay):
                age.apply(">=", delay)
            case Before(delay=delay):
                age.apply("<", delay)
    return not values.is_empty() and not age.is_empty()


def _holds_of_null(leaf: Rule) -> bool:
    return leaf.missing if isinstance(leaf, Missing) else bool(getattr(leaf, "null", False))


def _pair_is_possible(tests: Sequence[Test]) -> bool:
    sides = (tests[0].left, tests[0].right)
    nullable = any(
        isinstance(side, Column) and (side.table == "attributes" or side.name not in _KNOWN) for side in sides
    )
    if nullable and all(test.null for test in tests):
        return True
    return any(all(OPERATORS[test.op](sign, 0) for test in tests) for sign in (-1, 0, 1))


def _counts_are_possible(counts: Sequence[AtLeast]) -> bool:
    """At least k in a window, and less than that or fewer in one as long or longer, cannot be."""
    for more in (count for count in counts if count.reached):
        for less in (count for count in counts if not count.reached):
            if more.events.filter == less.events.filter and less.least <= more.least and _reaches(less, more.events):
                return False
    return True


def _reaches(less: AtLeast, events: EventCount) -> bool:
    reach = less.events.reach
    return reach is None or (events.reach is not None and reach >= events.reach)
