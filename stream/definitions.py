"""Putting a definition book in force: one record in its history, one fact in every partition of the log."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from pydantic import TypeAdapter

from schemas import topics
from schemas.definitions import AppliedBook
from schemas.facts import FACT_HEADER, Book, Definitions, FactKind
from stream.core.config import HOUR
from stream.core.segments import (
    CompiledBook,
    DefinitionError,
    DefinitionErrors,
    canonical_json,
    compile_book,
    load_book,
)
from stream.core.time import to_datetime
from stream.engine.writes import Writes
from stream.history import read_history
from stream.settings import Settings

_DAY = 24 * HOUR
_HEADERS = [(FACT_HEADER, FactKind.DEFINITIONS.value.encode())]
_book = TypeAdapter(Book).validate_json
#: Bytes of the fact, and of the record with the file: what the topics take, less what Kafka adds.
LARGEST_FACT, LARGEST_RECORD = 1_000_000, 2_000_000


class BookTooLarge(ValueError):
    """A book that no record of the log can hold."""


@dataclass(frozen=True, slots=True)
class Applied:
    """What came of applying a book.

    ``before`` is the version that was in force, None for the first; ``already`` says that it was this same one.
    ``warnings`` are what its author may not have meant.
    """

    version: str
    partitions: int
    before: AppliedBook | None
    already: bool
    warnings: tuple[DefinitionError, ...]


def _now() -> int:
    return time.time_ns() // 1000


def checked(settings: Settings, text: str) -> tuple[CompiledBook, tuple[DefinitionError, ...]]:
    """The book in ``text`` (YAML) compiled, and its warnings. Raises ``DefinitionErrors`` with all that forbids it.

    Stricter than the log, which takes what was allowed when it was applied: no window is longer than the history that
    the settings promise, and no segment can never have members.
    """
    book = compile_book(load_book(text), history=settings.history_days * _DAY)
    found = book.warnings
    if errors := [each for each in found if each.severity == "error"]:
        raise DefinitionErrors(errors)
    return book, found


async def apply_definitions(
    settings: Settings, text: str, author: str = "", comment: str = "", clock: Callable[[], int] = _now
) -> Applied:
    """Put the book in ``text`` (YAML) in force in every partition. ``clock`` gives µs.

    Nothing is written unless the whole book compiles. The record in ``definitions`` comes first: which version is the
    newest is decided by its order, so that two who apply at once end with the same book everywhere. The facts are
    written even where the version is in force already: a partition that has it passes them over, and one that an
    interrupted command left out gets it. Raises ``DefinitionErrors``, ``BookTooLarge``, ``KafkaError``.
    """
    compiled, warnings = checked(settings, text)
    before = (await read_history(settings)).newest
    applied = AppliedBook(
        version=compiled.version,
        applied_at=to_datetime(clock()),
        author=author,
        comment=comment,
        replaces=before and before.version,
        book=_book(canonical_json(load_book(text))),
        text=text,
    )
    record, fact = applied.model_dump_json(exclude_none=True).encode(), _fact(applied)
    if len(fact) > LARGEST_FACT or len(record) > LARGEST_RECORD:
        raise BookTooLarge(f"the book has {len(fact)} bytes in the log, more than the {LARGEST_FACT} that fit")
    already = before is not None and before.version == applied.version
    async with writing(settings) as writes:
        if not already:
            history = topics.name(topics.DEFINITIONS, settings.topic_prefix)
            await (await writes.send(history, 0, None, record)).acknowledged()
        count = await spread(settings, writes, applied)
    return Applied(applied.version, count, before, already, warnings)


async def spread(settings: Settings, writes: Writes, applied: AppliedBook) -> int:
    """Write a version that is in the history to every partition of the log; returns how many there are.

    Where the history has a newer one by then, somebody applied it meanwhile, and some of ours may have come after
    theirs: theirs is written again, and has the last word.
    """
    events = topics.name(topics.EVENTS, settings.topic_prefix)
    count = await writes.partitions(events)
    while True:
        fact = _fact(applied)
        for sent in [await writes.send(events, partition, None, fact, _HEADERS) for partition in range(count)]:
            await sent.acknowledged()
        newest = (await read_history(settings)).newest
        if newest is None or newest.version == applied.version:
            return count
        applied = newest


@asynccontextmanager
async def writing(settings: Settings) -> AsyncIterator[Writes]:
    """A producer with these settings, until the end of the block."""
    writes = Writes(settings.kafka(), idempotence=settings.kafka_idempotence)
    await writes.start()
    try:
        yield writes
    finally:
        await writes.stop()


def _fact(applied: AppliedBook) -> bytes:
    fact = Definitions(book=applied.book, author=applied.author, comment=applied.comment)
    return fact.model_dump_json(exclude_none=True).encode()
