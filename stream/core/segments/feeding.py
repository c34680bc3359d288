"""How memories are fed: one function for all that a fact can have something to say to (``codegen``)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

from stream.core.segments.codegen import Source
from stream.core.segments.memory import Memory
from stream.core.segments.normal import Rule
from stream.core.segments.predicates import expression

#: (a customer's memory, an event, now) -> the bits of those that took something in which can change an answer.
Take: TypeAlias = "Callable[[dict[str, list[Any]], Any, int], int]"
#: (customer, event, now) -> the same; the customer may have had no memory.
Feed: TypeAlias = "Callable[[Any, Any, int], int]"

#: Memories that one function feeds.
_TOGETHER = 24


class Entry(NamedTuple):
    """A memory, the bit that stands for it, and what of its filter is left to ask (None if nothing is)."""

    bit: int
    memory: Memory
    test: Rule | None


def taker(entries: Sequence[Entry]) -> Take:
    """The function that shows an event to these memories."""
    source = Source("memory", "row", "now")
    source.line("fed = 0")
    _take(entries, source)
    source.line("return fed")
    return source.function()


def feeder(open_: Sequence[Entry], indexed: Sequence[tuple[str, Mapping[Any, Sequence[Entry]]]]) -> Feed:
    """The function that shows an event to the memories ``open_``, and by field to those that its value demands."""
    source = Source("customer", "row", "now")
    if not open_ and not indexed:
        source.line("return 0")
        return source.function()
    source.line("held = customer.memory")
    source.line("memory = {} if held is None else held")
    source.line("fed = 0")
    if len(open_) <= _TOGETHER:
        _take(open_, source)
    else:
        for at in range(0, len(open_), _TOGETHER):
            source.line(f"fed |= {source.value(taker(open_[at : at + _TOGETHER]))}(memory, row, now)")
    for field, by_value in indexed:
        takers = {value: taker(entries) for value, entries in by_value.items()}
        found = source.local("f")
        source.line(f"{found} = {source.value(takers.get)}(row.{field})")
        with source.block(f"if {found} is not None:"):
            source.line(f"fed |= {found}(memory, row, now)")
    with source.block("if memory and held is None:"):
        source.line("customer.memory = memory")
    source.line("return fed")
    return source.function()


def _take(entries: Sequence[Entry], source: Source) -> None:
    if any(entry.memory.kept is None for entry in entries):
        source.line("time = row.time")
    for entry in entries:
        if entry.test is None:
            _remember(entry, source)
        else:
            with source.block(f"if {expression(entry.test, source)}:"):
                _remember(entry, source)


def _remember(entry: Entry, source: Source) -> None:
    """What ``Memory.remember`` does; of event times, what nearly always comes is written out."""
    memory, fed = entry.memory, f"fed |= {source.value(entry.bit)}"
    remembered = f"{source.value(memory.remember)}(memory, row, now)"
    if memory.kept is not None:
        with source.block(f"if {remembered}:"):
            source.line(fed)
        return
    times, key = source.local("v"), source.value(memory.key)
    source.line(f"{times} = memory.get({key})")
    with source.block(f"if {times} is None:"):
        source.line(f"memory[{key}] = [time]")
        source.line(fed)
    with source.block(f"elif time > {times}[-1]:"):
        source.line(f"{times}.append(time)")
        most = source.value(memory.k)
        with source.block(f"if len({times}) > {most}:"):
            source.line(f"del {times}[:-{most}]")
        source.line(fed)
    with source.block(f"elif {remembered}:"):
        source.line(fed)
