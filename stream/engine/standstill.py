"""The second fence: a worker that could go on, and does not, ends itself.

After a broker's restart consumers have stopped for good, some in the middle of reading, some in the search for their
group's coordinator (aiokafka#1154). The first goes on with its heartbeats, so that nobody takes its partitions over;
the second goes on reading what is another's by then, and can commit nothing.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Collection, Hashable
from dataclasses import dataclass
from typing import Final

from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaError
from aiokafka.structs import TopicPartition

from stream.engine.death import die
from stream.engine.delivery import SHUT
from stream.engine.faust_app import EngineApp
from stream.engine.reading import Reading

log = logging.getLogger(__name__)

#: Looks at the broker before the time is over: one that has just come back must not make a worker guilty.
LOOKS = 4
#: Rebalances in a row that may be begun and not finished; no heartbeat is sent while the group joins.
REBALANCES = 2
#: What is watched beside partitions: that the group is heard of.
GROUP: Final = -1


@dataclass(slots=True)
class _Still:
    """Something that does not move: where, since when, and when the broker was asked last (monotonic s)."""

    mark: Hashable
    since: float
    asked: float


class Standstill:
    """Ends the process when a partition stands still for ``limit_seconds`` although there is something to read.

    That there is, counts only if a consumer of its own gets a record, several times over the whole of that time: the
    worker's is the one under suspicion, and an end offset may lie behind what no consumer is given (a transaction's
    marker). Where the broker does not answer, the time begins anew. ``progress`` is what changes for a partition while
    the host works for it without finishing a batch, as a long reading does.

    The same where no heartbeat comes through, for at least a session, although the coordinator answers somebody else.
    """

    def __init__(self, app: EngineApp, limit_seconds: float, progress: Callable[[int], Hashable]) -> None:
        self._app, self._limit, self._progress = app, limit_seconds, progress
        self._still: dict[int, _Still] = {}
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to look."""
        self._task = asyncio.create_task(self._watch())

    def stop(self) -> None:
        """No longer look."""
        if self._task:
            self._task.cancel()

    async def _watch(self) -> None:
        try:
            while True:
                await asyncio.sleep(min(1.0, self._limit / LOOKS))
                await self._look(time.monotonic())
        except Exception as error:
            die("looking whether the partitions move failed", error)

    async def _look(self, now: float) -> None:
        if self._app.should_stop:
            return  # what a stop waits for has limits of its own
        delivery = self._app.delivery
        paused = self._app.offsets.paused() if delivery.epoch != SHUT else frozenset()
        before, self._still = self._still, {}
        for what in (GROUP, *(delivery.held - paused)):
            mark, still = self._mark(what), before.get(what)
            self._still[what] = still if still and still.mark == mark else _Still(mark, now, now)
        due = {what for what, still in self._still.items() if now - still.asked >= self._limit / LOOKS}
        guilty = await self._readable(due - {GROUP}) | (await self._group_answers() if GROUP in due else set())
        for what in due:
            still = self._still[what]
            still.asked = now
            if what not in guilty:
                still.since = now
            elif now - still.since >= self._allowed(what) and self._mark(what) == still.mark:
                self._end(what, now - still.since)

    def _mark(self, what: int) -> Hashable:
        delivery = self._app.delivery
        if what == GROUP:
            return self._app.offsets.health()
        return delivery.epoch, delivery.positions.get(what), self._progress(what)

    def _allowed(self, what: int) -> float:
        settings = self._app.transport_settings
        if what != GROUP:
            return self._limit
        joining = REBALANCES * settings.rebalance_timeout_seconds if self._app.offsets.health().rebalancing else 0.0
        return max(self._limit, settings.session_timeout_seconds) + joining

    def _end(self, what: int, seconds: float) -> None:
        if what == GROUP:
            die(f"nothing was heard of the consumer group for {seconds:.1f} s, and its coordinator answers others")
        die(f"events/{what} was not read on for {seconds:.1f} s, and there is something to read")

    async def _readable(self, partitions: Collection[int]) -> set[int]:
        """Those of which another consumer gets a record that the worker has not finished."""
        found: set[int] = set()
        if not partitions:
            return found
        events, delivery = self._app.events, self._app.delivery
        try:
            async with asyncio.timeout(self._limit / LOOKS), Reading.of(self._app.client) as reading:
                for partition in partitions:
                    # While the host loads there is no position yet, and any record is one that it will have to read.
                    position = 0 if delivery.epoch == SHUT else delivery.positions.get(partition, 0)
                    first, end = await reading.span(events, partition)
                    async for records in reading.records(events, partition, max(first, position), end):
                        if records[-1].offset >= position:
                            found.add(partition)
                            break
        except (KafkaError, TimeoutError) as error:
            log.warning("whether %s has something to read cannot be told: %s", events, type(error).__name__)
        return found

    async def _group_answers(self) -> set[int]:
        """``GROUP`` if another consumer hears from the group's coordinator."""
        group, client = self._app.transport_settings.group, self._app.client
        # No member: it assigns itself what it asks about.
        consumer = AIOKafkaConsumer(**client, group_id=group, enable_auto_commit=False)
        try:
            async with asyncio.timeout(self._limit / LOOKS):
                await consumer.start()
                part = TopicPartition(self._app.events, 0)
                consumer.assign([part])
                await consumer.committed(part)
        except (KafkaError, TimeoutError) as error:
            log.warning("the coordinator of the group %s does not answer: %s", group, type(error).__name__)
            return set()
        finally:
            await consumer.stop()
        return {GROUP}
