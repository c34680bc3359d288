"""A destination's end of Kafka: its consumer group on `segment-changes` and `redeliveries`, what is finished, the
commits.

The commit is the truth: whenever the group rebalances everything is forgotten and begun again from it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.abc import ConsumerRebalanceListener
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import CommitFailedError, IllegalStateError

from connectors.progress import Progress
from connectors.watchdog import ConsumerStalled, Watchdog

logger = logging.getLogger(__name__)

POLL_SECONDS = 0.2

BACKLOG, BACKLOG_SECONDS = 500, 0.1
"""Where more changes than that are unfinished and the end of the log is reached, nothing is late for being read some
tenth of a second later, all at once. A destination that is down would else ask the broker for every single change, and
its work would be taken from those that are up.
"""

LOW_SHARE = 10
"""Of what may be unfinished, redeliveries have this part at most: they wait while anything live can leave."""

Records = Mapping[TopicPartition, Sequence[ConsumerRecord]]
Mark = tuple[int, str]
"""Offset and metadata of a commit."""


class Intake(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka has no types
    """`given_up` is awaited while partitions are taken away, before they are forgotten; it must not raise."""

    def __init__(
        self,
        consumer: AIOKafkaConsumer,
        admin: AIOKafkaAdminClient,
        *,
        changes: str,
        redeliveries: str,
        group: str,
        from_the_beginning: bool,
        given_up: Callable[[], Awaitable[None]],
        ends: Callable[[Collection[int]], Awaitable[Mapping[int, int]]],
        watchdog: Watchdog,
    ) -> None:
        self._consumer = consumer
        self._admin = admin
        self._changes = changes
        self._redeliveries = redeliveries
        self._group = group
        self._from_the_beginning = from_the_beginning
        self._given_up = given_up
        self._ends = ends
        self._watchdog = watchdog
        self._progress: dict[TopicPartition, Progress] = {}
        self._committed: dict[TopicPartition, Mark] = {}
        self._generation = 0  # counts what changes the assignment
        self._adopted = -1  # the generation whose partitions were taken over
        self._held = False  # between assignment and revocation
        self._unsettled_since: float | None = None
        self._patient = False  # nothing of what comes next could leave at once
        self._at_end = False  # the last read left nothing behind where it found something

    async def start(self) -> None:
        self._consumer.subscribe([self._changes, self._redeliveries], listener=self)
        await self._consumer.start()

    async def stop(self, seconds: float) -> None:
        """Leave the group; a broker that does not answer is not waited for longer than that."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._consumer.stop()

    # Partitions come and go.

    @property
    def generation(self) -> int:
        """Another number: other partitions, or the same begun again."""
        return self._generation

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        self._generation += 1
        self._held = False
        await self._given_up()
        self._progress = {}
        self._committed = {}

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        self._generation += 1
        self._held = True

    async def _adopt(self) -> None:
        """Take over the assigned partitions where their commits left them."""
        generation = self._generation
        partitions = list(self._consumer.assignment())
        commits: Mapping[TopicPartition, Any] = {}
        if partitions:
            commits = await self._admin.list_consumer_group_offsets(self._group, partitions=partitions)
        progress: dict[TopicPartition, Progress] = {}
        committed: dict[TopicPartition, Mark] = {}
        for partition in partitions:
            commit = commits.get(partition)
            if commit is not None and commit.offset >= 0:
                offset, metadata = commit.offset, commit.metadata or ""
                committed[partition] = (offset, metadata)
            else:
                offset, metadata = await self._beginning(partition), ""
            # Also where it reads there already: records of an earlier assignment may have been thrown away.
            self._consumer.seek(partition, offset)
            progress[partition] = Progress(offset, metadata)
        if generation == self._generation:
            self._progress, self._committed, self._adopted = progress, committed, generation

    async def _beginning(self, partition: TopicPartition) -> int:
        """Where a destination begins that never committed; its first commit holds it fast.

        What is to be sent again was asked for this destination: nothing of it is too old.
        """
        consumer = self._consumer
        from_the_beginning = self._from_the_beginning or partition.topic == self._redeliveries
        find = consumer.beginning_offsets if from_the_beginning else consumer.end_offsets
        offset: int = (await find([partition]))[partition]
        return offset

    async def bounds(self) -> tuple[Mapping[int, int], Mapping[int, int]]:
        """Of our partitions of `segment-changes`: where they were taken up, and where they end."""
        taken_up = {
            p.partition: progress.first_unfinished() for p, progress in self._progress.items() if self._is_live(p)
        }
        return taken_up, await self._ends(taken_up)

    def _is_live(self, partition: TopicPartition) -> bool:
        return bool(partition.topic == self._changes)

    # Reading.

    async def read(self, limit: int) -> Records | None:
        """The next records, waiting for them a little; None if the partitions are changing hands.

        Every record is to be given to `noted`, and later to `finish`.
        """
        if self._held and self._adopted != self._generation:
            with contextlib.suppress(IllegalStateError):  # a partition was taken away meanwhile
                await self._adopt()
        if self._patient and self._at_end:
            await asyncio.sleep(BACKLOG_SECONDS)
        generation = self._generation
        # Asked also while nothing is held: this is where the consumer's errors come out.
        records: Records = await self._consumer.getmany(timeout_ms=round(POLL_SECONDS * 1000), max_records=limit)
        if not self._adopted == generation == self._generation:
            return None  # what is thrown away here is read again: taking over goes back to the commits
        ends = self._consumer.highwater
        self._at_end = all((ends(partition) or 0) <= batch[-1].offset + 1 for partition, batch in records.items())
        return records

    def noted(self, partition: TopicPartition, offset: int) -> bool:
        """Note a record as read. False if it was finished before a restart: then that was all."""
        return self._progress[partition].read(offset)

    def finish(self, topic: str, partition: int, offset: int) -> None:
        self._progress[topic, partition].finish(offset)  # a TopicPartition is a tuple

    def press_back(self, pending: Mapping[tuple[str, int], int], limit: int) -> None:
        """Stop reading partitions of which too much is unfinished, go on with those of which little enough
        is.

        `pending` is by topic and partition, `limit` is shared by all partitions.
        """
        self._patient = sum(pending.values()) > BACKLOG
        if not self._progress:
            return
        share = max(100, 2 * limit // len(self._progress))  # half of the partitions are of `redeliveries`
        paused = self._consumer.paused()
        for partition in self._consumer.assignment():
            most = share if self._is_live(partition) else max(100, share // LOW_SHARE)
            unfinished = pending[partition]
            if unfinished >= most and partition not in paused:
                self._consumer.pause(partition)
            elif unfinished <= most // 2 and partition in paused:
                self._consumer.resume(partition)

    # Committing.

    def marks(self) -> dict[TopicPartition, Mark]:
        """What can be committed now, by partition."""
        return {partition: progress.mark() for partition, progress in self._progress.items()}

    def live(self, marks: Mapping[TopicPartition, Mark]) -> dict[int, int]:
        """The offsets of `segment-changes` among marks, by partition."""
        return {partition.partition: mark[0] for partition, mark in marks.items() if self._is_live(partition)}

    async def commit(self, marks: Mapping[TopicPartition, Mark]) -> None:
        """Commit what moved. Where the group has rebalanced meanwhile, nothing: its new owner repeats."""
        moved = {partition: mark for partition, mark in marks.items() if self._committed.get(partition) != mark}
        if not moved:
            return
        try:
            await self._consumer.commit(moved)
        except (CommitFailedError, IllegalStateError):
            logger.info("group %s rebalanced before a commit; what it covers is sent again", self._group)
        else:
            self._committed.update(moved)

    # Looking on.

    def lag(self) -> int:
        """Changes on our partitions that are not finished."""
        return self._lag(self._changes)

    def redeliveries(self) -> int:
        """Redeliveries on our partitions, for whatever destination, that are not finished."""
        return self._lag(self._redeliveries)

    def _lag(self, topic: str) -> int:
        lag = 0
        for partition, progress in self._progress.items():
            if partition.topic == topic:
                lag += max(0, (self._consumer.highwater(partition) or 0) - progress.first_unfinished())
        return lag

    async def watch(self, now: float) -> None:
        """Raises ConsumerStalled if there is something to read and nothing is read, or if the group comes to no end
        of handing out its partitions.
        """
        if self._held and self._adopted == self._generation:
            self._unsettled_since = None
            await self._watchdog.look(self._consumer, self._progress, now)
        elif self._unsettled_since is None:
            self._unsettled_since = now
        elif now - self._unsettled_since >= self._watchdog.limit:
            raise ConsumerStalled(f"no partitions since {self._watchdog.limit:g} s, nor a word that there are none")
