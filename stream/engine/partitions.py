"""What the transport and the partition host say to each other."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol, TypeAlias

from stream.core.output import LogRecord
from stream.engine.stopping import StopBudget

Parts: TypeAlias = Iterable[Sequence[LogRecord]]
"""A batch's records in the order of the log, some at a time, never none; to be gone through once."""


class PartitionHost(Protocol):
    """Owner of the state of the partitions of `events` that this worker holds.

    The calls never overlap, except that ``assigned`` may be cancelled when the group rebalances again while
    it loads; ``revoked`` with that new set then follows. Whatever else leaves a call ends the process.
    """

    async def assigned(self, partitions: set[int]) -> dict[int, int]:
        """After every rebalance: the whole new set. Returns for each partition the offset to read next.

        Heartbeats go on meanwhile, and no record of these partitions is delivered before it returns.
        """
        ...

    async def batch(self, partition: int, parts: Parts, generation: int) -> None:
        """One fetched batch of one partition."""
        ...

    async def revoked(self, partitions: set[int], stop: StopBudget | None = None) -> bool:
        """All partitions held are about to go, or the worker stops. No batch is delivered until ``assigned``.

        Offsets can still be committed. The group waits, so this must be bounded in time: at a stop by its budget.
        False if the worker may leave the group now, but something that it did not write will be replayed.
        """
        ...


class Batch(NamedTuple):
    """One fetched batch of one partition, as it travels through Faust in place of a message's value."""

    topic: str
    partition: int
    parts: Parts
    end: int
    """The offset behind the last record."""
    generation: int
    epoch: int


@dataclass(frozen=True)
class GroupHealth:
    """What a watchdog wants to know of this member of the consumer group."""

    generation: int
    """The group's generation; negative outside of the group."""
    heartbeat_at: float
    """Monotonic seconds of the last word from the coordinator: a heartbeat or a finished rebalance."""
    rebalancing: bool
    """A rebalance goes on: no heartbeats are sent while the group joins."""
