"""One segment, ready to be asked."""

from __future__ import annotations

from dataclasses import dataclass

from stream.core.segments.evidence import Evidence, evidence
from stream.core.segments.instants import Evaluate, evaluator
from stream.core.segments.normal import AtLeast, Rule
from stream.core.segments.rules import columns, filter_of, leaves
from stream.core.segments.spelling import key


@dataclass(frozen=True, slots=True)
class Segment:
    """A compiled segment; ``index`` is its place in the book, by name.

    ``evaluate(customer, now)`` gives ``(member, until)``: whether the customer is in it at ``now`` (µs), and
    the first instant after ``now`` at which that may change with no new fact (``stream.core.time.NEVER`` if
    it cannot). From ``now`` to ``until - 1`` it is the same. ``evidence(customer, now)`` gives the values
    that decided.

    ``columns`` and ``attributes`` are the names that it reads, ``memories`` the keys of what it remembers.
    """

    name: str
    index: int
    evaluate: Evaluate
    evidence: Evidence
    columns: frozenset[str]
    attributes: frozenset[str]
    memories: frozenset[str]
    #: How slowly membership follows, in µs (``stream.core.hysteresis``).
    enter_after: int = 0
    min_stay: int = 0
    cooldown: int = 0


def segment(name: str, index: int, rule: Rule) -> Segment:
    """Compile ``rule``."""
    read = columns(rule)
    return Segment(
        name,
        index,
        evaluator(rule),
        evidence(rule),
        frozenset(column.name for column in read if column.table == "customers"),
        frozenset(column.name for column in read if column.table == "attributes"),
        frozenset(key(filter_of(leaf.events)) for leaf in leaves(rule) if isinstance(leaf, AtLeast)),
    )
