"""Which memories a fact feeds and which segments it can touch: a fact costs its own rules."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from stream.core.columns import ATTRIBUTES_CHANGE_WITH, SEEN, columns_of_event, event_types_with_columns
from stream.core.segments.memory import Memory
from stream.core.segments.segment import Segment


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do with facts of one type. Segments stand in the order of the book.

    A customer's very first fact touches every segment besides: rules can be true of somebody of whom nothing
    is known.
    """

    memories: tuple[Memory, ...]
    segments: tuple[Segment, ...]


def plans(segments: Sequence[Segment], memories: Iterable[Memory]) -> tuple[dict[str, Plan], Plan]:
    """The plans of all event types that make a difference, and the one for all others."""
    held = tuple(memories)
    named = {event_type for memory in held for event_type in memory.event_types}
    types = named | event_types_with_columns() | {ATTRIBUTES_CHANGE_WITH}
    return {event_type: _plan(event_type, segments, held) for event_type in types}, _plan(None, segments, held)


def _plan(event_type: str | None, segments: Sequence[Segment], memories: tuple[Memory, ...]) -> Plan:
    fed = tuple(memory for memory in memories if memory.takes(event_type))
    keys = {memory.key for memory in fed}
    columns = SEEN if event_type is None else columns_of_event(event_type)
    profile = event_type == ATTRIBUTES_CHANGE_WITH
    touched = tuple(
        segment
        for segment in segments
        if segment.columns & columns or segment.memories & keys or (profile and segment.attributes)
    )
    return Plan(fed, touched)
