"""Reads ``+ - * / // %`` of numbers, instants, dates and lengths of time. Lengths are µs and months."""

from __future__ import annotations

from typing import Final

from sqlglot import exp

from stream.core.segments import calendar
from stream.core.segments.kinds import NUMBERS, TIMES, as_type, exact, refuse_decimal, said, settled
from stream.core.segments.literals import LONGEST
from stream.core.segments.moving import moves
from stream.core.segments.source import Source
from stream.core.segments.tree import Call, Column, Length, Literal, Now, Null, Shifted, Value, ValueType, type_of

OPERATORS: Final[dict[type[exp.Expr], str]] = {
    exp.Add: "+",
    exp.Sub: "-",
    exp.Mul: "*",
    exp.Div: "/",
    exp.IntDiv: "//",
    exp.Mod: "%",
}


def combined(name: str, left: Value, right: Value, node: exp.Expr, source: Source) -> Value:
    """``left name right``. Raises ``Refused`` where DuckDB has no such operator, or another meaning than is served."""
    kinds = {type_of(left), type_of(right)}
    if isinstance(left, Null) or isinstance(right, Null):
        source.refuse(node, "what is computed with NULL is NULL", "leave it out")
    if kinds <= NUMBERS:
        return _number(name, settled(left, node, source), settled(right, node, source), node, source)
    if name in ("+", "-") and kinds & (TIMES | {"interval"}):
        return _time(name, exact(left), exact(right), node, source)
    if name == "+" and "text" in kinds:
        source.refuse(node, f"{said(left)} and {said(right)} cannot be added", "texts are joined by ||")
    source.refuse(node, f"there is no {name} of {said(left)} and {said(right)}", "compute with numbers")


def negative(value: Value, node: exp.Expr, source: Source) -> Value:
    """``-value``."""
    value = settled(value, node, source)
    if isinstance(value, Length):
        return Length(-value.by, -value.months)
    if type_of(value) not in NUMBERS:
        source.refuse(node, f"there is no - of {said(value)}", "compute with numbers")
    return Call("neg", (value,), type_of(value))


def _number(name: str, left: Value, right: Value, node: exp.Expr, source: Source) -> Value:
    if isinstance(left, Literal) and isinstance(right, Literal):
        source.refuse(node, "this computes with two fixed numbers", "write the result")
    kinds: set[ValueType] = {type_of(left), type_of(right)}
    if "decimal" in kinds and "number" not in kinds and name != "/":
        refuse_decimal(node, source)
    if name == "//" and kinds != {"integer"}:
        source.refuse(node, "// is served for whole numbers only", "write floor(a / b)")
    if name == "/":
        return Call(name, (as_type(left, "number"), as_type(right, "number")), "number")
    kind: ValueType = "integer" if kinds == {"integer"} else "number"
    return Call(name, (as_type(left, kind), as_type(right, kind)), kind)


def _time(name: str, left: Value, right: Value, node: exp.Expr, source: Source) -> Value:
    first, second = type_of(left), type_of(right)
    if name == "+" and (first == "interval" or (first == "integer" and second == "date")) and second in TIMES:
        left, right, first, second = right, left, second, first
    if first in TIMES and second == "interval":
        return _shifted(name, left, right, node, source)
    if first == "date" and second == "integer":
        if not isinstance(right, Literal):
            source.refuse(node, "days are added to a date as a fixed number only", "write + 7, or + INTERVAL '7 days'")
        days = int(right.value)
        if isinstance(left, Literal):
            return Literal(int(left.value) + (days if name == "+" else -days), "date")
        return Call(name, (left, right), "date")
    if first in TIMES and second in TIMES and name == "-":
        return _between(left, right, node, source)
    if first == second == "interval":
        return _lengths(name, left, right, node, source)
    if first == "interval":
        source.refuse(node, f"{said(right)} cannot be taken from or added to an INTERVAL", "turn it around")
    if first == "text":
        source.refuse(node, "an INTERVAL can be added to a timestamp only", "write TIMESTAMP '…'")
    if second == "interval":
        source.refuse(node, f"an INTERVAL can be added to a timestamp only, not to {said(left)}")
    length = f"{right.value} days" if isinstance(right, Literal) and right.type == "integer" else "7 days"
    source.refuse(node, f"there is no {name} of {said(left)} and {said(right)}", f"write {name} INTERVAL '{length}'")


def _shifted(name: str, left: Value, right: Value, node: exp.Expr, source: Source) -> Value:
    if type_of(left) == "date":
        left = as_type(left, "local")
    if not isinstance(right, Length):
        if moves(left) or moves(right):
            source.refuse(
                node,
                "a length of time that now() is part of cannot be added",
                "bring now() to one side of a comparison",
            )
        return Call(name, (left, right), type_of(left))
    sign = 1 if name == "+" else -1
    by, months = sign * right.by, sign * right.months
    if isinstance(left, Literal):
        return Literal(calendar.add_months(int(left.value), months) + by, left.type)
    if months or not isinstance(left, Column | Now | Shifted):
        return Call("+", (left, Length(by, months)), type_of(left))
    base, already = (left.base, left.by) if isinstance(left, Shifted) else (left, 0)
    if abs(already + by) > LONGEST:
        source.refuse(node, "that is longer than a hundred years")
    return Shifted(base, already + by)


def _between(left: Value, right: Value, node: exp.Expr, source: Source) -> Value:
    if moves(left) and moves(right):
        source.refuse(node, "the difference of two times of now() is fixed", "write the INTERVAL")
    if isinstance(left, Literal) and isinstance(right, Literal):
        source.refuse(node, "this computes with two fixed times", "write the INTERVAL")
    if type_of(left) == type_of(right) == "date":
        return Call("-", (left, right), "integer")
    return Call("-", (as_type(left, "timestamp"), as_type(right, "timestamp")), "interval")


def _lengths(name: str, left: Value, right: Value, node: exp.Expr, source: Source) -> Value:
    sign = 1 if name == "+" else -1
    if isinstance(left, Length) and isinstance(right, Length):
        if (left.months or right.months) and (left.by or right.by):
            source.refuse(
                node, "months and other lengths of time cannot be added up", "write INTERVAL '1 month 3 days'"
            )
        return Length(left.by + sign * right.by, left.months + sign * right.months)
    if any(isinstance(side, Length) and side.months for side in (left, right)):
        source.refuse(node, "months have no fixed length here", "write days: INTERVAL '30 days'")
    fixed = isinstance(right, Length)
    if moves(right) or isinstance(left, Length) or (moves(left) and name == "+" and not fixed):
        source.refuse(
            node, "this is not supported", "bring now() to one side of a comparison, and the INTERVAL to the other"
        )
    return Call(name, (left, right), "interval")
