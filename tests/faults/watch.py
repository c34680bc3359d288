"""Eyes on a run, from outside: changes as they arrive, what is committed, and at the end everything that is stored."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Iterable
from typing import NamedTuple

import orjson
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from schemas.changes import is_change
from stream.core.time import parse_iso
from tests.faults.load import BEAT
from tests.simulation.log import Stored

_SAMPLE_SECONDS = 0.2


class Sample(NamedTuple):
    """What was committed at a moment, and then how far the changes had come."""

    partition: int
    committed: int
    changes_end: int


class Watch:
    """Follows ``segment-changes``, and samples the group's offsets. Survives its broker."""

    def __init__(self, servers: str, group: str, events: str, changes: str, partitions: int) -> None:
        self._servers, self._group = servers, group
        self._events = [TopicPartition(events, p) for p in range(partitions)]
        self._changes = [TopicPartition(changes, p) for p in range(partitions)]
        #: When (s since the epoch) the change of a beat arrived.
        self.arrived: dict[str, float] = {}
        self.newest_beat: dict[int, float] = {}
        #: (when it arrived, seconds after its instant) of changes by time alone.
        self.lateness: list[tuple[float, float]] = []
        self.samples: list[Sample] = []
        #: By partition, as of the last sample.
        self.committed: dict[int, int] = {}
        self.ends: dict[int, int] = {}
        self.seen = 0
        self._sent: dict[str, float] = {}
        self._tasks: list[asyncio.Task[None]] = []

    def start(self, beats: dict[str, float]) -> None:
        """Begin. ``beats`` says when each was sent."""
        self._sent = beats
        self._tasks = [asyncio.create_task(self._follow()), asyncio.create_task(self._sample())]

    async def stop(self) -> None:
        """End."""
        for task in self._tasks:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    def in_flight(self) -> int:
        """Records of the log that are not covered by a commit, as of the last sample."""
        return sum(max(0, end - self.committed.get(p, 0)) for p, end in self.ends.items())

    def served_since(self, moment: float) -> dict[int, float]:
        """By partition, when the first change arrived whose beat was sent after ``moment``."""
        found: dict[int, float] = {}
        for name, at in reversed(self.arrived.items()):
            if at < moment:
                break  # they stand in the order of their arrival
            if self._sent.get(name, 0.0) > moment:
                partition = self._partition[name]
                found[partition] = at
        return found

    async def _follow(self) -> None:
        self._partition: dict[str, int] = {}
        positions: dict[TopicPartition, int] = dict.fromkeys(self._changes, 0)
        while True:
            consumer = AIOKafkaConsumer(bootstrap_servers=self._servers, group_id=None, fetch_max_wait_ms=100)
            try:
                await consumer.start()
                consumer.assign(self._changes)
                for tp, offset in positions.items():
                    consumer.seek(tp, offset)
                while True:
                    for tp, records in (await consumer.getmany(timeout_ms=500)).items():
                        positions[tp] = records[-1].offset + 1
                        self._arrive(tp.partition, time.time(), [r.value for r in records if is_change(r.headers)])
            except (KafkaError, OSError):
                await asyncio.sleep(0.5)
            finally:
                with contextlib.suppress(KafkaError, OSError):
                    await consumer.stop()

    def _arrive(self, partition: int, now: float, values: Iterable[bytes]) -> None:
        for value in values:
            self.seen += 1
            change = orjson.loads(value)
            name = change["customer_id"]
            if name.startswith(BEAT):
                if name not in self.arrived:
                    self.arrived[name] = now
                    self._partition[name] = partition
            elif change["cause"]["kind"] == "time":
                self.lateness.append((now, now - parse_iso(change["at"]) / 1e6))

    async def _sample(self) -> None:
        while True:
            admin = AIOKafkaAdminClient(bootstrap_servers=self._servers, request_timeout_ms=3_000)
            consumer = AIOKafkaConsumer(bootstrap_servers=self._servers, group_id=None, request_timeout_ms=3_000)
            try:
                await admin.start()
                await consumer.start()
                while True:
                    async with asyncio.timeout(4.0):
                        found = await admin.list_consumer_group_offsets(self._group)
                        ends = await consumer.end_offsets([*self._events, *self._changes])
                    for events, changes in zip(self._events, self._changes, strict=True):
                        committed = found[events].offset if events in found else 0
                        self.ends[events.partition] = ends[events]
                        if committed > self.committed.get(events.partition, -1):
                            self.samples.append(Sample(events.partition, committed, ends[changes]))
                        self.committed[events.partition] = committed
                    await asyncio.sleep(_SAMPLE_SECONDS)
            except (KafkaError, OSError, TimeoutError):
                await asyncio.sleep(0.3)
            finally:
                with contextlib.suppress(KafkaError, OSError, TimeoutError):
                    await admin.close()
                    await consumer.stop()


async def everything(servers: str, topic: str, partitions: int) -> list[list[Stored]]:
    """All records of a topic as they are stored, by partition."""
    found: list[list[Stored]] = [[] for _ in range(partitions)]
    tps = [TopicPartition(topic, p) for p in range(partitions)]
    async with AIOKafkaConsumer(
        bootstrap_servers=servers, group_id=None, max_partition_fetch_bytes=8 * 1024 * 1024
    ) as consumer:
        ends = await consumer.end_offsets(tps)
        starts = await consumer.beginning_offsets(tps)
        wanted = {tp for tp in tps if starts[tp] < ends[tp]}
        consumer.assign(list(wanted))
        for tp in wanted:
            consumer.seek(tp, starts[tp])
        while wanted:
            for tp, records in (await consumer.getmany(*wanted, timeout_ms=500)).items():
                found[tp.partition] += [
                    Stored(r.offset, r.timestamp, r.key, r.value, tuple(r.headers), r.timestamp_type) for r in records
                ]
            for tp in list(wanted):
                if await consumer.position(tp) >= ends[tp]:
                    wanted.discard(tp)
                    consumer.pause(tp)
    return found
