"""P2 for sub-queries: an aggregate is what its events of the window make, at every instant, and knows its next change.

The answer is worked out a second time by brute force: over all facts so far, with fractions and Python's calendar.
"""

from __future__ import annotations

import calendar
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.core.customer import Customer
from stream.core.fact import Fact
from stream.core.segments.aggregates import evaluator, witness
from stream.core.segments.conditions import condition, query
from stream.core.segments.memory import memories_of
from stream.core.segments.normal import Formula
from stream.core.segments.scope import CUSTOMER_TABLES, Scope
from stream.core.segments.sql import parse_sql
from stream.core.segments.tree import Aggregate, EventCount, IsNull
from stream.core.time import NEVER

SECOND = 1_000_000
HOUR = 3600 * SECOND
DAY = 24 * HOUR
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
#: Shortly before the end of a February, where months are strange.
START = int(datetime(2024, 2, 27, tzinfo=UTC).timestamp()) * SECOND

#: Days on which a month, a year or the time of some place turns.
DAYS = ((2024, 2, 28), (2024, 3, 30), (2024, 4, 6), (2024, 10, 26), (2024, 11, 2), (2024, 12, 30), (2011, 12, 28))
TURNS = [int(datetime(*day, tzinfo=UTC).timestamp()) * SECOND for day in (*DAYS, (2010, 11, 6))]
#: In St. John's it became the day before again, after a minute of November 7th.
BACK = int(datetime(2010, 11, 7, 2, 31, tzinfo=UTC).timestamp()) * SECOND

Row = Fact
Function = Callable[[Sequence[tuple[int, Any]]], Any]


# -- a naive answer ----------------------------------------------------------------------------------------


def exact_sum(rows: Sequence[tuple[int, Any]]) -> Any:
    values = [value for _, value in rows if value is not None]
    if not values:
        return None
    whole = sum(map(Fraction, values), Fraction())
    return whole.numerator if all(isinstance(value, int) for value in values) else float(whole)


def average(rows: Sequence[tuple[int, Any]]) -> Any:
    found, number = exact_sum(rows), sum(value is not None for _, value in rows)
    return None if found is None else float(found) / number


def least(rows: Sequence[tuple[int, Any]]) -> Any:
    return min((value for _, value in rows if value is not None), default=None)


def greatest(rows: Sequence[tuple[int, Any]]) -> Any:
    return max((value for _, value in rows if value is not None), default=None)


def first(rows: Sequence[tuple[int, Any]]) -> Any:
    """Of one event time the later in the log, in which the rows stand."""
    begin = min((time for time, _ in rows), default=None)
    return [value for time, value in rows if time == begin][-1] if rows else None


def last(rows: Sequence[tuple[int, Any]]) -> Any:
    return sorted(rows, key=lambda row: row[0])[-1][1] if rows else None


def known(function: Function) -> Function:
    return lambda rows: function([(time, value) for time, value in rows if value is not None])


FUNCTIONS: dict[str, Function] = {
    "count({})": lambda rows: sum(value is not None for _, value in rows),
    "count(*)": len,
    "count(DISTINCT {})": lambda rows: len({value for _, value in rows if value is not None}),
    "sum({})": exact_sum,
    "avg({})": average,
    "min({})": least,
    "max({})": greatest,
    "first({} ORDER BY event_time)": first,
    "first({} ORDER BY event_time DESC)": last,
    "last({} ORDER BY event_time)": last,
    "arg_min({}, event_time)": known(first),
    "arg_max({}, event_time)": known(last),
}
ARGUMENTS: dict[str, Callable[[Row], Any]] = {
    "price": lambda row: row.price,
    "price * quantity": lambda row: None if row.price is None or row.quantity is None else row.price * row.quantity,
    "length(category)": lambda row: None if row.category is None else len(row.category),
    "category": lambda row: row.category,
    "event_time": lambda row: row.time,
}
FILTERS: dict[str, Callable[[Row], bool]] = {
    "": lambda row: True,
    "event_type = 'purchase'": lambda row: row.event_type == "purchase",
    "price > 1 OR category LIKE 'a%'": lambda row: (
        (row.price is not None and row.price > 1) or (row.category is not None and row.category.startswith("a"))
    ),
    "event_time >= '2024-02-28'": lambda row: row.time >= START + DAY,
}


