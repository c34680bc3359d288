"""A definition book compiled: parsed, checked, and turned into functions, once per version."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from stream.core.columns import ColumnType
from stream.core.segments.book import DefinitionBook, version
from stream.core.segments.errors import DefinitionError, DefinitionErrors
from stream.core.segments.memory import Memory, memories_of
from stream.core.segments.normal import Rule, settle
from stream.core.segments.plan import Plan, plans
from stream.core.segments.segment import Segment, segment
from stream.core.segments.sql import read_sql


@dataclass(frozen=True, slots=True)
class CompiledBook:
    """The segments of a book, what they remember, and what each kind of fact touches.

    ``version`` is the content hash of the book. ``attributes`` are the declared ones with their types.
    """

    version: str
    attributes: Mapping[str, ColumnType]
    segments: tuple[Segment, ...]
    by_name: Mapping[str, Segment]
    memories: tuple[Memory, ...]
    #: Key of a memory -> its horizon (µs).
    horizons: Mapping[str, int]
    _plans: Mapping[str, Plan]
    _plan_of_others: Plan

    def plan(self, event_type: str) -> Plan:
        """What a fact of this (canonical) type feeds and touches. Types that no rule names share one plan."""
        return self._plans.get(event_type, self._plan_of_others)


def compile_book(book: DefinitionBook) -> CompiledBook:
    """Compile ``book``. Raises ``DefinitionErrors`` with every error of every segment.

    Segments come in the order of their names, so that the file and the log, in which the order may differ,
    agree.
    """
    rules: dict[str, Rule] = {}
    errors: list[DefinitionError] = []
    for name in sorted(book.segments):
        definition = book.segments[name]
        try:
            rules[name] = settle(read_sql(definition.sql, book.attributes, name, definition.line))
        except DefinitionErrors as found:
            errors += found.errors
    if errors:
        raise DefinitionErrors(errors)
    segments = tuple(segment(name, index, rule) for index, (name, rule) in enumerate(rules.items()))
    memories = memories_of(rules.values())
    by_type, others = plans(segments, memories)
    by_name = {segment.name: segment for segment in segments}
    horizons = {memory.key: memory.horizon for memory in memories}
    return CompiledBook(version(book), book.attributes, segments, by_name, memories, horizons, by_type, others)
