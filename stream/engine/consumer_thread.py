"""aiokafka's consumer, in a thread of its own, as a member of the group: settings, rebalances, fetches.

Private parts of aiokafka in use: ``_fetcher.fetched_records`` (as Faust does) and ``_records`` (what it gives out, and
how it is unpacked), and ``_coordinator`` (generation, heartbeats, errors).
"""

import asyncio
import time
from collections.abc import Awaitable, Collection, Coroutine, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from sys import maxsize
from typing import Any, Final, TypeVar, cast

import msgspec
from aiokafka import AIOKafkaConsumer
from aiokafka.consumer.fetcher import FetchResult
from aiokafka.errors import CorruptRecordException, IllegalStateError
from aiokafka.structs import ConsumerRecord, OffsetAndMetadata, TopicPartition
from faust.transport.drivers import aiokafka as driver
from faust.types import TP, AppT
from mode import Service

from stream.engine.death import die
from stream.engine.delivery import Delivery, LostAssignment
from stream.engine.partitions import GroupHealth

NEVER_MS: Final = 10 * 365 * 86_400 * 1_000

T = TypeVar("T")


@dataclass(frozen=True)
class TransportSettings:
    """How this worker takes part in its consumer group, and how it fetches.

    Latency: a fetch returns as soon as ``fetch_min_bytes`` are there. ``fetch_max_wait_ms`` bounds the one
    wait that remains: a partition that was drained while a fetch for the others of its broker was already
    out.

    A batch is ended by the record batch with which it has ``max_batch_records``.

    ``drain_seconds`` is for the batch in progress at a rebalance, ``stop_seconds`` for everything that a graceful
    stop does.
    """

    group: str = "livesegments"
    instance_id: str | None = None
    client_id: str = "livesegments"
    session_timeout_seconds: float = 10.0
    heartbeat_seconds: float = 2.0
    rebalance_timeout_seconds: float = 30.0
    drain_seconds: float = 20.0
    stop_seconds: float = 10.0
    fetch_min_bytes: int = 1
    fetch_max_wait_ms: int = 50
    fetch_max_bytes: int = 16 * 1024 * 1024
    max_partition_fetch_bytes: int = 1024 * 1024
    max_batch_records: int = 4_000
    prefetch_batches: int = 4

    @property
    def request_timeout_seconds(self) -> float:
        """A join is answered only when the whole group has joined: longer than a rebalance may last."""
        return max(self.session_timeout_seconds, self.rebalance_timeout_seconds) + 10.0


class FetchedRecord(msgspec.Struct, gc=False):
    """One record of `events`: what is looked at of aiokafka's ``ConsumerRecord``."""

    offset: int
    timestamp: int  # ms
    timestamp_type: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...]


class Packed:
    """Record batches of `events`, checked and decompressed. To be gone through once: gives the records of one after
    the other, in lists that are not empty.

    They are unpacked where they are processed, so that a record is in the cache of the core that reads it, and its
    memory is at once that of the next. All that is in the log is taken, committed or not.
    """

    def __init__(self, batches: Sequence[Any], start: int, end: int, most: int) -> None:
        self._batches = batches
        self._start = start
        self.end = end
        """The offset behind the last record."""
        self._length = max(0, min(end - start, most))

    def __len__(self) -> int:
        """How many there are to the fetcher: no more than it asked for, though the last batch comes whole."""
        return self._length

    def __iter__(self) -> Iterator[list[FetchedRecord]]:
        batches, self._batches = self._batches, ()
        for batch in batches:
            found = [
                FetchedRecord(
                    record.offset,
                    record.timestamp,
                    record.timestamp_type,
                    record.key,
                    record.value,
                    tuple(headers) if (headers := record.headers) else (),
                )
                for record in batch
            ]
            if found and found[0].offset < self._start:  # a fetch may begin within a batch
                found = [record for record in found if record.offset >= self._start]
            if found:
                yield found


class Fetched(dict[TopicPartition, Any]):
    """The fetcher's results by partition; those of ``topic`` give out ``Packed``."""

    def __init__(self, topic: str) -> None:
        super().__init__()
        self._topic = topic

    def __setitem__(self, tp: TopicPartition, result: Any) -> None:
        if tp.topic == self._topic and type(result) is FetchResult:
            result.getall = partial(_getall, result)
        super().__setitem__(tp, result)


def _getall(result: Any, max_records: int | None = None) -> Packed | tuple[()]:
    """``FetchResult.getall``, by batches."""
    if not result.check_assignment(result._topic_partition) or not result.has_more():
        return ()
    records = result._partition_records
    raw, start = records._records, records.next_fetch_offset
    most = maxsize if max_records is None else max_records
    batches = []
    while raw.has_next() and records.next_fetch_offset - start < most:
        batch = raw.next_batch()
        if records._check_crcs and not batch.validate_crc():
            raise CorruptRecordException(f"Invalid CRC - {records._tp}")
        if not batch.is_control_batch:
            batches.append(iter(batch))  # decompresses it
        records.next_fetch_offset = max(records.next_fetch_offset, batch.next_offset)
    result._update_position()
    if not raw.has_next():
        result._partition_records = None
    return Packed(batches, start, records.next_fetch_offset, most)


class EngineAppT(AppT):
    """What the transport and the tables need of the app beside Faust's own."""

    client: Mapping[str, Any]
    transport_settings: TransportSettings
    delivery: Delivery
    events: str


