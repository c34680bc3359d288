"""Reads topics as they stand now, for commands that look and go: a consumer of no group, up to the end by position."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from aiokafka import AIOKafkaConsumer
from aiokafka.errors import UnsupportedVersionError
from aiokafka.structs import ConsumerRecord, TopicPartition


class Reading:
    """One consumer, one partition at a time. Raises ``KafkaError``."""

    def __init__(self, consumer: AIOKafkaConsumer) -> None:
        self._consumer = consumer

    @classmethod
    @asynccontextmanager
    async def of(cls, client: Mapping[str, Any]) -> AsyncIterator[Reading]:
        """Connect, with the keyword arguments of any aiokafka client, until the end of the block."""
        consumer = AIOKafkaConsumer(
            **client,
            group_id=None,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            fetch_max_bytes=32 * 1024 * 1024,
            max_partition_fetch_bytes=4 * 1024 * 1024,
        )
        try:
            await consumer.start()
            yield cls(consumer)
        finally:
            await consumer.stop()  # also what has not come up

    async def span(self, topic: str, partition: int) -> tuple[int, int]:
        """The first offset that is kept, and the end, as the broker says them."""
        part = TopicPartition(topic, partition)
        firsts, ends = await self._consumer.beginning_offsets([part]), await self._consumer.end_offsets([part])
        return firsts[part], ends[part]

    async def offset_at(self, topic: str, partition: int, time_ms: int) -> int | None:
        """The first offset whose record is of ``time_ms`` or later; None if there is none, or the broker cannot say."""
        part = TopicPartition(topic, partition)
        try:
            found = (await self._consumer.offsets_for_times({part: time_ms}))[part]
        except UnsupportedVersionError:
            return None
        return None if found is None else int(found.offset)

    async def records(self, topic: str, partition: int, start: int, end: int) -> AsyncIterator[list[ConsumerRecord]]:
        """What stands from ``start`` up to ``end`` (exclusive), in the order of the topic.

        By position, since the last record may have been compacted away. What the last batch holds beyond ``end`` is
        given too: the embedded broker understates an end.
        """
        if start >= end:
            return
        part = TopicPartition(topic, partition)
        self._consumer.assign([part])
        self._consumer.seek(part, start)
        while await self._consumer.position(part) < end:
            for records in (await self._consumer.getmany(part, timeout_ms=200)).values():
                yield records

    async def backwards(
        self, topic: str, partition: int, step: int = 20_000
    ) -> AsyncIterator[tuple[ConsumerRecord, ...]]:
        """The topic from its end to its beginning, in slices of up to ``step`` offsets, each in its own order."""
        first, end = await self.span(topic, partition)
        last = True
        while end > first:
            start = max(first, end - step)
            found: list[ConsumerRecord] = []
            async for records in self.records(topic, partition, start, end):
                found += records if last else [record for record in records if record.offset < end]
            yield tuple(found)
            end, last = start, False
