"""Three-valued conditions to two-valued rules: where NULL ends, and NOT with it.

A segment asks whether its condition is TRUE; NULL is not enough. "x is ``truth``, or NULL if ``null``" is a
question of two values, and it goes down through AND, OR and NOT to the comparisons, which know NULL when they
see it. What is left is AllOf, AnyOf and tests that are true or false. Time occurs in four of them: ``From``
and ``Before``, which change once, ``AtLeast``, which with no new events changes once too, and ``Formula``, which is
everything that has no rule of its own. Instants and lengths are µs.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeAlias

from stream.core.segments.tree import (
    MIRRORED,
    OPPOSITE,
    And,
    Column,
    Compare,
    Condition,
    EventCount,
    Flag,
    In,
    Is,
    IsNull,
    Known,
    Literal,
    Not,
    Now,
    Op,
    Or,
    Plain,
    Shifted,
    Truth,
    Value,
    type_of,
)


@dataclass(frozen=True, slots=True)
class Always:
    """True or false for ever."""

    truth: bool


@dataclass(frozen=True, slots=True)
class AllOf:
    """True if all of them are."""

    parts: tuple[Rule, ...]


@dataclass(frozen=True, slots=True)
class AnyOf:
    """True if any of them is."""

    parts: tuple[Rule, ...]


@dataclass(frozen=True, slots=True)
class Test:
    """``left + shift op right``; ``null`` where a side is NULL. The shift is 0 but for timestamps."""

    op: Op
    left: Column
    right: Column | Literal
    null: bool
    shift: int = 0


@dataclass(frozen=True, slots=True)
class Among:
    """Whether the column is one of the options (none of them, if not ``inside``); ``null`` where NULL."""

    column: Column
    options: tuple[Plain, ...]
    inside: bool
    null: bool


@dataclass(frozen=True, slots=True)
class Missing:
    """Whether the column is NULL (or is not, if not ``missing``)."""

    column: Column
    missing: bool


@dataclass(frozen=True, slots=True)
class From:
    """True from ``base + delay`` on; ``null`` where the base is NULL."""

    base: Column | Literal
    delay: int
    null: bool


@dataclass(frozen=True, slots=True)
class Before:
    """True before ``base + delay``; ``null`` where the base is NULL."""

    base: Column | Literal
    delay: int
    null: bool


@dataclass(frozen=True, slots=True)
class AtLeast:
    """Whether at least ``least`` (≥ 1) events are in the window (or are not, if not ``reached``)."""

    events: EventCount
    least: int
    reached: bool


@dataclass(frozen=True, slots=True)
class Formula:
    """Whether the condition is ``truth``; ``null`` where it is NULL."""

    condition: Condition
    truth: bool
    null: bool


Rule: TypeAlias = Always | AllOf | AnyOf | Test | Among | Missing | From | Before | AtLeast | Formula


def settle(condition: Condition, truth: bool = True, null: bool = False) -> Rule:
    """The rule that is true where ``condition`` is ``truth``, and where it is NULL if ``null``."""
    match condition:
        case Known():
            return Always(condition.truth is truth)
        case Not():
            return settle(condition.condition, not truth, null)
        case And() | Or():
            settled = [settle(part, truth, null) for part in condition.parts]
            return all_of(settled) if isinstance(condition, And) is truth else any_of(settled)
        case Is():
            wanted = condition.truth
            if wanted is not None:
                return settle(condition.condition, wanted is truth, not truth)
            # Neither TRUE nor FALSE; or, if that is to be false, one of them.
            sides = [settle(condition.condition, side, truth) for side in (not truth, truth)]
            return all_of(sides) if truth else any_of(sides)
        case IsNull(column=Column() as column):
            return Missing(column, truth)
        case Flag(column=Column() as column):
            return Test("=", column, Literal(truth, "boolean"), null)
        case Flag(column=Truth(condition=inner)):
            return settle(inner, truth, null)
        case In(column=Column() as column):
            return _among(condition, column, truth, null)
        case Compare() if _is_simple(condition):
            return _compare(condition.op if truth else OPPOSITE[condition.op], condition.left, condition.right, null)
    return Formula(condition, truth, null)


def _is_simple(condition: Compare) -> bool:
    """Whether there is a rule for it: columns and fixed values of one kind, ``now()``, or a count."""
    left, right = condition.left, condition.right
    if isinstance(left, EventCount):
        return True
    if not all(isinstance(side, Column | Literal | Now | Shifted) for side in (left, right)):
        return False
    # A BIGINT beside a DOUBLE becomes one, and large ones lose their last digits with it.
    return not (isinstance(right, Column) and {type_of(left), type_of(right)} == {"integer", "number"})


def _among(condition: In, column: Column, truth: bool, null: bool) -> Rule:
    if condition.with_null and not truth:
        # Beside NULL nothing is surely not in the list; what is in it is TRUE.
        return Always(False) if not null else _options(condition, column, False, True)
    if condition.with_null and null:
        # Never FALSE: TRUE for what is in the list, NULL for the rest.
        return Always(True)
    return _options(condition, column, truth, null)


def _options(condition: In, column: Column, inside: bool, null: bool) -> Among:
    options = {option.value for option in condition.options}
    return Among(column, tuple(sorted(options, key=lambda option: (str(option), option))), inside, null)


def _compare(op: Op, left: Value, right: Value, null: bool) -> Rule:
    if isinstance(left, EventCount):
        assert isinstance(right, Literal)
        return _count(op, left, int(right.value))
    left_base, left_by = _apart(left)
    right_base, right_by = _apart(right)
    by = right_by - left_by
    if isinstance(left_base, Now):
        if isinstance(right_base, Now):
            return Always(_fixed(op, 0, by))
        return _timed(MIRRORED[op], right_base, by, null)
    if isinstance(right_base, Now):
        return _timed(op, left_base, -by, null)
    assert isinstance(left_base, Column), "columns stand on the left of literals"
    if isinstance(right_base, Literal) and by:
        return Test(op, left_base, Literal(int(right_base.value) + by, right_base.type), null)
    return Test(op, left_base, right_base, null, -by)


def _apart(value: Value) -> tuple[Column | Literal | Now, int]:
    if isinstance(value, Shifted):
        return value.base, value.by
    assert isinstance(value, Column | Literal | Now)
    return value, 0


def _fixed(op: Op, left: int, right: int) -> bool:
    return {"=": left == right, "<>": left != right, "<": left < right, ">": left > right}.get(
        op, left <= right if op == "<=" else left >= right
    )


def _timed(op: Op, base: Column | Literal, delay: int, null: bool) -> Rule:
    """``base op now() - delay``: what is in the past by more than ``delay`` is less."""
    match op:
        case "<":
            return From(base, delay + 1, null)
        case "<=":
            return From(base, delay, null)
        case ">":
            return Before(base, delay, null)
        case ">=":
            return Before(base, delay + 1, null)
        case "=":
            return AllOf((From(base, delay, null), Before(base, delay + 1, null)))
        case "<>":
            return AnyOf((Before(base, delay, null), From(base, delay + 1, null)))


def _count(op: Op, events: EventCount, number: int) -> Rule:
    def least(count: int, reached: bool = True) -> Rule:
        return AtLeast(events, count, reached) if count > 0 else Always(reached)

    match op:
        case ">=":
            return least(number)
        case ">":
            return least(number + 1)
        case "<":
            return least(number, False)
        case "<=":
            return least(number + 1, False)
        case "=":
            return all_of([least(number), least(number + 1, False)])
        case "<>":
            return any_of([least(number, False), least(number + 1)])


def all_of(parts: Iterable[Rule]) -> Rule:
    """All of ``parts``, flattened, each once."""
    return _joined(parts, AllOf, True)


def any_of(parts: Iterable[Rule]) -> Rule:
    """Any of ``parts``, flattened, each once."""
    return _joined(parts, AnyOf, False)


def _joined(parts: Iterable[Rule], kind: type[AllOf] | type[AnyOf], neutral: bool) -> Rule:
    flat: dict[Rule, None] = {}
    for part in parts:
        if isinstance(part, kind):
            flat.update(dict.fromkeys(part.parts))
        elif part == Always(not neutral):
            return part
        elif part != Always(neutral):
            flat[part] = None
    if not flat:
        return Always(neutral)
    return next(iter(flat)) if len(flat) == 1 else kind(tuple(flat))
