"""Which changes of a partition are finished, and how a commit says so. Pure.

What is committed is the contiguous prefix: the first unfinished offset. Beside it, in the commit's
metadata, stand the unfinished offsets beyond, so that a restart while one customer is in retry for hours
does not send again what others already have. The technique is Confluent's Parallel Consumer's. A broker
that does not keep metadata (Tansu) only costs repeats, with the same ids.
"""

from __future__ import annotations

import heapq
from itertools import pairwise

METADATA_LIMIT = 4000
"""Characters. Kafka's default `offset.metadata.max.bytes` is 4096."""

VERSION = "1"


class Progress:
    """One partition, read in ascending order of offsets (which may have gaps)."""

    def __init__(self, start: int, metadata: str = "") -> None:
        self.position = start
        """The offset after the last one read."""
        self._open: set[int] = set()
        self._heap: list[int] = []  # of the open offsets, and of finished ones not yet removed
        self._known_below, self._known_open = _parse(start, metadata)

    def read(self, offset: int) -> bool:
        """Note that a record was read. False if the commit that we resumed from names it as finished."""
        self.position = offset + 1
        if offset < self._known_below and offset not in self._known_open:
            return False
        self._open.add(offset)
        heapq.heappush(self._heap, offset)
        return True

    def finish(self, offset: int) -> None:
        self._open.remove(offset)
        while self._heap and self._heap[0] not in self._open:
            heapq.heappop(self._heap)
        # One stuck change must not let the heap grow with the topic.
        if len(self._heap) > 2 * len(self._open) + 1000:
            self._heap = sorted(self._open)

    def first_unfinished(self) -> int:
        """The offset of the first that is not finished, or of the next to be read: what `mark` begins with."""
        first = max(self.position, self._known_below)
        if self._heap:  # its top is open: `finish` sees to that
            first = self._heap[0]
        if self.position < self._known_below:
            first = min([first, *(offset for offset in self._known_open if offset >= self.position)])
        return first

    def mark(self) -> tuple[int, str]:
        """What to commit: the first unfinished offset, and the metadata about those beyond it."""
        below = max(self.position, self._known_below)
        if self.position < self._known_below:  # still within what the earlier commit told us about
            unread = {offset for offset in self._known_open if offset >= self.position}
        else:
            unread = set()
        if not self._open and not unread:
            return below, ""
        unfinished = sorted(self._open | unread)
        return unfinished[0], _format(unfinished, below)


def _format(unfinished: list[int], below: int) -> str:
    """Unfinished offsets, as distances. Cut where they do not fit: then less is known to be finished."""
    if below - unfinished[0] == len(unfinished):
        return ""  # nothing is finished beyond the prefix
    parts: list[str] = []
    length = 24
    for previous, offset in pairwise(unfinished):
        part = str(offset - previous)
        length += len(part) + 1
        if length > METADATA_LIMIT:
            below = offset
            break
        parts.append(part)
    return f"{VERSION} {below - unfinished[0]} {','.join(parts)}"


def _parse(start: int, metadata: str) -> tuple[int, frozenset[int]]:
    """The offset below which all but the given offsets is finished. Metadata not ours says nothing."""
    fields = metadata.split(" ")
    if len(fields) != 3 or fields[0] != VERSION:
        return start, frozenset()
    try:
        below = start + int(fields[1])
        distances = [int(part) for part in fields[2].split(",") if part]
    except ValueError:
        return start, frozenset()
    offset = start
    unfinished = {start}
    for distance in distances:
        offset += distance
        unfinished.add(offset)
    return below, frozenset(unfinished)
