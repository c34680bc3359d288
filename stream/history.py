"""The versions of the book that were put in force, as the topic ``definitions`` has them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from pydantic import ValidationError

from schemas import topics
from schemas.definitions import AppliedBook
from stream.core.segments.difference import WrittenBook
from stream.engine.reading import Reading
from stream.settings import Settings

_HASH = re.compile(r"[0-9a-f]{4,16}", re.ASCII)


class NoSuchVersion(LookupError):
    """No version, or more than one, is meant by what was given; the message says which there are."""


@dataclass(frozen=True, slots=True)
class History:
    """All versions, oldest first. ``unreadable`` are offsets of records that hold none."""

    versions: tuple[AppliedBook, ...]
    unreadable: tuple[int, ...] = ()

    @property
    def newest(self) -> AppliedBook | None:
        """The version in force."""
        return self.versions[-1] if self.versions else None

    def find(self, word: str) -> AppliedBook:
        """The version whose hash begins with ``word`` (4 digits at least); the newest, if it was applied repeatedly.

        Raises ``NoSuchVersion``.
        """
        if not self.versions:
            raise NoSuchVersion("no book has been applied yet")
        if not _HASH.fullmatch(word):
            raise NoSuchVersion(f"{word!r} is no version: give its first 4 to 16 hex digits, as `segments history` has")
        found = {applied.version: applied for applied in self.versions if applied.version.startswith(word)}
        if not found:
            raise NoSuchVersion(f"no version begins with {word}: `segments history` lists them all")
        if len(found) > 1:
            raise NoSuchVersion(f"{word} may be {' or '.join(found)}: give more digits")
        return next(iter(found.values()))

    def unchanged_since(self, applied: AppliedBook, segment: str) -> AppliedBook:
        """The version from which on a segment has been as it is in ``applied``."""
        since = applied
        for older in reversed(self.versions[: self.versions.index(applied)]):
            if older.book.segments.get(segment) != applied.book.segments.get(segment):
                break
            since = older
        return since

    def before(self, applied: AppliedBook) -> AppliedBook | None:
        """The version that this one replaced."""
        place = self.versions.index(applied)
        return self.versions[place - 1] if place else None


def history_of(values: Iterable[tuple[int, bytes | None]]) -> History:
    """The history that records (offset, value) tell. A version twice in a row counts once, from its first record on."""
    versions: list[AppliedBook] = []
    unreadable: list[int] = []
    for offset, value in values:
        try:
            applied = AppliedBook.model_validate_json(value or b"")
        except ValidationError:
            unreadable.append(offset)
            continue
        if not versions or versions[-1].version != applied.version:
            versions.append(applied)
    return History(tuple(versions), tuple(unreadable))


async def read_history(settings: Settings) -> History:
    """Read the topic. Raises ``KafkaError``."""
    topic = topics.name(topics.DEFINITIONS, settings.topic_prefix)
    values: list[tuple[int, bytes | None]] = []
    async with Reading.of(settings.kafka()) as reading:
        first, end = await reading.span(topic, 0)
        async for records in reading.records(topic, 0, first, end):
            values += [(record.offset, record.value) for record in records]
    return history_of(values)


def book_in(applied: AppliedBook) -> WrittenBook:
    """The book of a version as plain data, whether or not this code still reads its SQL."""
    return applied.book.model_dump(exclude_none=True)
