"""Reads sub-queries over the customer's own events: ``EXISTS (…)`` and those that give one value.

``(SELECT sum(price) FROM events WHERE …)`` is an aggregate; ``(SELECT price FROM events … ORDER BY event_time DESC
LIMIT 1)`` is the one that takes the last value; ``(SELECT coalesce(sum(price), 0) FROM …)`` is computed from one.
"""

from __future__ import annotations

from dataclasses import replace

from sqlglot import exp

from stream.core.segments import clauses
from stream.core.segments.bounds import ReadCondition, filter_and_window
from stream.core.segments.kinds import NUMBERS, refuse_decimal, said, settled
from stream.core.segments.scope import EVENT_COLUMNS, EVENT_TABLE, EVENT_TIME, Scope
from stream.core.segments.source import bare
from stream.core.segments.tree import (
    Aggregate,
    AggregateName,
    And,
    Condition,
    EventCount,
    IsNull,
    Literal,
    Not,
    Null,
    Value,
    ValueType,
    Window,
    is_timeless,
    type_of,
)
from stream.core.segments.values import value

_CLAUSES = frozenset({"expressions", "from_", "where"})
_PICKING = _CLAUSES | {"order", "limit"}
_PLAIN: dict[type[exp.Expr], AggregateName] = {exp.Sum: "sum", exp.Min: "min", exp.Max: "max", exp.Avg: "avg"}
_BY_TIME: dict[type[exp.Expr], AggregateName] = {exp.ArgMin: "first", exp.ArgMax: "last"}
_ORDERED: dict[type[exp.Expr], AggregateName] = {exp.First: "first", exp.Last: "last"}
_EXISTS_HINT = "write EXISTS (SELECT 1 FROM events WHERE …)"
_VALUE_HINT = "write an aggregate, (SELECT count(*) FROM events WHERE …), or ORDER BY event_time DESC LIMIT 1"
_KNOWN = "there are count, count(DISTINCT …), sum, min, max, avg, first, last, arg_min and arg_max"
_INSTEAD: dict[type[exp.Expr], str] = {
    exp.CountIf: "write count(*) FILTER (WHERE …)",
    exp.LogicalOr: _EXISTS_HINT,
    exp.LogicalAnd: "write NOT EXISTS (SELECT 1 FROM events WHERE NOT …)",
    exp.AnyValue: "write arg_min(price, event_time)",
}
_NOT_INSIDE: tuple[tuple[type[exp.Expr], str, str], ...] = (
    (exp.Query, "another sub-query", "write it beside this one, outside of it"),
    (exp.Window, "a window function", _VALUE_HINT),
    (exp.RespectNulls, "RESPECT NULLS", "leave it out: first and last do so"),
)


def exists(node: exp.Exists, scope: Scope, read: ReadCondition) -> EventCount | Aggregate:
    """The number of events that the sub-query of an EXISTS has; what it selects does not matter."""
    select = node.this.unnest()
    if not isinstance(select, exp.Select):
        scope.source.refuse(node, "EXISTS needs a SELECT", "write EXISTS (SELECT 1 FROM events WHERE …)")
    for item in select.expressions:
        if item.find(exp.AggFunc):
            scope.source.refuse(
                item, "a SELECT of an aggregate always has a row, so this EXISTS is always true", _EXISTS_HINT
            )
        if not isinstance(item, exp.Literal | exp.Star | exp.Null | exp.Boolean | exp.Column):
            scope.source.refuse(item, "this is not supported here", "write SELECT 1")
    clauses.refuse_others(select, _CLAUSES, scope.source)
    events = _Events(select, scope, read)
    return events.count(*events.matching(), events.text)


def counted(node: exp.Subquery, scope: Scope, read: ReadCondition) -> Value:
    """The value of ``(SELECT … FROM events …)``. Raises ``Refused``."""
    source, select = scope.source, node.this.unnest()
    if node.args.get("alias") or not isinstance(select, exp.Select):
        source.refuse(node, "this sub-query is not supported", "write (SELECT count(*) FROM events WHERE …)")
    items = [item.this if isinstance(item, exp.Alias) else item for item in select.expressions]
    if len(items) != 1 or isinstance(items[0], exp.Star):
        source.refuse(select, "a sub-query has to give one value", _VALUE_HINT)
    item = bare(items[0])
    for kind, what, hint in _NOT_INSIDE:
        if (inside := item.find(kind)) is not None:
            source.refuse(inside, f"{what} is not supported in a sub-query", hint)
    whole = _aggregate_of(item)
    if whole is None and not any(_aggregate_of(part) for part in item.walk()):
        clauses.refuse_others(select, _PICKING, source)
        return _picked(item, select, _Events(select, scope, read))
    clauses.refuse_others(select, _CLAUSES, source)
    events = _Events(select, scope, read)
    if whole is not None:
        return _aggregate(item, whole, events, events.text)
    return _computed(item, scope, events)


