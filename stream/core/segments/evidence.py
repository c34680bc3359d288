"""The values that decided, as they go into a segment change."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

from stream.core.segments import calendar
from stream.core.segments.aggregates import Seen, witness
from stream.core.segments.codegen import Source
from stream.core.segments.memory import aggregates_of
from stream.core.segments.normal import AtLeast, Rule
from stream.core.segments.predicates import read
from stream.core.segments.rules import columns, filter_of, leaves
from stream.core.segments.spelling import key
from stream.core.segments.tree import Column, ValueType
from stream.core.time import format_iso

if TYPE_CHECKING:
    from stream.core.customer import Customer

Evidence: TypeAlias = Callable[[Any, int], dict[str, Any]]
#: Types of columns whose values are JSON as they are.
_AS_THEY_ARE = frozenset({"text", "number", "integer", "boolean"})


def evidence(rule: Rule) -> Evidence:
    """A function ``(customer, now) -> {what the rule reads: its value}``, JSON all of it.

    A column stands under its name, timestamps as ISO text. A sub-query stands under its text. One whose count is
    compared with a number is ``{"count", "or_more", "latest"}``: events are counted as far as the rule has to,
    ``or_more`` says that it may have stopped before the last, and ``latest`` is the time of the most recent one in the
    window. Any other is ``{"value", "events", "latest"}``, of the events in the window; ``events`` is left out where
    not all of them are remembered.
    """
    source = Source("row", "now")
    found = [f"{source.value(column.name)}: {_shown(column, source)}" for column in columns(rule)]
    needs: dict[str, tuple[str, int | None, int]] = {}
    for leaf in leaves(rule):
        if isinstance(leaf, AtLeast):
            events = leaf.events
            most = max(leaf.least, needs.get(events.text, ("", None, 0))[2])
            needs[events.text] = key(filter_of(events)), events.reach, most
    asked: dict[str, Evidence] = {text: _count(*need) for text, need in needs.items()}
    asked |= {node.text: _aggregate(witness(node), node.type) for node in aggregates_of(rule)}
    found += [f"{source.value(text)}: {source.value(values)}(row, now)" for text, values in asked.items()]
    source.line(f"return {{{', '.join(found)}}}")
    return source.function()


def _shown(column: Column, source: Source) -> str:
    """``shown`` for the value of a column, as source."""
    value = read(column, source)
    return value if column.type in _AS_THEY_ARE else f"{source.value(shown)}({value}, {source.value(column.type)})"


def _count(memory: str, reach: int | None, most: int) -> Evidence:
    def count(customer: Customer, now: int) -> dict[str, Any]:
        times = (customer.memory or {}).get(memory, ())
        inside = times[-most:] if reach is None else [time for time in times[-most:] if now < time + reach]
        latest = format_iso(inside[-1]) if inside else None
        return {"count": len(inside), "or_more": len(inside) == most, "latest": latest}

    return count


def shown(value: Any, kind: ValueType) -> Any:
    """A value of the type as JSON: times as ISO 8601 text where that has the year, a date as its day."""
    if value is None:
        return None
    if kind == "interval":
        return f"{value / calendar.HOUR:.2f} hours"
    if kind not in ("timestamp", "local", "date"):
        return value
    try:
        text = format_iso(value * calendar.DAY if kind == "date" else value)
    except ValueError:  # an attribute at the end of the calendar, and a day more
        return "before the year 1" if value < 0 else "after the year 9999"
    return text[:10] if kind == "date" else text if kind == "timestamp" else text.removesuffix("Z")


def _aggregate(asked: Callable[[Customer, int], Seen], kind: ValueType) -> Evidence:
    def aggregate(customer: Customer, now: int) -> dict[str, Any]:
        seen = asked(customer, now)
        said = {"value": shown(seen.value, kind)}
        if seen.events is not None:
            said["events"] = seen.events
        return {**said, "latest": None if seen.latest is None else format_iso(seen.latest)}

    return aggregate
