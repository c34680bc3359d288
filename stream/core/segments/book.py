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


@dataclass(frozen=True, slots=True)
class Definition:
    """One segment as written. ``line`` of its file (0 if unknown) is no part of its meaning."""

    sql: str
    description: str = ""
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
        "segments": {
            name: {"description": definition.description, "sql": definition.sql}
            for name, definition in book.segments.items()
        },
    }
    return json.dumps(plain, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()


def version(book: DefinitionBook) -> str:
    """The version of the book: 16 hex digits, a hash of its content (white space around SQL is none)."""
    return blake2b(canonical_json(book), digest_size=8).hexdigest()
