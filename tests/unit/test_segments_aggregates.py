"""Sub-queries that give a value: what they mean is what DuckDB makes of them, and they remember little."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Iterator
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from stream.core.customer import Customer
from stream.core.fact import Fact
from stream.core.segments import CompiledBook, Definition, DefinitionBook, DefinitionErrors, compile_book
from stream.core.segments.aggregates import evaluator
from stream.core.segments.conditions import condition, query
from stream.core.segments.cost import costs, fixed_bytes
from stream.core.segments.exact import added, added_whole, distinct, running_total, total
from stream.core.segments.memory import aggregates_of
from stream.core.segments.scope import CUSTOMER_TABLES, Scope
from stream.core.segments.sql import parse_sql
from stream.core.segments.tree import Aggregate, EventCount
from stream.core.time import NEVER, parse_iso

HOUR = 3_600_000_000
DAY = 24 * HOUR
NOW = parse_iso("2026-03-29T06:00:00Z")
MONTH = "event_time >= now() - INTERVAL '1 month'"
DAYS = "event_time > now() - INTERVAL '7 days'"

#: Days ago, type, category, price, quantity. No two at one time, for of those DuckDB takes any.
EVENTS: list[tuple[float, str, str | None, float | None, float | None]] = [
    (400, "purchase", "Games", 30.0, 1.0),
    (60, "view", None, None, None),
    (29.25, "view", "Old", 4.0, None),
    (29, "view", "Old", 7.5, 2.0),
    (8, "purchase", "Books", 12.25, 2.0),
    (7, "view", "Toys", 1.5, 1.0),
    (6.5, "view", "toys", 2.5, None),
    (3, "purchase", "Toys", 20.0, 3.0),
    (2, "purchase", None, 8.0, 0.0),
    (1, "view", "Books", None, 1.0),
    (-0.002, "search", "later", None, None),
]


def facts() -> list[Fact]:
    found = [
        Fact(None, "c", kind, NOW - int(days * DAY), True, category=category, price=price, quantity=quantity)
        for days, kind, category, price, quantity in EVENTS
    ]
    random.Random(4).shuffle(found)
    return found


def node_of(sql: str) -> Any:
    parsed = parse_sql(f"{sql} IS NULL", "asked")
    scope = Scope(parsed.source, {}, CUSTOMER_TABLES, condition=condition, query=query)
    found = query(parsed.node.this, scope)
    assert not scope.errors, scope.errors
    return found


def book_of(**segments: str) -> CompiledBook:
    return compile_book(DefinitionBook({"age": "integer"}, {name: Definition(sql) for name, sql in segments.items()}))


def fed(book: CompiledBook, happened: list[Fact], now: int = NOW) -> Customer:
    held: dict[str, list[Any]] = {}
    for fact in happened:
        for memory in book.memories:
            if memory.matches(fact):
                memory.remember(held, fact, now)
    return Customer(0, "c", 0, 0, memory=held)


def answer(sql: str, happened: list[Fact]) -> Any:
    """The value of a sub-query, by way of a segment that asks for it."""
    book = book_of(asked=f"{sql} IS DISTINCT FROM {sql}")
    customer = fed(book, happened)
    return evaluator(node_of(sql))(customer, NOW)[0]


def plain(value: Any) -> Any:
    """What DuckDB returns, as the core holds it."""
    match value:
        case datetime():
            return int(value.timestamp()) * 1_000_000 + value.microsecond
        case date():
            return (value - date(1970, 1, 1)).days
        case Decimal():
            return float(value)
    return value


@pytest.fixture(scope="module")
def warehouse() -> Iterator[Any]:
    duckdb = pytest.importorskip("duckdb")
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    connection.execute(
        "CREATE TABLE events "
        "(event_time TIMESTAMPTZ, event_type VARCHAR, category VARCHAR, price DOUBLE, quantity DOUBLE)"
    )
    for fact in facts():
        row = [fact.time, fact.event_type, fact.category, fact.price, fact.quantity]
        connection.execute("INSERT INTO events VALUES (make_timestamptz(?), ?, ?, ?, ?)", row)
    yield connection
    connection.close()


@pytest.mark.parametrize(
    "where", ["", MONTH, DAYS, f"{MONTH} AND event_time <= now() - INTERVAL '2 days'", "price > 99"]
)
@pytest.mark.parametrize(
    "what",
    [
        "count(*)",
        "count(price)",
        "count(1)",
        "count(*) FILTER (WHERE price > 5)",
        "count(category) FILTER (WHERE event_type = 'view')",
        "count(DISTINCT category)",
        "count(DISTINCT lower(category))",
        "sum(price)",
        "sum(price * quantity)",
        "sum(length(category))",
        "sum(price > 5)",
        "sum(CASE WHEN event_type = 'purchase' THEN price ELSE 0.0::DOUBLE END)",
        "sum(price / quantity)",
        "avg(price)",
        "avg(length(category))",
        "avg(price) FILTER (WHERE event_type = 'purchase')",
        "min(price)",
        "max(price)",
        "min(category)",
        "max(lower(category))",
        "min(event_time)",
        "max(event_time)",
        "max(event_time::DATE)",
        "min(price > 5)",
        "first(price ORDER BY event_time)",
        "last(price ORDER BY event_time)",
        "first(category ORDER BY event_time DESC)",
        "last(price ORDER BY event_time DESC)",
        "arg_min(price, event_time)",
        "arg_max(price, event_time)",
        "max_by(category, event_time)",
        "arg_max(upper(category), event_time) FILTER (WHERE event_type <> 'search')",
    ],
)
def test_a_sub_query_gives_what_duckdb_gives(what: str, where: str, warehouse: Any) -> None:
    """NULLs, sets without a member, arguments that are computed, the ends of windows."""
    if "DISTINCT" in what and where in ("", "price > 99"):
        pytest.skip("has no end")
    sql = f"(SELECT {what} FROM events{' WHERE ' + where if where else ''})"
    instant = "TIMESTAMPTZ '2026-03-29 06:00:00'"
    (expected,) = warehouse.execute(f"SELECT {sql.replace('now()', instant)}").fetchone()
    found = answer(sql, facts())
    assert found == plain(expected)
    assert type(found) is type(plain(expected))


@pytest.mark.parametrize(
    "sql",
    [
        "(SELECT price FROM events ORDER BY event_time DESC LIMIT 1)",
        "(SELECT category FROM events WHERE event_type = 'view' ORDER BY event_time LIMIT 1)",
        f"(SELECT upper(category) FROM events WHERE {DAYS} ORDER BY event_time ASC LIMIT 1)",
        "(SELECT e.category FROM events e WHERE e.event_type = 'purchase' ORDER BY e.event_time DESC LIMIT 1)",
        f"(SELECT price FROM events WHERE {MONTH} AND event_time < now() - INTERVAL '5 days' "
        "ORDER BY event_time DESC LIMIT 1)",
    ],
)
def test_the_first_and_the_last_event_may_be_picked_by_their_order(sql: str, warehouse: Any) -> None:
    """The usual SQL for them; NULL is a value there."""
    instant = "TIMESTAMPTZ '2026-03-29 06:00:00'"
    (expected,) = warehouse.execute(f"SELECT {sql.replace('now()', instant)}").fetchone()
    assert answer(sql, facts()) == expected


@pytest.mark.parametrize(
    "sql",
    [
        "(SELECT coalesce(sum(price), 0) FROM events WHERE event_type = 'nothing') = 0",
        f"(SELECT sum(price) / count(*) FROM events WHERE {MONTH}) < 7",
        f"(SELECT sum(price * quantity) FROM events WHERE event_type = 'purchase' AND {MONTH}) BETWEEN 84 AND 85",
        f"(SELECT round(avg(price), 1) FROM events WHERE {DAYS}) = 10.2",
        f"(SELECT max(price) - min(price) FROM events WHERE {DAYS}) > 17",
        "(SELECT max(event_time) FROM events WHERE event_type = 'purchase') < now() - INTERVAL '1 day'",
        "(SELECT now() - max(event_time) FROM events WHERE event_type = 'purchase') < INTERVAL '3 days'",
        f"(SELECT count(*) FROM events WHERE {DAYS}) > (SELECT count(*) FROM events WHERE {MONTH}) / 2",
        "(SELECT count(*) FROM events WHERE event_time >= '2026-03-26' AND event_time < '2026-03-28') = 2",
        "(SELECT count(*) FROM events WHERE event_time BETWEEN '2026-03-26' AND TIMESTAMP '2026-03-29 00:00') = 3",
        "(SELECT count(*) FROM events WHERE now() - event_time <= INTERVAL '7 days') = 6",
        "(SELECT count(*) FROM events WHERE now() - INTERVAL '7 days' < event_time) = 5",
        "(SELECT count(*) FROM events WHERE event_time + INTERVAL '7 days' >= now()) = 6",
        "(SELECT count(*) FROM events WHERE event_time BETWEEN now() - INTERVAL '7 days' AND now()) = 5",
        "EXISTS (SELECT 1 FROM events "
        "WHERE event_time BETWEEN now() - INTERVAL '7 days' AND now() - INTERVAL '6 days')",
        "(SELECT arg_max(category, event_time) FROM events WHERE event_type = 'view') IN ('Books', 'x')",
        "(SELECT last(category ORDER BY event_time) FROM events WHERE event_type = 'purchase') IS NULL",
        "CASE WHEN EXISTS (SELECT 1 FROM events WHERE price > 20) THEN (SELECT sum(price) FROM events) > 80 END",
        "(SELECT max(category) FROM events WHERE event_type = 'purchase') LIKE 'T%'",
        "(SELECT count(*) FROM events WHERE lower(category) = 'toys') * 2 = 6",
    ],
)
def test_a_condition_may_compute_with_sub_queries(sql: str, warehouse: Any) -> None:
    """Each of these holds for the events above."""
    book = book_of(asked=sql)
    assert book.segments[0].evaluate(fed(book, facts()), NOW)[0] is True
    instant = "TIMESTAMPTZ '2026-03-29 06:00:00'"
    assert warehouse.execute(f"SELECT {sql.replace('now()', instant)}").fetchone() == (True,)


def test_what_left_a_window_of_a_month_comes_back_where_the_month_before_is_shorter() -> None:
    """On March 29th at midnight a month ago is February 28th at midnight again, as it was a day before."""
    evaluate = evaluator(node_of("(SELECT count(*) FROM events WHERE event_time >= now() - INTERVAL '1 month') "))
    book = book_of(asked=f"(SELECT count(*) FROM events WHERE {MONTH}) * 1 = 1")
    noon, at = parse_iso("2026-02-28T12:00:00Z"), parse_iso("2026-03-01T00:00:00Z")
    customer = fed(book, [Fact(None, "c", "view", noon, True)], at)
    changes = []
    while at < NEVER:
        value, at = evaluate(customer, at)
        changes.append((value, at))
    first, days = parse_iso("2026-03-28T12:00:00.000001Z"), [parse_iso(f"2026-03-{day}") for day in (29, 30, 31)]
    leaves = [day + DAY // 2 + 1 for day in days]
    assert changes == [
        (1, first),
        (0, days[0]),
        (1, leaves[0]),
        (0, days[1]),
        (1, leaves[1]),
        (0, days[2]),
        (1, leaves[2]),
        (0, NEVER),
    ]


def test_what_left_a_window_comes_back_where_a_clock_is_set_back_over_its_beginning() -> None:
    """In St. John's it was the day before again, after a minute of November 7th, 2010."""
    midnight = "date_trunc('day', now() AT TIME ZONE 'America/St_Johns') AT TIME ZONE 'America/St_Johns'"
    sql = f"(SELECT count(*) FROM events WHERE event_time >= {midnight})"
    at = parse_iso("2010-11-06T12:00:00Z")
    customer = fed(book_of(asked=f"{sql} * 1 = 1"), [Fact(None, "c", "view", at, True)], at)
    evaluate = evaluator(node_of(sql))
    changes = []
    while at < NEVER:
        value, at = evaluate(customer, at)
        changes.append((value, at))
    flips = [at for (value, at), (after, _) in itertools.pairwise(changes) if value != after]
    assert flips == [parse_iso(f"2010-11-07T{time}Z") for time in ("02:30:00", "02:31:00", "03:30:00")]
    assert [value for value, _ in changes][-1] == 0


