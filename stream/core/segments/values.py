"""Reads what stands beside a comparison, and what that consists of: columns, fixed values, functions, sub-queries."""

from __future__ import annotations

from typing import NoReturn

from sqlglot import exp

from stream.core.segments import arithmetic, calls, times
from stream.core.segments.errors import Refused
from stream.core.segments.functions import TEXT
from stream.core.segments.kinds import settled, together
from stream.core.segments.literals import interval, number
from stream.core.segments.scope import Scope
from stream.core.segments.tree import (
    Case,
    Condition,
    Literal,
    Now,
    Null,
    Truth,
    Value,
)

#: Conditions, which are values too: TRUE or FALSE.
_CONDITIONS = (
    *(exp.Connector, exp.Not, exp.EQ, exp.NEQ, exp.LT, exp.LTE, exp.GT, exp.GTE, exp.Between, exp.In, exp.Is),
    *(exp.Exists, exp.Like, exp.ILike, exp.Escape, exp.NullSafeEQ, exp.NullSafeNEQ),
)
_COUNT_HINT = "write (SELECT count(*) FROM events WHERE …)"

#: Kinds of expression that are SQL but not part of the language, and what to write instead.
_NOT_HERE: tuple[tuple[type[exp.Expr] | tuple[type[exp.Expr], ...], str, str], ...] = (
    (exp.Count, "count(*) stands in a sub-query", _COUNT_HINT),
    (exp.AggFunc, "an aggregate stands in a sub-query", "write (SELECT sum(price) FROM events WHERE …)"),
    (exp.CurrentTime, "the time of the day alone is not supported", "write date_part('hour', now())"),
    ((exp.Array, exp.Struct, exp.Bracket), "lists and structs are not supported", "compare values one by one"),
    (exp.JSONExtract, "JSON and lambdas are not supported", "declare the field as an attribute"),
    (
        (exp.RegexpLike, exp.SimilarTo, exp.Glob),
        "regular expressions are not supported",
        "write LIKE, contains or starts_with",
    ),
    (exp.Pow, "powers are not supported", "write a * a"),
    (exp.Placeholder, "a parameter has no value here", "write its value"),
    ((exp.StrToTime, exp.TimeToStr), "formats of time are not supported", "declare the attribute as timestamp"),
    (exp.TimeToUnix, "seconds since 1970 are not supported", "compare timestamps, or take date_diff('second', …)"),
)


def value(node: exp.Expr, scope: Scope) -> Value:
    """The value that ``node`` stands for. Raises ``Refused``."""
    source = scope.source
    if not isinstance(node, exp.Expr):
        # sqlglot lets some operators and functions go without their operands.
        raise Refused("something is missing here", "", 0, len(source.text))
    match node:
        case exp.Paren():
            return value(node.this, scope)
        case exp.Column():
            return scope.column(node)
        case exp.Literal(is_string=True):
            return Literal(node.this, "text")
        case exp.Literal():
            return number(node, source, False)
        case exp.Neg(this=exp.Literal(is_string=False) as literal):
            return number(literal, source, True)
        case exp.Neg():
            return arithmetic.negative(value(node.this, scope), node, source)
        case exp.Boolean():
            return Literal(bool(node.this), "boolean")
        case exp.Null():
            return Null()
        case exp.Interval():
            return interval(node, source)
        case exp.Subquery() if scope.query is not None:
            return scope.query(node, scope)
        case exp.CurrentTimestamp(this=None):
            return Now()
        case exp.CurrentDate(this=None):
            return times.TODAY
        case exp.Cast():
            return calls.cast(value(node.this, scope), node, source)
        case exp.Case() | exp.If():
            return _case(node, scope)
    name = arithmetic.OPERATORS.get(type(node))
    if name is not None:
        return arithmetic.combined(name, value(node.this, scope), value(node.expression, scope), node, source)
    found = _function(node, scope)
    if found is not None:
        return found
    if isinstance(node, _CONDITIONS):
        return Truth(_condition(node, scope))
    refuse(node, scope)


