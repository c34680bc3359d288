"""Rules in which time occurs, as functions ``(customer, now) -> (truth, until)``. All instants are µs.

``until`` is the first instant after ``now`` at which the truth may change with no new fact; ``NEVER`` if it
cannot. From ``now`` to ``until - 1`` the truth is the same.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeAlias

from stream.core.segments.formula import condition_at, is_of_the_clock, same_for_all
from stream.core.segments.normal import AllOf, AnyOf, AtLeast, Before, Formula, From, Rule
from stream.core.segments.predicates import Getter, Predicate, getter, joined, predicate
from stream.core.segments.rules import filter_of
from stream.core.segments.spelling import key
from stream.core.segments.tree import Column, Literal, is_timeless
from stream.core.time import NEVER

if TYPE_CHECKING:
    from stream.core.customer import Customer

Answer: TypeAlias = tuple[bool, int]
Evaluate: TypeAlias = Callable[[Any, int], Answer]

YES: Answer = (True, NEVER)
NO: Answer = (False, NEVER)


def evaluator(rule: Rule) -> Evaluate:
    """The function for any rule."""
    if not is_timed(rule):
        return _timeless(predicate(rule))
    if _is_of_the_clock(rule):
        return same_for_all(_evaluator(rule))
    return _evaluator(rule)


def _evaluator(rule: Rule) -> Evaluate:
    """The function for a rule in which time occurs."""
    match rule:
        case AllOf() | AnyOf():
            conjunction = isinstance(rule, AllOf)
            plain = [predicate(part) for part in rule.parts if not is_timed(part)]
            timed = [part for part in rule.parts if is_timed(part)]
            clocks = tuple(part for part in timed if _is_of_the_clock(part))
            if clocks and len(clocks) < len(timed):
                clock = evaluator(replace(rule, parts=clocks))
                others = [_evaluator(part) for part in timed if part not in clocks]
                together = _together([clock, *others], conjunction)
            else:
                together = _between(rule) or _together([_evaluator(part) for part in timed], conjunction)
            return _guarded(joined(plain, conjunction), together, conjunction) if plain else together
        case From() | Before():
            return _once(rule.base, rule.delay, rule.null, isinstance(rule, From))
        case AtLeast():
            return _at_least(key_of(rule), rule.least, rule.events.reach, rule.reached)
        case Formula():
            return _formula(rule)
        case _:
            raise TypeError(f"{type(rule).__name__} does not depend on time")


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


def _timeless(test: Predicate) -> Evaluate:
    return lambda customer, now: YES if test(customer) else NO


def _guarded(test: Predicate, timed: Evaluate, conjunction: bool) -> Evaluate:
    """The parts without time first: if they decide, time changes nothing."""
    if conjunction:
        return lambda customer, now: timed(customer, now) if test(customer) else NO
    return lambda customer, now: YES if test(customer) else timed(customer, now)


def _together(parts: Sequence[Evaluate], conjunction: bool) -> Evaluate:
    """AND (OR): false (true) as long as one part stays so, true (false) until the first part changes."""
    if len(parts) == 1:
        return parts[0]
    if len(parts) == 2:
        return _both(parts[0], parts[1], conjunction)

    def together(customer: Customer, now: int) -> Answer:
        soonest, latest = NEVER, now
        for part in parts:
            truth, until = part(customer, now)
            if truth is conjunction:
                if until < soonest:
                    soonest = until
            elif until > latest:
                latest = until
        return (not conjunction, latest) if latest > now else (conjunction, soonest)

    return together


def _between(rule: AllOf | AnyOf) -> Evaluate | None:
    """``column BETWEEN now() - a AND now() - b`` in one step, if that is all of the timed parts of an AND."""
    match [part for part in rule.parts if is_timed(part)]:
        case [Before() as end, From() as start] | [From() as start, Before() as end]:
            base = start.base
            if isinstance(rule, AllOf) and isinstance(base, Column) and base == end.base and not start.null:
                return _stretch(getter(base), start.delay, end.delay)
    return None


def _stretch(get: Getter, start: int, end: int) -> Evaluate:
    """True from ``value + start`` until before ``value + end``."""

    def stretch(customer: Customer, now: int) -> Answer:
        instant = get(customer)
        if instant is None or now >= instant + end or start >= end:
            return NO
        begin = instant + start
        return (True, instant + end) if now >= begin else (False, begin)

    return stretch


def _both(first: Evaluate, second: Evaluate, conjunction: bool) -> Evaluate:
    """``_together`` for two, which is the usual number."""

    def both(customer: Customer, now: int) -> Answer:
        one, other = first(customer, now), second(customer, now)
        if one[0] is other[0]:
            # Both decide: the later change counts. Neither does: the sooner.
            return one if (one[1] > other[1]) is (one[0] is not conjunction) else other
        return other if one[0] is conjunction else one

    return both


def _once(base: Column | Literal, delay: int, null: bool, after: bool) -> Evaluate:
    """What changes once, at ``base + delay``: to true if ``after``, else to false."""
    before = not after
    settled = YES if after else NO
    unknown = YES if null else NO
    if isinstance(base, Literal):
        fixed = int(base.value) + delay
        return lambda customer, now: settled if now >= fixed else (before, fixed)
    get = getter(base)

    def once(customer: Customer, now: int) -> Answer:
        instant = get(customer)
        if instant is None:
            return unknown
        instant += delay
        return settled if now >= instant else (before, instant)

    return once


def _at_least(memory: str, least: int, reach: int | None, reached: bool) -> Evaluate:
    """With no new events a count only falls: when the ``least``-th most recent event leaves the window."""
    fallen = NO if reached else YES
    lasting = YES if reached else NO

    def at_least(customer: Customer, now: int) -> Answer:
        held = customer.memory
        if held is not None:
            times = held.get(memory)
            if times is not None and len(times) >= least:
                if reach is None:
                    return lasting
                until = times[-least] + reach
                if until > now:
                    return (reached, until)
        return fallen

    return at_least


def _formula(rule: Formula) -> Evaluate:
    asked, truth, null = condition_at(rule.condition), rule.truth, rule.null

    def formula(customer: Customer, now: int) -> Answer:
        found, until = asked(customer, now)
        return (null if found is None else found is truth), until

    return formula
