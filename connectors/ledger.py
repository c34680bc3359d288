"""What a destination was sent last: so that nothing older than that is ever sent.

Changes are looked up when they are taken in, a whole fetch at once, and marked when they were delivered, before the
customer's next change may leave. Marks are written in groups: what is delivered while one group is on its way is the
next one. Where the store does not answer, the destination waits.

Of some changes the ledger hears before they leave, too: they are *begun*. Else a process that is killed before the
answer comes leaves nothing that says why an older change, which ended without being delivered, is not to be sent: it
is read again, and goes back over what the platform has. That needs, of live changes:

- one that took an older one's place where changes coalesce, and those of its customer that leave before it: between
  them they stand for what was made needless;
- the next one of a customer after one that was given up: a dead letter is no mark;
- an erasure, which ends everything that waits.

Nothing is lost by it. When a change is begun, everything of its customer before it in the log has ended: delivered and
marked, given up and its dead letter written, or made needless by one that stands at or behind the begun one in the log.
That one, and the begun one, are committed only once they ended; till then whoever reads again sends them, for neither
is older than what was begun, nor marked. This holds whoever began it, so also for an owner who has lost the partition.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple, Protocol, TypeVar

from redis.exceptions import RedisError

from connectors.changes import ERASED, Change, instant_key

logger = logging.getLogger(__name__)

T = TypeVar("T")

RETRY_SECONDS = (0.1, 5.0)
"""Between attempts to reach the store: from the first, doubled up to the second."""
LIVE = "\x01"
"""Where a store keeps the newest live change, beside the segments: no segment's name."""
PATIENCE_SECONDS = 1.0
"""A store that does not answer for so long counts as unavailable: what is shorter nobody needs to hear of."""


@dataclass(frozen=True, slots=True)
class Erasure:
    """The customer was forgotten: their record's offset on `segment-changes` (-1: not known), and its instant."""

    offset: int
    at: str
    begun: bool = False
    """It may have arrived; nobody heard that it did."""
    id: str = ""
    """Empty: not known."""


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of one customer and segment: the newest that was delivered, the last erasure."""

    sequence: int = 0
    erasure: Erasure | None = None
    live: int = 0
    """The newest of the customer's live changes that was delivered or begun, of whatever segment."""
    followed: bool = False
    """Only where an erasure is asked about: was anything of the customer delivered or begun since the last one?"""


NOTHING = Known()


class Mark(NamedTuple):
    """Something that was delivered or begun. An erasure ends whatever was known of the customer; one that was sent
    again (not `live`) says only that what was begun under its id has arrived.
    """

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
    """Something newer was delivered or begun, or the customer forgotten."""
    DELIVERED = "delivered"
    """This very change was."""


def verdict(change: Change, known: Known) -> Verdict:
    """Whether a change is still to be sent. Of what was asked for again, only what is older is not.

    Live changes of a customer end in order. So one that is older than the newest that was delivered or begun had
    ended, whatever its segment: if nothing of its own segment is known, a newer one took its place, and comes later.
    """
    live = change.origin == "live"
    if change.action == ERASED:
        return _of_erasure(change, known) if live else _of_another_try(change, known)
    erasure = known.erasure
    if erasure is not None:
        before = change.offset < erasure.offset if live else instant_key(change.at) <= instant_key(erasure.at)
        if before:
            return Verdict.SUPERSEDED
    if change.sequence < known.sequence:
        return Verdict.SUPERSEDED
    if live and change.sequence == known.sequence:
        return Verdict.DELIVERED
    return Verdict.SUPERSEDED if live and change.sequence < known.live else Verdict.SEND


def _of_erasure(erasure: Change, known: Known) -> Verdict:
    last = known.erasure
    if last is None or last.offset < erasure.offset:
        return Verdict.SEND
    if not last.begun:
        return Verdict.DELIVERED
    # Begun, it is sent again, unless something live followed: then it was given up, or is older than what was begun.
    return Verdict.SEND if last.offset == erasure.offset and not known.live else Verdict.SUPERSEDED


def _of_another_try(erasure: Change, known: Known) -> Verdict:
    """Whether an erasure that was given up is to be sent again. Platforms delete the whole contact: so not where
    something of the customer may have arrived since, unless that was said to be meant. Where another erasure was the
    last, it is: that may have been of another contact, and a deletion that is repeated does no harm.
    """
    if known.erasure is not None and known.erasure.id == erasure.id and not known.erasure.begun:
        return Verdict.DELIVERED
    return Verdict.SUPERSEDED if known.followed and not erasure.even_if_returned else Verdict.SEND


