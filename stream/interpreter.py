"""The customer log in one process: the same core as the engine, over a list. For tests, ``replay`` and backtests."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from typing import cast

import msgspec

from stream.core.changes import Change
from stream.core.config import CoreSettings
from stream.core.fill import Fill
from stream.core.filled import apart, gained, gaps, is_fill
from stream.core.output import DEAD_LETTERED, REJECTED, LogRecord, Output, Refused
from stream.core.partition import Partition
from stream.core.segments import canonical_json, load_book

_LOG_APPEND_TIME = 1
#: Customers brought to a new definition book after each record; the result does not depend on it.
_SWEEP = 1_000


@dataclass(slots=True)
class InMemoryRecord:
    """One record of the in-process log. ``timestamp`` in ms, as Kafka has it."""

    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes]] = ()
    timestamp_type: int = _LOG_APPEND_TIME


def definitions(book_text: str, author: str = "", comment: str = "") -> bytes:
    """The value of a ``definitions`` fact for the book in ``book_text`` (YAML). Raises ``DefinitionErrors``."""
    book = msgspec.json.decode(canonical_json(load_book(book_text)))
    return msgspec.json.encode({"book": book, "author": author, "comment": comment})


@dataclass(slots=True)
class Interpreter:
    """Pipe records in, let time pass, read the changes. Log time is in µs and is kept to the millisecond.

    >>> log = Interpreter(book_text)
    >>> log.pipe(at, None, b'{"customer_id": "c1", "event_type": "product_view"}')
    >>> log.advance(at + 3_600_000_000)
    >>> log.changes
    """

    book_text: str
    settings: CoreSettings = field(default_factory=CoreSettings)
    decided: list[Change] = field(default_factory=list)
    refused: list[Refused] = field(default_factory=list)
    endings: Counter[tuple[str, str]] = field(default_factory=Counter)
    partition: Partition = field(init=False)
    #: Its place in a log of several partitions, of which each needs an interpreter of its own.
    number: int = 0
    partitions: int = 1
    #: Keep every record, so that ``fill`` can read them again.
    keeps_log: bool = False
    log: list[InMemoryRecord] = field(init=False, default_factory=list)
    _offset: int = field(init=False, default=0)
    _taken: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        self.partition = Partition(self.number, self.partitions, self.settings)
        self.apply(self.book_text, 0)

    @property
    def changes(self) -> list[bytes]:
        """Every change so far, as it would stand on ``segment-changes``."""
        return [change.value for change in self.decided]

    def apply(self, book_text: str, at: int) -> None:
        """Put a definition book into the log at ``at`` (µs)."""
        self.pipe(at, None, definitions(book_text), (("fact", b"definitions"),))

    def pipe(self, at: int, key: bytes | None, value: bytes | None, headers: Sequence[tuple[str, bytes]] = ()) -> None:
        """Append one record at log time ``at`` (µs) and process it."""
        self.feed([InMemoryRecord(self._offset, at // 1000, key, value, headers)])

    def feed(self, records: Sequence[InMemoryRecord]) -> None:
        """Process a batch whose offsets go on from the last."""
        out = Output()
        for some in apart(records) if records else ():
            if is_fill(some[0]):
                self._prepare(some[0])
            self.partition.process(some, out)
            if self.keeps_log:
                self.log += cast(Sequence[InMemoryRecord], some)
        while self.partition.membership.sweeping:
            self.partition.sweep(_SWEEP, out)
        self._offset = records[-1].offset + 1 if records else self._offset
        self.decided += out.changes
        self.refused += out.refused
        self.endings += out.endings

    def advance(self, until: int) -> None:
        """Let time pass to ``until`` (µs) with no event: a tick."""
        self.pipe(until, None, b"{}", (("fact", b"tick"),))

    def fill(self, at: int, first: int = 0) -> bool:
        """Fill new windows from the log from offset ``first`` on, as a worker does, at ``at`` (µs).

        Needs ``keeps_log``. False if there was nothing to gain.
        """
        partition, edition = self.partition, self.partition.membership.edition
        since = self.log[first].timestamp * 1000 if first else 0
        fact = gained(edition, gaps(edition, partition.log_time), first, since) if edition else None
        if fact is None:
            return False
        self.pipe(at, None, fact.encode(), (("fact", b"filled"),))
        return True

    def _prepare(self, record: LogRecord) -> None:
        """Read the log so far again for what a ``filled`` fact fills."""
        partition, edition = self.partition, self.partition.membership.edition
        fact = partition.takes_fill(record.value)
        if fact is None or edition is None:
            return
        if not self.keeps_log:
            raise LookupError("a log whose windows were filled can only be read by an interpreter that keeps it")
        fill = Fill(partition.number, partition.partitions, partition.settings, edition, fact)
        fill.process(self.log[bisect_left(self.log, fact.first, key=attrgetter("offset")) :])
        fill.until = record.offset
        partition.fill = fill

    def take(self) -> list[Change]:
        """The changes since the last call; they are counted, and no longer kept."""
        taken, self.decided = self.decided, []
        self._taken += len(taken)
        return taken

    def report(self) -> dict[str, object]:
        """The accounting of P4, the changes, and the members by segment."""
        edition = self.partition.membership.edition
        members: Counter[str] = Counter({s.name: 0 for s in edition.book.segments} if edition else {})
        for customer in self.partition.customers.values():
            members.update(list(customer.members or ()))
        count = self.endings
        return {
            "read": sum(count.values()),
            "applied": sum(n for (ending, _), n in count.items() if ending == "applied"),
            "duplicates": sum(n for (ending, _), n in count.items() if ending == "duplicate"),
            "rejected": {reason: n for (ending, reason), n in sorted(count.items()) if ending == REJECTED},
            "dead_lettered": {reason: n for (ending, reason), n in sorted(count.items()) if ending == DEAD_LETTERED},
            "changes": self._taken + len(self.decided),
            "members": dict(members),
        }
