"""Which memories a fact feeds and which segments it can touch: a fact costs its own rules (P6).

Of the facts of one type the memories are found by what their filters demand of a field, ``category = 'Games'`` say:
one look into a dictionary, however many segments ask for other categories. A segment that only counts events is
touched when one of its memories took something in.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from operator import attrgetter
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from stream.core.columns import ATTRIBUTES_CHANGE_WITH, SEEN, columns_of_event, event_types_with_columns
from stream.core.segments.feeding import Entry, feeder
from stream.core.segments.kept import forget
from stream.core.segments.memory import FULL, MOST_BYTES, Memory, nbytes
from stream.core.segments.normal import AllOf, Always, Among, Rule, Test, all_of
from stream.core.segments.segment import Segment
from stream.core.segments.settle import Settle, settle, settler
from stream.core.segments.tree import Literal, Plain

if TYPE_CHECKING:
    from stream.core.customer import Customer

#: Combinations of memories whose segments are kept; past it they are looked up anew.
_KEPT = 4096
#: So many of them, those that come first, have a function of their own.
_COMPILED = 256
#: Of a memory that grows: its key, its columns, its horizon (µs).
_Table: TypeAlias = tuple[str, int, int]
#: Fields by which memories are looked up, the most telling first.
_FIELDS = ("product_id", "category", "cart_id", "order_id", "session_id", "currency")


class Touched(NamedTuple):
    """Segments that a fact can have touched, in the order of the book, and the function that decides them."""

    segments: tuple[Segment, ...]
    settle: Settle


class Plan:
    """What to do with facts of one type. Segments stand in the order of the book.

    ``memories`` and ``segments`` are all that a fact of the type can feed and touch. A customer's very first fact
    touches every segment besides: rules can be true of somebody of whom nothing is known.

    ``feed(customer, fact, now)`` lets the memories take in what they remember of a fact. What it returns says which of
    them did; ``touched`` has under it the segments that the fact can have touched, once ``look`` has been asked.
    """

    __slots__ = ("_own", "_readers", "_tables", "feed", "grows", "is_idle", "memories", "segments", "touched")

    def __init__(
        self,
        event_type: str | None,
        own: Sequence[Segment],
        fed: Sequence[Memory],
        all_: Sequence[Segment],
        tables: Sequence[_Table],
    ):
        self.memories = tuple(fed)
        #: Whether any of that grows with the events in a window.
        self.grows = any(_is_table(memory) for memory in fed)
        self._tables = tables
        self._own = tuple(own)
        by_key: dict[str, list[Segment]] = {}
        for segment in all_:
            for key in segment.memories:
                by_key.setdefault(key, []).append(segment)
        self._readers = tuple(tuple(by_key.get(memory.key, ())) for memory in fed)
        self.segments = _in_order([*own, *(segment for readers in self._readers for segment in readers)])
        self.touched: dict[int, Touched] = {}
        self.feed = feeder(*_index(event_type, fed))
        #: Whether facts of the type feed and touch nothing.
        self.is_idle = not own and not fed

    def look(self, fed: int) -> Touched:
        """The segments that a fact of which ``feed`` said ``fed`` can have touched."""
        known = self.touched.get(fed)
        if known is not None:
            return known
        read = (segment for number, readers in enumerate(self._readers) if fed >> number & 1 for segment in readers)
        segments = _in_order([*self._own, *read])
        if len(self.touched) >= _KEPT:
            self.touched.clear()
        compiled = len(self.touched) < _COMPILED
        self.touched[fed] = found = Touched(segments, settler(segments) if compiled else partial(settle, segments))
        return found

    def is_full(self, customer: Customer, now: int) -> bool:
        """Whether the customer has more in the windows of segments than a record is to hold (``memory.FULL``).

        Of who was found to have it, what no window sees any more is let go of first.
        """
        memory = customer.memory
        if memory is None or FULL not in memory:
            return False
        for key, columns, horizon in self._tables:
            held = memory.get(key)
            if held and held[0] <= now - horizon:
                forget(held, columns, now - horizon)
        if nbytes(memory) > MOST_BYTES:
            return True
        del memory[FULL]
        return False


def plans(segments: Sequence[Segment], memories: Iterable[Memory]) -> tuple[dict[str, Plan], Plan]:
    """The plans of all event types that make a difference, and the one for all others."""
    held = tuple(memories)
    tables = tuple((each.key, each.kept.columns, each.horizon) for each in held if each.kept and _is_table(each))
    named = {event_type for memory in held for event_type in memory.event_types}
    types = named | event_types_with_columns() | {ATTRIBUTES_CHANGE_WITH}
    by_type = {event_type: _plan(event_type, segments, held, tables) for event_type in types}
    return by_type, _plan(None, segments, held, tables)


def _is_table(memory: Memory) -> bool:
    return memory.kept is not None and memory.kept.columns > 0


def _plan(
    event_type: str | None, segments: Sequence[Segment], memories: tuple[Memory, ...], tables: Sequence[_Table]
) -> Plan:
    columns = SEEN if event_type is None else columns_of_event(event_type)
    profile = event_type == ATTRIBUTES_CHANGE_WITH
    own = [segment for segment in segments if segment.columns & columns or (profile and segment.attributes)]
    return Plan(event_type, own, [memory for memory in memories if memory.takes(event_type)], segments, tables)


def _in_order(segments: Iterable[Segment]) -> tuple[Segment, ...]:
    return tuple(sorted({segment.index: segment for segment in segments}.values(), key=attrgetter("index")))


def _index(
    event_type: str | None, memories: Sequence[Memory]
) -> tuple[list[Entry], list[tuple[str, dict[Plain, list[Entry]]]]]:
    """The memories that every fact of the type has to be shown to, and by field and value those of the rest."""
    rest: list[Entry] = []
    indexed: dict[str, dict[Plain, list[Entry]]] = {}
    for number, memory in enumerate(memories):
        parts = [part for part in _parts(memory.filter) if not _is_type(part, event_type)]
        found = _demand(parts)
        if found is None:
            rest.append(Entry(1 << number, memory, _left(parts)))
            continue
        demand, field, values = found
        entry = Entry(1 << number, memory, _left([part for part in parts if part is not demand]))
        for value in values:
            indexed.setdefault(field, {}).setdefault(value, []).append(entry)
    return rest, list(indexed.items())


def _parts(rule: Rule) -> tuple[Rule, ...]:
    return rule.parts if isinstance(rule, AllOf) else (rule,)


def _is_type(rule: Rule, event_type: str | None) -> bool:
    """Whether the rule only says that the event is of the type whose facts these are."""
    match rule:
        case Test(op="=", left=column, right=Literal(value=value)):
            return column.name == "event_type" and value == event_type
    return False


def _demand(parts: Sequence[Rule]) -> tuple[Rule, str, tuple[Plain, ...]] | None:
    """The part that demands one of some values of a field, the field and the values."""
    for field in _FIELDS:
        for part in parts:
            match part:
                case Test(op="=", left=column, right=Literal(value=value), null=False) if column.name == field:
                    return part, field, (value,)
                case Among(column=column, options=options, inside=True, null=False) if column.name == field:
                    return part, field, options
    return None


def _left(parts: Sequence[Rule]) -> Rule | None:
    rule = all_of(parts)
    return None if rule == Always(True) else rule
