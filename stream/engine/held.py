"""A partition that this worker holds: its state, what it has said, and its checkpoints (decision 0005)."""

from __future__ import annotations

import asyncio
import logging
import time
from base64 import b64encode
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import orjson

from schemas.facts import FACT_HEADER, MOVED_HEADER, ORIGIN_HEADER, FactKind
from stream.core.changes import Change
from stream.core.fill import Fill
from stream.core.filled import apart, is_fill
from stream.core.output import DEAD_LETTERED, LogRecord, Output, Refused
from stream.core.routing import partition_of
from stream.core.time import format_iso
from stream.engine.fills import Fills
from stream.engine.partitions import Parts
from stream.engine.recovery import Recovered
from stream.engine.topics import TopicNames
from stream.engine.writes import Record, Sent, Writes
from stream.metrics import Metrics

log = logging.getLogger(__name__)

#: Customers put into bytes between two batches while a checkpoint is written.
SLICE = 2_000
#: Customers brought to a new definition book after each batch.
SWEEP = 500
#: The part of the worker's time that filling new windows may take.
FILL_SHARE = 0.3
#: Records that a fill may be behind when its fact is written; the partition waits while the rest is read.
NEARLY = 10_000
#: Batches of changes on their way; past it the partition waits for the oldest.
IN_FLIGHT = 32
OTHERS_IN_FLIGHT = 1_000


class BrokenPromise(RuntimeError):
    """A replay says something else than what has left already: P1 does not hold, and nothing may go on."""


