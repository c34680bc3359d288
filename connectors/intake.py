"""A destination's end of Kafka: its consumer group on `segment-changes`, what is finished, the commits.

The commit is the truth: whenever the group rebalances everything is forgotten and begun again from it.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.abc import ConsumerRebalanceListener
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import CommitFailedError, IllegalStateError

from connectors.progress import Progress
from connectors.watchdog import Watchdog

logger = logging.getLogger(__name__)

POLL_SECONDS = 0.2

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
        topic: str,
        group: str,
        from_the_beginning: bool,
        given_up: Callable[[], Awaitable[None]],
        watchdog: Watchdog,
    ) -> None:
        self._consumer = consumer
        self._admin = admin
        self._topic = topic
        self._group = group
        self._from_the_beginning = from_the_beginning
        self._given_up = given_up
        self._watchdog = watchdog
        self._progress: dict[int, Progress] = {}
        self._committed: dict[int, Mark] = {}
        self._generation = 0  # counts what changes the assignment
        self._adopted = -1  # the generation whose partitions were taken over
        self._held = False  # between assignment and revocation

    async def start(self) -> None:
        self._consumer.subscribe([self._topic], listener=self)
        await self._consumer.start()

    async def stop(self) -> None:
        """Leave the group."""
        await self._consumer.stop()

    # Partitions come and go.

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
        progress: dict[int, Progress] = {}
        committed: dict[int, Mark] = {}
        for partition in partitions:
            commit = commits.get(partition)
            if commit is not None and commit.offset >= 0:
                offset, metadata = commit.offset, commit.metadata or ""
                committed[partition.partition] = (offset, metadata)
            else:
                offset, metadata = await self._beginning(partition), ""
            # Also where it reads there already: records of an earlier assignment may have been thrown away.
            self._consumer.seek(partition, offset)
            progress[partition.partition] = Progress(offset, metadata)
        if generation == self._generation:
            self._progress, self._committed, self._adopted = progress, committed, generation

    async def _beginning(self, partition: TopicPartition) -> int:
        """Where a destination begins that never committed; its first commit holds it fast."""
        consumer = self._consumer
        find = consumer.beginning_offsets if self._from_the_beginning else consumer.end_offsets
        offset: int = (await find([partition]))[partition]
        return offset

    # Reading.

    async def read(self, limit: int) -> Records | None:
        """The next records, waiting for them a little; None if the partitions are changing hands.

        Every record is to be given to `noted`, and later to `finish`.
        """
        if self._held and self._adopted != self._generation:
            with contextlib.suppress(IllegalStateError):  # a partition was taken away meanwhile
                await self._adopt()
        generation = self._generation
        # Asked also while nothing is held: this is where the consumer's errors come out.
        records: Records = await self._consumer.getmany(timeout_ms=round(POLL_SECONDS * 1000), max_records=limit)
        # What is thrown away here is read again: taking over goes back to the commits.
        return records if self._adopted == generation == self._generation else None

    def noted(self, record: ConsumerRecord) -> bool:
        """Note a record as read. False if it was finished before a restart: then that was all."""
        return self._progress[record.partition].read(record.offset)

    def finish(self, partition: int, offset: int) -> None:
        self._progress[partition].finish(offset)

    def press_back(self, pending: Mapping[int, int], limit: int) -> None:
        """Stop reading partitions of which too much is unfinished, go on with those of which little enough
        is.

        `pending` is by partition, `limit` is shared by all partitions.
        """
        if not self._progress:
            return
        share = max(100, limit // len(self._progress))
        paused = self._consumer.paused()
        for partition in self._consumer.assignment():
            unfinished = pending[partition.partition]
            if unfinished >= share and partition not in paused:
                self._consumer.pause(partition)
            elif unfinished <= share // 2 and partition in paused:
                self._consumer.resume(partition)

    # Committing.

    def marks(self) -> dict[int, Mark]:
        """What can be committed now, by partition."""
        return {partition: progress.mark() for partition, progress in self._progress.items()}

    async def commit(self, marks: Mapping[int, Mark]) -> None:
        """Commit what moved. Where the group has rebalanced meanwhile, nothing: its new owner repeats."""
        moved = {partition: mark for partition, mark in marks.items() if self._committed.get(partition) != mark}
        if not moved:
            return
        try:
            await self._consumer.commit(
                {TopicPartition(self._topic, partition): mark for partition, mark in moved.items()}
            )
        except (CommitFailedError, IllegalStateError):
            logger.info("group %s rebalanced before a commit; what it covers is sent again", self._group)
        else:
            self._committed.update(moved)

    # Looking on.

    def lag(self) -> int:
        """Records on our partitions that are not finished."""
        lag = 0
        for partition, progress in self._progress.items():
            end = self._consumer.highwater(TopicPartition(self._topic, partition))
            lag += max(0, (end or 0) - progress.mark()[0])
        return lag

    async def watch(self, now: float) -> None:
        """Raises ConsumerStalled if there is something to read and nothing is read."""
        await self._watchdog.look(self._consumer, self._progress, now)
