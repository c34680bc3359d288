"""Writing to ``redeliveries``: changes that one destination is to be sent again, behind what is live."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Literal

import msgspec

from schemas import topics
from stream.core.routing import partition_of
from stream.definitions import writing
from stream.engine.writes import Sent, Writes
from stream.settings import Settings

Origin = Literal["replay", "resync"]
#: Records of one batch; so many are on their way at once.
_BATCH = 2_000


@dataclass(frozen=True, slots=True)
class Again:
    """What is to be sent again: the bytes of a change or, as ``fact`` says, of an erasure."""

    customer_id: str
    change: bytes
    fact: Literal["erasure"] | None = None
    even_if_returned: bool = False


class Redeliveries:
    """Writes changes, each customer's in the order given. ``written`` counts what is acknowledged."""

    def __init__(self, writes: Writes, topic: str, partitions: int) -> None:
        self._writes = writes
        self._topic = topic
        self._partitions = partitions
        self.written = 0

    async def add(self, destination: str, origin: Origin, changes: Iterable[Again]) -> None:
        """Write changes and wait until all are acknowledged. Raises ``KafkaError``."""
        batches: dict[int, list[tuple[bytes | None, bytes | None]]] = {}
        for each in changes:
            partition = partition_of(each.customer_id, self._partitions)
            batch = batches.setdefault(partition, [])
            value: dict[str, Any] = {"destination": destination, "origin": origin, "change": msgspec.Raw(each.change)}
            if each.fact is not None:
                value |= {"fact": each.fact, "even_if_returned": each.even_if_returned}
            batch.append((each.customer_id.encode("utf-8", "surrogatepass"), msgspec.json.encode(value)))
            if len(batch) >= _BATCH:
                await self._write(partition, batches.pop(partition))
        for partition, batch in batches.items():
            await self._write(partition, batch)

    async def _write(self, partition: int, batch: list[tuple[bytes | None, bytes | None]]) -> None:
        sent: list[Sent] = await self._writes.append(self._topic, partition, batch)
        for each in sent:
            await each.acknowledged()
            self.written += each.records


@asynccontextmanager
async def redelivering(settings: Settings, partitions: int) -> AsyncIterator[Redeliveries]:
    """A producer, until the end of the block. ``partitions`` is how many the log has."""
    async with writing(settings) as writes:
        yield Redeliveries(writes, topics.name(topics.REDELIVERIES, settings.topic_prefix), partitions)
