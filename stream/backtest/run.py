"""Runs a book over a log at full speed: the same core as the worker, and what it decides is added up as it comes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from stream.backtest.tally import Flapping, Tally
from stream.core.config import CoreSettings
from stream.core.segments import CompiledBook, compile_book, load_book
from stream.core.segments.memory import memories_of
from stream.core.time import NEVER
from stream.interpreter import InMemoryRecord, Interpreter
from stream.sources import SourceRecord

_BATCH = 5_000


class NothingToTest(Exception):
    """The log has no record in the time that is asked for."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a backtest of ``book`` from ``start`` to ``end`` (µs).

    ``accounting`` says where every record ended. ``whole_from`` are the segments whose windows reach back before
    ``start``, with the instant (µs) from which on they are filled: up to there they know less than they would live.
    """

    book: CompiledBook
    start: int
    end: int
    accounting: dict[str, Any]
    members: dict[str, int]
    tally: Tally
    whole_from: dict[str, int]


class Backtest:
    """One interpreter for each partition of the log; a file is a log of one partition.

    Raises ``DefinitionErrors`` where the book does not compile: in a log that would be a dead letter.
    """

    def __init__(self, book_text: str, settings: CoreSettings, flapping: Flapping | None = None) -> None:
        self.book = compile_book(load_book(book_text))
        self.tally = Tally(flapping or Flapping())
        self._book_text, self._settings = book_text, settings
        self._logs: dict[int, Interpreter] = {}
        self._start: int | None = None

    def feed(self, records: Sequence[InMemoryRecord], number: int = 0, partitions: int = 1) -> None:
        """The next records of partition ``number`` of ``partitions``; their offsets begin at 1."""
        if not records:
            return
        log = self._logs.get(number)
        if log is None:
            log = Interpreter(self._book_text, self._settings, number=number, partitions=partitions)
            self._logs[number] = log
            first = records[0].timestamp * 1000
            self._start = first if self._start is None else min(first, self._start)
        log.feed(records)
        self._take(log)

    def feed_file(self, records: Iterable[SourceRecord], until: int | None = None) -> None:
        """All records of a file up to ``until`` (µs). Raises ``SourceError``."""
        places = enumerate(records, 1)
        while batch := list(islice(places, _BATCH)):
            wanted = [
                InMemoryRecord(offset, record.log_time // 1000, record.key, record.value)
                for offset, record in batch
                if until is None or record.log_time <= until
            ]
            self.feed(wanted)
            if len(wanted) < len(batch):
                return

    def finish(self, until: int | None = None) -> Outcome:
        """Let time pass to ``until`` (µs), or to the last record. Raises ``NothingToTest``."""
        if self._start is None:
            raise NothingToTest("there is no event in that time")
        end = max(log.partition.log_time for log in self._logs.values())
        if until is not None:
            end = max(end, until)
        for log in self._logs.values():
            log.advance(end)
            self._take(log)
        self.tally.end(end)
        reports = [log.report() for log in self._logs.values()]
        accounting = {
            name: _total(report[name] for report in reports)
            for name in ("read", "applied", "duplicates", "rejected", "dead_lettered", "changes")
        }
        members = _total(report["members"] for report in reports)
        return Outcome(self.book, self._start, end, accounting, members, self.tally, self._whole_from(self._start))

    def _take(self, log: Interpreter) -> None:
        self.tally.add(log.take())
        log.refused.clear()  # counted already; a log of bots would fill the memory

    def _whole_from(self, start: int) -> dict[str, int]:
        found = {}
        for segment in self.book.segments:
            # Of the segment alone: what it shares with others may have to reach back further for them.
            windows = [memory.horizon for memory in memories_of([segment.rule]) if memory.horizon < NEVER]
            if windows:
                found[segment.name] = start + max(windows)
        return found


def _total(values: Iterable[Any]) -> Any:
    """The sum of numbers, or of mappings to numbers."""
    found = list(values)
    if isinstance(found[0], int):
        return sum(found)
    sums: Counter[str] = Counter()
    for each in found:
        sums.update(each)
    return dict(sorted(sums.items()))
