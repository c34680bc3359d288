"""Reading the demo's topics: the changes as they come, and at the end whole topics for the judge."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Protocol

from aiokafka import AIOKafkaConsumer, TopicPartition

from stream.core.output import LogRecord
from stream.embedded.tansu import FETCH_MAX_WAIT_MS

#: How often the group is asked how far it is.
POLL_SECONDS = 0.3


class Record(LogRecord, Protocol):
    """A record of a topic as aiokafka has it."""

    @property
    def partition(self) -> int: ...


@asynccontextmanager
async def consumer(address: str, topic: str, partitions: int) -> AsyncIterator[AIOKafkaConsumer]:
    """A consumer of all partitions of a topic from their beginning, of no group."""
    reader = AIOKafkaConsumer(
        bootstrap_servers=address,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        fetch_max_wait_ms=FETCH_MAX_WAIT_MS,
    )
    await reader.start()
    try:
        reader.assign([TopicPartition(topic, number) for number in range(partitions)])
        yield reader
    finally:
        await reader.stop()


async def follow(address: str, topic: str, partitions: int, note: Callable[[Record], None]) -> None:
    """Give every record of a topic to ``note``, as they come, until cancelled."""
    async with consumer(address, topic, partitions) as reader:
        while True:
            for records in (await reader.getmany(timeout_ms=200)).values():
                for record in records:
                    note(record)


async def read_all(address: str, topic: str, partitions: int) -> list[Record]:
    """Every record that the topic holds now; those of a partition in their order."""
    found: list[Record] = []
    async with consumer(address, topic, partitions) as reader:
        ends = await reader.end_offsets(reader.assignment())
        # By position, not by the records seen: a topic may end with offsets that hold nothing.
        while not all([await reader.position(part) >= end for part, end in ends.items()]):
            for records in (await reader.getmany(timeout_ms=200)).values():
                found += records
    return found


async def caught_up(address: str, group: str, topic: str, partitions: int) -> None:
    """Wait until the group has committed all that the topic holds: read, computed, said and checkpointed."""
    parts = [TopicPartition(topic, number) for number in range(partitions)]
    # Of the group by name only: assigned by hand, it joins nothing.
    reader = AIOKafkaConsumer(bootstrap_servers=address, group_id=group, enable_auto_commit=False)
    await reader.start()
    try:
        reader.assign(parts)
        while True:
            ends = await reader.end_offsets(parts)
            if all([(await reader.committed(part) or 0) >= ends[part] for part in parts]):
                return
            await asyncio.sleep(POLL_SECONDS)
    finally:
        await reader.stop()
