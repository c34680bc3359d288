"""What a destination was sent last: so that nothing older than that is ever sent.

Changes are looked up when they are taken in, a whole fetch at once, and marked when they were delivered, before the
customer's next change may leave. Marks are written in groups: what is delivered while one group is on its way is the
next one. Where the store does not answer, the destination waits.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple, Protocol, TypeVar

from redis.exceptions import RedisError

from connectors.changes import ERASED, Change, instant_key

logger = logging.getLogger(__name__)

T = TypeVar("T")

RETRY_SECONDS = (0.1, 5.0)
"""Between attempts to reach the store: from the first, doubled up to the second."""
PATIENCE_SECONDS = 1.0
"""A store that does not answer for so long counts as unavailable: what is shorter nobody needs to hear of."""


@dataclass(frozen=True, slots=True)
class Erasure:
    """The customer was forgotten: their record's offset on `segment-changes` (-1: not known), and its instant."""

    offset: int
    at: str


@dataclass(frozen=True, slots=True)
class Known:
    """What was delivered of one customer and segment."""

    sequence: int = 0
    erasure: Erasure | None = None
    live: int = 0
    """The newest of the customer's live changes that was delivered, of whatever segment."""


NOTHING = Known()


class Mark(NamedTuple):
    """Something that was delivered; an erasure ends whatever was known of the customer."""

    partition: int
    customer_id: str
    segment: str
    sequence: int
    erasure: Erasure | None = None
    live: bool = True


class LedgerLost(Exception):
    """The store no longer knows what was delivered of these partitions."""

    def __init__(self, partitions: Iterable[int]) -> None:
        self.partitions = sorted(partitions)
        super().__init__(f"partitions {self.partitions}")


class Store(Protocol):
    """Where it is kept. All raise `redis.exceptions.RedisError` where Redis does not answer."""

    async def adopt(self, committed: Mapping[int, int], ends: Mapping[int, int]) -> Mapping[int, int]:
        """These partitions are ours now. Gives those that `deliveries` has to be read for, and from which offset.

        `committed` and `ends` are offsets of `segment-changes`: one beyond the end is of another topic's life.
        """

    async def rebuilt(self, partition: int, deliveries: int, committed: int) -> None:
        """Everything that `deliveries` says of a partition, up to this offset, is marked."""

    async def look(self, wanted: Sequence[Change]) -> Sequence[Known]:
        """What is known of each change's customer and segment. Raises LedgerLost."""

    async def mark(self, marks: Sequence[Mark]) -> None:
        """Remember; what is older than what is known changes nothing."""

    async def note(self, committed: Mapping[int, int]) -> None:
        """Offsets of `segment-changes` that are about to be committed, by partition."""


class Verdict(StrEnum):
    SEND = "send"
    SUPERSEDED = "superseded"
    """Something newer was delivered, or the customer forgotten."""
    DELIVERED = "delivered"
    """This very change was."""


def verdict(change: Change, known: Known) -> Verdict:
    """Whether a change is still to be sent. Of what was asked for again, only what is older is not.

    Live changes of a customer end in order. So one that is older than the newest that was delivered had ended,
    whatever its segment: if nothing of its own segment is known, a newer one took its place, and comes later.
    """
    live = change.origin == "live"
    erasure = known.erasure
    if change.action == ERASED:
        return Verdict.SEND if erasure is None or erasure.offset < change.offset else Verdict.DELIVERED
    if erasure is not None:
        before = change.offset < erasure.offset if live else instant_key(change.at) <= instant_key(erasure.at)
        if before:
            return Verdict.SUPERSEDED
    if change.sequence < known.sequence or (live and change.sequence < known.live):
        return Verdict.SUPERSEDED
    return Verdict.DELIVERED if live and change.sequence == known.sequence else Verdict.SEND


def mark_of(change: Change) -> Mark:
    erasure = Erasure(change.offset, change.at) if change.action == ERASED else None
    return Mark(change.partition, change.customer_id, change.segment, change.sequence, erasure, change.origin == "live")


Rebuild = Callable[[Mapping[int, int], Mapping[int, int]], Awaitable[None]]
"""Marks what `deliveries` says, from these offsets on, by partition; and what was committed of `segment-changes`."""