@dataclass(frozen=True)
class Bound:
    """``now() - months - by``; in the window itself if ``inclusive``."""

    months: int
    by: int
    inclusive: bool

    def at(self, now: int) -> int:
        moment = EPOCH + timedelta(microseconds=now)
        month = moment.year * 12 + moment.month - 1 - self.months
        year, month = month // 12, month % 12 + 1
        day = min(moment.day, calendar.monthrange(year, month)[1])
        then = moment.replace(year=year, month=month, day=day)
        return (then - EPOCH) // timedelta(microseconds=1) - self.by

    @property
    def sql(self) -> str:
        months = f" - INTERVAL '{self.months} months'" if self.months else ""
        return f"now(){months} - INTERVAL '{self.by // SECOND} seconds'"


@dataclass(frozen=True)
class Steps:
    """The beginning of the ``unit`` in which ``now()`` is, in ``zone`` (UTC if None), ``days`` before."""

    unit: str
    zone: str | None
    days: int
    inclusive: bool

    def at(self, now: int) -> int:
        place = ZoneInfo(self.zone or "UTC")
        local = (EPOCH + timedelta(microseconds=now)).astimezone(place).replace(tzinfo=None, minute=0, second=0)
        local = local.replace(microsecond=0, fold=0)
        if self.unit != "hour":
            local = local.replace(hour=0)
        if self.unit == "week":
            local -= timedelta(days=local.weekday())
        if self.unit in ("month", "year"):
            local = local.replace(day=1, month=local.month if self.unit == "month" else 1)
        before = local.replace(tzinfo=place, fold=0).astimezone(UTC)
        skipped = before.astimezone(place).replace(tzinfo=None, fold=0) != local
        then = before if skipped else local.replace(tzinfo=place, fold=1).astimezone(UTC)
        return (then - EPOCH) // timedelta(microseconds=1) - self.days * DAY

    @property
    def sql(self) -> str:
        if self.zone is None and self.unit == "day":
            return f"CURRENT_DATE - {self.days}"
        shown = f" AT TIME ZONE '{self.zone}'" if self.zone else ""
        return f"date_trunc('{self.unit}', now(){shown}){shown} - INTERVAL '{self.days} days'"


@dataclass(frozen=True)
class Asked:
    """A sub-query, and what it means."""

    function: str
    argument: str
    filter: str
    since: Bound | Steps | None
    until: Bound | Steps | None

    @property
    def sql(self) -> str:
        wheres = [f"({self.filter})"] if self.filter else []
        if self.since and self.until and self.since.inclusive and self.until.inclusive:
            wheres.append(f"event_time BETWEEN {self.since.sql} AND {self.until.sql}")
        else:
            wheres += [f"event_time >{'=' * b.inclusive} {b.sql}" for b in [self.since] if b]
            wheres += [f"{b.sql} >{'=' * b.inclusive} event_time" for b in [self.until] if b]
        where = f" WHERE {' AND '.join(wheres)}" if wheres else ""
        return f"(SELECT {self.function.format(self.argument)} FROM events{where})"

    def rows(self, facts: Sequence[Fact], now: int) -> list[Fact]:
        found = [fact for fact in facts if FILTERS[self.filter](fact)]
        if self.since:
            low = self.since.at(now)
            found = [fact for fact in found if fact.time > low or (self.since.inclusive and fact.time == low)]
        if self.until:
            high = self.until.at(now)
            found = [fact for fact in found if fact.time < high or (self.until.inclusive and fact.time == high)]
        return found

    def answer(self, facts: Sequence[Fact], now: int) -> Any:
        get = ARGUMENTS[self.argument]
        return FUNCTIONS[self.function]([(fact.time, get(fact)) for fact in self.rows(facts, now)])

    @property
    def node(self) -> Aggregate | EventCount:
        parsed = parse_sql(f"{self.sql} IS NULL", "asked")
        scope = Scope(parsed.source, {}, CUSTOMER_TABLES, condition=condition, query=query)
        found = query(parsed.node.this, scope)
        assert not scope.errors, (self.sql, scope.errors)
        assert isinstance(found, Aggregate | EventCount)
        return found


# -- what is asked, and what happens -----------------------------------------------------------------------


