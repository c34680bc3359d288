"""Reads conditions: what a WHERE says, outside and inside of a sub-query, checked by type."""

from __future__ import annotations

from difflib import get_close_matches

from sqlglot import exp

from stream.core.segments import subqueries, texts
from stream.core.segments.comparisons import brought_together, compare, equals
from stream.core.segments.errors import Refused
from stream.core.segments.kinds import exact, said
from stream.core.segments.moving import moves
from stream.core.segments.scope import Scope
from stream.core.segments.source import bare
from stream.core.segments.tree import (
    And,
    Compare,
    Condition,
    Distinct,
    EventCount,
    Flag,
    In,
    Is,
    IsNull,
    Known,
    Length,
    Like,
    Literal,
    Not,
    Now,
    Null,
    Op,
    Or,
    Shifted,
    Truth,
    Value,
    type_of,
)
from stream.core.segments.values import value

_OPERATORS: dict[type[exp.Expr], Op] = {
    exp.EQ: "=",
    exp.NEQ: "<>",
    exp.LT: "<",
    exp.LTE: "<=",
    exp.GT: ">",
    exp.GTE: ">=",
}


def condition(node: exp.Expr, scope: Scope) -> Condition:
    """The condition that ``node`` states. Raises ``Refused``, or notes it where others can still be read."""
    node = bare(node)
    if node.args.get("negate"):
        # sqlglot's word for NOT LIKE and its kin.
        return Not(_positive(node, scope))
    return _positive(node, scope)


def _positive(node: exp.Expr, scope: Scope) -> Condition:
    match node:
        case exp.And():
            return And(_parts(node, scope))
        case exp.Or():
            return Or(_parts(node, scope))
        case exp.Not():
            return Not(condition(node.this, scope))
        case exp.Boolean():
            return Known(bool(node.this))
        case exp.Exists():
            return Compare(">=", subqueries.exists(node, scope, condition), Literal(1, "integer"))
        case exp.Between():
            return _between(node, scope)
        case exp.In():
            return _in(node, scope)
        case exp.Is():
            return _is(node, scope)
        case exp.Like() | exp.ILike():
            return _like(node, None, scope)
        case exp.Escape():
            return _escaped(node, scope)
        case exp.NullSafeNEQ():
            return _distinct(node, scope)
        case exp.NullSafeEQ():
            return Not(_distinct(node, scope))
        case exp.Anonymous() if node.name.lower() == "in_segment":
            return _in_segment(node, scope)
    op = _OPERATORS.get(type(node))
    if op is not None:
        return compare(op, operand(node.this, scope), operand(node.expression, scope), node, scope.source)
    return _flag(node, scope)


def operand(node: exp.Expr, scope: Scope) -> Value:
    """One side of a comparison, sub-queries included."""
    return value(bare(node), scope)


def query(node: exp.Subquery, scope: Scope) -> Value:
    """A sub-query that stands for a value."""
    return subqueries.counted(node, scope, condition)


def _flag(node: exp.Expr, scope: Scope) -> Condition:
    """A value that is a condition: a boolean column, or a function that says yes or no."""
    found = exact(value(node, scope))
    if type_of(found) == "boolean":
        return found.condition if isinstance(found, Truth) else Flag(found)
    if isinstance(node, exp.Column):
        name = node.name
        scope.source.refuse(
            node, f"{name} is {type_of(found)}, not a condition", f"compare it, or write {name} IS NOT NULL"
        )
    scope.source.refuse(node, "this is not a condition", "compare it with something")


