"""Rules in which time occurs, as functions ``(customer, now) -> (truth, until)``. All instants are µs.

``until`` is the first instant after ``now`` at which the truth may change with no new fact; ``NEVER`` if it
cannot. From ``now`` to ``until - 1`` the truth is the same.

The source of such a function says of each part whether it is true (``t1``, ``t2``, …) and until when (``u1``, ``u2``,
…). Its parameter is called ``row``, as predicates expect it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, TypeAlias

from stream.core.segments.codegen import Source
from stream.core.segments.formula import condition_at, is_of_the_clock, same_for_all
from stream.core.segments.normal import AllOf, AnyOf, AtLeast, Before, Formula, From, Rule
from stream.core.segments.predicates import expression, read
from stream.core.segments.rules import filter_of
from stream.core.segments.spelling import key
from stream.core.segments.tree import Column, Literal, is_timeless
from stream.core.time import NEVER

Answer: TypeAlias = tuple[bool, int]
Evaluate: TypeAlias = Callable[[Any, int], Answer]

#: What a part's truth and the instant of its next change are called.
_Names: TypeAlias = tuple[str, str]
#: Levels of AND in OR in AND that one function has, at most: the parser of Python has a limit of its own.
_DEEPEST = 15


def evaluator(rule: Rule) -> Evaluate:
    """The function for any rule."""
    if is_timed(rule) and _is_of_the_clock(rule):
        return same_for_all(_evaluator(rule))
    return _evaluator(rule)


def put(rule: Rule, source: Source) -> _Names:
    """Add to ``source`` what finds out about a rule in which time occurs: the names of its truth and of ``until``."""
    return _call(evaluator(rule), source) if _is_of_the_clock(rule) else _put(rule, source, 0)


def _evaluator(rule: Rule) -> Evaluate:
    source = Source("row", "now")
    if not is_timed(rule):
        source.line(f"return {expression(rule, source)}, {NEVER}")
    else:
        truth, until = _put(rule, source, 0)
        source.line(f"return {truth}, {until}")
    return source.function()


def is_timed(rule: Rule) -> bool:
    """Whether the rule needs ``now``, or the memory of events."""
    if isinstance(rule, AllOf | AnyOf):
        return any(is_timed(part) for part in rule.parts)
    if isinstance(rule, Formula):
        return not is_timeless(rule.condition)
    return isinstance(rule, From | Before | AtLeast)


def _is_of_the_clock(rule: Rule) -> bool:
    match rule:
        case AllOf() | AnyOf():
            return all(map(_is_of_the_clock, rule.parts))
        case From(base=base) | Before(base=base):
            return isinstance(base, Literal)
        case Formula(condition=condition):
            return is_of_the_clock(condition)
    return False


def key_of(rule: AtLeast) -> str:
    """The key of the memory that the count looks at."""
    return key(filter_of(rule.events))


# -- source ------------------------------------------------------------------------------------------------


def _put(rule: Rule, source: Source, depth: int) -> _Names:
    """Add what finds out about a rule in which time occurs."""
    match rule:
        case AllOf() | AnyOf() if depth >= _DEEPEST:
            return _call(_evaluator(rule), source)
        case AllOf() | AnyOf():
            return _put_joined(rule, source, depth)
        case From() | Before():
            return _once(rule.base, rule.delay, rule.null, isinstance(rule, From), source)
        case AtLeast():
            return _at_least(key_of(rule), rule.least, rule.events.reach, rule.reached, source)
        case Formula():
            return _call(_formula(rule), source)
        case _:
            raise TypeError(f"{type(rule).__name__} does not depend on time")


def _names(source: Source) -> _Names:
    return source.local("t"), source.local("u")


def _call(asked: Evaluate, source: Source) -> _Names:
    truth, until = names = _names(source)
    source.line(f"{truth}, {until} = {source.value(asked)}(row, now)")
    return names


def _put_joined(rule: AllOf | AnyOf, source: Source, depth: int) -> _Names:
    """The parts without time come first: if they decide, time changes nothing."""
    conjunction = isinstance(rule, AllOf)
    plain = [part for part in rule.parts if not is_timed(part)]
    timed = [part for part in rule.parts if is_timed(part)]
    if not plain:
        return _put_together(rule, timed, source, depth)
    truth, until = names = _names(source)
    guard = expression(replace(rule, parts=tuple(plain)), source)
    with source.block(f"if {guard}:" if conjunction else f"if not {guard}:"):
        found = _put_together(rule, timed, source, depth + 1)
        source.line(f"{truth}, {until} = {found[0]}, {found[1]}")
    with source.block("else:"):
        source.line(f"{truth} = {not conjunction}")
        source.line(f"{until} = {NEVER}")
    return names


def _put_together(rule: AllOf | AnyOf, parts: Sequence[Rule], source: Source, depth: int) -> _Names:
    """AND (OR): false (true) as long as one part stays so, true (false) until the first part changes."""
    conjunction = isinstance(rule, AllOf)
    clocks = () if _is_of_the_clock(rule) else tuple(part for part in parts if _is_of_the_clock(part))
    others = [part for part in parts if part not in clocks]
    puts: list[Callable[[], _Names]] = []
    if clocks:  # together, because what they say is the same for all customers
        clock = evaluator(clocks[0] if len(clocks) == 1 else replace(rule, parts=clocks))
        puts.append(partial(_call, clock, source))
    between = _between(others) if conjunction else None
    if between is not None:
        puts.append(partial(_stretch, *between, source))
    else:
        puts += [partial(_put, part, source, depth + 1) for part in others]
    first, *rest = puts
    truth, until = names = first()
    for put in rest:
        # Once a part decides for good, no other can matter.
        with source.block(f"if {truth if conjunction else f'not {truth}'} or {until} < {NEVER}:"):
            one, then = put()
            with source.block(f"if {one} is not {truth}:"), source.block(f"if {one} is {not conjunction}:"):
                source.line(f"{truth}, {until} = {one}, {then}")
            # Both decide: the later change counts. Neither does: the sooner.
            with source.block(f"elif ({then} > {until}) is ({truth} is {not conjunction}):"):
                source.line(f"{until} = {then}")
    return names


def _between(parts: Sequence[Rule]) -> tuple[Column, int, int] | None:
    """``column BETWEEN now() - a AND now() - b``, if that is all that there is of an AND: the column, a, b."""
    match parts:
        case [Before() as end, From() as start] | [From() as start, Before() as end]:
            base = start.base
            if isinstance(base, Column) and base == end.base and not start.null:
                return base, start.delay, end.delay
    return None


def _stretch(column: Column, start: int, end: int, source: Source) -> _Names:
    """True from ``column + start`` until before ``column + end``."""
    truth, until = names = _names(source)
    source.line(f"{truth} = False")
    source.line(f"{until} = {NEVER}")
    if start < end:
        value, begins, ends = source.local("v"), source.value(start), source.value(end)
        source.line(f"{value} = {read(column, source)}")
        with source.block(f"if {value} is not None and now < {value} + {ends}:"):
            source.line(f"{until} = {value} + {begins}")
            with source.block(f"if now >= {until}:"):
                source.line(f"{truth} = True")
                source.line(f"{until} = {value} + {ends}")
    return names


def _once(base: Column | Literal, delay: int, null: bool, after: bool, source: Source) -> _Names:
    """What changes once, at ``base + delay``: to true if ``after``, else to false."""
    truth, until = names = _names(source)
    if isinstance(base, Literal):
        source.line(f"{until} = {source.value(int(base.value) + delay)}")
        over = f"if now >= {until}:"
    else:
        source.line(f"{until} = {read(base, source)}")
        with source.block(f"if {until} is None:"):
            source.line(f"{truth} = {null}")
            source.line(f"{until} = {NEVER}")
        over = f"elif now >= ({until} := {until} + {source.value(delay)}):"
    with source.block(over):
        source.line(f"{truth} = {after}")
        source.line(f"{until} = {NEVER}")
    with source.block("else:"):
        source.line(f"{truth} = {not after}")
    return names


def _at_least(memory: str, least: int, reach: int | None, reached: bool, source: Source) -> _Names:
    """With no new events a count only falls: when the ``least``-th most recent event leaves the window."""
    truth, until = names = _names(source)
    times, number = source.local("v"), source.value(least)
    source.line(f"{truth} = {not reached}")
    source.line(f"{until} = {NEVER}")
    held = f"({times} := row.memory) and ({times} := {times}.get({source.value(memory)})) and len({times}) >= {number}"
    with source.block(f"if {held}:"):
        if reach is None:
            source.line(f"{truth} = {reached}")
        else:
            falls = source.local("v")
            source.line(f"{falls} = {times}[-{number}] + {source.value(reach)}")
            with source.block(f"if {falls} > now:"):
                source.line(f"{truth} = {reached}")
                source.line(f"{until} = {falls}")
    return names


def _formula(rule: Formula) -> Evaluate:
    asked, truth, null = condition_at(rule.condition), rule.truth, rule.null

    def formula(customer: Any, now: int) -> Answer:
        found, until = asked(customer, now)
        return (null if found is None else found is truth), until

    return formula
