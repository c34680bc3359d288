"""What segments remember of each customer, in bytes, before the first event is there.

A number or an instant is 8 bytes, a text is taken for 24; what is around them in a record (keys of 16 letters, the
lengths of lists) is left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from stream.core.segments.memory import Memory, memories_of
from stream.core.segments.normal import Always, Among, Rule, Test
from stream.core.segments.tree import type_of

if TYPE_CHECKING:
    from stream.core.segments.compile import CompiledBook

_NUMBER, _TEXT = 8, 24
_SECOND: Final = 1_000_000
_UNITS: Final = ((86_400 * _SECOND, "day"), (3600 * _SECOND, "hour"), (60 * _SECOND, "minute"), (_SECOND, "second"))
#: What a running sum has beside its count and time: what is infinite, and as many parts as usual.
_PARTS: Final = 3


@dataclass(frozen=True, slots=True)
class Cost:
    """The bytes of one memory: ``fixed`` for each customer, and ``per_event`` for each event of the last ``window`` µs.

    Only one of the two is not 0. ``events`` says which events, ``how`` how exact the number is. ``shared`` are the
    other segments that look at the same memory: it is there once.
    """

    key: str
    fixed: int
    per_event: int
    window: int
    events: str
    how: Literal["exactly", "at most", "about"]
    shared: tuple[str, ...] = ()

    def __str__(self) -> str:
        if self.per_event:
            text = f"{self.per_event} bytes for every {self.events} of the last {_length(self.window)}"
        else:
            text = f"{self.fixed} bytes a customer"
        if self.how != "exactly":
            text = f"{self.how} {text}"
        return f"{text}, shared with {', '.join(self.shared)}" if self.shared else text


def cost(rule: Rule) -> tuple[Cost, ...]:
    """What the rule needs, if it is alone."""
    return tuple(cost_of(memory) for memory in memories_of([rule]))


def costs(book: CompiledBook) -> Mapping[str, tuple[Cost, ...]]:
    """What each segment of the book looks at, by its name. A memory is as large as its readers' largest need."""
    readers: dict[str, list[str]] = {}
    for segment in book.segments:
        for key in segment.memories:
            readers.setdefault(key, []).append(segment.name)
    found: dict[str, list[Cost]] = {segment.name: [] for segment in book.segments}
    for memory in book.memories:
        names = readers.get(memory.key, [])
        for name in names:
            found[name].append(cost_of(memory, tuple(other for other in names if other != name)))
    return {name: tuple(each) for name, each in found.items()}


def fixed_bytes(memories: Iterable[Memory]) -> int:
    """What the memories need for a customer however few events there are, in bytes, at most."""
    return sum(cost_of(memory).fixed for memory in memories)


def cost_of(memory: Memory, shared: tuple[str, ...] = ()) -> Cost:
    """What the memory needs; ``shared`` only goes into it."""
    kept, events = memory.kept, _events(memory)
    if kept is None:
        return Cost(memory.key, _NUMBER * memory.k, 0, 0, events, "at most", shared)
    is_text = memory.argument is not None and type_of(memory.argument) == "text"
    value = _TEXT if is_text else _NUMBER
    if kept.columns == 0 or kept.name == "latest":
        results = {"tally": 0, "sum-number": _PARTS * _NUMBER, "first": _NUMBER + value, "last": _NUMBER + value}
        size = 2 * _NUMBER + results.get(kept.name, value) if kept.columns == 0 else _NUMBER + value
        return Cost(
            memory.key, size, 0, 0, events, "about" if is_text or kept.name == "sum-number" else "at most", shared
        )
    size = _NUMBER + (value if kept.columns == 2 else 0)
    if kept.name == "newest":
        events = f"different value in {events} events" if memory.event_types else "different value in events"
    fewer = kept.name.startswith(("rising", "falling"))
    how: Literal["exactly", "at most", "about"] = "about" if is_text else "at most" if fewer else "exactly"
    return Cost(memory.key, 0, size, memory.horizon, events, how, shared)


def _events(memory: Memory) -> str:
    """Which events the filter lets pass, in a few words."""
    rule = memory.filter
    types = sorted(memory.event_types) if not memory.takes(None) else []
    name = " or ".join(types) if types else "event"
    by_type = isinstance(rule, Test) and rule.left.name == "event_type"
    by_types = isinstance(rule, Among) and rule.column.name == "event_type"
    plain = rule == Always(True) or (types and (by_type or by_types))
    return name if plain else f"matching {name}"


def _length(window: int) -> str:
    for unit, name in _UNITS:
        # An inclusive bound is a microsecond further.
        if window >= unit and window % unit <= 1:
            count = window // unit
            return name if count == 1 else f"{count} {name}s"
    return f"{window / _SECOND:g} seconds"
