"""Records that the deliverer still has to write, and their writing: whole batches, acknowledged."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterable

from aiokafka import AIOKafkaProducer

Entry = tuple[bytes, bytes]
"""Key and value."""


class Outbox:
    """Collects records by topic and partition. Not shared between destinations; the producer is."""

    def __init__(self, producer: AIOKafkaProducer) -> None:
        self._producer = producer
        self._entries: dict[tuple[str, int], list[Entry]] = defaultdict(list)

    def add(self, topic: str, partition: int, key: bytes, value: bytes) -> None:
        """`partition` is that of the change: the topics have the same number of partitions."""
        self._entries[topic, partition].append((key, value))

    async def write(self) -> None:
        """Write everything added so far and wait for the acknowledgements. Raises KafkaError.

        What was not acknowledged, by an error or because the wait was cancelled, is kept for the next
        write; so it may be written twice, and is never committed as finished without having been written.
        """
        entries, self._entries = self._entries, defaultdict(list)
        try:
            sent = [
                await self._send(topic, partition, batch)
                for (topic, partition), records in entries.items()
                for batch in self._batches(records)
            ]
            await asyncio.gather(*sent)
        except BaseException:
            for place, records in entries.items():
                self._entries[place][:0] = records
            raise

    def _batches(self, records: Iterable[Entry]) -> list[object]:
        batches = []
        batch = self._producer.create_batch()
        for key, value in records:
            if batch.append(key=key, value=value, timestamp=None) is None:
                batches.append(batch)
                batch = self._producer.create_batch()
                batch.append(key=key, value=value, timestamp=None)  # the first one always fits
        batches.append(batch)
        for full in batches:
            full.close()
        return batches

    async def _send(self, topic: str, partition: int, batch: object) -> asyncio.Future[object]:
        partitions = await self._producer.partitions_for(topic)
        future: asyncio.Future[object] = await self._producer.send_batch(
            batch, topic, partition=partition % len(partitions)
        )
        return future
