"""Fixed values as written in SQL: numbers, timestamps, lengths of time. Instants and lengths are µs."""

from __future__ import annotations

import re
from decimal import Decimal

from sqlglot import exp

from stream.core.segments.source import Source
from stream.core.segments.tree import Literal
from stream.core.time import parse_iso

_TOO_FINE = re.compile(r"\.\d{7}")
_TIMESTAMP_HINT = "write it as '2026-01-31', '2026-01-31 18:30:00' (UTC) or '2026-01-31T18:30:00+02:00'"

SECOND = 1_000_000
#: Units of one fixed length. A day is 24 hours: all times here are UTC.
UNITS: dict[str, int] = {
    unit: length * SECOND
    for units, length in (
        ("s sec secs second seconds", 1),
        ("min mins minute minutes", 60),
        ("h hr hrs hour hours", 3600),
        ("d day days", 86_400),
        ("w week weeks", 604_800),
    )
    for unit in units.split()
}
#: Units that are not always equally long, with the days to suggest.
_UNEVEN: dict[str, tuple[str, int]] = {
    unit: (plural, days)
    for units, plural, days in (
        ("mon mons month months", "months", 30),
        ("quarter quarters", "quarters", 91),
        ("y yr yrs year years", "years", 365),
    )
    for unit in units.split()
}
_PART = re.compile(r"\s*([+-]?\d+)\s*([a-z]+)\s*", re.ASCII | re.IGNORECASE)
LONGEST = 36_525 * 86_400 * SECOND  # a hundred years


def number(node: exp.Literal, source: Source, negative: bool) -> Literal:
    """A number literal. Refused if a double cannot hold it: its comparisons would not be exact."""
    text = node.this
    sign = -1 if negative else 1
    if text.isascii() and text.isdigit():
        if int(text) >= 2**63:
            source.refuse(node, f"{text} is too large a number", "whole numbers end at 9223372036854775807")
        return Literal(sign * int(text), "integer")
    try:
        value = float(text)
    except ValueError:
        source.refuse(node, f"{text} is not a number")
    if value in (float("inf"), float("-inf")) or len(Decimal(text).as_tuple().digits) > 15:
        source.refuse(node, f"{text} cannot be compared exactly", "write at most 15 digits")
    return Literal(sign * value, "number")


def timestamp(text: str, node: exp.Expr, source: Source) -> Literal:
    """An ISO 8601 text as a timestamp literal; UTC where it states no offset."""
    if _TOO_FINE.search(text):
        source.refuse(node, f"'{text}' is finer than a microsecond", "write at most six digits of a second")
    try:
        return Literal(parse_iso(text), "timestamp")
    except ValueError:
        source.refuse(node, f"'{text}' is not a timestamp", _TIMESTAMP_HINT)


def interval(node: exp.Interval, source: Source) -> int:
    """The length of an INTERVAL in µs: seconds to weeks, which are always equally long."""
    amount, unit = node.this, node.args.get("unit")
    while isinstance(amount, exp.Paren):
        amount = amount.this
    negative = isinstance(amount, exp.Neg)
    if negative:
        amount = amount.this
    if not isinstance(amount, exp.Literal) or (unit is not None and not isinstance(unit, exp.Var)):
        source.refuse(node, "an INTERVAL has to be a fixed length", "write for example INTERVAL '30 minutes'")
    text = f"{amount.this} {unit.name if unit is not None else ''}".strip()
    total = position = 0
    while position < len(text):
        part = _PART.match(text, position)
        if part is None:
            source.refuse(
                node,
                f"INTERVAL '{text}' is not understood",
                "write whole numbers of seconds, minutes, hours, days or weeks: INTERVAL '90 minutes'",
            )
        name = part[2].lower()
        if name in _UNEVEN:
            source.refuse(
                node,
                f"{_UNEVEN[name][0]} are not always equally long, so the instant would be a guess",
                f"write days: INTERVAL '{abs(int(part[1])) * _UNEVEN[name][1]} days'",
            )
        if name not in UNITS:
            source.refuse(node, f'there is no unit "{name}"', "use seconds, minutes, hours, days or weeks")
        total += int(part[1]) * UNITS[name]
        position = part.end()
    if not text or abs(total) > LONGEST:
        source.refuse(node, f"INTERVAL '{text}' is longer than a hundred years" if text else "an empty INTERVAL")
    return -total if negative else total
