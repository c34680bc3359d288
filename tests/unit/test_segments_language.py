"""The language of segments: what it means, NULL above all, and that it is the SQL which people write."""

from __future__ import annotations

from typing import Any

import pytest

from stream.core.customer import Customer
from stream.core.fact import Fact
from stream.core.segments import CompiledBook, Definition, DefinitionBook, compile_book
from stream.core.time import parse_iso

NOW = parse_iso("2026-03-01T12:00:00Z")
HOUR = 3_600_000_000
ATTRIBUTES: dict[str, Any] = {
    "age": "integer",
    "location": "text",
    "consent": "boolean",
    "born": "timestamp",
    "score": "number",
    "firstName": "text",
}


def book_of(sql: str) -> CompiledBook:
    return compile_book(DefinitionBook(ATTRIBUTES, {"asked": Definition(sql)}))


def somebody(attributes: dict[str, Any] | None = None, **columns: Any) -> Customer:
    customer = Customer(0, "c1", NOW - 100 * HOUR, NOW - HOUR, **columns)
    customer.attributes = {name: (value, NOW) for name, value in (attributes or {}).items()} or None
    return customer


def holds(sql: str, customer: Customer, *events: Fact) -> bool:
    """Whether the customer is in the segment at NOW, after these events."""
    book = book_of(sql)
    for fact in events:
        for memory in book.plan(fact.event_type).memories:
            if memory.matches(fact):
                customer.memory = customer.memory or {}
                memory.remember(customer.memory, fact, NOW)
    return book.segments[0].evaluate(customer, NOW)[0]


def event(event_type: str, hours_ago: float = 1, **fields: Any) -> Fact:
    return Fact(None, "c1", event_type, NOW - int(hours_ago * HOUR), True, **fields)


def test_the_examples_of_the_documentation_hold() -> None:
    """They are taken verbatim."""
    views = [event("product_view", hours, category="Electronics") for hours in (1, 2, 160)]
    cart = somebody(cart_value=120.0, cart_updated_at=NOW - HOUR)
    abandoned = (
        "cart_value > 0 AND cart_updated_at BETWEEN now() - INTERVAL '24 hours' AND now() - INTERVAL '30 minutes'"
    )
    browsing = (
        "(SELECT count(*) FROM events WHERE event_type = 'product_view' AND category = 'Electronics' "
        "AND event_time >= now() - INTERVAL '7 days') >= 3"
    )
    stated = browsing.replace("events WHERE", "events e WHERE e.customer_id = customers.customer_id AND")
    young = (
        "SELECT customer_id FROM customer_data WHERE age BETWEEN 25 AND 35 AND location = 'NYC' "
        "AND recent_view_category = 'Electronics'"
    )
    left = (
        "EXISTS (SELECT 1 FROM events WHERE event_type = 'cart_abandonment' "
        "AND event_time >= now() - INTERVAL '24 hours')"
    )
    assert holds(abandoned, cart)
    assert holds("cart_value > 100 AND cart_updated_at < now() - INTERVAL '30 minutes'", cart)
    assert holds(browsing, somebody(), *views)
    assert not holds(browsing, somebody(), *views[:2])
    assert holds(stated, somebody(), *views)
    assert holds(young, somebody({"age": 30, "location": "NYC"}, recent_view_category="Electronics"))
    assert holds(left, somebody(), event("cart_abandonment", 24))
    assert not holds(left, somebody(), event("cart_abandonment", 24.01))


UNKNOWN = somebody()


@pytest.mark.parametrize(
    "sql",
    [
        "age = 30",
        "age <> 30",
        "NOT (age = 30)",
        "NOT (age <> 30)",
        "age BETWEEN 1 AND 99",
        "NOT age BETWEEN 1 AND 99",
        "age NOT BETWEEN 1 AND 99",
        "age IN (1, 2)",
        "age NOT IN (1, 2)",
        "age = score",
        "NOT (age < score)",
        "consent",
        "NOT consent",
        "consent = TRUE",
        "consent <> TRUE",
        "born < now()",
        "NOT (born < now())",
        "born = now()",
        "born <> now() - INTERVAL '1 day'",
        "age = 30 AND TRUE",
        "age = 30 OR FALSE",
        "NOT (age = 30 AND TRUE)",
        "(age = 30) IS TRUE",
        "(age = 30) IS FALSE",
        "(age = 30) IS NOT NULL",
        "age IS NOT NULL",
        "(NOT (age = 30)) IS TRUE",
    ],
)
def test_nobody_is_in_a_segment_because_of_what_is_not_known(sql: str) -> None:
    """A comparison with NULL is NULL, NOT leaves it so, and NULL is not TRUE."""
    assert not holds(sql, UNKNOWN)


