"""One segment, ready to be asked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from stream.core.hysteresis import damped
from stream.core.segments.book import Definition
from stream.core.segments.evidence import Evidence, evidence
from stream.core.segments.explain import Explain, never
from stream.core.segments.instants import Evaluate, evaluator
from stream.core.segments.memory import keys_of, memories_of
from stream.core.segments.normal import Always, Rule
from stream.core.segments.rules import columns

_EVERYBODY = Always(True)


@dataclass(frozen=True, slots=True)
class Segment:
    """A compiled segment; ``index`` is its place in the book, by name.

    ``evaluate(customer, now)`` gives ``(member, until)``: whether the customer is in it at ``now`` (µs), and
    the first instant after ``now`` at which that may change with no new fact (``stream.core.time.NEVER`` if
    it cannot). From ``now`` to ``until - 1`` it is the same. ``evidence(customer, now)`` gives the values
    that decided.

    ``columns`` and ``attributes`` are the names that it reads, ``memories`` the keys of what it remembers. ``rule`` is
    its condition; ``explain(customer, now)`` says of each part of it what it is and why, however slowly membership
    follows.
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
    #: Key of a memory -> how long (µs) an event in it can matter to this segment; others may need it for longer.
    horizons: Mapping[str, int] = field(default_factory=dict)
    rule: Rule = _EVERYBODY
    explain: Explain = never

    @property
    def waits(self) -> bool:
        """Whether membership follows the rule more slowly than at once."""
        return bool(self.enter_after or self.min_stay or self.cooldown)


def segment(name: str, index: int, rule: Rule, definition: Definition, explain: Explain) -> Segment:
    """Compile ``rule``."""
    read = columns(rule)
    evaluate = evaluator(rule)
    waits = (definition.enter_after, definition.min_stay, definition.cooldown)
    return Segment(
        name,
        index,
        damped(evaluate, name, *waits) if any(waits) else evaluate,
        evidence(rule),
        frozenset(column.name for column in read if column.table == "customers"),
        frozenset(column.name for column in read if column.table == "attributes"),
        keys_of(rule),
        *waits,
        {memory.key: memory.horizon for memory in memories_of([rule])},
        rule,
        explain,
    )
