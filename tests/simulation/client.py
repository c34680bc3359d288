"""The Kafka clients of a worker, over the topics in this process: the duck types that the engine's code works with."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from aiokafka.errors import KafkaError
from aiokafka.structs import TopicPartition

from stream.engine.delivery import SHUT, LostAssignment
from stream.engine.offsets import NotOwner
from stream.engine.partitions import Batch
from stream.engine.reading import Reading
from stream.engine.recovery import Recovery
from stream.engine.writes import Headers, Record, Sent
from tests.simulation.log import CHANGES, EVENTS, STATE, Stored

if TYPE_CHECKING:
    from tests.simulation.worker import Worker


class Injected(KafkaError):  # type: ignore[misc]  # aiokafka is untyped
    """A produce that failed because the schedule says so."""


@dataclass(frozen=True, slots=True)
class _Metadata:
    offset: int


class SimWrites:
    """Like ``stream.engine.writes.Writes``: one producer, its requests in order, each with its own fate."""

    def __init__(self, worker: Worker, name: str) -> None:
        self._worker, self._name = worker, name
        self._free_at = 0.0
        #: An idempotent producer takes nothing behind a failed batch; of state, others may be in use.
        self._failed: set[tuple[str, int]] = set()
        self._on_their_way: set[asyncio.Future[Any]] = set()

    @property
    def on_their_way(self) -> int:
        """Requests that are neither acknowledged nor failed."""
        return len(self._on_their_way)

    async def settled(self) -> None:
        """Wait until there are none."""
        if self._on_their_way:
            await asyncio.wait(self._on_their_way)

    async def append(self, topic: str, partition: int, records: Iterable[Record]) -> list[Sent]:
        """Queue records in batches of a few."""
        world = self._worker.world
        waiting = list(records)
        sent: list[Sent] = []
        while waiting:
            count = world.rng.randint(1, world.knobs.batch)
            some, waiting = waiting[:count], waiting[count:]
            sent.append(self._request(topic, partition, some, ()))
            if waiting and world.rng.random() < 0.3:
                await self._worker.io(f"queue {topic}")
        if world.rng.random() < 0.3:
            await self._worker.io(f"queue {topic}")
        return sent

    async def send(
        self, topic: str, partition: int, key: bytes | None, value: bytes | None, headers: Headers = ()
    ) -> Sent:
        """Queue one record with headers."""
        return self._request(topic, partition, [(key, value)], tuple(headers))

    def _request(self, topic: str, partition: int, records: Sequence[Record], headers: Headers) -> Sent:
        world, worker = self._worker.world, self._worker
        future: asyncio.Future[Any] = worker.loop.create_future()
        self._on_their_way.add(future)
        future.add_done_callback(self._on_their_way.discard)
        self._free_at = max(world.now, self._free_at) + world.latency()
        label = f"{topic}{' checkpoint' if records[0][0] == b'p' else ''}"
        world.for_events += topic == EVENTS

        def fail() -> None:
            if topic != STATE or world.knobs.idempotent:
                self._failed.add((topic, partition))
            if not future.done():
                future.set_exception(Injected(f"{label}/{partition}"))

        def deliver() -> None:
            world.for_events -= topic == EVENTS
            if worker.dead and not worker.late:
                return  # its bytes never left the machine
            if (topic, partition) in self._failed:
                return fail()
            fate = world.point(worker, f"produce {label}: before")
            if fate == "crash" and not worker.late:
                return
            if fate == "fail":
                return fail()
            offset = world.append(worker, topic, partition, records, headers)
            fate = world.point(worker, f"produce {label}: not acknowledged")
            if fate == "fail":
                return fail()
            if fate != "crash":
                world.at(world.now + world.latency(), lambda: acknowledge(offset))

        def acknowledge(offset: int) -> None:
            if worker.dead:
                return
            if not future.done():
                future.set_result(_Metadata(offset))
            world.point(worker, f"produce {label}: acknowledged")

        world.at(self._free_at, deliver)
        return Sent(future, len(records))


class SimConsumer:
    """What recovery and fills use of aiokafka's consumer."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._positions: dict[TopicPartition, int] = {}

    async def __aenter__(self) -> SimConsumer:
        return self

    async def __aexit__(self, *error: object) -> None:
        pass

    async def beginning_offsets(self, tps: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        topics = self._worker.world.topics
        return {tp: topics[tp.topic, tp.partition].beginning for tp in tps}

    async def end_offsets(self, tps: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        tps = list(tps)
        await self._worker.io("ask for the end of " + ",".join(sorted({tp.topic for tp in tps})))
        topics = self._worker.world.topics
        return {tp: topics[tp.topic, tp.partition].end for tp in tps}

    async def offsets_for_times(self, times: Mapping[TopicPartition, int]) -> dict[TopicPartition, Stored | None]:
        topics = self._worker.world.topics
        return {
            tp: next((r for r in part.read(0, part.end) if r.timestamp >= time), None)
            for tp, time in times.items()
            for part in (topics[tp.topic, tp.partition],)
        }

    def assign(self, tps: Iterable[TopicPartition]) -> None:
        self._positions = dict.fromkeys(tps, 0)

    def seek(self, tp: TopicPartition, offset: int) -> None:
        self._positions[tp] = offset

    def pause(self, tp: TopicPartition) -> None:
        del self._positions[tp]

    async def position(self, tp: TopicPartition) -> int:
        return self._positions[tp]

    async def getmany(self, *tps: TopicPartition, timeout_ms: int) -> dict[TopicPartition, list[Stored]]:
        world = self._worker.world
        await self._worker.io("read " + ",".join(sorted({tp.topic for tp in tps})))
        found: dict[TopicPartition, list[Stored]] = {}
        for tp in sorted(tps):  # the engine keeps them in a set
            part = world.topics[tp.topic, tp.partition]
            records = part.read(self._positions[tp], world.rng.randint(1, world.knobs.fetch * 4))
            if records:
                found[tp] = records
                self._positions[tp] = records[-1].offset + 1
            if part.read(self._positions[tp], 1) == []:
                self._positions[tp] = part.end  # a position goes past what compaction has taken
        return found


class SimRecovery(Recovery):
    """The engine's recovery, with another consumer."""

    def __init__(self, worker: Worker) -> None:
        super().__init__({}, EVENTS, STATE, CHANGES)
        self._worker = worker

    def _consumer(self) -> Any:
        return SimConsumer(self._worker)


class SimReading(Reading):
    """The engine's reading for fills, with another consumer; the client's only setting is the worker."""

    @classmethod
    @asynccontextmanager
    async def of(cls, client: Mapping[str, Any]) -> AsyncIterator[Reading]:
        yield cls(SimConsumer(client["worker"]))


class SimOffsets:
    """Commits as the group's coordinator takes them."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker

    async def commit(self, offsets: Mapping[int, int]) -> None:
        await self._worker.io("commit: before")
        if not self._worker.world.group.commit(self._worker, offsets):
            raise NotOwner(f"partitions {sorted(offsets)}")
        await self._worker.io("commit: acknowledged")

    @property
    def open(self) -> bool:
        return self._worker.delivery.epoch != SHUT

    async def ours(self) -> bool:
        return self.open  # as if every request of a zombie came before its first heartbeat

    def lag(self) -> dict[int, int]:
        return {}


class SimFlow:
    """The consumer as ``stream.engine.delivery`` drives it."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._epoch = 0
        self._positions: dict[int, int] = {}
        self._taken: Batch | None = None
        self._queue: asyncio.Queue[Batch] = asyncio.Queue()

    async def next(self) -> Batch:
        """What the agent gets."""
        return await self._queue.get()

    @property
    def idle(self) -> bool:
        """Whether no batch waits for the agent."""
        return self._queue.empty()

    async def start_reading(self, events: Mapping[int, int]) -> int:
        generation = self._worker.generation
        await self._worker.io("start to read")
        if self._worker.revoking or generation != self._worker.generation:
            raise LostAssignment
        self._epoch += 1
        self._positions = dict(events)
        return self._epoch

    async def take(self, topic: str) -> list[Batch]:
        world = self._worker.world
        await self._worker.io(f"fetch {topic}")
        epoch, found = self._epoch, []
        for partition, position in self._positions.items():
            records = world.topics[topic, partition].read(position, world.rng.randint(1, world.knobs.fetch))
            if records:
                self._positions[partition] = records[-1].offset + 1
                cut = len(records) // 2
                parts = [part for part in (records[:cut], records[cut:]) if part]
                found.append(Batch(topic, partition, parts, records[-1].offset + 1, self._worker.generation, epoch))
        if not found:
            await world.arrival(self._worker)
        return found

    async def offer(self, batch: Batch) -> None:
        self._taken = batch
        self._queue.put_nowait(batch)

    def resume(self) -> None:
        # A batch that was held up somewhere since an earlier epoch comes now.
        if self._taken is not None and self._worker.world.rng.random() < 0.3:
            self._queue.put_nowait(self._taken)

    def suspend(self) -> None:
        while not self._queue.empty():
            self._queue.get_nowait()

    async def commit_acknowledged(self) -> None:
        pass
