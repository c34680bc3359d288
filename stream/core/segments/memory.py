"""What rules remember of a customer's events: for each filter as little as decides.

``count(*) >= k`` over a window that ends at no time is decided by the k most recent matching event times, and
a late event among them is one of them; so k times are exact, and so is the instant at which the count falls. What
other sub-queries remember is in ``kept``. Instants and lengths are µs.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from stream.core.segments.edges import lower
from stream.core.segments.getters import OPERATORS
from stream.core.segments.kept import Kept, forget, kept_of
from stream.core.segments.kinds import exact
from stream.core.segments.normal import AllOf, Among, AnyOf, AtLeast, Formula, Rule, Test, settle
from stream.core.segments.predicates import Predicate, predicate
from stream.core.segments.rows import row_value
from stream.core.segments.rules import filter_of, leaves
from stream.core.segments.spelling import key, key_of_kept
from stream.core.segments.tree import Aggregate, EventCount, Literal, Value, within
from stream.core.time import NEVER

if TYPE_CHECKING:
    from stream.core.fact import Fact

#: What is remembered of one customer, as ``nbytes`` counts it, may have so much: people have some kilobytes.
MOST_BYTES = 1 << 20
#: Under this key nothing stands in a memory that was found to have more, until it is found to have less.
FULL = ""
#: Rows of a table between two looks: who has much does not cost much.
_ROWS = 512

#: (a customer's memory, an event, now) -> whether that can have changed an answer.
Remember: TypeAlias = "Callable[[dict[str, list[Any]], Fact, int], bool]"


@dataclass(frozen=True, slots=True)
class Memory:
    """The memory of one filter, shared by all sub-queries that can live from the same.

    ``k`` is how many times it keeps, 0 if it is no number that limits it. An event of time t can matter while
    ``now < t + horizon`` (``NEVER`` if for ever). ``matches`` is the whole filter, the event type included.
    ``remember(memory, event, now)`` notes an event that matches, late or not, in what is remembered of its customer,
    and lets go of what no window can see any more; it returns whether that can have changed an answer. Two memories
    of one ``key`` hold the same but for ``k`` and ``horizon``.
    """

    key: str
    k: int
    horizon: int
    matches: Predicate
    filter: Rule
    remember: Remember
    #: How it is kept, and what of each event; None for event times, of which ``k`` are kept.
    kept: Kept | None = None
    argument: Value | None = None

    def takes(self, event_type: str | None) -> bool:
        """Whether an event of this type may match; of a type that no filter names, if None."""
        return _possible(self.filter, event_type)

    @property
    def event_types(self) -> frozenset[str]:
        """The event types that the filter names."""
        return frozenset(_named(self.filter))


def memories_of(rules: Iterable[Rule]) -> tuple[Memory, ...]:
    """The memories that ``rules`` need, by key: one per key, as large as the largest need."""
    counts: dict[str, tuple[int, int, Rule]] = {}
    others: dict[str, Aggregate] = {}
    reach: dict[str, int] = {}
    for rule in rules:
        for leaf in leaves(rule):
            if isinstance(leaf, AtLeast):
                matching = filter_of(leaf.events)
                horizon = NEVER if leaf.events.reach is None else leaf.events.reach
                k, longest, _ = counts.get(key(matching), (0, 0, matching))
                counts[key(matching)] = max(k, leaf.least), max(longest, horizon), matching
        for node in aggregates_of(rule):
            name = key_of(node)
            others[name] = node
            reach[name] = max(reach.get(name, 0), horizon_of(node))
    found = [_recent(name, *need) for name, need in counts.items()]
    found += [_kept(name, node, reach[name]) for name, node in others.items()]
    return tuple(sorted(found, key=lambda memory: memory.key))


def nbytes(memory: dict[str, list[Any]]) -> int:
    """What a customer's memory has in the record, in bytes; rather too many than too few."""
    return sum(4 * len(each) + 5 if isinstance(each, str) else 9 for held in memory.values() for each in held)


def memory(node: Aggregate) -> Memory:
    """The memory that ``node`` alone needs."""
    return _kept(key_of(node), node, horizon_of(node))


