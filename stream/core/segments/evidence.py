"""The values that decided, as they go into a segment change."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

from stream.core.segments.normal import AtLeast, Rule
from stream.core.segments.predicates import getter
from stream.core.segments.rules import columns, filter_of, leaves
from stream.core.segments.spelling import key
from stream.core.time import format_iso

if TYPE_CHECKING:
    from stream.core.customer import Customer

Evidence: TypeAlias = Callable[[Any, int], dict[str, Any]]


def evidence(rule: Rule) -> Evidence:
    """A function ``(customer, now) -> {what the rule reads: its value}``, JSON all of it.

    A column stands under its name, timestamps as ISO text. A sub-query stands under its text as
    ``{"count", "or_more", "latest"}``: events are counted as far as the rule has to, ``or_more`` says that it
    may have stopped before the last, and ``latest`` is the time of the most recent one in the window.
    """
    read = [(column.name, getter(column), column.type == "timestamp") for column in columns(rule)]
    needs: dict[str, tuple[str, int | None, int]] = {}
    for leaf in leaves(rule):
        if isinstance(leaf, AtLeast):
            events = leaf.events
            most = max(leaf.least, needs.get(events.text, ("", None, 0))[2])
            needs[events.text] = key(filter_of(events)), events.reach, most
    counts = [(text, *need) for text, need in needs.items()]

    def values(customer: Customer, now: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name, get, is_timestamp in read:
            value = get(customer)
            found[name] = format_iso(value) if is_timestamp and value is not None else value
        for text, memory, reach, most in counts:
            times = (customer.memory or {}).get(memory, ())
            inside = [time for time in times[-most:] if reach is None or now < time + reach]
            found[text] = {
                "count": len(inside),
                "or_more": len(inside) == most,
                "latest": format_iso(inside[-1]) if inside else None,
            }
        return found

    return values
