"""The definition book: declared attributes and segments, as a value that is compared, hashed and sent."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Final

from stream.core.columns import ColumnType

#: What an attribute can be declared as.
ATTRIBUTE_TYPES: Final[tuple[ColumnType, ...]] = ("text", "integer", "number", "boolean", "timestamp")

#: What may stand beside a segment's SQL: how slowly membership follows it.
LENGTHS: Final = ("enter_after", "min_stay", "cooldown")


@dataclass(frozen=True, slots=True)
class Definition:
    """One segment as written. ``line`` of its file (0 if unknown) is no part of its meaning.

    ``enter_after``, ``min_stay`` and ``cooldown`` (µs, 0 for none) make membership slower than the condition: it begins
    once the condition has been true for so long, lasts at least so long, and begins again so long after its end.
    """

    sql: str
    description: str = ""
    enter_after: int = 0
    min_stay: int = 0
    cooldown: int = 0
    line: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class DefinitionBook:
    """Attributes by name with their types, and segments by name."""

    attributes: Mapping[str, ColumnType]
    segments: Mapping[str, Definition]


def canonical_json(book: DefinitionBook) -> bytes:
    """The book as JSON, UTF-8, keys in order, no white space: the same book is the same bytes."""
    plain = {
        "attributes": dict(book.attributes),
        "segments": {name: written(definition) for name, definition in book.segments.items()},
    }
    return json.dumps(plain, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()


def written(definition: Definition) -> dict[str, str]:
    """The segment as in the canonical JSON: lengths of time in words, and only where there are any."""
    found = {"description": definition.description, "sql": definition.sql}
    for name in LENGTHS:
        length: int = getattr(definition, name)
        if length:
            found[name] = said(length)
    return found


def said(length: int) -> str:
    """A length of time (µs, whole seconds) in words, as it can be read again: ``1 day 6 hours``."""
    words = []
    for unit, size in (("day", 86_400), ("hour", 3600), ("minute", 60), ("second", 1)):
        count, length = divmod(length, size * 1_000_000)
        if count:
            words.append(f"{count} {unit}" + ("s" if count > 1 else ""))
    return " ".join(words)


def version(book: DefinitionBook) -> str:
    """The version of the book: 16 hex digits, a hash of its content (white space around SQL is none)."""
    return blake2b(canonical_json(book), digest_size=8).hexdigest()