@pytest.mark.parametrize(
    "sql",
    [
        "age IS NULL",
        "NOT (age IS NOT NULL)",
        "(age = 30) IS NULL",
        "(age = 30) IS UNKNOWN",
        "(age = 30) IS NOT TRUE",
        "(age = 30) IS NOT FALSE",
        "(NOT (born < now())) IS NOT TRUE",
        "(born < now()) IS NOT FALSE",
        "(born = now()) IS NULL",
        "(consent AND age > 3) IS NULL",
        "age = 30 OR view_count = 0",
        "NOT (age = 30 AND view_count = 1)",
        "TRUE",
    ],
)
def test_what_is_not_known_can_be_asked_for(sql: str) -> None:
    """IS decides between TRUE, FALSE and NULL; a side that is known decides AND and OR."""
    assert holds(sql, UNKNOWN)


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("age IN (1, NULL)", False),
        ("age IN (30, NULL)", True),
        ("age NOT IN (1, NULL)", False),
        ("age NOT IN (30, NULL)", False),
        ("(age IN (1, NULL)) IS NULL", True),
        ("(age IN (30, NULL)) IS NULL", False),
        ("(age IN (1, NULL)) IS NOT TRUE", True),
        ("(age IN (30, NULL)) IS NOT TRUE", False),
        ("(age IN (1, NULL)) IS NOT FALSE", True),
        ("(age IN (1, NULL)) IS FALSE", False),
        ("(age NOT IN (1, NULL)) IS NOT FALSE", True),
    ],
)
def test_null_in_a_list_makes_every_miss_unknown(sql: str, expected: bool) -> None:
    """``x IN (a, NULL)`` is TRUE or NULL, ``x NOT IN (a, NULL)`` FALSE or NULL."""
    assert holds(sql, somebody({"age": 30})) is expected


@pytest.mark.parametrize(
    "sql",
    [
        "25 <= age",
        "age > score",
        "age = 30",
        "cart_value = 12.5",
        "cart_value > -1",
        "view_count < 2.5",
        "location = 'NYC' AND location < 'O' AND location >= 'NYC'",
        "location <> 'it''s'",
        "location IN ('NYC', 'LA') AND NOT location IN ('LA')",
        "location IN (location, 'LA')",
        "'NYC' IN (location)",
        "LOCATION = 'NYC' AND \"age\" = 30 AND customers.age = 30",
        "firstname = 'Ada' AND FirstName = 'Ada'",
        "consent AND consent = TRUE AND consent IS TRUE AND NOT (consent IS FALSE)",
        "customer_id = 'c1'",
        "born = TIMESTAMP '2000-01-01' AND born = '2000-01-01T00:00:00Z' AND born = DATE '2000-01-01'",
        "born = '2000-01-01T02:00:00+02:00'",
        "born IN ('2000-01-01', '2001-01-01')",
        "born < '2000-01-01 00:00:00.000001'",
        "now() > '2026-03-01' AND current_timestamp < TIMESTAMP '2026-03-01 13:00:00'",
        "now() - INTERVAL '1 hour' <= last_seen_at AND now() > last_seen_at + INTERVAL '59 minutes'",
        "last_seen_at = now() - INTERVAL '1 hour'",
        "last_seen_at < now() - INTERVAL '30 minutes' - INTERVAL 29 MINUTE - INTERVAL '59' SECOND",
        "last_seen_at BETWEEN now() - INTERVAL '1 hour 1 second' AND now() - INTERVAL 1 hour",
        "last_seen_at >= INTERVAL '-1 week' + now()",
        "first_seen_at < last_seen_at AND first_seen_at + INTERVAL '99 hours' <= last_seen_at",
        "SELECT customer_id FROM customers",
        "select c.customer_id from customers as c where c.age = 30 and age = 30;",
        "SELECT DISTINCT customer_id FROM customers WHERE age = 30 -- thirty\n",
        "((((age = 30))))",
        "age = 30 OR consent AND FALSE",
        "NOT age = 31",
    ],
)
def test_it_is_the_sql_that_people_write(sql: str) -> None:
    """Names know no case, comparisons may be mirrored, timestamps may be texts, AND binds more than OR."""
    customer = somebody(
        {
            "age": 30,
            "score": 2.5,
            "location": "NYC",
            "consent": True,
            "born": parse_iso("2000-01-01"),
            "firstName": "Ada",
        },
        cart_value=12.5,
        view_count=2,
    )
    assert holds(sql, customer)


