"""A definition book compiled: parsed, checked, and turned into functions, once per version."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from stream.core.columns import ColumnType
from stream.core.segments import calendar
from stream.core.segments.book import Definition, DefinitionBook, version
from stream.core.segments.checks import Finding, finding
from stream.core.segments.errors import DefinitionError, DefinitionErrors, excerpt
from stream.core.segments.explain import explainer
from stream.core.segments.memory import Memory, memories_of
from stream.core.segments.normal import Rule, settle
from stream.core.segments.plan import Plan, plans
from stream.core.segments.references import read_book
from stream.core.segments.segment import Segment, segment
from stream.core.segments.settle import Settle, settler
from stream.core.time import NEVER


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
    #: Decides all segments.
    settle: Settle
    _plans: Mapping[str, Plan]
    _plan_of_others: Plan
    _definitions: Mapping[str, Definition] = field(default_factory=dict)

    @property
    def warnings(self) -> tuple[DefinitionError, ...]:
        """Segments that nobody can be in, everybody is in, or nobody can leave; worked out anew at each call."""
        found = ((segment, finding(segment.rule)) for segment in self.segments)
        return tuple(_noted(segment.name, self._definitions[segment.name], said) for segment, said in found if said)

    def plan(self, event_type: str) -> Plan:
        """What a fact of this (canonical) type feeds and touches. Types that no rule names share one plan."""
        return self._plans.get(event_type, self._plan_of_others)


def compile_book(book: DefinitionBook, history: int | None = None) -> CompiledBook:
    """Compile ``book``. Raises ``DefinitionErrors`` with every error of every segment.

    Segments come in the order of their names, so that the file and the log, in which the order may differ,
    agree. Windows that are longer than ``history`` µs are refused; with None, as for a book in the log, none are.
    """
    read = read_book(book)
    rules = {name: settle(condition) for name, condition in read.conditions.items()}
    if history is not None:
        _check_history(book, rules, history)
    segments = tuple(
        segment(name, index, rule, book.segments[name], explainer(name, book, read.known))
        for index, (name, rule) in enumerate(rules.items())
    )
    memories = memories_of(rules.values())
    by_type, others = plans(segments, memories)
    by_name = {segment.name: segment for segment in segments}
    horizons = {memory.key: memory.horizon for memory in memories}
    return CompiledBook(
        version(book),
        book.attributes,
        segments,
        by_name,
        memories,
        horizons,
        settler(segments),
        by_type,
        others,
        book.segments,
    )


def _noted(name: str, definition: Definition, said: Finding) -> DefinitionError:
    """The finding as an error or a warning of the segment."""
    place = excerpt(definition.sql, 0, len(definition.sql))
    return DefinitionError(name, said.message, said.hint, *place, definition.line, True, said.severity)


def _check_history(book: DefinitionBook, rules: Mapping[str, Rule], history: int) -> None:
    errors: list[DefinitionError] = []
    for name, rule in rules.items():
        longest = max((memory.horizon for memory in memories_of([rule]) if memory.horizon < NEVER), default=0)
        # `>=` reaches a microsecond further than the INTERVAL says.
        if longest > history + 1:
            days, kept = longest / calendar.DAY, history / calendar.DAY
            message = f"a window of {days:g} days is longer than the {kept:g} days that the log is kept"
            hint = "make it shorter, or set LIVESEGMENTS_HISTORY_DAYS higher"
            errors.append(_noted(name, book.segments[name], Finding(message, hint, "error")))
    if errors:
        raise DefinitionErrors(errors)
