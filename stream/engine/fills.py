"""Reads the log again for windows that miss their past (``stream.core.fill``): what to read, and reading it."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from typing import Any

from schemas.facts import FACT_HEADER, FactKind
from stream.core.fill import Fill
from stream.core.filled import Filled, gained, gaps
from stream.core.membership import Edition
from stream.core.partition import Partition
from stream.core.time import NEVER
from stream.engine.reading import Reading

log = logging.getLogger(__name__)

#: Records between two pauses: some milliseconds.
SLICE = 500
#: Before a window begins (µs): an event may be that much ahead of its log time, and an id be there twice.
MARGIN = 3_600_000_000
#: Kafka's ``timestamp_type`` of a record that its producer stamped.
CREATE_TIME = 0


class Fills:
    """Fills of the partitions of one worker, read by consumers of their own."""

    def __init__(self, client: Mapping[str, Any], events: str) -> None:
        self._client, self._events = client, events

    async def begin(self, partition: Partition) -> Fill | None:
        """What the log can add to the newest book's memories, nothing read yet; None if that is nothing."""
        edition = partition.membership.edition
        missing = gaps(edition, partition.log_time) if edition is not None else {}
        if edition is None or not missing:
            return None
        reach = max(edition.book.horizons[key] for key in missing)
        async with Reading.of(self._client) as reading:
            first, end = await reading.span(self._events, partition.number)
            if reach < NEVER:
                at = partition.log_time - reach - MARGIN
                first = max(first, await reading.offset_at(self._events, partition.number, max(0, at) // 1000) or first)
            since = 0
            if first:
                found = await self._begins(reading, partition, first, end)
                if found is None:
                    return None
                first, since = found
        # Of the edition that was asked for at first: another may have come meanwhile.
        fact = gained(edition, missing, first, since)
        return self._of(partition, edition, fact) if fact is not None else None

    async def _begins(self, reading: Reading, partition: Partition, first: int, end: int) -> tuple[int, int] | None:
        """Where to begin from ``first`` on, and a log time (µs) since which nothing is missing then; None: nowhere.

        A producer's own stamp is believed only so far beyond the tick before it, which stands before the beginning. So
        where stamps are those of producers, a tick is the beginning. The log may have been that far ahead of it, and
        the clocks of two workers apart by as much.
        """
        async for records in reading.records(self._events, partition.number, first, end):
            for record in records:
                if record.timestamp_type != CREATE_TIME or not partition.last_tick:
                    # What is gone may have been stamped by another leader, whose clock was ahead.
                    return record.offset, record.timestamp * 1000 + partition.settings.clock_skew
                if (FACT_HEADER, FactKind.TICK.value.encode()) in record.headers:
                    return record.offset, record.timestamp * 1000 + 2 * partition.settings.clock_skew
        return None

    def of(self, partition: Partition, fact: Filled) -> Fill:
        """The fill that ``fact`` speaks of, nothing read yet."""
        edition = partition.membership.edition
        assert edition is not None, "a fact that fills nothing is not taken"
        return self._of(partition, edition, fact)

    @staticmethod
    def _of(partition: Partition, edition: Edition, fact: Filled) -> Fill:
        return Fill(partition.number, partition.partitions, partition.settings, edition, fact)

    async def advance(self, fill: Fill, number: int, until: int, *, share: float, going: Callable[[], bool]) -> None:
        """Read on up to offset ``until`` (exclusive), while ``going``.

        ``share`` is the part of the time that the reading may take from the rest of the worker.
        """
        if fill.until >= until:
            return
        async with Reading.of(self._client) as reading:
            kept, _ = await reading.span(self._events, number)
            if kept > fill.until:
                log.warning(
                    "events/%d begins at %d, and windows are filled from %d on: what retention has removed they miss",
                    number,
                    kept,
                    fill.until,
                )
            async for records in reading.records(self._events, number, fill.until, until):
                wanted = [record for record in records if fill.until <= record.offset < until]
                for at in range(0, len(wanted), SLICE):
                    if not going():
                        return
                    begun = time.perf_counter()
                    fill.process(wanted[at : at + SLICE])
                    await asyncio.sleep((time.perf_counter() - begun) * (1 / share - 1))
        fill.until = until  # whatever compaction or control records have left of it
