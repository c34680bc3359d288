"""Writes to Kafka: batches of our own making into one named partition, acknowledged, errors never swallowed."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from aiokafka import AIOKafkaProducer
from aiokafka.errors import UnknownTopicOrPartitionError
from aiokafka.structs import RecordMetadata

Record = tuple[bytes | None, bytes | None]
Headers = Sequence[tuple[str, bytes]]

#: Bytes of one record batch; below Kafka's default ``max.message.bytes`` (1 MiB) with room for its own header.
BATCH_BYTES = 768 * 1024
#: A single record larger than that travels alone, up to this.
REQUEST_BYTES = 8 * 1024 * 1024


class Sent(NamedTuple):
    """A record batch on its way. ``await acknowledged()`` raises what went wrong."""

    future: asyncio.Future[RecordMetadata]
    records: int

    async def acknowledged(self) -> int:
        """The offset after the batch's last record."""
        return int((await self.future).offset) + self.records


class Writes:
    """One producer for everything that the worker writes. Its errors surface where the future is awaited."""

    def __init__(self, client: Mapping[str, Any], *, idempotence: bool, compression: str | None = None) -> None:
        self._producer = AIOKafkaProducer(
            **client,
            acks="all",
            enable_idempotence=idempotence,
            compression_type=compression,
            max_batch_size=BATCH_BYTES,
            max_request_size=REQUEST_BYTES,
            linger_ms=0,
            request_timeout_ms=30_000,
        )

    async def start(self) -> None:
        """Connect."""
        await self._producer.start()

    async def stop(self) -> None:
        """Send what waits, and close."""
        await self._producer.stop()

    async def settled(self) -> None:
        """Wait until nothing is on its way any more, acknowledged or failed. Raises nothing of either."""
        await self._producer.flush()

    async def append(self, topic: str, partition: int, records: Iterable[Record]) -> list[Sent]:
        """Queue records for one partition, in order, in as few batches as they fit into.

        Waits while an earlier batch of the partition is still queued, which is the back-pressure. A record that no
        batch holds travels alone; beyond ``REQUEST_BYTES`` it raises ``MessageSizeTooLargeError``.
        """
        sent: list[Sent] = []
        batch = self._producer.create_batch()
        append = batch.append
        for key, value in records:
            if append(key=key, value=value, timestamp=None) is not None:
                continue
            if count := batch.record_count():
                sent.append(Sent(await self._producer.send_batch(batch, topic, partition=partition), count))
            batch = self._producer.create_batch()
            append = batch.append
            if append(key=key, value=value, timestamp=None) is None:
                sent.append(await self.send(topic, partition, key, value))
        if count := batch.record_count():
            sent.append(Sent(await self._producer.send_batch(batch, topic, partition=partition), count))
        return sent

    async def send(
        self, topic: str, partition: int, key: bytes | None, value: bytes | None, headers: Headers = ()
    ) -> Sent:
        """Queue one record with headers."""
        future = await self._producer.send(topic, value=value, key=key, partition=partition, headers=list(headers))
        return Sent(future, 1)

    async def partitions(self, topic: str) -> int:
        """How many partitions a topic has. Raises ``UnknownTopicOrPartitionError``."""
        found = await self._producer.partitions_for(topic)
        if not found:
            raise UnknownTopicOrPartitionError(topic)
        return len(found)