class Held:
    """One partition in the hands of this worker. Calls of ``batch`` and ``checkpoint`` may interleave at awaits."""

    def __init__(
        self,
        found: Recovered,
        writes: Writes,
        state_writes: Writes,
        topics: TopicNames,
        metrics: Metrics,
        fills: Fills,
    ) -> None:
        self.partition = found.partition
        self.number = found.partition.number
        self._checkpointer = found.checkpointer
        self._writes, self._state_writes, self._topics, self._metrics = writes, state_writes, topics, metrics
        self._fills = fills
        self._fill: Fill | None = None  # read so far, for a fact that is on its way
        self._preparing: Fill | None = None  # of a batch in progress
        self._filled: int | None = None  # number of the edition for which the log had nothing to add
        self._left = found.left
        self._replay_end = found.events_end  # until there, everything in `left` must be met again
        self._changes: list[Sent] = []  # on their way, in order
        self._others: list[Sent] = []  # refused and moved records on their way
        # Held while a batch is decided and queued: what is queued is in the order of the decisions, and a checkpoint
        # never begins between a decision and its queueing.
        self._lock = asyncio.Lock()
        self._changes_end = found.changes_end  # end of `segment-changes` as far as it is known to be ours
        self._strange: int | None = None  # the first offset of `segment-changes` that is another's, until a commit
        self._strange_in_checkpoint: int | None = None
        self._events_start = found.events_start
        self._written = found.partition.position
        self._code_differs = 0
        self._state_end = found.state_end  # of `state`, by what we read and wrote; None if that is not known
        self.restored = found.checkpoint is not None
        self.checkpoint_at = time.monotonic()
        if found.events_start > found.partition.position + 1:
            log.warning(
                "events/%d begins at %d, but its state ends at %d: retention has removed facts that were never read",
                self.number,
                found.events_start,
                found.partition.position,
            )

    @property
    def read_on(self) -> int:
        """The offset of `events` to read next."""
        return max(self.partition.position + 1, self._events_start)

    @property
    def covered(self) -> int:
        """The offset of `events` up to which the state on the broker covers everything."""
        return max(self._written + 1, self._events_start)

    @property
    def prepared(self) -> int:
        """How far the log was read for the ``filled`` fact of the batch in progress, which may take long; -1: none."""
        return self._preparing.until if self._preparing else -1

    # -- forward ------------------------------------------------------------------------------------------------

    async def batch(self, parts: Parts, going: Callable[[], bool]) -> None:
        """Process one fetched batch and send what it gives out; does not wait until that has arrived.

        A long reading ends when ``going`` says so: the batch is left there, to be read on from ``read_on``.
        """
        async with self._lock:
            out, read, begun = Output(), 0, time.perf_counter()
            for part in parts:
                for some in apart(part):
                    if is_fill(some[0]):
                        await self._finish(out, read, begun)
                        if not await self._prepare(some[0], going):
                            return
                        out, read, begun = Output(), 0, time.perf_counter()
                    self.partition.process(some, out)
                    read += len(some)
            await self._finish(out, read, begun)

    async def _finish(self, out: Output, read: int, begun: float) -> None:
        if read:
            self.partition.sweep(SWEEP, out)
            self._metrics.batch(read, time.perf_counter() - begun)
            await self._emit(out)

    async def sweep(self) -> bool:
        """Go on bringing customers to a new definition book; False when all are there."""
        if not self.partition.membership.sweeping:
            return False
        async with self._lock:
            out = Output()
            self.partition.sweep(SWEEP, out)
            await self._emit(out)
        return self.partition.membership.sweeping

    async def _emit(self, out: Output) -> None:
        changes = self._not_said_yet(out.changes) if self._left else out.changes
        # The replay has an end: what left before the crash and was not said again by then is a difference too.
        if self._left and self.partition.position + 1 >= self._replay_end and not self.partition.membership.sweeping:
            self._end_of_replay()
        self._metrics.endings(out)
        self._metrics.changes(out.changes, self.partition.log_time)
        if changes:
            records: list[Record] = [
                (change.customer_id.encode("utf-8", "surrogatepass"), change.value) for change in changes
            ]
            queued = time.monotonic()
            sent = await self._writes.append(self._topics.changes, self.number, records)
            self._changes += sent
            sent[-1].future.add_done_callback(lambda done: self._acknowledged(done, changes, queued))
        if out.refused:
            await self._send_refused(out.refused)
        for moved in out.moved:
            self._metrics.moved()
            origin = f"{self._topics.events}/{self.number}/{moved.record.offset}".encode()
            kept = [(k, v) for k, v in moved.record.headers if k not in (ORIGIN_HEADER, MOVED_HEADER)]
            known = [(k, v) for k, v in moved.record.headers if k == ORIGIN_HEADER]
            key = moved.customer_id.encode("utf-8", "surrogatepass")
            self._others.append(
                await self._writes.send(
                    self._topics.events,
                    partition_of(moved.customer_id, self.partition.partitions),
                    key,
                    moved.record.value,
                    [*kept, *(known or [(ORIGIN_HEADER, origin)]), (MOVED_HEADER, b"1")],
                )
            )
        while len(self._changes) > IN_FLIGHT:
            oldest = self._changes.pop(0)
            self._left_at(oldest, await oldest.acknowledged())
        if len(self._others) > OTHERS_IN_FLIGHT:
            others, self._others = self._others, []
            for other in others:
                await other.acknowledged()

    async def _send_refused(self, all_refused: Sequence[Refused]) -> None:
        places: dict[str, list[Record]] = {}
        for refused in all_refused:
            record = refused.record
            value = {
                "topic": self._topics.events,
                "partition": self.number,
                "offset": record.offset,
                "reason": refused.reason,
                "detail": refused.detail,
                "payload": None if record.value is None else b64encode(record.value).decode(),
                "key": None if record.key is None else b64encode(record.key).decode(),
                "log_time": format_iso(refused.log_time),
            }
            topic = self._topics.dead_letters if refused.ending == DEAD_LETTERED else self._topics.rejected
            places.setdefault(topic, []).append((record.key, orjson.dumps(value)))
        for topic, records in places.items():
            self._others += await self._writes.append(topic, self.number, records)

    def _acknowledged(self, done: asyncio.Future[Any], changes: Sequence[Change], queued: float) -> None:
        if not done.cancelled() and done.exception() is None:
            self._metrics.left(changes, time.time(), time.monotonic() - queued)

    # -- windows that miss their past ---------------------------------------------------------------------------

    async def fill(self, going: Callable[[], bool]) -> bool:
        """Read the log again for what a new book counts, and say so in the log; True if there was anything to do."""
        edition = self.partition.membership.edition
        if edition is None or self._filled == edition.number or self._fill or self.partition.membership.sweeping:
            return False
        fill = await self._fills.begin(self.partition)
        if fill is None:
            self._filled = edition.number
            return False
        begun = time.monotonic()
        behind = self.partition.position + 1 - fill.until
        while going() and behind > NEARLY:
            await self._fills.advance(fill, self.number, fill.until + behind, share=FILL_SHARE, going=going)
            before, behind = behind, self.partition.position + 1 - fill.until
            if behind > before / 2:
                break  # the stream is as fast as this reading
        if going() and self.partition.takes_fill(fill.fact.encode()) is not None:
            # The rest is read when the fact is met. Until it is acknowledged, it may be met already.
            self._fill = fill
            header = [(FACT_HEADER, FactKind.FILLED.value.encode())]
            sent = await self._writes.send(self._topics.events, self.number, None, fill.fact.encode(), header)
            await sent.acknowledged()
            seconds = time.monotonic() - begun
            self._metrics.filled(seconds)
            log.info(
                "events/%d: %d windows filled from offset %d on, in %.1f s",
                self.number,
                len(fill.fact.keys),
                fill.fact.first,
                seconds,
            )
        return True

    async def _prepare(self, record: LogRecord, going: Callable[[], bool]) -> bool:
        """What a ``filled`` fact fills has to be there when it is met, be it another worker's or that of a replay.

        False if it is not, and the partition is about to be given up: what was read is kept for the case that it stays.
        """
        fact = self.partition.takes_fill(record.value)
        fill, self._fill = self._fill, None
        if fact is None:
            return True
        if fill is None or fill.fact != fact:
            fill = self._fills.of(self.partition, fact)
        self._preparing = fill
        await self._fills.advance(fill, self.number, record.offset, share=1.0, going=going)
        self._preparing = None
        if fill.until < record.offset:
            self._fill = fill
            return False
        self.partition.fill = fill
        return True

    # -- read-back ----------------------------------------------------------------------------------------------

    def _not_said_yet(self, changes: Sequence[Change]) -> list[Change]:
        """Leave out what had left before the crash, and compare it: a replay must say the same, byte by byte."""
        fresh: list[Change] = []
        for change in changes:
            said = self._left.pop((change.customer_id, change.sequence), None)
            if said is None:
                fresh.append(change)
                continue
            self._metrics.compared()
            if said[1] != change.value:
                self._difference(change.value, said[1])
        return fresh

    def _end_of_replay(self) -> None:
        for _, value in self._left.values():
            self._difference(b"(nothing)", value)
        self._left = {}

    def _difference(self, now: bytes, then: bytes) -> None:
        code = msgspec.json.decode(then, type=_Code).code
        self._metrics.difference()
        if code == self.partition.settings.code:
            raise BrokenPromise(f"a replay of events/{self.number} says {now!r}, but {then!r} had left")
        self._code_differs += 1
        if self._code_differs == 1:
            log.warning("events/%d: another version of the code (%s) had said something else", self.number, code)

    # -- checkpoints --------------------------------------------------------------------------------------------

    @property
    def dirty(self) -> bool:
        """Whether anything came in since the last checkpoint."""
        return self.partition.position > self._written

    async def checkpoint(self) -> int:
        """Write the state as of now; returns the offset to commit. The caller sees to it that only one runs."""
        begun = time.monotonic()
        cp = self._checkpointer
        while True:
            async with self._lock:
                # What was read from the log stands in memory alone until all customers have come to it.
                if not self.partition.membership.filling:
                    cp.begin()
                    position = self.partition.position
                    changes, self._changes = self._changes, []
                    others, self._others = self._others, []
                    unmet = min((offset for offset, _ in self._left.values()), default=None)
                    end = self._changes_end
                    break
            await self.sweep()
            await asyncio.sleep(0)
        for sent in changes:
            end = await sent.acknowledged()
            self._left_at(sent, end)
        # Not `_changes_end`: later changes than those of this checkpoint may be acknowledged by now.
        read_back = min(offset for offset in (end, self._strange, unmet) if offset is not None)
        self._strange_in_checkpoint = self._strange
        for sent in others:
            await sent.acknowledged()
        states: list[Sent] = []
        written = 0
        while True:
            records = cp.slice(SLICE)
            if not records and not cp.remaining:
                break
            written += len(records)
            states += await self._state_writes.append(self._topics.state, self.number, records)
            await asyncio.sleep(0)  # a batch may come in between
        for sent in states:
            self._alone(sent, await sent.acknowledged())
        (last,) = await self._state_writes.append(self._topics.state, self.number, [cp.record(read_back)])
        self._alone(last, await last.acknowledged())
        cp.end()
        self._written = position
        self.checkpoint_at = time.monotonic()
        self._metrics.checkpoint(written, self.checkpoint_at - begun)
        return position + 1

    def committed(self) -> None:
        """The offset of the last checkpoint is committed: it was ours to write, and so were the changes before it."""
        if self._strange == self._strange_in_checkpoint:
            self._strange = None

    def _left_at(self, sent: Sent, end: int) -> None:
        """Changes of ours stand before ``end``. What stands between them and the ones before is another owner's.

        If that is the owner after us, and we do not know it yet, a checkpoint of ours must not jump over it.
        """
        if end - sent.records > self._changes_end and self._strange is None:
            self._strange = self._changes_end
        self._changes_end = max(self._changes_end, end)

    def _alone(self, sent: Sent, end: int) -> None:
        """See whether anybody else wrote state between our writes: an owner of before, paused, whom nobody told.

        Its records are older, and a reader takes the newer ones; but compaction keeps the last. So ours come again.
        """
        begin = end - sent.records
        known, self._state_end = self._state_end, end
        if known is not None and begin > known:
            log.warning("state/%d: %d records of another owner; ours are written again", self.number, begin - known)
            for customer in self.partition.customers.values():
                self.partition.membership.touch(customer)


class _Code(msgspec.Struct):
    code: str
