"""The partition host: loads what is assigned, processes what is fetched, writes checkpoints, ticks (decision 0005)."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import time
from collections.abc import Coroutine, Iterator
from typing import Any

from schemas.facts import FACT_HEADER, FactKind
from stream.core.config import CoreSettings
from stream.core.customer import Customer
from stream.core.windows import digest
from stream.engine.death import die
from stream.engine.fills import Fills
from stream.engine.held import Held
from stream.engine.offsets import NotOwner, Offsets
from stream.engine.partitions import Parts
from stream.engine.recovery import Recovery
from stream.engine.stopping import COMMITTING, LEAVING, WRITING, StopBudget
from stream.engine.topics import TopicNames
from stream.engine.watchdog import Watchdog
from stream.engine.writes import Sent, Writes
from stream.metrics import Metrics

log = logging.getLogger(__name__)

#: How long (s) a rebalance waits for the last checkpoints; what is not written by then is replayed.
LAST_CHECKPOINT_SECONDS = 8.0
_SWEEP_PAUSE = 0.005  # s, between slices of a sweep when nothing else comes


class Host:
    """Owner of the partitions of this worker. ``offsets`` is given when the Faust app exists."""

    offsets: Offsets

    def __init__(
        self,
        *,
        recovery: Recovery,
        writes: Writes,
        state_writes: Writes,
        topics: TopicNames,
        metrics: Metrics,
        core: CoreSettings,
        partitions: int,
        tick_seconds: float,
        checkpoint_seconds: float,
        watchdog: Watchdog,
        fills: Fills,
    ) -> None:
        self._recovery, self._topics, self._metrics = recovery, topics, metrics
        # aiokafka has one request per broker on its way: changes must not wait behind the batches of a checkpoint.
        self._writes, self._state_writes = writes, state_writes
        self._core, self._total = core, partitions
        self._tick_seconds, self._checkpoint_seconds = tick_seconds, checkpoint_seconds
        self._watchdog, self._fills = watchdog, fills
        self._held: dict[int, Held] = {}
        self._ends: dict[int, tuple[int, int]] = {}  # of `state` and `segment-changes` when they were last ours
        self._open = False  # between `assigned` and `revoked`
        self._stop = asyncio.Event()  # ends the work in the background, each at a place where it may end
        self._tasks: list[asyncio.Task[None]] = []
        metrics.watch(
            {
                "customers": lambda: sum(len(h.partition.customers) for h in self._held.values()),
                "ids_remembered": lambda: sum(len(h.partition.ids) for h in self._held.values()),
                "deadlines_pending": lambda: sum(len(h.partition.membership.heap) for h in self._held.values()),
                "partitions_held": lambda: len(self._held),
                "consumer_lag_records": lambda: sum(self.offsets.lag().values()) if self._open else 0,
            }
        )

    # -- what the transport calls -------------------------------------------------------------------------------

    async def assigned(self, partitions: set[int]) -> dict[int, int]:
        """Drop what is lost, keep warm what nobody else has written to meanwhile, load the rest."""
        # Taken out until they are judged: this may be cancelled at any await, and must leave nothing warm then.
        kept, self._held = {p: held for p, held in self._held.items() if p in partitions}, {}
        if kept:
            ends = await self._recovery.ends(set(kept))
            # Another worker may have held it between two assignments of ours: then its end has moved.
            kept = {p: h for p, h in kept.items() if ends[p] == self._ends.get(p)}
        self._held = dict(kept)
        new = partitions - kept.keys()
        if new:
            found = await self._recovery.load(new, self._total, self._core)
            for p, recovered in found.items():
                self._held[p] = Held(
                    recovered, self._writes, self._state_writes, self._topics, self._metrics, self._fills
                )
            records = sum(r.records for r in found.values())
            seconds = max(r.seconds for r in found.values())
            self._metrics.recovered(records, seconds)
            log.info(
                "loaded partitions %s: %d customers from %d records, %d changes read back, in %.2f s; %d kept warm",
                sorted(new),
                sum(len(r.partition.customers) for r in found.values()),
                records,
                sum(len(r.left) for r in found.values()),
                seconds,
                len(kept),
            )
            # What was loaded stays: full collections need not look at it again (decision 0005).
            gc.freeze()
        # A spare that holds nothing has nothing to do, and what it began nobody would end: it is revoked nothing.
        if self._held:
            self._open, self._stop = True, asyncio.Event()
            self._spawn(self._checkpoints())
            self._spawn(self._sweeps())
            self._spawn(self._fill())
            if self._tick_seconds:
                self._spawn(self._ticks())
        return {p: held.read_on for p, held in self._held.items()}

    async def batch(self, partition: int, parts: Parts, generation: int) -> None:
        """Process one fetched batch."""
        self._watchdog.check()
        if await self.offsets.ours():
            await self._held[partition].batch(parts, lambda: self.offsets.open)

    async def revoked(self, partitions: set[int], stop: StopBudget | None = None) -> bool:
        """Write the last checkpoints, within ``LAST_CHECKPOINT_SECONDS`` or the budget of a stop, and commit.

        False if a stop had no time for all of them.
        """
        self._open = False
        self._stop.set()
        tasks, self._tasks = self._tasks, []
        try:
            async with asyncio.timeout(stop.left(WRITING) if stop else LAST_CHECKPOINT_SECONDS):
                await asyncio.gather(*tasks)  # a checkpoint in progress is finished, a sweep's changes are queued
                covered = {p: await held.checkpoint() if held.dirty else held.covered for p, held in self._held.items()}
                if covered and not stop:
                    # In this order, and also where nothing was new: a commit that succeeds shows that nobody had taken
                    # over when the ends were read, so that what is there may be kept warm.
                    ends = await self._recovery.ends(set(covered))
                    await self.offsets.commit(covered)
                    self._ends = ends
                    for held in self._held.values():
                        held.committed()
        except TimeoutError as error:
            # Changes are still on their way, and the next owner must not be overtaken by them.
            if not stop:
                limit = f"{LAST_CHECKPOINT_SECONDS:g} s"
                die(f"the last checkpoint was not written within {limit}; what it lacks is replayed", error)
        except NotOwner as lost:
            log.warning("partitions were taken away before they were given up: %s", lost)
            self._held = {}
        return await self._leave(stop) if stop else True

    async def _leave(self, stop: StopBudget) -> bool:
        """See to it that no change comes after this, and commit what is covered; False if that is not everything."""
        try:
            async with asyncio.timeout(stop.left(LEAVING)):
                await self._writes.settled()
        except TimeoutError as error:
            die(f"changes were on their way until the {stop.seconds:g} s of the stop were over", error)
        try:
            async with asyncio.timeout(stop.left(COMMITTING)):
                await self._state_writes.settled()  # not as strict: what comes later its reader takes for what it is
                if self._held:
                    await self.offsets.commit({p: held.covered for p, held in self._held.items()})
        except (TimeoutError, NotOwner) as error:
            log.warning("the stop leaves without a commit: %s", type(error).__name__)
        return not any(held.dirty for held in self._held.values())

    def progress(self, partition: int) -> tuple[int, int]:
        """What changes while partitions are loaded, or a batch of this one waits for a long reading."""
        held = self._held.get(partition)
        return self._recovery.read, held.prepared if held else -1

    async def _commit(self, held: Held, offset: int) -> None:
        await self.offsets.commit({held.number: offset})
        held.committed()

    # -- in the background --------------------------------------------------------------------------------------

    async def _pause(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stop.wait(), seconds)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        async def watched() -> None:
            try:
                await work
            except NotOwner as lost:
                log.warning("no longer the owner: %s; a rebalance will follow", lost)
            except Exception as error:
                die("work in the background failed", error)

        self._tasks.append(asyncio.create_task(watched()))

    async def _checkpoints(self) -> None:
        # A crash may have come between a checkpoint and its commit.
        for held in self._held.values():
            if held.restored:
                await self._commit(held, held.covered)
        while not self._stop.is_set():
            now = time.monotonic()
            due = [h for h in self._held.values() if h.checkpoint_at + self._checkpoint_seconds <= now]
            for held in sorted(due, key=lambda h: h.checkpoint_at):
                if self._stop.is_set():
                    return
                if held.dirty:
                    if not await self.offsets.ours():
                        return
                    await self._commit(held, await held.checkpoint())
                else:
                    held.checkpoint_at = now
            await self._pause(min(0.1, self._checkpoint_seconds / 4))

    async def _sweeps(self) -> None:
        """Customers come to a new definition book with the batches; this goes on where no batches come."""
        while not self._stop.is_set():
            busy = False
            for held in list(self._held.values()):
                busy = await held.sweep() or busy
            await self._pause(_SWEEP_PAUSE if busy else 0.2)

    async def _fill(self) -> None:
        """New windows are filled from the log one partition after the other, beside the live stream."""
        while not self._stop.is_set():
            for held in list(self._held.values()):
                await held.fill(lambda: not self._stop.is_set())
            await self._pause(1.0)

    async def _ticks(self) -> None:
        """Write the time into every partition held. A tick that cannot be written is an error like any other."""
        headers = [(FACT_HEADER, FactKind.TICK.value.encode())]
        clock = asyncio.get_running_loop().time
        due = clock()
        while not self._stop.is_set():
            ticks: list[Sent] = [
                await self._writes.send(self._topics.events, p, None, b"{}", headers) for p in sorted(self._held)
            ]
            for tick in ticks:
                await tick.acknowledged()
            due = max(due + self._tick_seconds, clock())
            await self._pause(due - clock())

    # -- what the tables read -----------------------------------------------------------------------------------

    def partitions(self) -> frozenset[int]:
        """The partitions that are loaded."""
        return frozenset(self._held)

    def customer(self, partition: int, key: str) -> Customer | None:
        """A customer's record."""
        held = self._held.get(partition)
        return held.partition.customers.get(key) if held else None

    def customers(self, partition: int) -> Iterator[tuple[str, Customer]]:
        """Every customer of a partition."""
        held = self._held.get(partition)
        return iter(held.partition.customers.items() if held else ())

    def seen(self, partition: int, customer: str, event_id: str) -> bool:
        """Whether an event id of a customer is remembered."""
        held = self._held.get(partition)
        item = digest(customer, event_id.encode("utf-8", "surrogatepass"))
        return held is not None and item in held.partition.ids
