"""Types of values in words, and how values of several types are brought to one, as DuckDB does it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NoReturn

from sqlglot import exp

from stream.core.segments import calendar
from stream.core.segments.literals import timestamp
from stream.core.segments.moving import moves
from stream.core.segments.source import Source
from stream.core.segments.tree import (
    Aggregate,
    Bound,
    Call,
    Case,
    Cast,
    Column,
    EventCount,
    Length,
    Literal,
    Null,
    Shifted,
    Value,
    ValueType,
    Window,
    type_of,
)

NUMBERS: frozenset[ValueType] = frozenset({"integer", "number", "decimal"})
TIMES: frozenset[ValueType] = frozenset({"timestamp", "local", "date"})
_DATE = re.compile(r"\s*\d{4}-\d\d-\d\d\s*", re.ASCII)


def said(value: Value) -> str:
    """The value in a message, with its type."""
    match value:
        case Column():
            return f"{value.name} ({value.type})"
        case Literal(type="text"):
            return f"the text '{value.value}'"
        case Literal(type="timestamp" | "local"):
            return "a timestamp"
        case Literal(type="date"):
            return "a date"
        case Literal(type="decimal"):
            return f"the number {value.value}"
        case Literal():
            return f"the {value.type} {str(value.value).lower()}"
        case Shifted(base=Column() as column):
            return f"{column.name} (timestamp)"
        case Null():
            return "NULL"
        case Length():
            return "an INTERVAL"
        case Aggregate() | EventCount():
            return f"the sub-query ({type_of(value)})"
        case Call(name=name):
            return f"the result of {name} ({value.type})"
        case Cast():
            return f"the result of the cast ({value.type})"
        case Case():
            return f"the CASE ({value.type})"
    return "now() (timestamp)" if type_of(value) == "timestamp" else f"the condition ({type_of(value)})"


def settled(value: Value, node: exp.Expr, source: Source) -> Value:
    """``value`` as part of an expression: a count becomes a number of its own, and ``now()`` is refused."""
    if moves(value):
        source.refuse(
            node,
            "now() moves on every microsecond, and this with it",
            "compare it with something that stands still: now() - INTERVAL '7 days' > last_seen_at; or take a step "
            "of it: date_trunc('day', now()), CURRENT_DATE, date_diff('day', last_seen_at, now())",
        )
    return exact(value)


def exact(value: Value) -> Value:
    """A count of events as an aggregate, which knows the number however large it is."""
    if not isinstance(value, EventCount):
        return value
    since = None if value.reach is None else Bound(value.reach - 1, 0, True)
    return Aggregate("count", None, value.filter, Window(since, None), value.text, "integer")


def as_type(value: Value, kind: ValueType) -> Value:
    """``value`` as a value of ``kind``, which is one that its own type can become without loss."""
    if type_of(value) in (kind, "null"):
        return value
    if isinstance(value, Literal):
        number = value.value
        if kind == "number" and isinstance(number, int | float):
            return Literal(float(number), kind)
        if kind in ("timestamp", "local") and isinstance(number, int):
            return Literal(number * calendar.DAY if value.type == "date" else number, kind)
    return Cast(value, kind)


def together(values: Sequence[Value], node: exp.Expr, source: Source) -> tuple[list[Value], ValueType]:
    """The values brought to one type, and that type. Raises ``Refused`` where there is none."""
    kinds = {type_of(value) for value in values} - {"null"}
    if not kinds:
        source.refuse(node, "there is nothing but NULL here", "leave it out")
    for kind in TIMES:
        if kind in kinds and "text" in kinds:
            values = [_instant(value, kind, node, source) for value in values]
            kinds = {type_of(value) for value in values} - {"null"}
    if len(kinds) == 1:
        return list(values), next(iter(kinds))
    if kinds <= NUMBERS:
        if "number" not in kinds:
            refuse_decimal(node, source)
        return [as_type(value, "number") for value in values], "number"
    if kinds <= TIMES:
        common: ValueType = "timestamp" if "timestamp" in kinds else "local"
        return [as_type(value, common) for value in values], common
    different = list({type_of(value): said(value) for value in values if type_of(value) != "null"}.values())
    source.refuse(
        node,
        f"{different[0]} and {different[1]} cannot stand for one value",
        "bring them to one type, with a cast such as age::VARCHAR",
    )


def _instant(value: Value, kind: ValueType, node: exp.Expr, source: Source) -> Value:
    if isinstance(value, Literal) and value.type == "text":
        return date(str(value.value), node, source) if kind == "date" else timestamp(str(value.value), node, source)
    return value


def date(text: str, node: exp.Expr, source: Source) -> Literal:
    """A text as a date literal: days since 1970-01-01."""
    if not _DATE.fullmatch(text):
        source.refuse(
            node, f"'{text}' is not a date", "write it as '2026-01-31'; a time of the day needs TIMESTAMP '…'"
        )
    return Literal(int(timestamp(text.strip(), node, source).value) // calendar.DAY, "date")


def refuse_decimal(node: exp.Expr, source: Source) -> NoReturn:
    """What DuckDB computes with a fixed number of digits is not computed here."""
    source.refuse(
        node,
        "a whole number and a number with a point make a DECIMAL in DuckDB, which segments do not compute with",
        "write the number as a DOUBLE: 0.5::DOUBLE",
    )