def mark_of(change: Change) -> Mark:
    live = change.origin == "live"
    erasure = None
    if change.action == ERASED:
        erasure = Erasure(change.offset if live else -1, change.at, id=change.id)
    return Mark(change.partition, change.customer_id, change.segment, change.sequence, erasure, live)


def begun_of(change: Change) -> Mark:
    """The mark of a live change that is about to leave."""
    if change.action == ERASED:
        begun = Erasure(change.offset, change.at, begun=True, id=change.id)
        return Mark(change.partition, change.customer_id, "", 0, begun)
    return Mark(change.partition, change.customer_id, LIVE, change.sequence, live=False)


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
        self._group: list[tuple[Mark, Callable[[], None]]] = []  # on its way
        self._marking: asyncio.Task[None] | None = None
        self._looking = 0
        self._meanwhile: list[Mark] = []  # while somebody is looking: what the answer may not know of

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
        if not self._looking:
            self._meanwhile = [marked for marked, _ in (*self._group, *self._waiting)]
        self._looking += 1
        try:
            known = await self._insist(lambda: self._look(changes))
            overlay = _overlay(self._meanwhile, {change.customer_id for change in changes})
            return [
                verdict(change, _newest(change, each, overlay)) for change, each in zip(changes, known, strict=True)
            ]
        finally:
            self._looking -= 1

    async def _look(self, changes: Sequence[Change]) -> Sequence[Known]:
        while True:
            try:
                return await self._store.look(changes)
            except LedgerLost as lost:
                logger.warning("the ledger of %s is gone and is read from deliveries again", lost)
                await self._adopt()

    def mark(self, change: Change, done: Callable[[], None]) -> None:
        """A change was delivered; `done` is called once that is remembered."""
        self._remember(mark_of(change), done)

    async def begin(self, changes: Sequence[Change]) -> None:
        """Remember that live changes are about to leave. Returns once that is written; they wait as long."""
        written: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        left = len(changes)

        def one() -> None:
            nonlocal left
            left -= 1
            if not left and not written.done():
                written.set_result(None)

        for change in changes:
            self._remember(begun_of(change), one)
        if changes:
            await written

    def _remember(self, marked: Mark, done: Callable[[], None]) -> None:
        if self._looking:
            self._meanwhile.append(marked)
        self._waiting.append((marked, done))
        if self._marking is None:
            self._marking = asyncio.get_running_loop().create_task(self._keep_marking(), name="ledger")

    async def _keep_marking(self) -> None:
        try:
            while self._waiting:
                self._group, self._waiting = self._waiting, []
                marks = [marked for marked, _ in self._group]
                await self._insist(lambda: self._store.mark(marks))  # noqa: B023 - awaited before the next round
                group, self._group = self._group, []
                for _, done in group:
                    done()
        finally:
            self._marking = None
            self._group = []

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


_Overlay = Mapping[str, Mapping[str, Mark]]
"""Marks by customer and segment, `LIVE` among them; under the empty name an erasure, which ended what was before."""


def _overlay(marks: Iterable[Mark], customers: Collection[str]) -> _Overlay:
    overlay: dict[str, dict[str, Mark]] = {}
    for marked in marks:
        if marked.customer_id not in customers:
            continue
        if marked.erasure is not None:
            if marked.live:  # else a look that does not know of it yet costs a deletion that is repeated
                overlay[marked.customer_id] = {"": marked}
            continue
        of = overlay.setdefault(marked.customer_id, {})
        for name in (marked.segment, LIVE) if marked.live else (marked.segment,):
            if name not in of or of[name].sequence < marked.sequence:
                of[name] = marked
    return overlay


def _newest(change: Change, known: Known, overlay: _Overlay) -> Known:
    """What is known, and what was marked since."""
    marked = overlay.get(change.customer_id)
    if marked is None:
        return known
    if "" in marked:
        known = Known(erasure=marked[""].erasure)
    sequence, live = (marked[name].sequence if name in marked else 0 for name in (change.segment, LIVE))
    followed = known.followed or (change.action == ERASED and bool(marked.keys() - {""}))
    return Known(max(known.sequence, sequence), known.erasure, max(known.live, live), followed)
