"""A Faust transport that carries one fetched batch of one partition as one message.

Faust's own path costs some 200 µs for each record, prefetches without regard to a consumer's pace, and sleeps
a second whenever every partition waits. Here the consumer thread hands over what it fetched of a partition, and
Faust sees one message. Assignment, rebalancing, agents and streams stay Faust's.
"""

import asyncio
from collections import defaultdict, deque
from collections.abc import Mapping
from typing import Any, ClassVar, Final, cast

import uvloop
from aiokafka.structs import TopicPartition
from faust.transport.drivers import aiokafka as driver
from faust.types import TP, ConsumerMessage

from stream.engine.consumer_thread import ConsumerThread, EngineAppT, Listener, Packed, TransportSettings
from stream.engine.partitions import Batch

SCHEME: Final = "livesegments"

__all__ = ["SCHEME", "Consumer", "EngineAppT", "Transport", "TransportSettings"]


class Consumer(driver.Consumer):
    """Faust's consumer in the main loop; to ``Delivery`` it is the ``Flow``."""

    RebalanceListener = Listener
    _thread: ConsumerThread

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._engine = cast(EngineAppT, self.app)
        self._delivered: defaultdict[TP, deque[int]] = defaultdict(deque)

    def _new_consumer_thread(self) -> ConsumerThread:
        new_loop = uvloop.new_event_loop if isinstance(self.loop, uvloop.Loop) else asyncio.new_event_loop
        return ConsumerThread(self, loop=self.loop, thread_loop=new_loop(), beacon=self.beacon)

    @property
    def thread(self) -> ConsumerThread:
        """The thread that owns the connection."""
        return self._thread

    # What Delivery asks for

    async def start_reading(self, events: Mapping[int, int]) -> int:
        """See ``Flow``. Partitions of other topics go on from their committed offsets by themselves."""
        topic = self._engine.events
        return await self._thread.run(
            self._thread.start_reading(
                {TopicPartition(topic, partition): offset for partition, offset in events.items()}
            )
        )

    async def take(self, topic: str) -> list[Batch]:
        """See ``Flow``. Waits for a second at most."""
        partitions = {tp for tp in self.assignment() if tp.topic == topic}
        if not partitions:
            await asyncio.sleep(1.0)
            return []
        limit = self._engine.transport_settings.max_batch_records
        epoch, records = await self._thread.run(self._thread.take(partitions, 1.0, limit))
        generation = self._engine.delivery.generation
        return [
            Batch(topic, tp.partition, found, found.end, generation, epoch)
            if isinstance(found, Packed)
            else Batch(topic, tp.partition, (found,), found[-1].offset + 1, generation, epoch)
            for tp, found in records.items()
        ]

    async def offer(self, batch: Batch) -> None:
        """See ``Flow``. From here the batch takes Faust's way: conductor, topic, stream, agent."""
        tp = TP(batch.topic, batch.partition)
        self._delivered[tp].append(batch.end - 1)
        await self.callback(
            ConsumerMessage(
                topic=batch.topic,
                partition=batch.partition,
                offset=batch.end - 1,
                timestamp=0.0,  # nobody asks
                timestamp_type=0,
                headers=None,
                key=None,
                value=cast(Any, batch),
                checksum=None,
                tp=tp,
                generation_id=batch.generation,
            )
        )

    def resume(self) -> None:
        """See ``Flow``."""
        self._engine.flow_control.resume()
        self.resume_flow()
        self._engine.on_rebalance_end()

    def suspend(self) -> None:
        """See ``Flow``."""
        self.stop_flow()
        self._engine.flow_control.suspend()
        self._engine.flow_control.clear()

    async def commit_acknowledged(self) -> None:
        """See ``Flow``. Faust forgets what is acknowledged before its own commit at a revocation."""
        # Not ``commit``: it does nothing if another, begun before the last acknowledgement, is on its way.
        await self.maybe_wait_for_commit_to_finish()
        await self.force_commit()

    # Where Faust's ways differ

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """Finish and tell the host first; Faust then clears what it knows of these partitions."""
        await self._engine.delivery.shut(self)
        self._delivered.clear()
        await super().on_partitions_revoked(revoked)

    def _new_offset(self, tp: TP) -> int | None:
        """What Faust's commit loop may commit: the end of the unbroken run of acknowledged batches.

        None for `events`, which only ``Offsets`` commits. Faust's own rule counts records and has gaps in
        mind.
        """
        if tp.topic == self._engine.events:
            return None
        delivered, acked = self._delivered[tp], self._acked_index[tp]
        done: int | None = None
        while delivered and delivered[0] in acked:
            done = delivered.popleft()
            acked.discard(done)
        self._acked[tp] = sorted(acked)
        return None if done is None else done + 1

    def on_buffer_full(self, tp: TP) -> None:
        """Nothing: ``Delivery`` bounds what is buffered."""

    def on_buffer_drop(self, tp: TP) -> None:
        """Nothing, likewise."""

    async def verify_all_partitions_active(self) -> None:
        """Nothing: this detector takes the absence of Faust's commits for a stall, and only logs."""


class Producer(driver.Producer):
    """Never connects. What the engine writes it awaits, and Faust's buffered sends cannot be."""

    async def on_start(self) -> None:
        """Nothing to start."""

    async def on_stop(self) -> None:
        """Nothing to stop."""

    async def flush(self) -> None:
        """Nothing is ever buffered."""

    async def send(self, *args: Any, **kwargs: Any) -> Any:
        """Refuse."""
        raise NotImplementedError("writes do not go through Faust: use the engine's own producer")


class Transport(driver.Transport):
    """Registered under the URL scheme ``livesegments``."""

    Consumer: ClassVar[type[Consumer]] = Consumer
    Producer: ClassVar[type[Producer]] = Producer