def _function(node: exp.Expr, scope: Scope) -> Value | None:
    """The call of a function; None if ``node`` is none that is known."""
    source = scope.source
    kind = type(node)
    known = calls.TEXT_FUNCTIONS.get(kind)
    if known is not None:
        name, names = known
        given = [node.args[arg] for arg in names if isinstance(node.args.get(arg), exp.Expr)]
        return calls.text_function(name, _values(given, scope), node, source)
    if kind in calls.NUMBER_FUNCTIONS:
        if isinstance(node.args.get("decimals"), exp.Expr):
            source.refuse(node, f"{calls.NUMBER_FUNCTIONS[kind]} takes one argument", "write round(cart_value, 2)")
        return calls.number_function(calls.NUMBER_FUNCTIONS[kind], [value(node.this, scope)], node, source)
    if kind in times.PARTS:
        return times.part(times.PARTS[kind], value(node.this, scope), node, source)
    match node:
        case exp.Trim():
            name = {"LEADING": "ltrim", "TRAILING": "rtrim"}.get(str(node.args.get("position") or ""), "trim")
            given = [arg for arg in (node.this, node.expression) if isinstance(arg, exp.Expr) and arg.key]
            return calls.text_function(name, _values(given, scope), node, source)
        case exp.Round():
            digits = node.args.get("decimals")
            given = [node.this] + ([digits] if isinstance(digits, exp.Expr) else [])
            return calls.number_function("round", _values(given, scope), node, source)
        case exp.Coalesce() | exp.Greatest() | exp.Least():
            args = _values([node.this, *node.expressions], scope)
            return calls.alternatives(kind.__name__.lower(), args, node, source)
        case exp.Nullif():
            return calls.alternatives("nullif", _values([node.this, node.expression], scope), node, source)
        case exp.Concat():
            return calls.joined("concat", _values(node.expressions, scope), node, source)
        case exp.DPipe():
            return calls.joined("||", _values([node.this, node.expression], scope), node, source)
        case exp.TimestampTrunc() | exp.DateTrunc():
            return times.truncated(node.args.get("unit"), value(node.this, scope), node, source)
        case exp.Extract():
            return times.part(node.this, value(node.expression, scope), node, source)
        case exp.DateDiff():
            first, last = value(node.expression, scope), value(node.this, scope)
            return times.difference(node.args.get("unit"), first, last, node, source)
        case exp.DateAdd(expression=exp.Interval() as length):
            return arithmetic.combined("+", value(node.this, scope), value(length, scope), node, source)
        case exp.AtTimeZone():
            return times.zoned(node.args["zone"], value(node.this, scope), node, source)
        case exp.Anonymous():
            return _named(node, scope)
    return None


def _named(node: exp.Anonymous, scope: Scope) -> Value:
    """A function that sqlglot has no class for."""
    name, args, source = node.name.lower(), node.expressions, scope.source
    name = calls.OTHER_NAMES.get(name, name)
    if name in ("now", "get_current_timestamp", "transaction_timestamp") and not args:
        return Now()
    if name in ("date_part", "datepart") and len(args) == 2:
        return times.part(args[0], value(args[1], scope), node, source)
    if name == "timezone" and len(args) == 2:
        return times.zoned(args[0], value(args[1], scope), node, source)
    if name in times.NAMED_PARTS and len(args) == 1:
        return times.part(times.NAMED_PARTS[name], value(args[0], scope), node, source)
    if name == "in_segment":
        return Truth(_condition(node, scope))
    if name in TEXT:
        return calls.text_function(name, _values(args, scope), node, source)
    calls.refuse_name(node.name, node, source)


def _values(nodes: list[exp.Expr], scope: Scope) -> list[Value]:
    return [value(node, scope) for node in nodes]


def _condition(node: exp.Expr, scope: Scope) -> Condition:
    assert scope.condition is not None, "whoever reads values says how conditions are read"
    return scope.condition(node, scope)


def _case(node: exp.Case | exp.If, scope: Scope) -> Value:
    """``CASE WHEN … THEN … ELSE … END``, ``CASE x WHEN …``, ``if(condition, a, b)``."""
    branches = [node] if isinstance(node, exp.If) else node.args["ifs"]
    subject = node.this if isinstance(node, exp.Case) else None
    asked: list[Condition] = []
    for branch in branches:
        if subject is None:
            asked.append(_condition(branch.this, scope))
        else:
            asked.append(_condition(exp.EQ(this=subject.copy(), expression=branch.this.copy()), scope))
    last = node.args.get("default") or node.args.get("false")
    nodes = [branch.args["true"] for branch in branches] + ([last] if last is not None else [])
    results = [settled(value(each, scope), each, scope.source) for each in nodes]
    given, kind = together(results, node, scope.source)
    if kind == "interval":
        scope.source.refuse(node, "a choice between lengths of time is not supported", "choose between conditions")
    default = given.pop() if last is not None else None
    return Case(tuple(zip(asked, given, strict=True)), default, kind)


def refuse(node: exp.Expr, scope: Scope) -> NoReturn:
    """Refuse what is no value, by its kind."""
    source = scope.source
    for kinds, message, hint in _NOT_HERE:
        if isinstance(node, kinds):
            source.refuse(node, message, hint)
    if isinstance(node, exp.Func):
        name = node.sql_name().lower()
        calls.refuse_name(name, node, source)
    source.refuse(
        node,
        "this is not part of the language",
        "a segment compares columns, fixed values, functions of them, now() and sub-queries over events",
    )
