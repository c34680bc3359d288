"""Looking into rules: their leaves, and what they read."""

from __future__ import annotations

from collections.abc import Iterator

from stream.core.segments.normal import (
    AllOf,
    Among,
    AnyOf,
    Before,
    Formula,
    From,
    Missing,
    Rule,
    Test,
    settle,
)
from stream.core.segments.tree import Column, EventCount, within


def leaves(rule: Rule) -> Iterator[Rule]:
    """The tests of the rule, from left to right."""
    if isinstance(rule, AllOf | AnyOf):
        for part in rule.parts:
            yield from leaves(part)
    else:
        yield rule


def columns(rule: Rule) -> tuple[Column, ...]:
    """The columns that the rule reads, each once, in the order in which they occur."""
    found: dict[Column, None] = {}
    for leaf in leaves(rule):
        match leaf:
            case Test(left=left, right=right):
                found[left] = None
                if isinstance(right, Column):
                    found[right] = None
            case Among(column=column) | Missing(column=column):
                found[column] = None
            case From(base=base) | Before(base=base):
                if isinstance(base, Column):
                    found[base] = None
            case Formula(condition=condition):
                found.update(dict.fromkeys(part for part in within(condition) if isinstance(part, Column)))
    return tuple(found)


def filter_of(events: EventCount) -> Rule:
    """The filter of a sub-query as a rule over one event."""
    return settle(events.filter)
