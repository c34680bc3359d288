"""Reads the WHERE of a sub-query: the filter, which is about one event, and the window, which moves with ``now()``.

The correlation with the customer, which may be left out, is a third thing in it. Lengths are µs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeAlias

from sqlglot import exp

from stream.core.segments.calendar import DAY
from stream.core.segments.edges import lag
from stream.core.segments.errors import Refused
from stream.core.segments.kinds import TIMES, as_type
from stream.core.segments.moving import moves
from stream.core.segments.rows import length
from stream.core.segments.scope import EVENT_CUSTOMER, EVENT_TIME, Scope
from stream.core.segments.source import bare
from stream.core.segments.stairs import stair
from stream.core.segments.tree import (
    MIRRORED,
    And,
    Bound,
    Call,
    Cast,
    Condition,
    Known,
    Length,
    Literal,
    Now,
    Op,
    Shifted,
    Value,
    Window,
    is_timeless,
    type_of,
    within,
)
from stream.core.segments.values import value

ReadCondition: TypeAlias = Callable[[exp.Expr, Scope], Condition]

_COMPARISONS: dict[type[exp.Expr], Op] = {
    exp.GT: ">",
    exp.GTE: ">=",
    exp.LT: "<",
    exp.LTE: "<=",
    exp.EQ: "=",
    exp.NEQ: "<>",
}
_WINDOW_HINT = "write event_time >= now() - INTERVAL '7 days' as a condition of its own, joined by AND"
_STEP_HINT = (
    "write event_time >= CURRENT_DATE - 7, event_time >= date_trunc('month', now()), "
    "or event_time >= now() - INTERVAL '7 days'"
)


def filter_and_window(wheres: Iterable[exp.Expr], inner: Scope, read: ReadCondition) -> tuple[Condition, Window]:
    """What all of ``wheres`` say. What is wrong with one part is noted, so that all of them are reported at once."""
    found = _Found(inner, read)
    for where in wheres:
        for part in _conjuncts(where):
            try:
                found.take(part)
            except Refused as refused:
                inner.errors.append(refused)
    try:
        window = found.window()
    except Refused as refused:
        inner.errors.append(refused)
        window = Window(None, None)
    filters = found.filters
    return (Known(True) if not filters else filters[0] if len(filters) == 1 else And(tuple(filters))), window


class _Found:
    """The parts of a WHERE, told apart."""

    def __init__(self, inner: Scope, read: ReadCondition) -> None:
        self.inner = inner
        self.read = read
        self.filters: list[Condition] = []
        self.since: tuple[Bound, exp.Expr] | None = None
        self.until: tuple[Bound, exp.Expr] | None = None

    def take(self, part: exp.Expr) -> None:
        if _is_correlation(part, self.inner):
            return
        op = _COMPARISONS.get(type(part))
        if not _names(part, self.inner, EVENT_TIME.name) or part.find(exp.Query):
            self._filter(part, part)
        elif isinstance(part, exp.Between) and not part.args.get("symmetric"):
            self._compare(">=", exp.GTE(this=part.this.copy(), expression=part.args["low"].copy()), part)
            self._compare("<=", exp.LTE(this=part.this.copy(), expression=part.args["high"].copy()), part)
        elif op is not None and isinstance(part, exp.Binary):
            self._compare(op, part, part)
        else:
            self._filter(part, part)

    def window(self) -> Window:
        source = self.inner.source
        if self.until is None:
            return Window(self.since[0] if self.since else None, None)
        until, place = self.until
        if self.since is None:
            source.refuse(
                place,
                "an upper bound of event_time needs a lower bound beside it: all older events would have to be kept",
                "leave it out, or add AND event_time >= now() - INTERVAL '365 days'",
            )
        since = self.since[0]
        if not (since.months or until.months or since.value or until.value):
            room = since.by - until.by
            if room < 0 or (room == 0 and not (since.inclusive and until.inclusive)):
                source.refuse(place, "this window is empty: it ends before it begins", "turn the bounds around")
        return Window(since, until)

    def _filter(self, node: exp.Expr, place: exp.Expr) -> None:
        found = self.read(node, self.inner)
        if not is_timeless(found):
            self.inner.source.refuse(
                place,
                "in a sub-query only event_time can be compared with now(), in a condition of its own",
                _WINDOW_HINT,
            )
        self.filters.append(found)

    def _compare(self, op: Op, node: exp.Binary, place: exp.Expr) -> None:
        left, right = value(node.left, self.inner), value(node.right, self.inner)
        if not moves(left) and not moves(right):
            if is_timeless(left) and is_timeless(right):
                self._filter(node, place)
            else:
                self._compare_steps(op, left, right, place)
            return
        if moves(left):
            left, right, op = right, left, MIRRORED[op]
        shift = _before(left, right)
        if shift is None:
            shift = _age(left, right)
        if shift is None or op in ("=", "<>"):
            hint = _WINDOW_HINT
            if any(isinstance(part, Length) and part.months for part in within(right)):
                hint = "take the months first: event_time >= now() - INTERVAL '1 month' - INTERVAL '2 days'"
            self.inner.source.refuse(place, "this comparison of event_time and now() is not supported", hint)
        if shift[1] < 0:
            self.inner.source.refuse(
                place, "a window cannot be bounded by months to come", "write days: INTERVAL '30 days'"
            )
        self._bound(op, Bound(*shift, op in ("<=", ">=")), shift[0] + shift[1] * 28 * DAY, place)

    def _compare_steps(self, op: Op, left: Value, right: Value, place: exp.Expr) -> None:
        """``event_time``, or the day of it, beside the steps that ``now()`` takes."""
        if not is_timeless(left):
            left, right, op = right, left, MIRRORED[op]
        ends: list[tuple[Op, Value]] = [(op, right)]
        if left == Cast(EVENT_TIME, "date") and type_of(right) == "date":
            tomorrow: Value = Call("+", (right, Literal(1, "integer")), "date")
            days: dict[Op, list[tuple[Op, Value]]] = {
                ">=": [(">=", right)],
                ">": [(">=", tomorrow)],
                "<": [("<", right)],
                "<=": [("<", tomorrow)],
                "=": [(">=", right), ("<", tomorrow)],
            }
            ends = days.get(op, [])
        elif left != EVENT_TIME or type_of(right) not in TIMES or op in ("=", "<>"):
            ends = []
        stands = [(op, as_type(end, "timestamp")) for op, end in ends]
        if not stands or any(stair(end) is None for _, end in stands):
            self.inner.source.refuse(place, "this comparison of event_time and now() is not supported", _STEP_HINT)
        for op, end in stands:
            self._bound(op, Bound(0, 0, op in ("<=", ">="), end), lag(end), place)

    def _bound(self, op: Op, bound: Bound, back: int, place: exp.Expr) -> None:
        """``back`` is how far (µs) the bound is in the past, at most."""
        source = self.inner.source
        if op in ("<", "<="):
            if self.until is not None:
                source.refuse(place, "this is the second upper bound of one window", "keep the earlier one")
            self.until = bound, place
            return
        if back <= 0:
            source.refuse(place, "this window does not reach into the past", _WINDOW_HINT)
        if self.since is not None:
            source.refuse(place, "this is the second lower bound of one window", "keep the later one")
        self.since = bound, place


def _before(left: Value, right: Value) -> tuple[int, int] | None:
    """How long (µs, months) before ``now()`` the event time is where ``left`` equals ``right``, which moves."""
    event, present = _shift(left, EVENT_TIME), _shift(right, Now())
    if event is None or present is None or event[1]:
        return None
    return event[0] - present[0], -present[1]


def _age(left: Value, right: Value) -> tuple[int, int] | None:
    """The same where ``now() - event_time`` stands on the right, and a length of time on the left."""
    match right:
        case Call(name="-", args=(present, event)) if isinstance(left, Length) and event == EVENT_TIME:
            shift = _shift(present, Now())
            if shift is not None:
                return length(left) - shift[0], -shift[1]
    return None


def _shift(found: Value, base: Value) -> tuple[int, int] | None:
    """How far (µs, months) ``found`` is after ``base``; None if it is not that at all."""
    if found == base:
        return 0, 0
    match found:
        case Shifted(base=inner, by=by) if inner == base:
            return by, 0
        case Call(name="+", args=(moved, Length(by=by, months=months))):
            before = _shift(moved, base)
            # Months are counted from where one stands, so they have to come first.
            if before is not None and not (months and before != (0, 0)):
                return before[0] + by, before[1] + months
    return None


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