class _Events:
    """The events that a SELECT is about. ``text`` is the sub-query as written."""

    def __init__(self, select: exp.Select, scope: Scope, read: ReadCondition) -> None:
        self.source = scope.source
        if scope.outer is not None:
            self.source.refuse(
                select, "a sub-query inside of a sub-query is not supported", "write it beside the other one"
            )
        name = clauses.table(select, (EVENT_TABLE,), self.source)
        where = select.args.get("where")
        self.wheres: list[exp.Expr] = [where.this] if where is not None else []
        self.inner = Scope(self.source, {**EVENT_COLUMNS, EVENT_TIME.name: EVENT_TIME}, (name,), scope, scope.errors)
        self.read = read
        self.text = self.source.within_parentheses(select.args["from_"])

    def matching(self, *more: exp.Expr) -> tuple[Condition, Window]:
        """The filter and the window, of the WHERE and ``more`` of the kind."""
        return filter_and_window([*self.wheres, *more], self.inner, self.read)

    def argument(self, node: exp.Expr) -> Value:
        """A value of one event, as the argument of an aggregate."""
        found = settled(value(node, self.inner), node, self.source)
        if isinstance(found, Null):
            self.source.refuse(node, "an aggregate of NULL is NULL", "leave it out")
        if not is_timeless(found):
            self.source.refuse(
                node, "what is aggregated cannot depend on now()", "compute it from the fields of the event alone"
            )
        if type_of(found) == "decimal":
            refuse_decimal(node, self.source)
        if type_of(found) == "interval":
            self.source.refuse(node, "lengths of time cannot be aggregated", "aggregate event_time itself")
        return found

    def count(self, matching: Condition, window: Window, text: str) -> EventCount | Aggregate:
        """How many events there are; the cheaper kind of it where the window ends at no time."""
        since = window.since
        if window.until is None and (since is None or not (since.months or since.value)):
            return EventCount(matching, None if since is None else since.by + since.inclusive, text)
        return Aggregate("count", None, matching, window, text, "integer")


def _aggregate_of(node: exp.Expr) -> exp.Expr | None:
    """The aggregate function that the whole of ``node`` is, without its FILTER."""
    function = node.this if isinstance(node, exp.Filter) else node
    if isinstance(function, exp.IgnoreNulls) and isinstance(function.this, exp.AnyValue):
        function = function.this  # sqlglot's own addition
    return function if isinstance(function, exp.AggFunc) else None


def _aggregate(item: exp.Expr, function: exp.Expr, events: _Events, text: str) -> Value:
    """``function``, with the FILTER that ``item`` may have around it."""
    more = [item.expression.this] if isinstance(item, exp.Filter) else []
    kind, inner = type(function), function.this
    if kind is exp.Count:
        return _count(function, events, more, text)
    if kind in _PLAIN:
        extra = function.args.get("expression") or function.args.get("count") or function.expressions
        if isinstance(inner, exp.Distinct | exp.Order) or extra:
            events.source.refuse(function, "only the plain form of this is supported", f"write {_PLAIN[kind]}(price)")
        return _of(_PLAIN[kind], events, inner, more, text, function)
    if kind in _BY_TIME:
        if not _is_event_time(function.expression, events) or function.args.get("count"):
            events.source.refuse(function, "only by event_time", f"write {_name(function)}(price, event_time)")
        return _of(_BY_TIME[kind], events, inner, more, text, function, known=True)
    if kind in _ORDERED:
        if not isinstance(inner, exp.Order):
            name = _ORDERED[kind]
            events.source.refuse(function, f"{name} of which order?", f"write {name}(price ORDER BY event_time)")
        descending = _descending(inner, events)
        name = _ORDERED[kind] if not descending else "first" if kind is exp.Last else "last"
        return _of(name, events, inner.this, more, text, function)
    events.source.refuse(function, f"the aggregate {_name(function)} is not supported", _INSTEAD.get(kind, _KNOWN))


