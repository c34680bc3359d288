"""The names of the topics on this cluster."""

from __future__ import annotations

from dataclasses import dataclass

from schemas import topics


@dataclass(frozen=True, slots=True)
class TopicNames:
    """Every topic of the engine, with the prefix of this installation."""

    events: str
    rejected: str
    changes: str
    state: str
    dead_letters: str

    @classmethod
    def with_prefix(cls, prefix: str) -> TopicNames:
        """The registry's names behind ``prefix``."""
        return cls(
            topics.name(topics.EVENTS, prefix),
            topics.name(topics.EVENTS_REJECTED, prefix),
            topics.name(topics.SEGMENT_CHANGES, prefix),
            topics.name(topics.STATE, prefix),
            topics.name(topics.DEAD_LETTERS, prefix),
        )
