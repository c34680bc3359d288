"""Reads what stands beside a comparison: columns, fixed values, ``now()`` and shifted timestamps."""

from __future__ import annotations

from typing import NoReturn

from sqlglot import exp

from stream.core.segments.literals import LONGEST, interval, number, timestamp
from stream.core.segments.scope import Scope
from stream.core.segments.source import bare
from stream.core.segments.tree import Column, Literal, Now, Null, Shifted, Value

_TIMESTAMP_TYPES = (
    exp.DataType.Type.TIMESTAMP,
    exp.DataType.Type.TIMESTAMPNTZ,
    exp.DataType.Type.TIMESTAMPTZ,
    exp.DataType.Type.DATE,
    exp.DataType.Type.DATETIME,
)
_COUNT_HINT = "write (SELECT count(*) FROM events WHERE …)"

#: Kinds of expression that have a place in the language but no meaning yet, and what to say of them.
_NOT_YET: tuple[tuple[type[exp.Expr] | tuple[type[exp.Expr], ...], str, str], ...] = (
    (exp.Count, "count(*) outside of a sub-query", _COUNT_HINT),
    (exp.AggFunc, "a sum or other aggregate", "use count(*), EXISTS, total_spent, order_count or view_count"),
    (
        (exp.CurrentDate, exp.CurrentTime),
        "the calendar day",
        "write now() - INTERVAL '24 hours', or another length",
    ),
    ((exp.Cast, exp.TryCast), "a cast", "write the value in the column's own type"),
    ((exp.Case, exp.If, exp.Coalesce), "a choice between values", "write the alternatives with AND and OR"),
    (
        exp.AtTimeZone,
        "a time zone",
        "all times are UTC; a text may state an offset: '2026-01-31T18:00+02:00'",
    ),
    (exp.Func, "a function other than now()", "compare the column itself"),
    (exp.Placeholder, "a parameter", "write its value"),
    (exp.Binary, "arithmetic other than timestamp ± INTERVAL", "write the result as a fixed value"),
)


def value(node: exp.Expr, scope: Scope) -> Value:
    """The value that ``node`` stands for. Raises ``Refused``."""
    match node:
        case exp.Paren():
            return value(node.this, scope)
        case exp.Column():
            return scope.column(node)
        case exp.Literal(is_string=True):
            return Literal(node.this, "text")
        case exp.Literal():
            return number(node, scope.source, False)
        case exp.Neg(this=exp.Literal(is_string=False) as literal):
            return number(literal, scope.source, True)
        case exp.Boolean():
            return Literal(bool(node.this), "boolean")
        case exp.Null():
            return Null()
        case exp.Cast(this=exp.Literal(is_string=True) as text) if node.to.this in _TIMESTAMP_TYPES:
            if node.to.this is exp.DataType.Type.DATE and len(text.this.strip()) > 10:
                scope.source.refuse(node, f"'{text.this}' is not a date", "write TIMESTAMP '…' for a time")
            return timestamp(text.this, text, scope.source)
        case exp.Add() | exp.Sub():
            return _shifted(node, scope)
        case exp.CurrentTimestamp(this=None):
            return Now()
        case exp.Anonymous() if node.name.lower() == "now" and not node.expressions:
            return Now()
    refuse(node, scope)


def _shifted(node: exp.Add | exp.Sub, scope: Scope) -> Value:
    """``timestamp ± INTERVAL``, or ``INTERVAL + timestamp``; several in a row add up."""
    left, right = bare(node.this), bare(node.expression)
    if isinstance(left, exp.Interval) and isinstance(node, exp.Add):
        left, right = right, left
    if isinstance(left, exp.Interval):
        scope.source.refuse(node, "a timestamp cannot be taken from an INTERVAL", "turn it around")
    base = value(left, scope)
    if not isinstance(right, exp.Interval):
        if isinstance(base, Now | Shifted) or getattr(base, "type", "") == "timestamp":
            scope.source.refuse(
                node,
                "the difference of two timestamps is not supported yet",
                "move one to the other side: instead of now() - a > INTERVAL '1 day' "
                "write a < now() - INTERVAL '1 day'",
            )
        refuse(node, scope)
    by = interval(right, scope.source) * (1 if isinstance(node, exp.Add) else -1)
    match base:
        case Shifted():
            moved = Shifted(base.base, base.by + by)
        case Now() | Column(type="timestamp"):
            moved = Shifted(base, by)
        case Literal(type="timestamp", value=int() as instant):
            return Literal(instant + by, "timestamp")
        case Literal(type="text"):
            scope.source.refuse(node, "an INTERVAL can be added to a timestamp only", "write TIMESTAMP '…'")
        case _:
            scope.source.refuse(node, "an INTERVAL can be added to a timestamp only")
    if abs(moved.by) > LONGEST:
        scope.source.refuse(node, "that is longer than a hundred years")
    return moved


def refuse(node: exp.Expr, scope: Scope) -> NoReturn:
    """Refuse what is no value, by its kind."""
    if isinstance(node, exp.Interval):
        scope.source.refuse(node, "an INTERVAL says nothing alone", "write now() - INTERVAL '…'")
    if isinstance(node, exp.Predicate | exp.Connector | exp.Not) and not isinstance(node, exp.Func):
        scope.source.refuse(
            node,
            "a condition cannot be compared with a value",
            "write (condition) IS TRUE, or the condition alone",
        )
    if isinstance(node, exp.Anonymous):
        scope.source.refuse(node, f"there is no function {node.name}", "the one function so far is now()")
    for kinds, what, hint in _NOT_YET:
        if isinstance(node, kinds):
            scope.source.refuse(node, f"{what} is not supported yet", hint)
    scope.source.refuse(
        node,
        "this is not part of the language",
        "a segment compares columns, fixed values, now() and counts of events",
    )