def _name(function: exp.Expr) -> str:
    return function.sql_name().lower() if isinstance(function, exp.Func) else function.key


def _count(function: exp.Expr, events: _Events, more: list[exp.Expr], text: str) -> Value:
    inner = function.this
    if function.expressions:
        events.source.refuse(function, "count takes one value", "write count(*)")
    if isinstance(inner, exp.Distinct):
        if len(inner.expressions) != 1:
            events.source.refuse(function, "count(DISTINCT …) takes one value", "write count(DISTINCT product_id)")
        return _of("count_distinct", events, inner.expressions[0], more, text, function)
    matching, window = events.matching(*more)
    if isinstance(inner, exp.Expr) and not isinstance(inner, exp.Star):
        counted_ = events.argument(inner)
        if not isinstance(counted_, Literal):
            matching = And((matching, Not(IsNull(counted_))))
    return events.count(matching, window, text)


def _of(
    name: AggregateName,
    events: _Events,
    argument: exp.Expr,
    more: list[exp.Expr],
    text: str,
    place: exp.Expr,
    known: bool = False,
) -> Aggregate:
    """The aggregate ``name`` of ``argument``; of those that are not NULL if ``known``."""
    matching, window = events.matching(*more)
    found = events.argument(argument)
    if known:
        matching = And((matching, Not(IsNull(found))))
    kind = _type(name, found, place, events)
    if name == "count_distinct" and window.since is None:
        events.source.refuse(
            place,
            "this would have to remember every value that a customer ever had",
            "add a window: AND event_time >= now() - INTERVAL '30 days'",
        )
    return Aggregate(name, found, matching, window, text, kind)


def _type(name: AggregateName, argument: Value, place: exp.Expr, events: _Events) -> ValueType:
    kind = type_of(argument)
    match name:
        case "count_distinct":
            return "integer"
        case "sum" if kind == "boolean":
            return "integer"
        case "sum" | "avg" if kind not in NUMBERS:
            events.source.refuse(place, f"{name} needs a number, not {said(argument)}", f"write {name}(price)")
        case "avg":
            return "number"
    return kind


def _picked(item: exp.Expr, select: exp.Select, events: _Events) -> Value:
    """The value of the first or the last event."""
    source, order, limit = events.source, select.args.get("order"), select.args.get("limit")
    if order is None and limit is None:
        source.refuse(item, "a sub-query has to give one value, and there may be many events", _VALUE_HINT)
    if order is None:
        source.refuse(
            limit or item, "without an order it is no certain event", "write ORDER BY event_time DESC LIMIT 1"
        )
    if limit is None or not (isinstance(limit.expression, exp.Literal) and limit.expression.this == "1"):
        source.refuse(order, "a sub-query has to give one value", "write LIMIT 1")
    name: AggregateName = "last" if _descending(order, events) else "first"
    return _of(name, events, item, [], events.text, item)


def _descending(order: exp.Order, events: _Events) -> bool:
    by = order.expressions
    if len(by) != 1 or not _is_event_time(by[0].this, events):
        events.source.refuse(order, "events are ordered by event_time and nothing else", "write ORDER BY event_time")
    return bool(by[0].args.get("desc"))


def _is_event_time(node: exp.Expr | None, events: _Events) -> bool:
    return isinstance(node, exp.Column) and events.inner.column(node) == EVENT_TIME


def _computed(item: exp.Expr, scope: Scope, events: _Events) -> Value:
    """What ``item`` computes from aggregates: each is read as if it stood in a sub-query of its own."""
    aggregates: list[Value] = []

    def standing_in(node: exp.Expr) -> exp.Expr:
        function = _aggregate_of(node)
        if function is None:
            return node
        text = f"{node.sql('duckdb', normalize_functions='lower')} in {events.text}"
        aggregates.append(_aggregate(node, function, events, text))
        place = exp.Subquery(this=exp.Select(), number=len(aggregates) - 1)
        place.meta.update(function.meta)
        return place

    def query(node: exp.Subquery, inside: Scope) -> Value:
        return aggregates[int(node.args["number"])]

    return value(item.copy().transform(standing_in, copy=False), replace(scope, query=query))
