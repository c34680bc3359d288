"""Reads sub-queries over the customer's own events: EXISTS (…) and (SELECT count(*) …).

Of the WHERE of a sub-query three things are told apart: the correlation with the customer, which may be left
out; the window, one lower bound of event_time that moves with ``now()``; and the filter, which is about a
single event.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeAlias

from sqlglot import exp

from stream.core.segments import clauses
from stream.core.segments.errors import Refused
from stream.core.segments.scope import EVENT_COLUMNS, EVENT_CUSTOMER, EVENT_TABLE, EVENT_TIME, Scope
from stream.core.segments.source import bare
from stream.core.segments.tree import MIRRORED, And, Condition, EventCount, Known, Now, Op, Shifted
from stream.core.segments.values import value

ReadCondition: TypeAlias = Callable[[exp.Expr, Scope], Condition]

_COMPARISONS: dict[type[exp.Expr], Op] = {exp.GT: ">", exp.GTE: ">=", exp.LT: "<", exp.LTE: "<="}
_ALLOWED_CLAUSES = frozenset({"expressions", "from_", "where"})
_WINDOW_HINT = "write event_time >= now() - INTERVAL '7 days' as a condition of its own, joined by AND"


def exists(node: exp.Exists, scope: Scope, read: ReadCondition) -> EventCount:
    """The sub-query of an EXISTS; what it selects does not matter."""
    select = node.this.unnest()
    if not isinstance(select, exp.Select):
        scope.source.refuse(node, "EXISTS needs a SELECT", "write EXISTS (SELECT 1 FROM events WHERE …)")
    for item in select.expressions:
        if item.find(exp.AggFunc):
            scope.source.refuse(
                item,
                "a SELECT of an aggregate always has a row, so this EXISTS is always true",
                "write EXISTS (SELECT 1 FROM events WHERE …)",
            )
        if not isinstance(item, exp.Literal | exp.Star | exp.Null | exp.Boolean | exp.Column):
            scope.source.refuse(item, "this is not supported here", "write SELECT 1")
    return _events(select, scope, read)


def counted(node: exp.Subquery, scope: Scope, read: ReadCondition) -> EventCount:
    """The sub-query ``(SELECT count(*) FROM events WHERE …)`` standing as a number."""
    select = node.this.unnest()
    if node.args.get("alias") or not isinstance(select, exp.Select):
        scope.source.refuse(node, "this sub-query is not supported", "write (SELECT count(*) FROM events WHERE …)")
    items = [item.this if isinstance(item, exp.Alias) else item for item in select.expressions]
    if len(items) != 1 or not isinstance(items[0], exp.Count):
        scope.source.refuse(
            items[0] if items else select,
            "of the aggregates only count(*) is supported yet",
            "write (SELECT count(*) FROM events WHERE …) and compare it with a whole number",
        )
    what = items[0].this
    if not (isinstance(what, exp.Star) or (isinstance(what, exp.Literal) and not what.is_string)):
        scope.source.refuse(
            items[0],
            "count(*) is the only count that is supported yet",
            "to count events that have a field, write count(*) and add AND field IS NOT NULL",
        )
    return _events(select, scope, read)


def _events(select: exp.Select, scope: Scope, read: ReadCondition) -> EventCount:
    source = scope.source
    if scope.outer is not None:
        source.refuse(select, "a sub-query inside of a sub-query is not supported", "write it beside the other one")
    clauses.refuse_others(select, _ALLOWED_CLAUSES, source)
    name = clauses.table(select, (EVENT_TABLE,), source)
    inner = Scope(source, EVENT_COLUMNS, (name,), scope, scope.errors)
    bounds: list[int] = []
    filters: list[Condition] = []
    where = select.args.get("where")
    for part in _conjuncts(where.this) if where is not None else ():
        try:
            if _is_correlation(part, inner):
                continue
            if not _names(part, inner, EVENT_TIME.name):
                filters.append(read(part, inner))
            elif bounds:
                source.refuse(part, "this is the second lower bound of one window", "keep the later one")
            else:
                bounds.append(_reach(part, inner))
        except Refused as refused:
            scope.errors.append(refused)
    condition = And(tuple(filters)) if len(filters) != 1 else filters[0]
    return EventCount(
        condition if filters else Known(True),
        bounds[0] if bounds else None,
        source.within_parentheses(select),
    )


def _conjuncts(node: exp.Expr) -> Iterator[exp.Expr]:
    pending = [node]
    while pending:
        part = bare(pending.pop())
        if isinstance(part, exp.And):
            pending += [part.right, part.left]
        else:
            yield part


def _names(node: exp.Expr, inner: Scope, column: str) -> bool:
    """Whether the event's ``column`` is named anywhere in ``node``."""
    return any(
        found.name.lower() == column and found.table.lower() in ("", *inner.tables)
        for found in node.find_all(exp.Column)
    )


def _is_correlation(node: exp.Expr, inner: Scope) -> bool:
    """Whether ``node`` says that the events are the customer's own. Refuses other uses of customer_id."""
    if not _names(node, inner, EVENT_CUSTOMER.name):
        return False
    if isinstance(node, exp.EQ):
        sides = [side for side in (bare(node.left), bare(node.right)) if isinstance(side, exp.Column)]
        if [side.name.lower() for side in sides] == ["customer_id", "customer_id"]:
            outside = inner.outer.tables if inner.outer is not None else ()
            if sum(side.table.lower() in outside for side in sides) == 1:
                return True
    inner.source.refuse(
        node,
        "the events of a sub-query are the customer's own",
        f"leave this out, or write {inner.tables[0]}.customer_id = "
        f"{inner.outer.tables[0] if inner.outer is not None else 'customers'}.customer_id",
    )


def _reach(node: exp.Expr, inner: Scope) -> int:
    """How long (µs) an event counts: it does while ``now < event_time + reach``."""
    source = inner.source
    op = _COMPARISONS.get(type(node))
    if op is None or not isinstance(node, exp.Binary) or node.find(exp.Query):
        source.refuse(node, "this condition on event_time is not supported yet", _WINDOW_HINT)
    timed = Scope(source, {**inner.columns, EVENT_TIME.name: EVENT_TIME}, inner.tables, inner.outer, inner.errors)
    left, right = value(node.left, timed), value(node.right, timed)
    if left != EVENT_TIME:
        left, right, op = right, left, MIRRORED[op]
    if (
        left != EVENT_TIME
        or not isinstance(right, Now | Shifted)
        or (isinstance(right, Shifted) and not isinstance(right.base, Now))
    ):
        source.refuse(node, "a window that does not move with now() is not supported yet", _WINDOW_HINT)
    if op in ("<", "<="):
        source.refuse(
            node,
            "an upper bound of event_time is not supported yet: a window ends at no time",
            "leave it out, or count over two windows and compare each",
        )
    back = -right.by if isinstance(right, Shifted) else 0
    if back <= 0:
        source.refuse(node, "this window does not reach into the past", _WINDOW_HINT)
    return back + 1 if op == ">=" else back
