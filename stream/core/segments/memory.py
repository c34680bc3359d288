"""What rules remember of a customer's events: for each filter the times of its most recent matches.

``count(*) >= k`` over a window that ends at no time is decided by the k most recent matching event times, and
a late event among them is one of them; so k times are exact, and so is the instant at which the count falls.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from stream.core.segments.normal import AllOf, Among, AnyOf, AtLeast, Rule, Test
from stream.core.segments.predicates import OPERATORS, Predicate, predicate
from stream.core.segments.rules import filter_of, leaves
from stream.core.segments.spelling import key
from stream.core.segments.tree import Literal
from stream.core.time import NEVER

if TYPE_CHECKING:
    pass


@dataclass(frozen=True, slots=True)
class Memory:
    """The memory of one filter, shared by all sub-queries that have it.

    ``k`` is how many times it keeps. An event of time t can matter while ``now < t + horizon`` (µs; ``NEVER``
    if for ever). ``matches`` is the whole filter, the event type included.
    """

    key: str
    k: int
    horizon: int
    matches: Predicate
    filter: Rule

    def remember(self, memory: dict[str, list[int]], time: int) -> bool:
        """Note in a customer's ``memory`` that a matching event happened at ``time`` (µs), late or not.

        Returns whether that can change an answer: False for an event older than k others.
        """
        times = memory.get(self.key)
        if times is None:
            memory[self.key] = [time]
            return True
        if len(times) >= self.k:
            if time <= times[-self.k]:
                return False
            insort(times, time)
            del times[: -self.k]
        else:
            insort(times, time)
        return True

    def takes(self, event_type: str | None) -> bool:
        """Whether an event of this type may match; of a type that no filter names, if None."""
        return _possible(self.filter, event_type)

    @property
    def event_types(self) -> frozenset[str]:
        """The event types that the filter names."""
        return frozenset(_named(self.filter))


def memories_of(rules: Iterable[Rule]) -> tuple[Memory, ...]:
    """The memories that ``rules`` need, by key: one per filter, as large as the largest need."""
    found: dict[str, tuple[int, int, Rule]] = {}
    for rule in rules:
        for leaf in leaves(rule):
            if isinstance(leaf, AtLeast):
                matching = filter_of(leaf.events)
                horizon = NEVER if leaf.events.reach is None else leaf.events.reach
                k, longest, _ = found.get(key(matching), (0, 0, matching))
                found[key(matching)] = max(k, leaf.least), max(longest, horizon), matching
    return tuple(
        Memory(name, k, horizon, predicate(matching), matching)
        for name, (k, horizon, matching) in sorted(found.items())
    )


def _possible(rule: Rule, event_type: str | None) -> bool:
    match rule:
        case AllOf():
            return all(_possible(part, event_type) for part in rule.parts)
        case AnyOf():
            return any(_possible(part, event_type) for part in rule.parts)
        case Test(left=left, right=Literal(value=fixed)) if left.name == "event_type":
            if event_type is not None:
                return OPERATORS[rule.op](event_type, fixed)
            return rule.op != "="
        case Among(column=column) if column.name == "event_type":
            return ((event_type in rule.options) if event_type is not None else False) is rule.inside
    return True


def _named(rule: Rule) -> Iterable[str]:
    for leaf in leaves(rule):
        if isinstance(leaf, Test) and leaf.left.name == "event_type" and isinstance(leaf.right, Literal):
            yield str(leaf.right.value)
        elif isinstance(leaf, Among) and leaf.column.name == "event_type":
            yield from map(str, leaf.options)