@pytest.mark.parametrize(
    "where",
    [
        "event_time >= CURRENT_DATE",
        "event_time::DATE = CURRENT_DATE",
        "event_time::DATE = CURRENT_DATE - 1",
        "event_time::DATE < CURRENT_DATE AND event_time::DATE >= CURRENT_DATE - 7",
        "event_time::DATE BETWEEN CURRENT_DATE - 7 AND CURRENT_DATE - 2",
        "event_time::DATE > CURRENT_DATE - 2",
        "event_time >= date_trunc('month', now())",
        "event_time >= date_trunc('month', now()) - INTERVAL '1 month' AND event_time < date_trunc('month', now())",
        "event_time >= date_trunc('week', now() AT TIME ZONE 'Asia/Tokyo') AT TIME ZONE 'Asia/Tokyo'",
        "event_time > date_trunc('year', now()) AND event_time <= now()",
        "date_trunc('day', now()) - INTERVAL '3 days' <= event_time",
    ],
)
def test_a_window_may_begin_with_the_calendar(where: str, warehouse: Any) -> None:
    """With the day, the week or the month in which it is asked."""
    sql = f"(SELECT count(*) FROM events WHERE {where})"
    instant = "TIMESTAMPTZ '2026-03-29 06:00:00'"
    theirs = sql.replace("now()", instant).replace("CURRENT_DATE", f"({instant})::DATE")
    (expected,) = warehouse.execute(f"SELECT {theirs}").fetchone()
    assert answer(sql, facts()) == expected > 0


