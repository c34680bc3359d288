"""Aggregates over a customer's events: ``(customer, now) -> (value, until)``, from what is kept of them.

``until`` is the first instant after ``now`` at which the value may change with no new event: when the next event
leaves the window, or enters it. Up to ``until - 1`` it is the same. A value of None is NULL. Instants are µs.

Of events of one event time, the later in the log is the one that ``first`` and ``last`` take.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from stream.core.segments.edges import lower, upper
from stream.core.segments.exact import distinct, running_total, total
from stream.core.segments.kept import kept_of
from stream.core.segments.kinds import exact as as_aggregate
from stream.core.segments.memory import Memory, key_of, memory
from stream.core.segments.tree import Aggregate, EventCount, type_of
from stream.core.time import NEVER

if TYPE_CHECKING:
    from stream.core.customer import Customer

#: (customer, now) -> (value, until).
Timed: TypeAlias = "Callable[[Customer, int], tuple[Any, int]]"
#: (what is held, number of events in it, those before the first, those up to the last in the window) -> value.
Read: TypeAlias = Callable[[Sequence[Any], int, int, int], Any]


class Seen(NamedTuple):
    """An aggregate at some instant: its value, how many events made it, and the time of the latest of them.

    ``events`` is None where they are not all kept, because some of them can decide nothing any more.
    """

    value: Any
    until: int
    events: int | None
    latest: int | None


def evaluator(node: Aggregate | EventCount) -> Timed:
    """The function for the value of ``node``."""
    node = _aggregate(node)
    empty = 0 if node.function in ("count", "count_distinct") else None
    memory_key = key_of(node)
    if node.window.since is None:
        result = _result(node)

        def kept(customer: Customer, now: int) -> tuple[Any, int]:
            held = customer.memory.get(memory_key) if customer.memory else None
            return (result(held) if held else empty), NEVER

        return kept
    inside, read = _inside(node), _read(node)

    def windowed(customer: Customer, now: int) -> tuple[Any, int]:
        held = customer.memory.get(memory_key) if customer.memory else None
        if not held:
            return empty, NEVER
        number, begin, end, until = inside(held, now)
        return (read(held, number, begin, end) if begin < end else empty), until

    return windowed


def witness(node: Aggregate | EventCount) -> Callable[[Customer, int], Seen]:
    """The function for what is seen of ``node``, for people to read."""
    node = _aggregate(node)
    memory_key, evaluate, kept = key_of(node), evaluator(node), kept_of(node)
    inside = _inside(node) if kept.columns else None
    counts = kept.name in ("times", "rows", "rows-null")

    def seen(customer: Customer, now: int) -> Seen:
        value, until = evaluate(customer, now)
        held = customer.memory.get(memory_key) if customer.memory else None
        if not held:
            return Seen(value, until, 0, None)
        if inside is None:
            return Seen(value, until, held[0], held[1])
        _, begin, end, _ = inside(held, now)
        if begin >= end:
            return Seen(value, until, 0, None)
        return Seen(value, until, end - begin if counts else None, held[end - 1])

    return seen


def memory_of(node: Aggregate | EventCount) -> Memory:
    """The memory that ``node`` looks at. Others with the same key may want it to reach back further."""
    return memory(_aggregate(node))


def _aggregate(node: Aggregate | EventCount) -> Aggregate:
    found = as_aggregate(node)
    assert isinstance(found, Aggregate)
    return found


# -- windows -----------------------------------------------------------------------------------------------


def _inside(node: Aggregate) -> Callable[[Sequence[Any], int], tuple[int, int, int, int]]:
    """(table, now) -> (events in it, the first in the window, past the last in the window, until)."""
    assert node.window.since is not None
    columns = kept_of(node).columns
    leave, leaving, _ = lower(node.window.since)

    def open_ended(held: Sequence[Any], now: int) -> tuple[int, int, int, int]:
        number = len(held) // columns
        begin = bisect_right(held, leave(now), 0, number)
        return number, begin, number, leaving(held, number, begin, now)

    if node.window.until is None:
        return open_ended
    enter, entering, _ = upper(node.window.until)

    def ended(held: Sequence[Any], now: int) -> tuple[int, int, int, int]:
        number, begin, _, until = open_ended(held, now)
        end = bisect_right(held, enter(now), 0, number)
        return number, begin, end, min(until, entering(held, number, end, now))

    return ended


def _read(node: Aggregate) -> Read:
    """The value of the events in the window, of which there is at least one."""
    kind = node.argument and type_of(node.argument)
    match node.function, kept_of(node).name:
        case "count", _:
            return lambda held, number, begin, end: end - begin
        case "count_distinct", "newest":
            return lambda held, number, begin, end: end - begin
        case "count_distinct", _:
            return lambda held, number, begin, end: distinct(held[number + begin : number + end])
        case "min" | "max", "rows":
            best = _extreme(node.function, kind == "number")
            return lambda held, number, begin, end: best(held[number + begin : number + end])
        case (("min" | "max"), _):
            # They get worse with time, and so the first is the best.
            return lambda held, number, begin, end: held[number + begin]
        case "first", _:
            return lambda held, number, begin, end: held[number + bisect_right(held, held[begin], begin, end) - 1]
        case "last", _:
            return lambda held, number, begin, end: held[number + end - 1]
        case "sum", _:
            add = total if kind == "number" else sum
            return lambda held, number, begin, end: add(held[number + begin : number + end])
        case "avg", _:
            add = total if kind == "number" else sum
            return lambda held, number, begin, end: float(add(held[number + begin : number + end])) / (end - begin)
    raise TypeError(f"there is no aggregate {node.function}")


def _extreme(function: str, floating: bool) -> Callable[[Sequence[Any]], Any]:
    best: Callable[[Sequence[Any]], Any] = min if function == "min" else max
    if not floating:
        return best

    def extreme(values: Sequence[float]) -> float:
        # NaN is greater than all other numbers.
        known = [value for value in values if value == value]
        if not known or (function == "max" and len(known) < len(values)):
            return math.nan
        return float(best(known))

    return extreme


def _result(node: Aggregate) -> Callable[[Sequence[Any]], Any]:
    """The value of a running result."""
    floating = kept_of(node).name.endswith("-number")
    match node.function:
        case "count":
            return lambda held: held[0]
        case "sum":
            return (lambda held: running_total(held[2:])) if floating else (lambda held: int(held[2]))
        case "avg":
            if floating:
                return lambda held: running_total(held[2:]) / held[0]
            return lambda held: float(int(held[2])) / held[0]
        case "min" | "max":
            return lambda held: held[2]
        case "first" | "last":
            return lambda held: held[3]
    raise TypeError(f"{node.function} has no running result")