def aggregates_of(rule: Rule) -> Iterator[Aggregate]:
    """The aggregates that the rule asks for, from left to right."""
    for leaf in leaves(rule):
        if isinstance(leaf, Formula):
            for part in within(leaf.condition):
                if isinstance(part, Aggregate | EventCount):
                    node = exact(part)
                    assert isinstance(node, Aggregate)
                    yield node


def keys_of(rule: Rule) -> frozenset[str]:
    """The keys of the memories that the rule looks at."""
    counts = (key(filter_of(leaf.events)) for leaf in leaves(rule) if isinstance(leaf, AtLeast))
    return frozenset([*counts, *map(key_of, aggregates_of(rule))])


def key_of(node: Aggregate) -> str:
    """The key of the memory that ``node`` looks at: that of its filter, of its argument, and of what it keeps of it."""
    return _need(node).key


def horizon_of(node: Aggregate) -> int:
    """How long (µs) an event can matter to ``node``; ``NEVER`` if for ever."""
    return _need(node).horizon


class _Need(NamedTuple):
    key: str
    horizon: int
    filter: Rule


@lru_cache(maxsize=4096)
def _need(node: Aggregate) -> _Need:
    """Asked several times while a book is compiled. What is equal has the same text, and so is the same."""
    matching = settle(node.filter)
    horizon = NEVER if node.window.since is None else lower(node.window.since).most
    return _Need(key_of_kept(matching, kept_of(node).name, node.argument), horizon, matching)


# -- how things are remembered -----------------------------------------------------------------------------


def _recent(name: str, k: int, horizon: int, matching: Rule) -> Memory:
    def remember(memory: dict[str, list[Any]], fact: Fact, now: int) -> bool:
        """False for an event older than k others."""
        time = fact.time
        times = memory.get(name)
        if times is None:
            memory[name] = [time]
            return True
        if time >= times[-1]:
            # What nearly always comes. Where there are k already that it may equal, it changes nothing.
            if len(times) >= k and time == times[-k]:
                return False
            times.append(time)
        elif len(times) >= k and time <= times[-k]:
            return False
        else:
            insort(times, time)
        if len(times) > k:
            del times[:-k]
        return True

    return Memory(name, k, horizon, predicate(matching), matching, remember)


def _kept(name: str, node: Aggregate, horizon: int) -> Memory:
    kept, matching = kept_of(node), _need(node).filter
    columns, add, keeps_null = kept.columns, kept.add, kept.keeps_null
    get = row_value(node.argument) if node.argument is not None else None

    def remember(memory: dict[str, list[Any]], fact: Fact, now: int) -> bool:
        time = fact.time
        if columns and time + horizon <= now:
            return False
        value = None if get is None else get(fact)
        if value is None and get is not None and not keeps_null:
            return False
        held = memory.get(name)
        if held is None:
            held = memory[name] = []
        elif columns and held and held[0] <= now - horizon:
            forget(held, columns, now - horizon)
        changed = add(held, time, value)
        if columns and not len(held) % (_ROWS * columns) and nbytes(memory) > MOST_BYTES:
            memory[FULL] = []
        return changed

    return Memory(name, 0, horizon, predicate(matching), matching, remember, kept, node.argument)


def _possible(rule: Rule, event_type: str | None) -> bool:
    match rule:
        case AllOf():
            return all(_possible(part, event_type) for part in rule.parts)
        case AnyOf():
            return any(_possible(part, event_type) for part in rule.parts)
        case Test(left=left, right=Literal(value=fixed)) if left.name == "event_type":
            if event_type is not None:
                return OPERATORS[rule.op](event_type, fixed)
            return rule.op != "="
        case Among(column=column) if column.name == "event_type":
            return ((event_type in rule.options) if event_type is not None else False) is rule.inside
    return True


def _named(rule: Rule) -> Iterable[str]:
    for leaf in leaves(rule):
        if isinstance(leaf, Test) and leaf.left.name == "event_type" and isinstance(leaf.right, Literal):
            yield str(leaf.right.value)
        elif isinstance(leaf, Among) and leaf.column.name == "event_type":
            yield from map(str, leaf.options)