EVENTS = [
    event("view", 1, product_id="p1", category="A", price=5.0, quantity=1.0, currency="EUR"),
    event("view", 2, product_id="p2", category=None, price=None),
    event("order", 3, product_id="p1", order_id="o1", price=20.0, cart_id="k", session_id="s"),
]


@pytest.mark.parametrize(
    ("where", "count"),
    [
        ("event_type = 'view'", 2),
        ("event_type <> 'view'", 1),
        ("event_type IN ('view', 'order')", 3),
        ("NOT event_type IN ('view')", 1),
        ("category = 'A'", 1),
        ("NOT category = 'A'", 0),
        ("category IS NULL", 2),
        ("category IS NOT NULL", 1),
        ("price BETWEEN 5 AND 20", 2),
        ("price >= 5 AND quantity = 1 AND currency = 'EUR'", 1),
        ("order_id = 'o1' OR (product_id = 'p2' AND price IS NULL)", 2),
        ("cart_id = 'k' AND session_id = 's'", 1),
        ("(price > 5) IS NOT TRUE", 2),
        ("TRUE", 3),
        ("FALSE", 0),
        ("event_time >= now() - INTERVAL '2 hours'", 2),
        ("event_time > now() - INTERVAL '2 hours'", 1),
        ("now() - INTERVAL '2 hours' <= event_time AND event_type = 'view'", 2),
        ("events.customer_id = customers.customer_id AND (event_type = 'order')", 1),
        ("customers.customer_id = customer_id", 3),
    ],
)
def test_a_sub_query_counts_the_events_that_pass_its_filter(where: str, count: int) -> None:
    """An event counts if the filter is TRUE of it; NULL is not enough here either."""
    query = f"(SELECT count(*) FROM events WHERE {where})"
    assert holds(f"{query} = {count}", somebody(), *EVENTS)
    assert not holds(f"{query} <> {count}", somebody(), *EVENTS)
    exists = f"EXISTS (SELECT 1 FROM events WHERE {where})"
    assert holds(exists, somebody(), *EVENTS) is (count > 0)
    assert holds(f"NOT {exists}", somebody(), *EVENTS) is (count == 0)


@pytest.mark.parametrize("count", range(6))
def test_every_comparison_of_a_count_is_exact_however_little_is_remembered(count: int) -> None:
    """Also where more events match than any comparison needs."""
    events = [event("view", hours / 10) for hours in range(count)]
    for number in range(-1, 5):
        for op, expected in {
            "=": count == number,
            "<>": count != number,
            "<": count < number,
            "<=": count <= number,
            ">": count > number,
            ">=": count >= number,
        }.items():
            query = "(SELECT count(1) AS n FROM events WHERE event_type = 'view')"
            assert holds(f"{query} {op} {number}", somebody(), *events) is expected
            assert holds(f"NOT ({query} {op} {number})", somebody(), *events) is not expected
        low_high = f"{query} BETWEEN {number} AND {number + 1}"
        assert holds(low_high, somebody(), *events) is (number <= count <= number + 1)
        among = f"{query} IN ({number}, {number + 2})"
        assert holds(among, somebody(), *events) is (count in (number, number + 2))
        assert holds(f"{number} <= {query}", somebody(), *events) is (number <= count)


def test_a_value_that_is_not_of_its_declared_type_counts_as_null() -> None:
    """A record can hold a value from under an older book; the stream must not stop at it."""
    for value in ("30", True, 30.5, None):
        assert not holds("age > 3", somebody({"age": value}))
        assert holds("age IS NULL", somebody({"age": value}))
    assert holds("score > 3", somebody({"score": 30}))
    assert holds("consent IS NULL", somebody({"consent": 1}))


def test_a_condition_may_be_as_long_as_a_list_of_products() -> None:
    """Long is not deep: thousands of alternatives are read and answered without recursion."""
    alternatives = " OR ".join(f"location = 'L{number}'" for number in range(2000))
    assert holds(alternatives, somebody({"location": "L1999"}))
    assert not holds(alternatives, somebody({"location": "M"}))
    options = ", ".join(f"'L{number}'" for number in range(5000))
    assert holds(f"location IN ({options})", somebody({"location": "L4999"}))