# -- what is remembered ------------------------------------------------------------------------------------


def remembered(sql: str, *events: tuple[int, Any], field: str = "price") -> tuple[list[bool], list[Any]]:
    """What remembering these (days, value) said, and what is then held."""
    (memory,) = book_of(asked=f"{sql} IS NULL").memories
    held: dict[str, list[Any]] = {}
    said = []
    for days, value in events:
        fact = msgspec.structs.replace(Fact(None, "c", "view", days * DAY, True), **{field: value})
        said.append(memory.remember(held, fact, 10 * DAY))
    return said, [item // DAY if isinstance(item, int) and item >= DAY else item for item in held.get(memory.key, [])]


def test_what_has_no_window_is_one_running_result() -> None:
    """``[events, the latest, …]``, however many there were."""
    events = ((3, 2.0), (5, None), (1, 7.0), (4, 2.0))
    assert remembered("(SELECT sum(price) FROM events)", *events) == ([True, False, True, True], [3, 4, 0.0, 11.0])
    assert remembered("(SELECT max(price) FROM events)", *events) == ([True, False, True, False], [3, 4, 7.0])
    last = "(SELECT price FROM events ORDER BY event_time DESC LIMIT 1)"
    assert remembered(last, *events) == ([True, True, False, False], [4, 5, 5, None])


def test_a_maximum_forgets_what_a_later_event_outdoes() -> None:
    """It would leave the window earlier."""
    sql = f"(SELECT max(price) FROM events WHERE {DAYS})"
    said, held = remembered(sql, (5, 2.0), (7, 9.0), (6, 3.0), (8, 4.0), (9, 4.0), (7, 9.0), (4, 12.0))
    assert said == [True, True, False, True, True, False, True]
    assert held == [4, 7, 9, 12.0, 9.0, 4.0]


def test_of_each_different_value_the_latest_event_is_remembered() -> None:
    """It is the last of them to leave the window."""
    sql = f"(SELECT count(DISTINCT category) FROM events WHERE {DAYS})"
    said, held = remembered(sql, (5, "a"), (7, "b"), (6, "a"), (4, "a"), (6, None), field="category")
    assert (said, held) == ([True, True, True, False, False], [6, 7, "a", "b"])


def test_the_last_value_of_a_window_is_one_event() -> None:
    """If it is not in the window, none is."""
    sql = f"(SELECT last(price ORDER BY event_time) FROM events WHERE {DAYS})"
    assert remembered(sql, (5, 1.0), (7, None), (6, 2.0), (7, 3.0)) == ([True, True, False, True], [7, 3.0])


def test_what_no_window_can_see_any_more_is_let_go() -> None:
    """And what arrives too late for every window is not taken in; the edge itself is still in an inclusive one."""
    sql = "(SELECT sum(price) FROM events WHERE event_time >= now() - INTERVAL '7 days')"
    assert remembered(sql, (3, 1.0), (2, 1.0), (9, 2.0)) == ([True, False, True], [3, 9, 1.0, 2.0])
    (memory,) = book_of(asked=f"{sql} > 1").memories
    held = {memory.key: [1 * DAY, 2 * DAY, 5 * DAY, 1.0, 2.0, 5.0]}
    assert memory.remember(held, Fact(None, "c", "view", 4 * DAY, True, price=4.0), 10 * DAY)
    assert held == {memory.key: [4 * DAY, 5 * DAY, 4.0, 5.0]}


def test_sub_queries_that_can_live_from_the_same_share_one_memory() -> None:
    """Of one filter and argument: a sum and an average, in windows of any length; each looks at its own."""
    sums = "(SELECT {} FROM events WHERE event_type = 'purchase' AND event_time > now() - INTERVAL '{} days') > 3"
    book = book_of(
        a=sums.format("sum(price)", 7),
        b=sums.format("avg(price)", 30),
        c="(SELECT sum(price) FROM events "
        "WHERE event_time > now() - INTERVAL '9 days' AND event_type = 'purchase') > 5",
        d=sums.format("sum(quantity)", 7),
        e="(SELECT sum(price) FROM events WHERE event_type = 'purchase') > 5",
    )
    assert sorted(memory.horizon for memory in book.memories) == [7 * DAY, 30 * DAY, NEVER]
    assert len({book.by_name[name].memories for name in "abc"}) == 1
    customer = fed(book, facts())
    assert [segment.evaluate(customer, NOW)[0] for segment in book.segments] == [True, True, True, False, True]


def test_the_key_of_a_memory_does_not_change() -> None:
    """Records hold it, and a new version of the code has to find it again."""
    book = book_of(
        a="(SELECT sum(price * quantity) FROM events WHERE lower(category) LIKE 'x%' AND event_type = 'purchase') > 1"
    )
    assert [memory.key for memory in book.memories] == ["c2847606e4f33f0e"]


def test_a_plan_touches_a_segment_only_if_its_aggregate_can_have_changed() -> None:
    """A view that is no new maximum touches nobody."""
    book = book_of(
        top="(SELECT max(price) FROM events WHERE event_type = 'view') > 3",
        count="(SELECT count(*) FROM events) % 2 = 0",
    )
    customer = Customer(0, "c", 0, 0)
    touched = []
    for index, (kind, price) in enumerate([("view", 5.0), ("view", 2.0), ("view", 6.0), ("search", 9.0)]):
        fact = Fact(None, "c", kind, index, True, price=price)
        plan = book.plan(kind)
        touched.append([segment.name for segment in plan.look(plan.feed(customer, fact, NOW)).segments])
    assert touched == [["count", "top"], ["count"], ["count", "top"], ["count"]]


def test_evidence_says_the_value_and_the_events_that_made_it() -> None:
    """As JSON; the number of events only where all of them are remembered."""
    total_, best = f"(SELECT sum(price) FROM events WHERE {DAYS})", f"(SELECT max(event_time) FROM events WHERE {DAYS})"
    book = book_of(asked=f"{total_} > 3 AND {best} < now() AND (SELECT max(price) - min(price) FROM events) > 1")
    evidence = book.segments[0].evidence(fed(book, facts()), NOW)
    assert evidence == {
        total_: {"value": 30.5, "events": 3, "latest": "2026-03-27T06:00:00Z"},
        best: {"value": "2026-03-29T06:02:52.800000Z", "latest": "2026-03-29T06:02:52.800000Z"},
        "max(price) in (SELECT max(price) - min(price) FROM events)": {
            "value": 30.0,
            "events": 8,
            "latest": "2026-03-27T06:00:00Z",
        },
        "min(price) in (SELECT max(price) - min(price) FROM events)": {
            "value": 1.5,
            "events": 8,
            "latest": "2026-03-27T06:00:00Z",
        },
    }
    assert msgspec.json.decode(msgspec.json.encode(evidence)) == evidence
    assert book.segments[0].evidence(Customer(0, "c", 0, 0), NOW)[total_] == {
        "value": None,
        "events": 0,
        "latest": None,
    }


@pytest.mark.parametrize(
    ("sql", "cost"),
    [
        ("(SELECT count(*) FROM events WHERE event_type = 'purchase') >= 3", "at most 24 bytes a customer"),
        ("(SELECT count(*) FROM events) % 2 = 0", "at most 16 bytes a customer"),
        ("(SELECT sum(price) FROM events) > 500", "about 40 bytes a customer"),
        ("(SELECT category FROM events ORDER BY event_time LIMIT 1) = 'x'", "about 48 bytes a customer"),
        (
            "(SELECT sum(price) FROM events "
            "WHERE event_type = 'purchase' AND event_time >= now() - INTERVAL '90 days') > 5",
            "16 bytes for every purchase of the last 90 days",
        ),
        (
            "(SELECT max(price) FROM events WHERE price < 9 AND event_time > now() - INTERVAL '1 hour') > 5",
            "at most 16 bytes for every matching event of the last hour",
        ),
        (
            "(SELECT count(DISTINCT product_id) FROM events WHERE event_type IN ('search', 'product_view') "
            "AND event_time > now() - INTERVAL '36 hours') > 5",
            "about 32 bytes for every different value in product_view or search events of the last 36 hours",
        ),
    ],
)
def test_what_a_segment_remembers_is_said_in_bytes(sql: str, cost: str) -> None:
    """Before it is in force."""
    assert [str(each) for each in costs(book_of(asked=sql))["asked"]] == [cost]


def test_a_shared_memory_is_said_to_be_one() -> None:
    """It costs as much as the largest need."""
    count = "(SELECT count(*) FROM events WHERE event_type = 'purchase')"
    book = book_of(a=f"{count} >= 2", b=f"{count} >= 5", c="age > 3")
    assert {name: [str(each) for each in found] for name, found in costs(book).items()} == {
        "a": ["at most 40 bytes a customer, shared with b"],
        "b": ["at most 40 bytes a customer, shared with a"],
        "c": [],
    }
    assert fixed_bytes(book.memories) == 40


# -- what is refused ---------------------------------------------------------------------------------------

_EVENTS = "(SELECT sum(price) FROM events WHERE "


@pytest.mark.parametrize(
    ("sql", "place", "message", "hint"),
    [
        ("(SELECT count(DISTINCT category) FROM events) > 3", "count", "remember every value", "30 days"),
        ("(SELECT count(DISTINCT category, price) FROM events) > 3", "count", "takes one value", "DISTINCT product_id"),
        (_EVENTS + "event_time < now() - INTERVAL '1 day') > 3", "event_time", "needs a lower bound", "365 days"),
        (
            _EVENTS + "event_time BETWEEN now() - INTERVAL '1 day' AND now() - INTERVAL '7 days') > 3",
            "event_time",
            "empty",
            "turn",
        ),
        (
            _EVENTS + "event_time > now() - INTERVAL '1 day' AND event_time <= now() - INTERVAL '1 day') > 3",
            "event_time <=",
            "empty",
            "",
        ),
        (_EVENTS + "event_time = date_trunc('day', now())) > 3", "event_time", "not supported", "7 days"),
        (_EVENTS + "event_time > now() - INTERVAL '2 days' OR price > 3) > 3", "event_time", "", "joined by AND"),
        (
            _EVENTS + "event_time > now() OR price > 3) > 3",
            "event_time",
            "only event_time can be compared",
            "joined by AND",
        ),
        (_EVENTS + "price > age) > 3", "age", "comparing events with the customer's age", "fixed value"),
        (_EVENTS + "EXISTS (SELECT 1 FROM events)) > 3", "1 FROM events)", "inside of a sub-query", "beside"),
        ("(SELECT sum(category) FROM events) > 3", "sum", "sum needs a number, not category (text)", "sum(price)"),
        ("(SELECT avg(price > 3) FROM events) > 3", "avg", "avg needs a number", "avg(price)"),
        ("(SELECT sum(price + age) FROM events) > 3", "age", "the customer's age", ""),
        ("(SELECT max(now()) FROM events) > now()", "now", "moves on every microsecond", ""),
        (
            "(SELECT sum(date_diff('day', event_time, now())) FROM events) > 3",
            "date_diff",
            "cannot depend on now()",
            "alone",
        ),
        (
            "(SELECT max(event_time - TIMESTAMP '2026-01-01') FROM events) > INTERVAL '1 day'",
            "event_time",
            "lengths of time",
            "",
        ),
        ("(SELECT price FROM events) > 3", "price", "there may be many events", "LIMIT 1"),
        ("(SELECT price FROM events LIMIT 1) > 3", "1)", "without an order", "ORDER BY event_time"),
        ("(SELECT price FROM events ORDER BY event_time) > 3", "event_time", "one value", "LIMIT 1"),
        (
            "(SELECT price FROM events ORDER BY price LIMIT 1) > 3",
            "price LIMIT",
            "by event_time and nothing else",
            "ORDER BY",
        ),
        ("(SELECT price FROM events ORDER BY event_time DESC LIMIT 2) > 3", "event_time", "one value", "LIMIT 1"),
        ("(SELECT first(price) FROM events) > 3", "first", "first of which order", "ORDER BY event_time"),
        ("(SELECT arg_max(price, quantity) FROM events) > 3", "price", "only by event_time", "event_time"),
        ("(SELECT price, category FROM events) > 3", "price", "one value", "aggregate"),
        ("(SELECT * FROM events) > 3", "", "one value", "aggregate"),
        ("(SELECT median(price) FROM events) > 3", "median", "median is not supported", "avg"),
        ("(SELECT count_if(price > 3) FROM events) > 3", "count_if", "not supported", "FILTER"),
        ("(SELECT any_value(price) FROM events) > 3", "price)", "any_value is not supported", "arg_min"),
        ("(SELECT bool_or(price > 3) FROM events)", "bool_or", "not supported", "EXISTS"),
        ("(SELECT sum(DISTINCT price) FROM events) > 3", "sum", "plain form", "sum(price)"),
        ("(SELECT max(price, 3) FROM events) > 3", "price", "plain form", "max(price)"),
        ("(SELECT sum(price) OVER () FROM events) > 3", "sum", "window function", ""),
        ("(SELECT sum(price) FROM events GROUP BY category) > 3", "category", "GROUP BY", "count"),
        ("(SELECT sum(price) FROM events LIMIT 1) > 3", "", "LIMIT", "leave it out"),
        ("(SELECT sum(price) + price FROM events) > 3", "price FROM", "column of events", ""),
        ("(SELECT sum(NULL) FROM events) > 3", "sum(NULL)", "of NULL is NULL", "leave it out"),
    ],
)
def test_what_a_sub_query_cannot_say_is_refused(sql: str, place: str, message: str, hint: str) -> None:
    """With its place, the reason, and what to write instead."""
    with pytest.raises(DefinitionErrors) as refused:
        book_of(asked=sql)
    error = refused.value.errors[0]
    assert message in error.message
    assert hint in error.hint
    if place:
        assert sql[error.column - 1 :].startswith(place), (sql[error.column - 1 :], str(error))


# -- exact sums --------------------------------------------------------------------------------------------


def test_a_running_sum_is_rounded_once_whatever_the_order() -> None:
    """As ``math.fsum`` of all of them at once."""
    numbers = random.Random(7)
    for _ in range(200):
        values = [numbers.uniform(-1, 1) * 10.0 ** numbers.randint(-20, 20) for _ in range(30)]
        values += [-value for value in values[:10]]
        for _ in range(3):
            numbers.shuffle(values)
            held = [0.0]
            for value in values:
                held = added(held, value)
            assert running_total(held) == math.fsum(values) == total(values)
            assert len(held) < 40


def test_a_sum_knows_infinities_and_what_is_none() -> None:
    """DuckDB's: what is too large is infinite, both infinities together are NaN."""
    inf = math.inf

    def running(*values: float) -> float:
        held = [0.0]
        for value in values:
            held = added(held, value)
        return running_total(held)

    for summed in (running, lambda *values: total(values)):
        assert summed() == 0.0
        assert summed(1.0, inf, 2.0) == inf
        assert math.isnan(summed(inf, 1.0, -inf))
        assert math.isnan(summed(math.nan, 1.0))
        assert summed(1e308, 1e308) == inf
        assert summed(-1e308, -1e308, 5.0) == -inf
    assert total([1e308, 1e308, -1e308]) == 1e308
    assert total([1e308, 1e308, inf]) == inf


def test_a_sum_of_whole_numbers_has_no_end() -> None:
    """Past 64 bits it is kept as text, which a record can hold, and comes back."""
    most = 2**63 - 1
    held = added_whole(added_whole(0, most), most)
    assert held == str(2 * most)
    assert added_whole(held, -most) == most


def test_different_values_are_counted_as_duckdb_does() -> None:
    """NaN is one value, and zero is one whatever its sign."""
    assert distinct([math.nan, float("nan"), 0.0, -0.0, 1.0]) == 3
    assert distinct(["a", "A", "a"]) == 2


def test_a_sub_query_of_an_aggregate_is_found_wherever_it_stands() -> None:
    """In functions, in CASE, in lists."""
    book = book_of(
        asked="CASE WHEN (SELECT sum(price) FROM events) > 3 THEN lower((SELECT max(category) FROM events)) END "
        "IN ('a', 'b')"
    )
    (segment,) = book.segments
    assert [node.function for node in aggregates_of(segment.rule)] == ["sum", "max"]
    assert {memory.key for memory in book.memories} == segment.memories
    assert all(isinstance(node, Aggregate | EventCount) for node in aggregates_of(segment.rule))