class Ledger:
    """One destination's. Within one event loop; `changed` is called when it becomes available or unavailable."""

    def __init__(self, store: Store, rebuild: Rebuild, *, changed: Callable[[], None]) -> None:
        self.available = True
        self._store = store
        self._rebuild = rebuild
        self._changed = changed
        self._committed: Mapping[int, int] = {}
        self._ends: Mapping[int, int] = {}
        self._waiting: list[tuple[Mark, Callable[[], None]]] = []
        self._marking: asyncio.Task[None] | None = None
        self._looking = 0
        self._meanwhile: dict[tuple[str, str], Mark] = {}  # marked while somebody was looking

    async def adopt(self, committed: Mapping[int, int], ends: Mapping[int, int]) -> None:
        """Take over partitions; what is not known of them is read from `deliveries`."""
        self._committed, self._ends = committed, ends
        await self._adopt()

    async def _adopt(self) -> None:
        async def adopt() -> None:
            starts = await self._store.adopt(self._committed, self._ends)
            if starts:
                await self._rebuild(starts, self._committed)

        await self._insist(adopt)

    async def verdicts(self, changes: Sequence[Change]) -> list[Verdict]:
        """Whether each is still to be sent."""
        self._looking += 1
        try:
            known = await self._insist(lambda: self._look(changes))
            return [verdict(change, self._newest(change, each)) for change, each in zip(changes, known, strict=True)]
        finally:
            self._looking -= 1
            if not self._looking:
                self._meanwhile.clear()

    async def _look(self, changes: Sequence[Change]) -> Sequence[Known]:
        while True:
            try:
                return await self._store.look(changes)
            except LedgerLost as lost:
                logger.warning("the ledger of %s is gone and is read from deliveries again", lost)
                await self._adopt()

    def _newest(self, change: Change, known: Known) -> Known:
        if not self._meanwhile:
            return known
        marked = self._meanwhile.get((change.customer_id, change.segment))
        erased = self._meanwhile.get((change.customer_id, ""))
        sequence = known.sequence if marked is None else max(known.sequence, marked.sequence)
        return Known(sequence, known.erasure if erased is None else erased.erasure, known.live)

    def mark(self, change: Change, done: Callable[[], None]) -> None:
        """A change was delivered; `done` is called once that is remembered."""
        marked = mark_of(change)
        if self._looking:
            self._meanwhile[change.customer_id, change.segment] = marked
        self._waiting.append((marked, done))
        if self._marking is None:
            self._marking = asyncio.get_running_loop().create_task(self._keep_marking(), name="ledger")

    async def _keep_marking(self) -> None:
        try:
            while self._waiting:
                group, self._waiting = self._waiting, []
                marks = [marked for marked, _ in group]
                await self._insist(lambda: self._store.mark(marks))  # noqa: B023 - awaited before the next round
                for _, done in group:
                    done()
        finally:
            self._marking = None

    async def settle(self, seconds: float) -> None:
        """Wait for the marks on their way, so long at most; then forget them: those changes will be sent again."""
        if self._marking is not None:
            await asyncio.wait([self._marking], timeout=seconds)
        if self._marking is not None:
            task = self._marking
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        self._waiting = []

    async def note(self, committed: Mapping[int, int]) -> bool:
        """What is about to be committed. False where the store does not answer: then it had better not be."""
        try:
            await self._store.note(committed)
        except RedisError:
            return False
        return True

    async def _insist(self, call: Callable[[], Awaitable[T]]) -> T:
        """The call's result, however long the store takes to come back."""
        delay, longest = RETRY_SECONDS
        loop = asyncio.get_running_loop()
        since = loop.time()
        while True:
            try:
                result = await call()
            except RedisError as error:
                if self.available and loop.time() - since >= PATIENCE_SECONDS:
                    logger.warning("the ledger is not available (%s); nothing is lost", type(error).__name__)
                    self._set_available(False)
                await asyncio.sleep(delay)
                delay = min(delay * 2, longest)
            else:
                self._set_available(True)
                return result

    def _set_available(self, available: bool) -> None:
        if self.available is not available:
            self.available = available
            self._changed()
