"""Segments that ask for other segments: in which order they are read, and which may be asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from sqlglot import exp

from stream.core.columns import ColumnType
from stream.core.segments.book import Definition, DefinitionBook
from stream.core.segments.errors import DefinitionError, DefinitionErrors, Refused
from stream.core.segments.sql import Parsed, parse_sql, read_sql
from stream.core.segments.tree import Condition, Known

#: Words of SQL, those of the segments that are asked for included: what is asked for twice counts twice.
MOST_WORDS = 20_000
#: Levels by which they nest, all in all.
DEEPEST = 100


@dataclass(frozen=True, slots=True)
class BookRead:
    """All segments by name, in the order of the names; ``known`` is what ``in_segment`` may name, or why not."""

    conditions: Mapping[str, Condition]
    known: Mapping[str, Condition | str]


def read_book(book: DefinitionBook) -> BookRead:
    """Read the SQL of all segments, those that others ask for first.

    Raises ``DefinitionErrors`` with everything that is wrong with any of them.
    """
    errors: list[DefinitionError] = []
    parsed: dict[str, Parsed] = {}
    for name in sorted(book.segments):
        definition = book.segments[name]
        try:
            parsed[name] = parse_sql(definition.sql, name, definition.line)
        except DefinitionErrors as found:
            errors += found.errors
    reader = _Reader(book.attributes, book.segments, parsed)
    for name in parsed:
        reader.read(name)
    if errors or reader.errors:
        order = {name: number for number, name in enumerate(sorted(book.segments))}
        raise DefinitionErrors(sorted(errors + reader.errors, key=lambda error: order[error.segment or ""]))
    return BookRead({name: reader.found[name] for name in parsed}, reader.known)


class _Reader:
    """Reads segments after those that they ask for."""

    def __init__(
        self, attributes: Mapping[str, ColumnType], definitions: Mapping[str, Definition], parsed: Mapping[str, Parsed]
    ) -> None:
        self.attributes = attributes
        self.parsed = parsed
        self.errors: list[DefinitionError] = []
        self.found: dict[str, Condition] = {}
        self._sizes: dict[str, int] = {}
        self._depths: dict[str, int] = {}
        self._asked = {name: [other for other, _ in each.references] for name, each in parsed.items()}
        # What may be asked for. A segment that is wrong itself is TRUE here: it is told once, in its own place.
        self.known: dict[str, Condition | str] = dict.fromkeys(definitions, Known(True))
        self._slow = {name: _slow(definition) for name, definition in definitions.items()}
        for name, slow in self._slow.items():
            if slow:
                self.known[name] = (
                    f"{name} has {slow}, so its members are not those of whom its condition is true; "
                    "ask for what its SQL says instead"
                )

    def read(self, name: str) -> None:
        """Read the segment, and first those that it asks for, without recursion: a chain may be long."""
        path: list[tuple[str, Iterator[str]]] = []
        pending: str | None = name
        while pending is not None or path:
            if pending is not None:
                if pending in self._sizes or pending not in self.parsed:
                    pending = None
                    continue
                around = [each for each, _ in path]
                if pending in around:
                    self._refuse_circle(around[around.index(pending) :])
                    pending = None
                    continue
                path.append((pending, iter(self._asked[pending])))
            current, rest = path[-1]
            pending = next(rest, None)
            if pending is None:
                path.pop()
                self._read(current)

    def _read(self, name: str) -> None:
        if name in self._sizes:
            return
        parsed = self.parsed[name]
        self._sizes[name] = 1
        try:
            condition = read_sql(parsed, self.attributes, self.known)
        except DefinitionErrors as found:
            self.errors += found.errors
            return
        asked = self._asked[name]
        size = len(parsed.source.tokens) + sum(self._sizes.get(other, 0) for other in asked)
        depth = parsed.depth + max((self._depths.get(other, 0) for other in asked), default=0)
        if asked and (size > MOST_WORDS or depth > DEEPEST):
            place = parsed.references[0][1]
            what = "too long" if size > MOST_WORDS else "nested too deeply"
            self._note(parsed, place, f"with all that it asks for, this segment is {what}", "ask for fewer segments")
            return
        self._sizes[name], self._depths[name] = size, depth
        self.found[name] = condition
        if not self._slow[name]:
            self.known[name] = condition

    def _refuse_circle(self, circle: list[str]) -> None:
        parsed = self.parsed[circle[-1]]
        place = dict(parsed.references)[circle[0]]
        way = " → ".join([*circle[-1:], *circle])
        self._note(parsed, place, f"segments ask for each other in a circle: {way}", "one of them has to do without")
        for name in circle:
            self._sizes[name] = 1

    def _note(self, parsed: Parsed, place: exp.Expr, message: str, hint: str) -> None:
        start, end = parsed.source.span(place)
        self.errors += parsed.errors([Refused(message, hint, start, end)]).errors


def _slow(definition: Definition) -> str:
    """Which of the settings that make membership slower than the condition are set."""
    named = {
        "enter_after": definition.enter_after,
        "min_stay": definition.min_stay,
        "cooldown": definition.cooldown,
    }
    return " and ".join(name for name, length in named.items() if length)
