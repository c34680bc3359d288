"""A partition host that records what it is told, and an app around it."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.structs import TopicPartition

from stream.engine.faust_app import EngineApp, create_app, serve
from stream.engine.partitions import Parts
from stream.engine.stopping import StopBudget
from stream.engine.transport import TransportSettings
from tests.integration.conftest import Broker

PARTITIONS = 4
PATIENCE_SECONDS = 40.0


class Call(NamedTuple):
    """One call of the host."""

    what: str
    partitions: frozenset[int]
    offsets: Sequence[int] = ()
    generation: int = -1


Journal = dict[int, list[int]]
"""The offsets that were processed of each partition, in order, by whichever host."""


class RecordingHost:
    """Goes on where the journal ends, which hosts may share. Holds nothing."""

    def __init__(self, journal: Journal | None = None, start: Mapping[int, int] | None = None) -> None:
        self.calls: list[Call] = []
        self.journal: Journal = {} if journal is None else journal
        self.start = dict(start or {})
        self.while_loading: Callable[[], Awaitable[Any]] | None = None
        self.while_processing: Callable[[], Awaitable[Any]] | None = None
        self.while_revoking: Callable[[], Awaitable[Any]] | None = None
        self._changed = asyncio.Condition()

    async def assigned(self, partitions: set[int]) -> dict[int, int]:
        await self._note(Call("assigned", frozenset(partitions)))
        if self.while_loading is not None:
            try:
                await self.while_loading()
            except asyncio.CancelledError:
                await self._note(Call("cancelled", frozenset(partitions)))
                raise
        await self._note(Call("loaded", frozenset(partitions)))
        return {p: self.next(p) for p in partitions}

    async def batch(self, partition: int, parts: Parts, generation: int) -> None:
        if self.while_processing is not None:
            await self.while_processing()
        offsets = [record.offset for part in parts for record in part]
        self.journal.setdefault(partition, []).extend(offsets)
        await self._note(Call("batch", frozenset([partition]), offsets, generation))

    async def revoked(self, partitions: set[int], stop: StopBudget | None = None) -> bool:
        if self.while_revoking is not None:
            await self.while_revoking()
        await self._note(Call("revoked", frozenset(partitions)))
        return True

    def next(self, partition: int) -> int:
        """The offset to read next."""
        done = self.journal.get(partition)
        return done[-1] + 1 if done else self.start.get(partition, 0)

    async def until(self, holds: Callable[[], Any]) -> None:
        """Wait for something that only a call can make true."""
        async with asyncio.timeout(PATIENCE_SECONDS), self._changed:
            await self._changed.wait_for(holds)

    def count(self, what: str) -> int:
        """How often it was called so."""
        return sum(call.what == what for call in self.calls)

    @property
    def held(self) -> frozenset[int]:
        """What it was told last to hold."""
        last = next((c for c in reversed(self.calls) if c.what in ("loaded", "revoked")), None)
        return last.partitions if last is not None and last.what == "loaded" else frozenset()

    async def _note(self, call: Call) -> None:
        self.calls.append(call)
        async with self._changed:
            self._changed.notify_all()

    # No state, so nothing to read.

    def partitions(self) -> frozenset[int]:
        return frozenset()

    def customer(self, partition: int, key: str) -> None:
        return None

    def customers(self, partition: int) -> Iterator[tuple[str, Any]]:
        return iter(())

    def seen(self, partition: int, customer: str, event_id: str) -> bool:
        return False


class Names(NamedTuple):
    """Topics and group of one test."""

    events: str
    state: str
    group: str


async def create_topics(broker: Broker, *topics: str, partitions: int = PARTITIONS) -> None:
    admin = AIOKafkaAdminClient(**broker.client)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(topic, partitions, 1) for topic in topics])
    finally:
        await admin.close()


async def fresh(broker: Broker) -> Names:
    """Topics of their own for a test."""
    tag = uuid.uuid4().hex[:8]
    names = Names(f"events-{tag}", f"state-{tag}", f"group-{tag}")
    await create_topics(broker, names.events, names.state)
    return names


async def append(broker: Broker, topic: str, counts: Mapping[int, int], values: Iterable[bytes] = ()) -> None:
    """Append so many records to each partition, acknowledged."""
    supply = itertools.chain(values, itertools.repeat(b"{}"))
    async with AIOKafkaProducer(**broker.client, acks="all", linger_ms=5) as producer:
        sent = [
            await producer.send(topic, next(supply), partition=partition)
            for partition, count in counts.items()
            for _ in range(count)
        ]
        await asyncio.gather(*sent)


async def committed(broker: Broker, group: str, topic: str) -> dict[int, int]:
    """What the group has committed of a topic, by partition."""
    async with AIOKafkaConsumer(**broker.client, group_id=group, enable_auto_commit=False) as consumer:
        partitions = [TopicPartition(topic, number) for number in range(PARTITIONS)]
        consumer.assign(partitions)
        found = {tp.partition: await consumer.committed(tp) for tp in partitions}
    return {partition: offset for partition, offset in found.items() if offset is not None}


def settings(broker: Broker, group: str, **changed: Any) -> TransportSettings:
    return TransportSettings(
        group=group, session_timeout_seconds=broker.session_seconds, heartbeat_seconds=0.5, **changed
    )


@contextlib.asynccontextmanager
async def worker(
    broker: Broker,
    names: Names,
    host: RecordingHost,
    *,
    gates: Mapping[str, Any] | None = None,
    **changed: Any,
) -> AsyncIterator[EngineApp]:
    """An app that runs in this loop, stopped at the end as by SIGTERM."""
    app = create_app(
        host,
        client=broker.client,
        events=names.events,
        state_topic=names.state,
        reader=host,
        partitions=PARTITIONS,
        settings=settings(broker, names.group, **changed),
        gates=gates,
    )
    stop = asyncio.Event()
    running = asyncio.create_task(serve(app, stop))
    try:
        yield app
    finally:
        stop.set()
        await running