def _parts(node: exp.And | exp.Or, scope: Scope) -> tuple[Condition, ...]:
    """Its parts; what is wrong with one is noted, so that all of them are reported at once."""
    parts: list[Condition] = []
    for part in node.flatten():
        try:
            parts.append(condition(part, scope))
        except Refused as refused:
            scope.errors.append(refused)
    return tuple(parts)


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
    if isinstance(wanted, Null):
        scope.source.refuse(node, "NULL is in no list", "leave it out")
    compared = tuple(equals(wanted, option, place, scope.source) for option, place in given)
    subject = compared[0].left
    literals = tuple(part.right for part in compared if isinstance(part.right, Literal))
    listed = len(literals) == len(compared) and all(part.left == subject for part in compared)
    if listed and not isinstance(subject, Literal | EventCount | Now | Shifted) and not moves(subject):
        return In(subject, literals, with_null)
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
        if isinstance(found, EventCount | Literal | Length | Now) or (isinstance(found, Shifted) and moves(found)):
            kind = "a count" if isinstance(found, EventCount) else "a fixed value or now()"
            scope.source.refuse(node, f"{kind} is never NULL", "test the column itself")
        if isinstance(found, Null):
            scope.source.refuse(node, "NULL is NULL", "leave it out")
        return Is(found.condition, None) if isinstance(found, Truth) else IsNull(found)
    return Is(condition(subject, scope), truth)


def _like(node: exp.Like | exp.ILike, escape: str | None, scope: Scope) -> Condition:
    source = scope.source
    word = "ILIKE" if isinstance(node, exp.ILike) else "LIKE"
    if isinstance(node.expression, exp.Any | exp.All):
        source.refuse(node, f"{word} ANY is not supported", "write several, joined by OR")
    sides = [operand(node.this, scope), operand(node.expression, scope)]
    for side in sides:
        if isinstance(side, Null):
            source.refuse(node, f"{word} NULL is never true", "write IS NULL")
        if type_of(side) != "text":
            source.refuse(node, f"{word} compares texts, not {said(side)}", "compare it, or cast it: age::VARCHAR")
    text, pattern = sides
    if isinstance(pattern, Literal):
        if isinstance(text, Literal):
            source.refuse(node, "this compares two fixed values", "leave it out")
        if texts.matcher(str(pattern.value), escape, False) is None:
            source.refuse(node, "the pattern ends with its escape character", "write it twice to mean itself")
    return Like(text, pattern, escape, word == "ILIKE")


def _escaped(node: exp.Escape, scope: Scope) -> Condition:
    inner, escape = bare(node.this), node.expression
    if not isinstance(inner, exp.Like | exp.ILike):
        scope.source.refuse(node, "ESCAPE belongs to LIKE", "write LIKE '10!%' ESCAPE '!'")
    char = escape.this if isinstance(escape, exp.Literal) and escape.is_string else ""
    if len(char) != 1 or char.isalpha():
        scope.source.refuse(node, "ESCAPE takes one character that is no letter", "write ESCAPE '!'")
    found = _like(inner, char, scope)
    return Not(found) if inner.args.get("negate") else found


def _distinct(node: exp.Expr, scope: Scope) -> Condition:
    """``IS DISTINCT FROM``: NULL is a value like any other."""
    left, right = exact(operand(node.this, scope)), exact(operand(node.expression, scope))
    if isinstance(left, Null) or isinstance(right, Null):
        known = right if isinstance(left, Null) else left
        if isinstance(known, Null | Literal):
            scope.source.refuse(node, "this compares two fixed values", "leave it out")
        return Not(IsNull(known))
    if isinstance(left, Literal | Length) and isinstance(right, Literal | Length):
        scope.source.refuse(node, "this compares two fixed values", "leave it out")
    if isinstance(left, Literal):
        left, right = right, left
    left, right = brought_together(left, right, "=", node, scope.source)
    if moves(left) and moves(right):
        scope.source.refuse(node, "now() stands on both sides of this", "bring it to one side")
    return Distinct(left, right)


def _in_segment(node: exp.Anonymous, scope: Scope) -> Condition:
    source, args = scope.source, node.expressions
    if len(args) != 1 or not isinstance(args[0], exp.Literal) or not args[0].is_string:
        source.refuse(node, "in_segment takes the name of a segment", "write in_segment('vip')")
    if scope.outer is not None:
        source.refuse(args[0], "in_segment is about the customer, not about events", "write it beside the sub-query")
    name = args[0].this
    found = scope.segments.get(name)
    if found is None:
        near = get_close_matches(name, scope.segments, n=1)
        source.refuse(args[0], f'there is no segment "{name}"', f"did you mean '{near[0]}'?" if near else "")
    if isinstance(found, str):
        source.refuse(args[0], found)
    return Is(found, True)