@st.composite
def asked(draw: st.DrawFn, months: bool) -> Asked:
    function = draw(st.sampled_from(list(FUNCTIONS)))
    numbers_only = function.startswith(("sum", "avg"))
    argument = draw(st.sampled_from(list(ARGUMENTS)[:3] if numbers_only else list(ARGUMENTS)))
    shape = draw(st.sampled_from(["none", "since", "since", "both", "both"]))
    if function == "count(DISTINCT {})" and shape == "none":
        shape = "since"
    unit = 6 * HOUR if months else SECOND
    lengths = st.integers(0, 6).map(lambda count: count * unit)
    since = until = None
    if shape != "none":
        reach = draw(st.integers(1, 6)) * unit
        since = Bound(draw(st.integers(0, 3)) if months else 0, reach, draw(st.booleans()))
    if shape == "both" and since is not None:
        if months and since.months:
            until = Bound(draw(st.integers(0, since.months - 1)), draw(lengths), draw(st.booleans()))
        else:
            until = Bound(0, draw(st.integers(-1, since.by // unit - 1)) * unit, draw(st.booleans()))
    return Asked(function, argument, draw(st.sampled_from(list(FILTERS))), since, until)


@st.composite
def asked_by_steps(draw: st.DrawFn) -> Asked:
    zones = st.sampled_from(
        [None, "Europe/Berlin", "America/Havana", "America/St_Johns", "Australia/Lord_Howe", "Pacific/Apia"]
    )
    units = st.sampled_from(["hour", "day", "day", "day", "week", "month", "year"])
    since = Steps(draw(units), draw(zones), draw(st.integers(0, 3)), draw(st.booleans()))
    question = draw(asked(months=True))
    until = draw(st.sampled_from([None, "steps", "bound"]))
    if until == "steps":
        return replace(question, since=since, until=replace(since, days=draw(st.integers(-1, 1)), unit=draw(units)))
    end = Bound(0, draw(st.integers(-1, 4)) * 6 * HOUR, draw(st.booleans())) if until == "bound" else None
    return replace(question, since=since, until=end)


@st.composite
def facts(draw: st.DrawFn, months: bool, start: int = START) -> list[tuple[int, Fact]]:
    """Facts with the log time at which they arrive; late, early, at one time, out of order."""
    unit = 6 * HOUR if months else SECOND
    happened: list[tuple[int, Fact]] = []
    now = start + draw(st.integers(0, 8)) * unit
    for _ in range(draw(st.integers(1, 10))):
        now += draw(st.sampled_from([0, 1, unit // 2, unit, 2 * unit, 5 * unit, 100 * unit if months else 20 * unit]))
        late = draw(st.integers(-1, 8)) * unit * draw(st.sampled_from([1, 1, 16] if months else [1]))
        time = now - late if draw(st.booleans()) else (now - late) // unit * unit
        if happened and draw(st.integers(0, 3)) == 0:
            time = draw(st.sampled_from(happened))[1].time
        fact = Fact(
            None,
            "c",
            draw(st.sampled_from(["purchase", "view"])),
            time,
            True,
            category=draw(st.sampled_from([None, "a", "b", "ab", "cba"])),
            # Among them what is lost where sums are rounded on the way.
            price=draw(st.sampled_from([None, 0.0, 0.1, 0.25, 2.0, 3.3, 1e15, -1e15, 1e-9])),
            quantity=draw(st.sampled_from([None, 1.0, 2.0, 0.5])),
        )
        happened.append((now, fact))
    return happened


def check(questions: Sequence[Asked], happened: Sequence[tuple[int, Fact]], picks: Sequence[float]) -> None:
    nodes = [(question, question.node) for question in questions]
    rules = [Formula(IsNull(node), True, False) for _, node in nodes]
    memories = memories_of(rules)
    evaluators = [(question, evaluator(node), witness(node)) for question, node in nodes]
    customer = Customer(0, "c", 0, 0)
    so_far: list[Fact] = []
    for index, (arrived, fact) in enumerate(happened):
        customer.memory = customer.memory if customer.memory is not None else {}
        before = [evaluate(customer, arrived) for _, evaluate, _ in evaluators]
        touched = {
            memory.key: memory.matches(fact) and memory.remember(customer.memory, fact, arrived) for memory in memories
        }
        so_far.append(fact)
        # As it comes back from a checkpoint.
        customer.memory = msgspec.msgpack.decode(msgspec.msgpack.encode(customer.memory), type=dict[str, list[Any]])
        for number, (question, evaluate, see) in enumerate(evaluators):
            if not any(touched[key] for key in keys(rules[number])):
                assert same(before[number], evaluate(customer, arrived)), "nobody was told of this change"
            end = happened[index + 1][0] if index + 1 < len(happened) else arrived + 120 * DAY
            now = arrived
            for _ in range(12):
                value, until = evaluate(customer, now)
                assert until > now
                for at in instants(now, min(until, now + 200 * DAY), picks):
                    assert same(question.answer(so_far, at), value), (question.sql, now, at, until)
                    assert evaluate(customer, at) == (value, until) or value != value
                rows = question.rows(so_far, now)
                seen = see(customer, now)
                assert same(seen.value, value)
                if seen.events is not None and question.function != "count({})":
                    get = ARGUMENTS[question.argument]
                    keeps = question.function.startswith(("first", "last", "count(*)"))
                    rows = rows if keeps else [row for row in rows if get(row) is not None]
                    assert (seen.events, seen.latest) == (len(rows), max((row.time for row in rows), default=None))
                if until > end:
                    break
                now = until


def keys(rule: Formula) -> list[str]:
    return [memory.key for memory in memories_of([rule])]


def same(one: Any, other: Any) -> bool:
    return bool(one == other) and type(one) is type(other)


def instants(now: int, until: int, picks: Sequence[float]) -> set[int]:
    """The present, the last instant before the next change, and some in between."""
    between = {now + math.floor((until - 1 - now) * pick) for pick in picks}
    # The calendar's leaps are at midnight, and that of St. John's once was a minute later.
    midnights = [now - now % DAY + days * DAY for days in range(1, 6)]
    near = [at + more for at in [*between, *midnights, BACK] for more in (0, 1, 6 * HOUR)]
    return {now, until - 1, *(at for at in near if now < at < until)}


@settings(max_examples=400, deadline=None)
@given(st.data())
def test_an_aggregate_is_what_its_window_holds_and_knows_its_next_change(data: st.DataObject) -> None:
    """Of all functions, windows and filters, with memories that they share, after every fact and in between."""
    questions = data.draw(st.lists(asked(months=False), min_size=2, max_size=7))
    picks = data.draw(st.lists(st.floats(0, 1), max_size=3))
    check(questions, data.draw(facts(months=False)), picks)


@settings(max_examples=250, deadline=None)
@given(st.data())
def test_a_window_of_months_moves_as_the_calendar_does(data: st.DataObject) -> None:
    """Also back: at the end of a short month what has left it may come into it again."""
    questions = data.draw(st.lists(asked(months=True), min_size=1, max_size=4))
    picks = data.draw(st.lists(st.floats(0, 1), max_size=3))
    check(questions, data.draw(facts(months=True)), picks)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_a_window_that_begins_with_the_calendar_moves_in_its_steps(data: st.DataObject) -> None:
    """In UTC and in places; also back, where a clock is set back over the step."""
    questions = data.draw(st.lists(asked_by_steps(), min_size=1, max_size=4))
    picks = data.draw(st.lists(st.floats(0, 1), max_size=3))
    check(questions, data.draw(facts(months=True, start=data.draw(st.sampled_from(TURNS)))), picks)


def test_nothing_is_remembered_for_ever_that_no_window_can_see() -> None:
    """A customer who is busy for years holds what is in the window, and no more."""
    hour = Bound(0, 3600 * SECOND, True)
    for function in FUNCTIONS:
        node = Asked(function, "price", "", hour, Bound(0, 60 * SECOND, True)).node
        (memory,) = memories_of([Formula(IsNull(node), True, False)])
        held: dict[str, list[Any]] = {}
        for minute in range(3000):
            memory.remember(held, Fact(None, "c", "view", minute * 60 * SECOND, True, price=1.0), minute * 60 * SECOND)
        (kept,) = held.values()
        assert len(kept) <= 2 * 61, function


def test_never_is_said_of_what_time_cannot_change() -> None:
    """Without a window, and without events."""
    node = Asked("sum({})", "price", "", None, None).node
    assert evaluator(node)(Customer(0, "c", 0, 0), START) == (None, NEVER)
    assert evaluator(node)(Customer(0, "c", 0, 0, memory={}), START) == (None, NEVER)