class Listener(driver.ConsumerRebalanceListener):
    """Marks a rebalance in the consumer thread, before Faust hears of it."""

    _thread: "ConsumerThread"

    def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> Awaitable[Any]:
        """Shut the epoch for records that are taken from now on."""
        self._thread.rebalance_begins()
        return super().on_partitions_revoked(revoked)

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        """Fetch nothing until the host has said from where."""
        self._thread.rebalance_ends(set(assigned))
        await super().on_partitions_assigned(assigned)


class ConsumerThread(driver.AIOKafkaConsumerThread):
    """aiokafka's consumer in a thread of its own: heartbeats go on while the main loop computes."""

    epoch = 0
    heartbeat_at = 0.0
    rebalancing = True

    async def on_start(self) -> None:
        """Connect, and note every successful heartbeat."""
        await super().on_start()
        consumer = self._ensure_consumer()
        consumer._fetcher._records = Fetched(cast(EngineAppT, self.app).events)
        coordinator = consumer._coordinator
        beat = coordinator._do_heartbeat

        async def noted() -> bool:
            ok = bool(await beat())
            if ok:
                self.heartbeat_at = time.monotonic()
            return ok

        coordinator._do_heartbeat = noted
        leave = coordinator._maybe_leave_group

        async def left() -> None:
            # Tansu counts generations from 0, which aiokafka takes for no membership: it would not leave, and
            # the partitions would wait for the end of the session.
            if coordinator.generation == 0:
                coordinator.generation = 1
            await leave()

        coordinator._maybe_leave_group = left

    @Service.task
    async def _watch_coordinator(self) -> None:
        """End the process on an error of the group: aiokafka tells only who fetches, perhaps nobody."""
        while not self.should_stop:
            await self.sleep(1.0)
            try:
                if not self.should_stop:
                    self._ensure_consumer()._coordinator.check_errors()
            except Exception as error:
                die("the consumer group failed", error)

    def rebalance_begins(self) -> None:
        """Called in this thread when the group starts to rebalance."""
        self.epoch += 1
        self.rebalancing = True

    def rebalance_ends(self, assigned: Collection[TopicPartition]) -> None:
        """Called in this thread with the new assignment, before anything of it is fetched."""
        self._ensure_consumer().pause(*assigned)
        self.heartbeat_at = time.monotonic()
        self.rebalancing = False

    async def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Await a coroutine in this thread. Two fetches would block Faust's queue of two workers."""
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(coroutine, self.thread_loop))

    async def start_reading(self, offsets: Mapping[TopicPartition, int]) -> int:
        """In this thread: begin an epoch. Seeks and the epoch are one step, no record is taken between."""
        consumer = self._ensure_consumer()
        assigned = consumer.assignment()
        if self.rebalancing or not assigned >= offsets.keys():
            raise LostAssignment
        self.epoch += 1
        for partition, offset in offsets.items():
            consumer.seek(partition, offset)
        consumer.resume(*assigned)
        return self.epoch

    async def take(
        self, partitions: Collection[TP], seconds: float, limit: int
    ) -> tuple[int, Mapping[TopicPartition, Packed | list[ConsumerRecord]]]:
        """In this thread: wait for records, and say in which epoch they were taken."""
        records = await self._ensure_consumer()._fetcher.fetched_records(partitions, timeout=seconds, max_records=limit)
        return self.epoch, records

    async def commit_exactly(self, offsets: Mapping[TopicPartition, int]) -> None:
        """In this thread: commit, and raise what Faust's own commit only logs."""
        await self._ensure_consumer().commit(
            {partition: OffsetAndMetadata(offset, "") for partition, offset in offsets.items()}
        )

    async def set_paused(self, partition: TopicPartition, paused: bool) -> None:
        """In this thread: stop or go on fetching one partition. ``LostAssignment`` if it is not ours."""
        consumer = self._ensure_consumer()
        try:
            (consumer.pause if paused else consumer.resume)(partition)
        except IllegalStateError as error:
            raise LostAssignment from error

    def health(self) -> GroupHealth:
        """From any thread."""
        generation = self._consumer._coordinator.generation if self._consumer is not None else -1
        return GroupHealth(generation, self.heartbeat_at, self.rebalancing)

    def _create_worker_consumer(self, transport: Any) -> AIOKafkaConsumer:
        app = cast(EngineAppT, self.app)
        settings = app.transport_settings
        self._assignor = app.assignor
        return AIOKafkaConsumer(
            **app.client,
            client_id=settings.client_id,
            group_id=settings.group,
            group_instance_id=settings.instance_id,
            # Faust's assignor is sticky: what a worker keeps, stays warm.
            partition_assignment_strategy=[app.assignor],
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            session_timeout_ms=_ms(settings.session_timeout_seconds),
            heartbeat_interval_ms=_ms(settings.heartbeat_seconds),
            rebalance_timeout_ms=_ms(settings.rebalance_timeout_seconds),
            request_timeout_ms=_ms(settings.request_timeout_seconds),
            # A member that consumes nothing for so long leaves the group and never returns (aiokafka#1187): a
            # spare worker must not.
            max_poll_interval_ms=NEVER_MS,
            fetch_min_bytes=settings.fetch_min_bytes,
            fetch_max_wait_ms=settings.fetch_max_wait_ms,
            fetch_max_bytes=settings.fetch_max_bytes,
            max_partition_fetch_bytes=settings.max_partition_fetch_bytes,
            metadata_max_age_ms=60_000,
        )


def _ms(seconds: float) -> int:
    return int(seconds * 1000)
