"""Recovery: the state of a partition from its changelog, and what had left from ``segment-changes`` (decision 0005)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
from aiokafka import AIOKafkaConsumer
from aiokafka.structs import ConsumerRecord, TopicPartition

from schemas.changes import is_change
from stream.core.config import CoreSettings
from stream.core.partition import Partition
from stream.core.state import Checkpoint, Checkpointer, Loader


class _Head(msgspec.Struct):
    customer_id: str
    sequence: int


#: (customer id, sequence) -> (offset in `segment-changes`, the bytes)
Left = dict[tuple[str, int], tuple[int, bytes]]


@dataclass(slots=True)
class Recovered:
    """One partition as recovery found it."""

    partition: Partition
    checkpointer: Checkpointer
    checkpoint: Checkpoint | None
    left: Left
    changes_end: int  # end offset of the partition of `segment-changes`
    events_start: int
    events_end: int
    records: int  # of the changelog
    seconds: float
    state_end: int | None = None  # offset after the last record of `state`; None if that is not known


class Recovery:
    """Reads partitions back by a consumer of its own. The end is a position: a last record may be compacted away."""

    def __init__(self, client: Mapping[str, Any], events: str, state: str, changes: str) -> None:
        self._client = dict(client)
        self._events, self._state, self._changes = events, state, changes
        self.read = 0  # records ever, which shows that a long loading goes on

    async def ends(self, partitions: set[int]) -> dict[int, tuple[int, int]]:
        """The end offsets of `state` and `segment-changes`, by partition, as the broker says them."""
        async with self._consumer() as consumer:
            wanted = [TopicPartition(t, p) for p in partitions for t in (self._state, self._changes)]
            ends = await consumer.end_offsets(wanted)
        return {p: (ends[TopicPartition(self._state, p)], ends[TopicPartition(self._changes, p)]) for p in partitions}

    async def load(self, partitions: set[int], total: int, settings: CoreSettings) -> dict[int, Recovered]:
        """Load partitions, of ``total`` that the log has."""
        begun = time.monotonic()
        loaders = {p: Loader() for p in partitions}
        async with self._consumer() as consumer:
            states = {TopicPartition(self._state, p): 0 for p in partitions}
            state_ends = await consumer.end_offsets(list(states))
            read_ends = {tp.partition: end for tp, end in state_ends.items()}
            async for tp, records in self._read(consumer, states, state_ends):
                apply = loaders[tp.partition].apply
                read_ends[tp.partition] = records[-1].offset + 1
                for record in records:
                    apply(record.key, record.value)
            # In a thread: hundreds of thousands of customers take seconds, and the loop has a pulse to keep.
            found = {p: await asyncio.to_thread(loader.finish, p, total, settings) for p, loader in loaders.items()}
            starts = {
                TopicPartition(self._changes, p): checkpoint.changes if checkpoint else 0
                for p, (_, _, checkpoint) in found.items()
            }
            change_ends = await consumer.end_offsets(list(starts))
            left: dict[int, Left] = {p: {} for p in partitions}
            head = msgspec.json.Decoder(_Head).decode
            async for tp, records in self._read(consumer, starts, change_ends):
                customers, into = found[tp.partition][0].customers, left[tp.partition]
                for record in records:
                    if not is_change(record.headers):
                        continue
                    said = head(record.value)
                    customer = customers.get(said.customer_id)
                    if customer is None or said.sequence > customer.sequence:
                        into.setdefault((said.customer_id, said.sequence), (record.offset, record.value))
            events = [TopicPartition(self._events, p) for p in partitions]
            event_starts = await consumer.beginning_offsets(events)
            event_ends = await self._true_ends(consumer, events)
        seconds = time.monotonic() - begun
        return {
            p: Recovered(
                partition,
                checkpointer,
                checkpoint,
                left[p],
                change_ends[TopicPartition(self._changes, p)],
                event_starts[TopicPartition(self._events, p)],
                event_ends[TopicPartition(self._events, p)],
                loaders[p].records,
                seconds,
                read_ends[p],
            )
            for p, (partition, checkpointer, checkpoint) in found.items()
        }

    def _consumer(self) -> AIOKafkaConsumer:
        return AIOKafkaConsumer(
            **self._client,
            group_id=None,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            fetch_max_bytes=32 * 1024 * 1024,
            max_partition_fetch_bytes=4 * 1024 * 1024,
            check_crcs=False,
        )

    async def _true_ends(
        self, consumer: AIOKafkaConsumer, partitions: list[TopicPartition]
    ) -> dict[TopicPartition, int]:
        """The ends by reading the last batch. Tansu says one past the *first* record of it when asked for the end."""
        said = await consumer.end_offsets(partitions)
        ends = dict(said)
        async for tp, records in self._read(consumer, {tp: max(0, end - 1) for tp, end in said.items()}, said):
            ends[tp] = max(ends[tp], records[-1].offset + 1)
        return ends

    async def _read(
        self,
        consumer: AIOKafkaConsumer,
        starts: Mapping[TopicPartition, int],
        ends: Mapping[TopicPartition, int],
    ) -> AsyncIterator[tuple[TopicPartition, list[ConsumerRecord]]]:
        """Records from each start (or what retention has left after it) up to the end, by position.

        What a batch holds beyond an end is given too: an end may be understated, see ``_true_ends``.
        """
        firsts = await consumer.beginning_offsets(list(starts)) if starts else {}
        at = {tp: max(start, firsts[tp]) for tp, start in starts.items()}
        wanted = {tp for tp in starts if at[tp] < ends[tp]}
        if not wanted:
            return
        consumer.assign(list(wanted))
        for tp in wanted:
            consumer.seek(tp, at[tp])
        while wanted:
            for tp, records in (await consumer.getmany(*wanted, timeout_ms=200)).items():
                self.read += len(records)
                yield tp, records
            for tp in list(wanted):
                if await consumer.position(tp) >= ends[tp]:
                    wanted.discard(tp)
                    consumer.pause(tp)
