"""Fixed values as written in SQL: numbers, timestamps, lengths of time. Instants and lengths are µs."""

from __future__ import annotations

import re

from sqlglot import exp

from stream.core.segments.numbers import integer, whole
from stream.core.segments.source import Source
from stream.core.segments.tree import Length, Literal
from stream.core.time import parse_iso

_TOO_FINE = re.compile(r"\.\d{7}")
_TIMESTAMP_HINT = "write it as '2026-01-31', '2026-01-31 18:30:00' (UTC) or '2026-01-31T18:30:00+02:00'"

SECOND = 1_000_000
#: Units of one fixed length. A day is 24 hours: all times here are UTC.
UNITS: dict[str, int] = {
    unit: length * SECOND
    for units, length in (
        ("s sec secs second seconds", 1),
        ("m min mins minute minutes", 60),
        ("h hr hrs hour hours", 3600),
        ("d day days", 86_400),
        ("w week weeks", 604_800),
    )
    for unit in units.split()
}
#: Units of so many months each.
MONTHS: dict[str, int] = {
    unit: months
    for units, months in (("mon mons month months", 1), ("quarter quarters", 3), ("y yr yrs year years", 12))
    for unit in units.split()
}
_PART = re.compile(r"\s*([+-]?\d+)\s*([a-z]+)\s*", re.ASCII | re.IGNORECASE)
_INTERVAL_HINT = "write whole numbers of seconds, minutes, hours, days, weeks, months or years: INTERVAL '90 minutes'"
LONGEST = 36_525 * 86_400 * SECOND  # a hundred years


def number(node: exp.Literal, source: Source, negative: bool) -> Literal:
    """A number literal. Refused if a double cannot hold it: its comparisons would not be exact."""
    text = node.this
    sign = -1 if negative else 1
    if text.isascii() and text.isdigit():
        found = integer(text)
        if found is None or whole(found) is None:
            source.refuse(node, f"{text} is too large a number", "whole numbers end at 9223372036854775807")
        return Literal(sign * found, "integer")
    try:
        value = float(text)
    except ValueError:
        source.refuse(node, f"{text} is not a number")
    digits = text.lower().partition("e")[0].replace(".", "").lstrip("0")
    if value in (float("inf"), float("-inf")) or len(digits) > 15:
        source.refuse(node, f"{text} cannot be compared exactly", "write at most 15 digits")
    return Literal(sign * value, "number" if "e" in text.lower() else "decimal")


def timestamp(text: str, node: exp.Expr, source: Source) -> Literal:
    """An ISO 8601 text as a timestamp literal; UTC where it states no offset."""
    if _TOO_FINE.search(text):
        source.refuse(node, f"'{text}' is finer than a microsecond", "write at most six digits of a second")
    try:
        return Literal(parse_iso(text), "timestamp")
    except ValueError:
        source.refuse(node, f"'{text}' is not a timestamp", _TIMESTAMP_HINT)


def interval(node: exp.Interval, source: Source) -> Length:
    """The length of an INTERVAL: seconds to weeks, which are always equally long, and months and years."""
    amount, unit = node.this, node.args.get("unit")
    while isinstance(amount, exp.Paren):
        amount = amount.this
    negative = isinstance(amount, exp.Neg)
    if negative:
        amount = amount.this
    if not isinstance(amount, exp.Literal) or (unit is not None and not isinstance(unit, exp.Var)):
        source.refuse(node, "an INTERVAL has to be a fixed length", "write for example INTERVAL '30 minutes'")
    text = f"{amount.this} {unit.name if unit is not None else ''}".strip()
    found = length(text)
    if isinstance(found, str):
        mixed = found.startswith("DuckDB")
        source.refuse(node, found, "write - INTERVAL '1 month' - INTERVAL '3 hours'" if mixed else _INTERVAL_HINT)
    return Length(-found.by, -found.months) if negative else found


def length(text: str) -> Length | str:
    """The length that ``text`` states, as in ``1 day 6 hours``; or what is wrong with it."""
    total = months = clock = position = 0
    while position < len(text):
        part = _PART.match(text, position)
        if part is None:
            return f"the length of time '{text}' is not understood"
        name, amount = part[2].lower(), integer(part[1])
        if amount is None:
            return f"'{text}' is longer than a hundred years"
        if name in MONTHS:
            months += amount * MONTHS[name]
        elif name in UNITS:
            total += amount * UNITS[name]
            clock += UNITS[name] < UNITS["day"]
        else:
            return f'there is no unit "{name}"'
        position = part.end()
    if not text.strip():
        return "an empty length of time"
    if months and clock:
        return "DuckDB adds months and hours now in one order, now in the other"
    if abs(total) + abs(months) * 31 * 86_400 * SECOND > LONGEST:
        return f"'{text}' is longer than a hundred years"
    return Length(total, months)
