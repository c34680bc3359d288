"""Filling new windows from the log: what a book counts that the ones before did not.

A book takes effect at once, and what it newly counts begins empty (``Edition.since``). Where the log still reaches
back, the worker that holds the partition reads it again through a scratch partition, which finds the same duplicates
and bots, and then appends a ``filled`` fact. From that fact on, in this and every later reading of the log, the
memories are what they would be had the book always been in force. So the moment is the log's, and not the worker's.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from stream.core.config import CoreSettings
from stream.core.filled import Filled
from stream.core.membership import Edition
from stream.core.output import LogRecord, Output
from stream.core.partition import Partition
from stream.core.segments.plan import plans
from stream.core.segments.settle import settler


class Fill:
    """Reads the log again, from offset ``fact.first`` on, for the memories ``fact.keys`` of ``edition``."""

    def __init__(self, number: int, partitions: int, settings: CoreSettings, edition: Edition, fact: Filled) -> None:
        self.fact = fact
        self.until = fact.first  # everything below this offset is in
        self._scratch = _Scratch(number, partitions, settings)
        memories = [memory for memory in edition.book.memories if memory.key in fact.keys]
        by_type, others = plans((), memories)
        book = replace(edition.book, segments=(), by_name={}, memories=tuple(memories), _plans=by_type)
        book = replace(book, settle=settler(()), _plan_of_others=others)
        since = dict.fromkeys(fact.keys, 0)
        self._scratch.membership.adopt(Edition(1, 0, edition.source, book, since))
        # Nobody is there yet to be swept.
        self._scratch.sweep(1, Output())

    def process(self, records: Iterable[LogRecord]) -> None:
        """Take in records in the order of the log."""
        self._scratch.process(records, Output())
        self.until = max(self.until, self._scratch.position + 1)

    def memory(self, customer_id: str) -> dict[str, list[Any]]:
        """What is remembered of a customer."""
        customer = self._scratch.customers.get(customer_id)
        return customer.memory or {} if customer is not None else {}


class _Scratch(Partition):
    """A partition that keeps its book whatever the log says."""

    def _adopt(self, record: LogRecord, out: Output) -> None:
        pass

    def _take_fill(self, record: LogRecord, out: Output) -> None:
        pass
