"""Topics in one process: offsets, end and beginning, compaction with holes, retention.

What retention has taken, no reader gets; it stays in ``records`` for the judge.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from typing import NamedTuple

EVENTS, REJECTED, CHANGES, STATE, DEAD = "events", "events-rejected", "segment-changes", "state", "dead-letters"
CREATE_TIME, LOG_APPEND_TIME = 0, 1
_offset = attrgetter("offset")


class Stored(NamedTuple):
    """One record as a consumer sees it. ``timestamp`` in ms."""

    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...] = ()
    timestamp_type: int = LOG_APPEND_TIME


@dataclass(slots=True)
class TopicPartition:
    """One partition of a topic."""

    records: list[Stored] = field(default_factory=list)
    end: int = 0
    #: The first offset that is kept; compaction leaves it where it was.
    beginning: int = 0

    def append(
        self,
        timestamp: int,
        records: Iterable[tuple[bytes | None, bytes | None]],
        headers: Sequence[tuple[str, bytes]] = (),
        timestamp_type: int = LOG_APPEND_TIME,
    ) -> int:
        """Append a batch; returns the offset of its first record."""
        first = self.end
        for key, value in records:
            self.records.append(Stored(self.end, timestamp, key, value, tuple(headers), timestamp_type))
            self.end += 1
        return first

    def read(self, start: int, limit: int) -> list[Stored]:
        """Up to ``limit`` records from offset ``start`` on."""
        at = bisect_left(self.records, max(start, self.beginning), key=_offset)
        return self.records[at : at + limit]

    def cut(self, until: int) -> int:
        """Retention: nothing below offset ``until`` is given out any more. Returns how many offsets that takes."""
        gone = max(0, until - self.beginning)
        self.beginning += gone
        return gone

    def compact(self, until: int, tombstones: bool) -> int:
        """Below offset ``until``, keep of each key what is the last there; with ``tombstones``, no null either.

        Returns how many records have gone.
        """
        cut = bisect_left(self.records, until, key=_offset)
        last = {record.key: record.offset for record in self.records[:cut]}
        kept = [
            record
            for record in self.records[:cut]
            if last[record.key] == record.offset and not (tombstones and record.value is None)
        ]
        gone = cut - len(kept)
        self.records[:cut] = kept
        return gone


class Topics(defaultdict[tuple[str, int], TopicPartition]):
    """Every partition of every topic."""

    def __init__(self) -> None:
        super().__init__(TopicPartition)
