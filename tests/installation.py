"""A livesegments of its own on a real broker, for one test: topics, book, workers as processes, and their outcome."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

import msgspec
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.structs import ConsumerRecord

from schemas.changes import is_change
from schemas.facts import FACT_HEADER
from stream.core.routing import partition_of
from stream.core.state import CHECKPOINT, Checkpoint
from stream.demo.children import Child, finish, running

#: How long a test waits for what must come; reached only by a failure.
PATIENCE = 30.0
TICK_MS = 4_000


@dataclass
class Installation:
    """Topics behind a prefix of their own. The test is the clock: workers write no ticks."""

    address: str
    directory: Path
    environment: dict[str, str]
    prefix: str
    partitions: int
    producer: AIOKafkaProducer
    consumer: AIOKafkaConsumer
    stack: AsyncExitStack
    _last_tick: int = 0
    _started: int = field(default=0)

    async def apply(self, book: str, at: int) -> None:
        """``segments apply`` at ``at`` (µs): a tick before it keeps the real time of the command out of the log."""
        await self.tick(at)
        await self.producer.flush()
        file = self.directory / "segments.yaml"
        file.write_text(book, "utf-8")
        await finish("segments-apply", ["segments", "apply", str(file)], self.environment, self.directory)

    async def start_worker(self, **settings: str) -> Child:
        """A worker process; stopped at the end of the test at the latest."""
        self._started += 1
        environment = self.environment | {f"LIVESEGMENTS_{k.upper()}": v for k, v in settings.items()}
        name = f"worker-{self._started}"
        return await self.stack.enter_async_context(running(name, ["worker"], environment, self.directory))

    async def tick(self, log_time: int) -> None:
        """Let the log's time pass to ``log_time`` (µs) in every partition."""
        for partition in range(self.partitions):
            await self.producer.send(
                f"{self.prefix}events",
                b"{}",
                partition=partition,
                headers=[(FACT_HEADER, b"tick")],
                timestamp_ms=log_time // 1000,
            )

    async def send(self, log: Iterable[tuple[int, bytes | None, bytes | None]], pause: float = 0.0) -> None:
        """Append (log time µs, key, value), with a tick whenever the time moves on by some seconds."""
        for number, (log_time, key, value) in enumerate(log):
            if log_time // 1000 >= self._last_tick + TICK_MS:
                self._last_tick = log_time // 1000
                await self.tick(log_time)
            await self.producer.send(
                f"{self.prefix}events",
                value,
                key=key,
                partition=partition_of((key or b"").decode(), self.partitions),
                timestamp_ms=log_time // 1000,
            )
            if pause and number % 100 == 0:
                await asyncio.sleep(pause)
        await self.producer.flush()

    async def read(self, topic: str, end: dict[int, int] | None = None) -> list[ConsumerRecord]:
        """Everything in a topic, partition by partition."""
        found: list[ConsumerRecord] = []
        for partition in range(self.partitions):
            part = TopicPartition(f"{self.prefix}{topic}", partition)
            self.consumer.assign([part])
            (last,) = (await self.consumer.end_offsets([part])).values()
            (first,) = (await self.consumer.beginning_offsets([part])).values()
            self.consumer.seek(part, first)
            while await self.consumer.position(part) < last:
                for records in (await self.consumer.getmany(timeout_ms=200)).values():
                    found += records
        return found

    async def changes(self) -> list[bytes]:
        """The changes on ``segment-changes``."""
        return [record.value for record in await self.read("segment-changes") if is_change(record.headers)]

    async def checkpoints(self) -> dict[int, Checkpoint]:
        """The newest checkpoint of each partition."""
        return {
            record.partition: msgspec.msgpack.decode(record.value, type=Checkpoint)
            for record in await self.read("state")
            if record.key == CHECKPOINT
        }

    async def all_in(self, workers: Sequence[Child]) -> None:
        """Wait until every partition has a checkpoint that covers all of the log; a worker that ended fails it."""
        ends = dict.fromkeys(range(self.partitions), 0)
        for record in await self.read("events"):
            ends[record.partition] = record.offset
        deadline = time.monotonic() + PATIENCE
        while True:
            for worker in workers:
                worker.check()
            done = await self.checkpoints()
            if all(p in done and done[p].position >= end for p, end in ends.items()):
                return
            if time.monotonic() > deadline:
                positions = {p: c.position for p, c in done.items()}
                raise TimeoutError(f"checkpoints cover {positions}, the log ends at {ends}")
            await asyncio.sleep(0.2)  # between two looks, not instead of one


@asynccontextmanager
async def installation(
    address: str, directory: Path, *, embedded: bool, partitions: int = 2
) -> AsyncIterator[Installation]:
    """Make the topics of an installation; whatever it started is gone at the end."""
    prefix = f"t{uuid4().hex[:8]}-"
    client = {"bootstrap_servers": address}
    environment = {name: value for name, value in os.environ.items() if not name.startswith("LIVESEGMENTS_")}
    said = {
        "kafka_bootstrap_servers": address,
        "kafka_idempotence": str(not embedded).lower(),
        "topic_prefix": prefix,
        "partitions": str(partitions),
        "tick_seconds": "0",
        "checkpoint_seconds": "0.5",
        "session_timeout_seconds": "4" if embedded else "6",
        "rebalance_timeout_seconds": "4" if embedded else "10",
        "fetch_wait_ms": "10" if embedded else "50",
        "metrics_port": "0",
        "rate_limit": "100000",
    }
    environment |= {f"LIVESEGMENTS_{name.upper()}": value for name, value in said.items()}
    admin = AIOKafkaAdminClient(**client)
    await admin.start()
    try:
        # CreateTime: the test decides what time it is. `topics create` leaves a topic as it finds it.
        await admin.create_topics([NewTopic(f"{prefix}events", partitions, 1)])
    finally:
        await admin.close()
    await finish("topics-create", ["topics", "create"], environment, directory)
    producer = AIOKafkaProducer(**client, acks="all", linger_ms=2)
    consumer = AIOKafkaConsumer(**client, enable_auto_commit=False, auto_offset_reset="earliest")
    async with AsyncExitStack() as stack:
        await producer.start()
        stack.push_async_callback(producer.stop)
        await consumer.start()
        stack.push_async_callback(consumer.stop)
        yield Installation(address, directory, environment, prefix, partitions, producer, consumer, stack)
