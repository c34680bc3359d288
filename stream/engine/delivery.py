"""The gate between fetched batches and those who process them: open between two rebalances, shut during one.

An *epoch* is one such opening. The consumer thread stamps each batch with the epoch in which it took the
records, so a batch of an earlier one, wherever it was held up, is recognised and dropped; its records are
read again, since each epoch starts from positions that were set explicitly.
"""

import asyncio
import contextlib
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from typing import Any, Final, Protocol, cast

from faust import EventT

from stream.engine.death import die
from stream.engine.partitions import Batch, PartitionHost
from stream.engine.stopping import COMMITTING, WRITING, StopBudget

SHUT: Final = -1

Processor = Callable[[Batch], Awaitable[None]]

log = logging.getLogger(__name__)


class LostAssignment(Exception):
    """The group rebalances again: what was just assigned is void."""


class Flow(Protocol):
    """The consumer, as delivery drives it."""

    async def start_reading(self, events: Mapping[int, int]) -> int:
        """Set the positions, let records flow, return the new epoch. ``LostAssignment`` if all is void."""
        ...

    async def take(self, topic: str) -> list[Batch]:
        """Wait a while for records of a topic's assigned partitions."""
        ...

    async def offer(self, batch: Batch) -> None:
        """Put a batch into the queue of the agent of its topic."""
        ...

    def resume(self) -> None:
        """Let Faust's streams flow."""
        ...

    def suspend(self) -> None:
        """Stop Faust's streams and clear their queues."""
        ...

    async def commit_acknowledged(self) -> None:
        """Commit what the agents of other topics than `events` have acknowledged."""
        ...


class Delivery:
    """Hands the batches of `events` to the partition host, and those of other topics to their processors.

    All methods run in the main loop. ``drain_seconds`` bounds how long a rebalance or a stop waits for the
    batch in progress; after that the process ends.
    """

    def __init__(self, host: PartitionHost, events: str, *, prefetch: int, drain_seconds: float) -> None:
        self.epoch = SHUT
        self.generation = -1
        self.held: frozenset[int] = frozenset()
        self.positions: dict[int, int] = {}
        self.ready = asyncio.Event()
        self._host = host
        self._events = events
        self._prefetch = prefetch
        self._drain_seconds = drain_seconds
        self._processors: dict[str, Processor] = {events: self._to_host}
        self._pending: Counter[str] = Counter()
        self._room = asyncio.Event()
        self._busy = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._loading: asyncio.Task[None] | None = None
        self._pumps: list[asyncio.Task[None]] = []
        self._shutting = asyncio.Lock()

    def process(self, topic: str, processor: Processor) -> None:
        """Give the batches of a topic other than `events` to ``processor``."""
        self._processors[topic] = processor

    def load(self, flow: Flow, partitions: Iterable[int], generation: int) -> None:
        """Begin an epoch in the background: the rebalance itself must not wait for the host.

        While it waits, the member sends no heartbeats.
        """
        self.held = frozenset(partitions)
        self._loading = asyncio.create_task(self._load(flow, self.held, generation))

    async def hand_over(self, event: EventT[Any]) -> bool:
        """Process a batch that an agent received. False if it is of an earlier epoch, which is dropped."""
        batch = cast(Batch, event.value)
        if batch.epoch != self.epoch:
            return False
        self._busy += 1
        self._idle.clear()
        try:
            await self._processors[batch.topic](batch)
        except BaseException as error:
            die(f"processing a batch of {batch.topic}/{batch.partition} failed", error)
        finally:
            self._busy -= 1
            if not self._busy:
                self._idle.set()
        self._pending[batch.topic] -= 1
        self._room.set()
        return True

    async def shut(self, flow: Flow, stop: StopBudget | None = None) -> bool:
        """End the epoch: drop what waits, finish the batch in progress, tell the host. Harmless twice.

        A stop has to do it within its budget; False if the host could not write everything (see ``PartitionHost``).
        """
        self.epoch = SHUT
        async with self._shutting:
            flow.suspend()
            await _cancelled([*self._pumps, *([self._loading] if self._loading else [])])
            flow.suspend()  # again: a pump may have filled a queue meanwhile
            self._pumps, self._loading = [], None
            drain = min(self._drain_seconds, stop.left(WRITING)) if stop else self._drain_seconds
            try:
                async with asyncio.timeout(drain):
                    await self._idle.wait()
            except TimeoutError as error:
                what = "stop" if stop else "rebalance"
                die(f"the batch in progress did not finish within {max(0.0, drain):.3g} s of a {what}", error)
            held, self.held = self.held, frozenset()
            complete = True
            if held:
                try:
                    complete = await self._host.revoked(set(held), stop)
                except Exception as error:
                    die("giving up partitions failed", error)
            # Last, as it is least: a batch of another topic that is read again says the same once more.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(stop.left(COMMITTING) if stop else None):
                    await flow.commit_acknowledged()
            return complete

    async def _load(self, flow: Flow, partitions: frozenset[int], generation: int) -> None:
        try:
            offsets = await self._host.assigned(set(partitions))
            if offsets.keys() != partitions:
                raise ValueError(f"the host answered for partitions {sorted(offsets)}, not {sorted(partitions)}")
        except Exception as error:
            die("taking over partitions failed", error)
        if (task := asyncio.current_task()) is not None and task.cancelling():
            raise asyncio.CancelledError  # the host finished in spite of it
        try:
            epoch = await flow.start_reading(offsets)
        except LostAssignment:
            log.info("the group rebalances again before these partitions were read: %s", sorted(partitions))
            return
        except Exception as error:
            die("starting to read failed", error)
        self._pending.clear()
        self.positions = dict(offsets)
        self.epoch, self.generation = epoch, generation
        flow.resume()
        self._pumps = [asyncio.create_task(self._pump(flow, topic, epoch)) for topic in self._processors]
        self.ready.set()

    async def _pump(self, flow: Flow, topic: str, epoch: int) -> None:
        """Keep the queue of one topic's agent filled. One for each topic: none waits for another's agent."""
        try:
            while True:
                while self._pending[topic] >= self._prefetch:
                    self._room.clear()
                    await self._room.wait()
                for batch in await flow.take(topic):
                    if batch.epoch == epoch:
                        self._pending[topic] += 1
                        await flow.offer(batch)
        except Exception as error:
            die(f"fetching {topic} failed", error)

    async def _to_host(self, batch: Batch) -> None:
        await self._host.batch(batch.partition, batch.parts, batch.generation)
        self.positions[batch.partition] = batch.end


async def _cancelled(tasks: Collection[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    for task in tasks:
        with contextlib.suppress(asyncio.CancelledError):
            await task
