"""Reads functions and casts: their names, and whether they fit what they are given."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from typing import Final, NoReturn

from sqlglot import exp

from stream.core.segments.functions import CASTS, NAMES, TEXT
from stream.core.segments.kinds import NUMBERS, as_type, date, exact, refuse_decimal, said, settled, together
from stream.core.segments.literals import timestamp
from stream.core.segments.moving import moves
from stream.core.segments.source import Source
from stream.core.segments.tree import Call, Cast, Literal, Null, Value, ValueType, type_of

#: sqlglot's classes, and how the arguments are called in them.
TEXT_FUNCTIONS: Final[dict[type[exp.Expr], tuple[str, tuple[str, ...]]]] = {
    exp.Lower: ("lower", ("this",)),
    exp.Upper: ("upper", ("this",)),
    exp.Length: ("length", ("this",)),
    exp.Left: ("left", ("this", "expression")),
    exp.Right: ("right", ("this", "expression")),
    exp.Substring: ("substring", ("this", "start", "length")),
    exp.StrPosition: ("strpos", ("this", "substr")),
    exp.Replace: ("replace", ("this", "expression", "replacement")),
    exp.StartsWith: ("starts_with", ("this", "expression")),
    exp.EndsWith: ("ends_with", ("this", "expression")),
    exp.Contains: ("contains", ("this", "expression")),
}
#: Other names that DuckDB has for the same.
OTHER_NAMES: Final = {"suffix": "ends_with", "prefix": "starts_with", "char_length": "length"}
NUMBER_FUNCTIONS: Final[dict[type[exp.Expr], str]] = {exp.Abs: "abs", exp.Floor: "floor", exp.Ceil: "ceil"}

_TYPES: Final[dict[exp.DType, ValueType]] = {
    exp.DType.BIGINT: "integer",
    exp.DType.DOUBLE: "number",
    exp.DType.TEXT: "text",
    exp.DType.VARCHAR: "text",
    exp.DType.BOOLEAN: "boolean",
    exp.DType.TIMESTAMPTZ: "timestamp",
    exp.DType.TIMESTAMP: "local",
    exp.DType.TIMESTAMPNTZ: "local",
    exp.DType.DATETIME: "local",
    exp.DType.DATE: "date",
}
_OTHER_TYPES: Final[dict[exp.DType, str]] = {
    **dict.fromkeys((exp.DType.INT, exp.DType.SMALLINT, exp.DType.TINYINT, exp.DType.INT128), "BIGINT"),
    **dict.fromkeys((exp.DType.UINT, exp.DType.UBIGINT, exp.DType.USMALLINT, exp.DType.UTINYINT), "BIGINT"),
    **dict.fromkeys((exp.DType.FLOAT, exp.DType.DECIMAL), "DOUBLE"),
}


def text_function(name: str, args: Sequence[Value], node: exp.Expr, source: Source) -> Value:
    """A function of ``functions.TEXT``, with its arguments checked."""
    shape = TEXT[name]
    if not len(shape.takes) - shape.optional <= len(args) <= len(shape.takes):
        source.refuse(node, f"{name} takes {len(shape.takes)} arguments, and here are {len(args)}")
    given = []
    for value, kind in zip(args, shape.takes, strict=False):
        value = _known(settled(value, node, source), name, node, source)
        if type_of(value) != kind:
            hint = "cast it: age::VARCHAR" if kind == "text" else ""
            source.refuse(node, f"{name} needs {_A[kind]}, not {said(value)}", hint)
        given.append(value)
    return Call(name, tuple(given), shape.gives)


def number_function(name: str, args: Sequence[Value], node: exp.Expr, source: Source) -> Value:
    """abs, round, floor, ceil."""
    value = _known(settled(args[0], node, source), name, node, source)
    kind = type_of(value)
    if kind not in NUMBERS:
        source.refuse(node, f"{name} needs a number, not {said(value)}")
    if kind == "decimal":
        refuse_decimal(node, source)
    if name in ("floor", "ceil"):
        return Call(name, (as_type(value, "number"),), "number")
    if len(args) == 2:
        digits = args[1]
        if not isinstance(digits, Literal) or digits.type != "integer":
            source.refuse(node, "round takes a fixed number of digits", "write round(cart_value, 2)")
        return Call(name, (value, digits), kind)
    return Call(name, (value,), kind)


def alternatives(name: str, args: Sequence[Value], node: exp.Expr, source: Source) -> Value:
    """coalesce, greatest, least, nullif: several values of one type."""
    values = [settled(value, node, source) for value in args]
    given, kind = together(values, node, source)
    if kind == "interval" and name in ("coalesce", "nullif"):
        source.refuse(node, "a choice between lengths of time is not supported", "compare each of them")
    if name == "nullif":
        # Compared as one type, given as the first.
        first = type_of(values[0])
        if first != kind and not {first, kind} <= NUMBERS:
            source.refuse(node, f"{said(values[0])} and {said(values[1])} are not of one type", "cast one of them")
        return Call(name, (values[0], given[1]), first)
    if kind == "boolean" and name in ("greatest", "least"):
        source.refuse(node, "booleans have no order", "use AND or OR")
    return Call(name, tuple(given), kind)


def joined(name: str, args: Sequence[Value], node: exp.Expr, source: Source) -> Value:
    """``concat`` and ``||``, which write as text whatever is none."""
    values = [settled(value, node, source) for value in args]
    for value in values:
        kind = type_of(value)
        if kind == "decimal" or (kind not in ("text", "null") and (kind, "text") not in CASTS):
            source.refuse(node, f"{said(value)} cannot be written as text here", "write it in quotes")
        if name == "||":
            _known(value, name, node, source)
    if name == "||" and "text" not in map(type_of, values):
        source.refuse(node, f"{said(values[0])} and {said(values[1])} are no texts", "cast one: age::VARCHAR || '…'")
    return Call(name, tuple(values), "text")


def cast(value: Value, node: exp.Cast, source: Source) -> Value:
    """``CAST(value AS type)``, ``value::type``, TRY_CAST."""
    wanted = node.to.this
    kind = _TYPES.get(wanted)
    if kind is None:
        other = _OTHER_TYPES.get(wanted)
        hint = (
            f"write {other}"
            if other
            else "the types are BIGINT, DOUBLE, VARCHAR, BOOLEAN, DATE, TIMESTAMP, TIMESTAMPTZ"
        )
        source.refuse(node, f"the type {node.to.sql('duckdb')} is not supported", hint)
    if isinstance(value, Literal) and value.type == "text" and kind in ("timestamp", "local", "date"):
        return _written(str(value.value), kind, node, source)
    given = type_of(value)
    if given == "decimal" and kind == "number":
        return as_type(value, kind)
    if moves(value):
        # Another way to look at the present: the other types stand still.
        if kind in ("date", "timestamp", "local"):
            return Cast(value, kind) if kind != given else value
        settled(value, node, source)
    value = exact(value)
    if kind == given:
        return value
    if given != "null" and (given, kind) not in CASTS:
        hint = "declare the attribute as timestamp" if given == "text" else ""
        source.refuse(node, f"{said(value)} cannot be cast to {node.to.sql('duckdb')}", hint)
    return Cast(value, kind)


#: Functions of other databases and of DuckDB, and what to write for them.
_INSTEAD: Final = {
    **dict.fromkeys(("getdate", "sysdate", "current_time", "localtimestamp"), "write now()"),
    **dict.fromkeys(("dateadd", "date_sub", "datesub", "timestamp_sub"), "write now() - INTERVAL '30 days'"),
    **dict.fromkeys(("isnull", "nvl"), "write coalesce(age, 0)"),
    **dict.fromkeys(("timestampdiff", "months_between", "age"), "write date_diff('year', renews_at, now())"),
    **dict.fromkeys(
        ("to_char", "strftime", "date_format"), "write date_part('month', …), or cast it: last_order_at::DATE"
    ),
    **dict.fromkeys(("rand", "random", "uuid"), "what is another thing whenever it is asked has no instant of change"),
    **dict.fromkeys(("to_days", "to_months", "to_hours"), "write INTERVAL '3 days'"),
    **dict.fromkeys(("last_day",), "write date_trunc('month', now()) + INTERVAL '1 month'"),
    **dict.fromkeys(("sign",), "write CASE WHEN score > 0 THEN 1 WHEN score < 0 THEN -1 ELSE 0 END"),
    **dict.fromkeys(("trunc",), "write floor(score)"),
}


def refuse_name(name: str, node: exp.Expr, source: Source) -> NoReturn:
    """Refuse a function that there is not, with what to write for it or the nearest that there is."""
    near = get_close_matches(name.lower(), NAMES, n=1, cutoff=0.7)
    hint = f"did you mean {near[0]}?" if near else "the functions are " + ", ".join(NAMES)
    source.refuse(node, f"there is no function {name}", _INSTEAD.get(name.lower(), hint))


_A: Final[dict[ValueType, str]] = {"text": "a text", "integer": "a whole number", "number": "a number"}


def _known(value: Value, name: str, node: exp.Expr, source: Source) -> Value:
    if isinstance(value, Null):
        source.refuse(node, f"{name} of NULL is NULL", "leave it out")
    return value


def _written(text: str, kind: ValueType, node: exp.Cast, source: Source) -> Value:
    if kind == "date":
        return date(text, node, source)
    found = timestamp(text, node, source)
    if kind == "timestamp":
        return found
    if timestamp(_without_offset(text), node, source) != found:
        source.refuse(node, "DuckDB leaves the offset of a TIMESTAMP out of account", f"write TIMESTAMPTZ '{text}'")
    return Literal(found.value, "local")


def _without_offset(text: str) -> str:
    text = text.strip()
    at = max(text.rfind("+"), text.rfind("-", 10))
    return text[:at].rstrip() if at > 10 else text.rstrip("Zz")
