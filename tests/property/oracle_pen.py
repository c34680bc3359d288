"""What writes generated SQL: choices drawn from Hypothesis, and a note of every construct that was written."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, NamedTuple, TypeAlias, TypeVar

from hypothesis import strategies as st

from tests.property.oracle_words import World, columns

T = TypeVar("T")

OPERATORS = ("=", "<>", "!=", "<", "<=", ">", ">=")

EVENT_COLUMNS = {
    "text": ("category", "product_id", "event_type", "order_id"),
    "number": ("price", "quantity"),
    "integer": (),
    "boolean": (),
    "timestamp": ("event_time",),
}


@dataclass(slots=True)
class Pen:
    """Writes one segment. ``events`` while it writes what a sub-query says about one event."""

    draw: st.DrawFn
    world: World
    #: How values of each type are written, and ("boolean") conditions.
    grammars: Mapping[str, Grammar]
    #: Names of segments that this one may refer to.
    others: tuple[str, ...] = ()
    #: What the row of customers is called, if it has a name of its own.
    alias: str = ""
    events: bool = False
    used: set[str] = field(default_factory=set)
    #: How often something was written that is not the same for every row and at all times.
    varied: int = 0

    def choose(self, options: Sequence[T]) -> T:
        """One of them; failing cases shrink to the first."""
        found: T = self.draw(_sampled(tuple(options)))
        return found

    def chance(self, one_in: int) -> bool:
        """True once in so many."""
        return self.draw(_upto(one_in)) == one_in

    def write(self, options: Sequence[Construct], depth: int) -> str:
        """One of the constructs."""
        construct = self.choose(options)
        self.used.add(construct.__name__)
        return construct(self, depth)

    def value(self, kind: str, depth: int) -> str:
        """A value of the type; at depth 0, only what is plain. Types are those of columns, "local" and "date"."""
        grammar = self.grammars[kind]
        if depth <= 0 or self.chance(4):
            return self.write(grammar.plain, depth)
        return self.write(grammar.more if self.events else (*grammar.more, *grammar.of_customers), depth)

    def varying(self, kind: str, depth: int) -> str:
        """A value that is not fixed: where chance made it so, the column that is nearest to it."""
        before = self.varied
        written = self.value(kind, depth)
        return written if self.varied > before else self._column_as(kind)

    def condition(self, depth: int) -> str:
        """Anything that is TRUE, FALSE or NULL of the row at hand."""
        grammar = self.grammars["boolean"]
        options = grammar.more if depth > 0 else grammar.plain
        return self.write(options if self.events else (*options, *grammar.of_customers), depth)

    def column(self, kind: str) -> str:
        """A column of the row at hand."""
        self.varied += 1
        names = EVENT_COLUMNS[kind] if self.events else columns(kind)
        name = self.choose(names)
        return f"{self.alias}.{name}" if self.alias and not self.events and self.chance(2) else name

    def has(self, kind: str) -> bool:
        """Whether the row at hand has a column of the type."""
        return not self.events or bool(EVENT_COLUMNS[kind])

    def interval(self) -> str:
        """A length of time at the pace of the log."""
        return self.spelled(self.choose(self.world.pace.lengths))

    def spelled(self, length: str) -> str:
        """The length as an INTERVAL, in one of the ways to write it."""
        count, unit = length.split()[:2]
        if len(length.split()) == 2 and self.chance(4):
            return f"INTERVAL {count} {unit.upper().removesuffix('S')}"
        return f"INTERVAL '{length}'"

    def _column_as(self, kind: str) -> str:
        if kind == "local":
            return f"({self.column('timestamp')} AT TIME ZONE 'Europe/Berlin')"
        if kind == "date":
            return f"CAST({self.column('timestamp')} AS DATE)"
        return self.column(kind) if self.has(kind) else f"length({self.column('text')})"


Construct: TypeAlias = Callable[[Pen, int], str]


class Grammar(NamedTuple):
    """How a type of value can be written: what is plain, what goes deeper, and what there is of customers only."""

    plain: tuple[Construct, ...]
    more: tuple[Construct, ...]
    of_customers: tuple[Construct, ...]

    @property
    def constructs(self) -> tuple[Construct, ...]:
        """All of them, each once."""
        return tuple(dict.fromkeys((*self.plain, *self.more, *self.of_customers)))


@lru_cache(4096)
def _sampled(options: tuple[Any, ...]) -> st.SearchStrategy[Any]:
    return st.sampled_from(options)


@lru_cache(64)
def _upto(most: int) -> st.SearchStrategy[int]:
    return st.integers(1, most)


def quoted(text: str) -> str:
    """A text literal."""
    return "'" + text.replace("'", "''") + "'"
