"""The consumer group's offsets of `events`, committed exactly when and as the engine says."""

import asyncio
import time
from collections.abc import Mapping

from aiokafka.errors import (
    CommitFailedError,
    IllegalGenerationError,
    IllegalStateError,
    RebalanceInProgressError,
    UnknownMemberIdError,
)
from aiokafka.structs import TopicPartition

from stream.engine.delivery import SHUT
from stream.engine.partitions import GroupHealth
from stream.engine.transport import Consumer, EngineAppT

#: Between two looks whether a heartbeat came through (s).
_HEARD = 0.05


class NotOwner(Exception):
    """The group no longer counts us as the owner of these partitions. Nothing was committed."""


class Offsets:
    """For the partitions of `events` that this worker holds."""

    def __init__(self, app: EngineAppT) -> None:
        self._app = app

    async def commit(self, offsets: Mapping[int, int]) -> None:
        """Commit for each partition the offset to read next.

        Raises ``NotOwner``, or ``KafkaError`` for what does not heal. What may heal (no coordinator, a lost
        connection) is tried again without end: bound it with ``asyncio.timeout`` where that matters.
        """
        thread = self._consumer.thread
        try:
            await thread.run(thread.commit_exactly({self._tp(p): offset for p, offset in offsets.items()}))
        except (
            CommitFailedError,
            IllegalGenerationError,
            IllegalStateError,
            RebalanceInProgressError,
            UnknownMemberIdError,
        ) as error:
            raise NotOwner(f"partitions {sorted(offsets)}: {error}") from error

    @property
    def open(self) -> bool:
        """Whether partitions are held to go on with; False from the moment at which they are to be given up."""
        return self._app.delivery.epoch != SHUT

    async def ours(self) -> bool:
        """Wait while the group was not heard of for a whole session; False when partitions are to be given up.

        Who was cut off for so long may be an owner of before: what it then says, the owner after it has said already.
        The first heartbeat that comes through tells.
        """
        session = self._app.transport_settings.session_timeout_seconds
        while self.open:
            if time.monotonic() - self.health().heartbeat_at <= session:
                return True
            await asyncio.sleep(_HEARD)
        return False

    def position(self, partition: int) -> int | None:
        """The offset after the last record that the host finished; None if we do not hold the partition."""
        return self._app.delivery.positions.get(partition) if partition in self._app.delivery.held else None

    def highwater(self, partition: int) -> int | None:
        """The end of the partition as of the last fetch; None until the first, or if we do not hold it."""
        consumer = self._consumer.thread._consumer
        if consumer is None or self._tp(partition) not in consumer.assignment():
            return None
        end: int | None = consumer.highwater(self._tp(partition))
        return end

    def lag(self) -> dict[int, int]:
        """Records not yet finished, for each partition of which both ends are known."""
        ends = {p: (self.position(p), self.highwater(p)) for p in self._app.delivery.held}
        return {p: max(0, end - at) for p, (at, end) in ends.items() if at is not None and end is not None}

    async def pause(self, partition: int) -> None:
        """Stop fetching a partition until ``resume`` or a rebalance. Batches taken before still arrive.

        Raises ``LostAssignment`` if we do not hold it.
        """
        await self._consumer.thread.run(self._consumer.thread.set_paused(self._tp(partition), True))

    async def resume(self, partition: int) -> None:
        """Fetch a partition again."""
        await self._consumer.thread.run(self._consumer.thread.set_paused(self._tp(partition), False))

    def paused(self) -> frozenset[int]:
        """The partitions that are not fetched until ``resume``."""
        consumer = self._consumer.thread._consumer
        paused = consumer.paused() if consumer is not None else ()
        return frozenset(tp.partition for tp in paused if tp.topic == self._app.events)

    def health(self) -> GroupHealth:
        """How this member stands with its group."""
        return self._consumer.thread.health()

    @property
    def _consumer(self) -> Consumer:
        consumer = self._app.consumer
        assert isinstance(consumer, Consumer), "the app runs on another transport"
        return consumer

    def _tp(self, partition: int) -> TopicPartition:
        return TopicPartition(self._app.events, partition)
