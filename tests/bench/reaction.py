"""How soon a change is there at 2,000 events/s: after its event, or the instant that causes it.

Every view enters its customer, whom nobody has seen before, into ``active_now``; with no further event the
customer has left it ``WINDOW_SECONDS`` later. Latency runs from just before the producer is given the event
to the receipt of the change by a consumer in this process; lateness from the change's ``at`` to its
receipt. Events are sent one by one, with no linger, in steps of a millisecond or so.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from schemas import topics
from stream.core.time import parse_iso
from stream.definitions import apply_definitions
from stream.topics import create_topics
from tests.bench.contestants import Broker, worker
from tests.bench.load import Load

PREFIX = "reaction-"
EVENTS_PER_SECOND = 2_000
SECONDS = 7.0  # a checkpoint of every partition falls into them
#: The first of them are not counted: the worker and this process have not done anything before.
SETTLING_SECONDS = 1.0
WINDOW_SECONDS = 2
SEGMENT = "active_now"
_RULE = f"""
  {SEGMENT}:
    description: looked at something in the last {WINDOW_SECONDS} seconds
    sql: >-
      EXISTS (SELECT 1 FROM events
              WHERE event_type = 'product_view' AND event_time >= now() - INTERVAL '{WINDOW_SECONDS} seconds')
"""
_STEP_SECONDS = 0.001
_PATIENCE_SECONDS = 30.0


class _Cause(msgspec.Struct):
    kind: str
    event_id: str | None = None


class _Change(msgspec.Struct):
    segment: str
    action: str
    at: str
    cause: _Cause


class _Event(msgspec.Struct):
    event_id: str
    event_type: str


_change, _event = msgspec.json.Decoder(_Change).decode, msgspec.json.Decoder(_Event).decode


@dataclass(frozen=True, slots=True)
class Spread:
    """Seconds, of ``count`` changes."""

    p50: float
    p99: float
    longest: float
    count: int

    @classmethod
    def of(cls, seconds: Sequence[float]) -> Spread:
        """Of at least one."""
        ordered = sorted(seconds)
        last = len(ordered) - 1
        return cls(ordered[last // 2], ordered[round(last * 0.99)], ordered[last], len(ordered))


@dataclass(frozen=True, slots=True)
class Reaction:
    """What came out."""

    latency: Spread
    exit_lateness: Spread
    events_per_second: float


@dataclass(slots=True)
class _Watch:
    """Everything by ``time.time()``."""

    counted_from: float = float("inf")
    sent: dict[str, float] = field(default_factory=dict)
    latencies: list[float] = field(default_factory=list)
    latenesses: list[float] = field(default_factory=list)
    entered: int = 0
    exited: int = 0

    def note(self, value: bytes) -> None:
        """A change is here."""
        now = time.time()
        change = _change(value)
        if change.cause.kind == "event" and change.cause.event_id is not None:
            sent = self.sent[change.cause.event_id]
            if sent >= self.counted_from:
                self.latencies.append(now - sent)
        if change.segment == SEGMENT:
            if change.action == "entered":
                self.entered += 1
            else:
                self.exited += 1
                self.latenesses.append(now - parse_iso(change.at) / 1e6)


async def react(broker: Broker, book: str, seed: int, directory: Path) -> Reaction:
    """Measure, with a worker of its own. Raises ``ContestantFailed``, ``TimeoutError``."""
    settings = broker.settings(PREFIX)
    await create_topics(settings)
    await apply_definitions(settings, book + _RULE)
    watch = _Watch()
    async with worker(broker, PREFIX, directory) as contestant:
        following = asyncio.create_task(_follow(broker, watch))
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS):
                while True:  # it has begun when it has the definitions of every partition
                    if (await contestant.metrics()).total("control_records_total") >= broker.partitions:
                        break
                    await asyncio.sleep(0.1)
            rate = await _feed(settings.kafka(), broker, seed, watch)
            async with asyncio.timeout(_PATIENCE_SECONDS):
                while not watch.entered or watch.exited < watch.entered:
                    await asyncio.sleep(0.2)
                    if following.done():
                        following.result()
        except TimeoutError:
            count = await contestant.processed()
            raise contestant.process.failed(f"let {watch.exited} of {watch.entered} go, of {count} events") from None
        finally:
            following.cancel()
    return Reaction(Spread.of(watch.latencies), Spread.of(watch.latenesses), rate)


async def _follow(broker: Broker, watch: _Watch) -> None:
    topic = topics.name(topics.SEGMENT_CHANGES, PREFIX)
    # A short wait: a partition that has something new is not asked for while a fetch of the others waits.
    reader = AIOKafkaConsumer(
        bootstrap_servers=broker.address,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        fetch_max_wait_ms=10,
    )
    await reader.start()
    try:
        reader.assign([TopicPartition(topic, number) for number in range(broker.partitions)])
        while True:
            for records in (await reader.getmany(timeout_ms=200)).values():
                for record in records:
                    watch.note(record.value)
    finally:
        await reader.stop()


async def _feed(client: Mapping[str, Any], broker: Broker, seed: int, watch: _Watch) -> float:
    """Send at the pace; returns the events per second that it came to."""
    topic = topics.name(topics.EVENTS, PREFIX)
    count = round(EVENTS_PER_SECOND * SECONDS)
    # The warm part of a load: every customer once.
    load = Load("uniform", customers=count, steady=0, seed=seed)
    producer = AIOKafkaProducer(**client, acks="all", enable_idempotence=broker.idempotence)
    await producer.start()
    try:
        begun = time.monotonic()
        watch.counted_from = time.time() + SETTLING_SECONDS
        pending = []
        for nth, record in enumerate(load.records(broker.partitions)):
            if (ahead := nth / EVENTS_PER_SECOND - (time.monotonic() - begun)) > 0:
                await asyncio.sleep(max(ahead, _STEP_SECONDS))
            watch.sent[_event(record.value).event_id] = time.time()
            pending.append(await producer.send(topic, value=record.value, key=record.key, partition=record.partition))
        for acknowledged in pending:
            await acknowledged
        return count / (time.monotonic() - begun)
    finally:
        await producer.stop()
