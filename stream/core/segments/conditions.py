"""Reads conditions: what a WHERE says, outside and inside of a sub-query, checked by type."""

from __future__ import annotations

from sqlglot import exp

from stream.core.segments import subqueries
from stream.core.segments.comparisons import compare, equals
from stream.core.segments.errors import Refused
from stream.core.segments.scope import Scope
from stream.core.segments.source import bare
from stream.core.segments.tree import (
    And,
    Column,
    Compare,
    Condition,
    EventCount,
    Flag,
    In,
    Is,
    IsNull,
    Known,
    Literal,
    Not,
    Null,
    Op,
    Or,
    Value,
)
from stream.core.segments.values import refuse, value

_OPERATORS: dict[type[exp.Expr], Op] = {
    exp.EQ: "=",
    exp.NEQ: "<>",
    exp.LT: "<",
    exp.LTE: "<=",
    exp.GT: ">",
    exp.GTE: ">=",
}
_NOT_YET: tuple[tuple[type[exp.Expr], str, str], ...] = (
    (exp.Like, "LIKE", "write the texts out: column IN ('a', 'b')"),
    (exp.ILike, "ILIKE", "write the texts out: column IN ('a', 'b')"),
    (exp.NullSafeEQ, "IS NOT DISTINCT FROM", "write a = b OR (a IS NULL AND b IS NULL)"),
    (exp.NullSafeNEQ, "IS DISTINCT FROM", "write a <> b OR a IS NULL, as it is meant"),
)


def condition(node: exp.Expr, scope: Scope) -> Condition:
    """The condition that ``node`` states. Raises ``Refused``, or notes it where others can still be read."""
    node = bare(node)
    match node:
        case exp.And():
            return And(_parts(node, scope))
        case exp.Or():
            return Or(_parts(node, scope))
        case exp.Not():
            return Not(condition(node.this, scope))
        case exp.Boolean():
            return Known(bool(node.this))
        case exp.Column():
            return Flag(_boolean(node, scope))
        case exp.Exists():
            return Compare(">=", subqueries.exists(node, scope, condition), Literal(1, "integer"))
        case exp.Between():
            return _between(node, scope)
        case exp.In():
            return _in(node, scope)
        case exp.Is():
            return _is(node, scope)
    op = _OPERATORS.get(type(node))
    if op is not None:
        return compare(op, operand(node.this, scope), operand(node.expression, scope), node, scope.source)
    for kind, name, hint in _NOT_YET:
        if isinstance(node, kind):
            scope.source.refuse(node, f"{name} is not supported yet", hint)
    is_now = isinstance(node, exp.CurrentTimestamp) or (isinstance(node, exp.Anonymous) and node.name.lower() == "now")
    if is_now or isinstance(node, exp.Literal | exp.Subquery | exp.Null):
        scope.source.refuse(node, "this is not a condition", "compare it with something")
    refuse(node, scope)


def operand(node: exp.Expr, scope: Scope) -> Value:
    """One side of a comparison, sub-queries included."""
    inner = bare(node)
    if isinstance(inner, exp.Subquery):
        return subqueries.counted(inner, scope, condition)
    return value(inner, scope)


def _parts(node: exp.And | exp.Or, scope: Scope) -> tuple[Condition, ...]:
    """Its parts; what is wrong with one is noted, so that all of them are reported at once."""
    parts: list[Condition] = []
    for part in node.flatten():
        try:
            parts.append(condition(part, scope))
        except Refused as refused:
            scope.errors.append(refused)
    return tuple(parts)


def _boolean(node: exp.Column, scope: Scope) -> Column:
    column = scope.column(node)
    if column.type != "boolean":
        scope.source.refuse(
            node,
            f"{column.name} is {column.type}, not a condition",
            f"compare it, or write {column.name} IS NOT NULL",
        )
    return column


def _between(node: exp.Between, scope: Scope) -> Condition:
    if node.args.get("symmetric"):
        scope.source.refuse(node, "BETWEEN SYMMETRIC is not supported", "write the lower bound first")
    middle = operand(node.this, scope)
    low = compare(">=", middle, operand(node.args["low"], scope), node, scope.source)
    return And((low, compare("<=", middle, operand(node.args["high"], scope), node, scope.source)))


def _in(node: exp.In, scope: Scope) -> Condition:
    if not node.expressions or node.args.get("query"):
        scope.source.refuse(
            node,
            "IN takes a list of values, not a query",
            "ask for the customer's own events: EXISTS (SELECT 1 FROM events WHERE …), "
            "or (SELECT count(*) FROM events WHERE …) >= 3",
        )
    wanted = operand(node.this, scope)
    options = [operand(option, scope) for option in node.expressions]
    with_null = any(isinstance(option, Null) for option in options)
    given = [(o, n) for o, n in zip(options, node.expressions, strict=True) if not isinstance(o, Null)]
    if not given:
        scope.source.refuse(node, "IN (NULL) is never true", "write IS NULL")
    compared = tuple(equals(wanted, option, place, scope.source) for option, place in given)
    if isinstance(wanted, Column) and all(isinstance(part.right, Literal) for part in compared):
        literals = tuple(part.right for part in compared if isinstance(part.right, Literal))
        return In(wanted, literals, with_null)
    if with_null:
        scope.source.refuse(node, "NULL in this list is not supported", "leave NULL out; nothing equals it")
    return Or(compared)


def _is(node: exp.Is, scope: Scope) -> Condition:
    subject, what = bare(node.this), node.expression
    if not isinstance(what, exp.Null | exp.Boolean):
        scope.source.refuse(node, "IS takes NULL, TRUE or FALSE", "compare with =")
    truth = bool(what.this) if isinstance(what, exp.Boolean) else None
    if truth is None and not isinstance(subject, exp.Predicate | exp.Connector | exp.Not):
        found = operand(subject, scope)
        if isinstance(found, Column):
            return IsNull(found)
        kind = "a count" if isinstance(found, EventCount) else "a fixed value or now()"
        scope.source.refuse(node, f"{kind} is never NULL", "test the column itself")
    return Is(condition(subject, scope), truth)
