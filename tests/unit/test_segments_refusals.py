"""What cannot be served exactly is refused: at its place, with the reason, and what to write instead."""

from __future__ import annotations

from typing import Any

import pytest

from stream.core.segments import Definition, DefinitionBook, DefinitionError, DefinitionErrors, compile_book

ATTRIBUTES: dict[str, Any] = {"age": "integer", "location": "text", "consent": "boolean", "born": "timestamp"}


def refusals(sql: str, line: int = 0) -> tuple[DefinitionError, ...]:
    with pytest.raises(DefinitionErrors) as caught:
        compile_book(DefinitionBook(ATTRIBUTES, {"asked": Definition(sql, line=line)}))
    return caught.value.errors


def test_a_refusal_shows_the_place_the_reason_and_the_remedy() -> None:
    """As a person reads it."""
    (error,) = refusals("age > 3\n  AND cart_valu > 0", line=7)
    assert (error.segment, error.line, error.column, error.book_line) == ("asked", 2, 7, 7)
    assert str(error) == (
        'segment asked (line 7 of the book), line 2, column 7 of its SQL: there is no column "cart_valu"\n'
        "      AND cart_valu > 0\n"
        "          ^^^^^^^^^\n"
        "  did you mean cart_value?"
    )


def test_everything_that_is_wrong_is_reported_at_once_in_the_order_of_the_text() -> None:
    """Of every segment and of every part of a condition."""
    errors = refusals("ag > 3 AND (location = 5 OR EXISTS (SELECT 1 FROM events WHERE categry = 'x' AND prise > 1))")
    assert [error.message for error in errors] == [
        'there is no column "ag"',
        "location (text) cannot be compared with the integer 5",
        'events have no column "categry"',
        'events have no column "prise"',
    ]
    with pytest.raises(DefinitionErrors) as caught:
        compile_book(DefinitionBook({}, {"b": Definition("x > 1"), "a": Definition("y > 1")}))
    assert [error.segment for error in caught.value.errors] == ["a", "b"]


EVENTS = "EXISTS (SELECT 1 FROM events WHERE "


@pytest.mark.parametrize(
    ("sql", "at", "message", "hint"),
    [
        # not SQL, or not one condition
        ("", 1, "there is no SQL", "SELECT customer_id FROM customers WHERE"),
        ("-- nothing", 1, "there is no SQL", ""),
        ("age >", 5, "> lacks what follows", ""),
        ("AND age > 3", 11, "nothing stands before AND", ""),
        ("age > 3 age", 9, "age is not expected here", ""),
        ("(age > 3", 8, "a parenthesis is not closed", ")"),
        ("location = 'NYC", 12, "never closed", "single quotes"),
        ("age > 3; age < 9", 1, "one condition", ""),
        ("age > 3 GROUP BY age", 9, "GROUP BY is not supported", ""),
        ("DELETE FROM customers", 8, "FROM is not expected here", ""),
        ("WITH x AS (SELECT 1) SELECT customer_id FROM x", 1, "cannot begin with WITH", ""),
        ("FROM customers", 1, "cannot begin with FROM", "SELECT customer_id"),
        ("SELECT * FROM customers", 8, "selects customer_id and nothing else", "SELECT customer_id"),
        ("SELECT customer_id, age FROM customers", 8, "selects customer_id and nothing else", ""),
        ("SELECT customer_id FROM users WHERE age > 3", 25, "cannot select from users", "customers"),
        ("SELECT customer_id FROM x.customers", 25, "cannot select from x.customers", "customers"),
        ("SELECT customer_id FROM customers LIMIT 3", 41, "LIMIT is not supported", "leave it out"),
        ("SELECT customer_id FROM customers JOIN events USING (customer_id)", 40, "JOIN", "EXISTS"),
        ("SELECT customer_id FROM customers GROUP BY 1 HAVING count(*) > 3", 44, "GROUP BY", "count(*)"),
        (
            "SELECT customer_id FROM customers UNION SELECT customer_id FROM customers",
            8,
            "UNION",
            "AND or OR",
        ),
        ("(" * 17 + "age > 3" + ")" * 17, 17, "nested too deeply", "16"),
        ("NOT " * 17 + "consent", 65, "nested too deeply", "16"),
        ("(NOT NOT NOT " * 5 + "consent" + ")" * 5, 53, "nested too deeply", "16"),
        # names
        ("cart_valu > 0", 1, 'no column "cart_valu"', "cart_value"),
        ("zzz > 0", 1, 'no column "zzz"', "attributes:"),
        ('location = "NYC"', 12, 'no column "NYC"', "'NYC'"),
        ("t.age > 3", 1, 'no table "t"', "customers.age"),
        ("SELECT customer_id FROM customers c WHERE customers.age > 3", 43, 'no table "customers"', "c.age"),
        ("category = 'x'", 1, "column of events", "EXISTS"),
        (EVENTS + "recent_view_category = 'x')", 36, "customer's recent_view_category", "fixed value"),
        (EVENTS + "category = customers.location)", 47, "customer's location", "fixed value"),
        (EVENTS + "event_type = 'Product Viewed')", 36, "called 'product_view' here", "'product_view'"),
        # types
        ("age = 'x'", 1, "age (integer) cannot be compared with the text 'x'", "whole number"),
        ("age = '25'", 1, "age (integer)", "write 25 without quotes"),
        ("location = 5", 1, "location (text)", "'5' in quotes"),
        ("location = TRUE", 1, "location (text)", "'true' in quotes"),
        ("consent = 'true'", 1, "consent (boolean)", "true without quotes"),
        ("consent > FALSE", 1, "booleans have no order", ""),
        ("consent = age", 1, "cannot be compared with age (integer)", "one type"),
        ("born > 5", 1, "born (timestamp) cannot be compared with the integer 5", ""),
        ("born > '2026-02-30'", 1, "'2026-02-30' is not a timestamp", "2026-01-31"),
        ("born > 'soon'", 1, "'soon' is not a timestamp", ""),
        ("born > '2026-01-01 00:00:00.1234567'", 1, "finer than a microsecond", ""),
        ("born = DATE '2026-01-01 10:00'", 13, "is not a date", "TIMESTAMP"),
        ("now() > age", 1, "cannot be compared", ""),
        ("age", 1, "age is integer, not a condition", "IS NOT NULL"),
        ("now()", 1, "not a condition", ""),
        ("'x'", 1, "not a condition", ""),
        ("age > 3 AND (SELECT count(*) FROM events)", 21, "not a condition", ""),
        ("age = NULL", 1, "comparing with NULL is never true", "IS NULL"),
        ("age IN (NULL)", 1, "IN (NULL) is never true", "IS NULL"),
        ("1 = 1", 1, "two fixed values", "leave it out"),
        ("cart_value > 1e999", 14, "cannot be compared exactly", "15 digits"),
        ("cart_value > 0.1234567890123456789", 14, "cannot be compared exactly", ""),
        ("age > 99999999999999999999", 7, "too large", ""),
        ("(age > 3) = TRUE", 2, "a condition cannot be compared", "IS TRUE"),
        ("now() IS NULL", 1, "never NULL", ""),
        # time
        ("born < now() - INTERVAL '1 month'", 16, "months are not always equally long", "'30 days'"),
        ("born < now() - INTERVAL '2 years'", 16, "years are not always equally long", "'730 days'"),
        ("born < now() - INTERVAL '3 moons'", 16, 'no unit "moons"', "weeks"),
        ("born < now() - INTERVAL '1.5 hours'", 16, "is not understood", "90 minutes"),
        ("born < now() - INTERVAL '01:30:00'", 25, "is not understood", "90 minutes"),
        ("born < now() - INTERVAL '200000 days'", 16, "longer than a hundred years", ""),
        ("now() - born > INTERVAL '1 day'", 1, "difference of two timestamps", "a < now() - INTERVAL"),
        ("INTERVAL '1 day' > age", 1, "says nothing alone", "now() - INTERVAL"),
        ("age + INTERVAL '1 day' < now()", 1, "to a timestamp only", ""),
        # not yet
        ("location LIKE 'N%'", 1, "LIKE is not supported yet", "IN"),
        ("location IS DISTINCT FROM 'x'", 1, "IS DISTINCT FROM is not supported yet", "IS NULL"),
        ("lower(location) = 'nyc'", 1, "function other than now() is not supported yet", ""),
        ("metaphone(location) = 'nyc'", 1, "no function metaphone", "now()"),
        ("in_segment('vip')", 1, "no function in_segment", ""),
        ("age + 1 > 3", 1, "arithmetic", "fixed value"),
        ("CASE WHEN consent THEN 1 END = 1", 11, "choice between values is not supported yet", "AND and OR"),
        ("CAST(age AS text) = '3'", 6, "a cast is not supported yet", ""),
        ("age BETWEEN SYMMETRIC 3 AND 1", 1, "SYMMETRIC", "lower bound first"),
        ("age > ?", 1, "a parameter is not supported yet", "its value"),
        # events
        ("count(*) > 3", 1, "count(*) outside of a sub-query", "(SELECT count(*) FROM events"),
        ("(SELECT sum(price) FROM events) > 3", 9, "only count(*)", "count(*)"),
        ("(SELECT count(DISTINCT category) FROM events) > 3", 9, "only count", "IS NOT NULL"),
        ("(SELECT count(price) FROM events) > 3", 9, "only count", "IS NOT NULL"),
        ("(SELECT count(*) FROM customers) > 3", 23, "cannot select from customers here", "events"),
        ("(SELECT count(*) FROM events) > 2.5", 9, "a whole number as written", ">= 3"),
        ("(SELECT count(*) FROM events) > age", 9, "a whole number as written", ""),
        ("(SELECT count(*) FROM events) >= 10000", 9, "remember 10000 events", "view_count"),
        ("(SELECT count(*) FROM events) IS NULL", 9, "a count is never NULL", ""),
        ("customer_id IN (SELECT customer_id FROM events)", 1, "not a query", "EXISTS"),
        ("EXISTS (SELECT count(*) FROM events)", 16, "always true", "SELECT 1"),
        ("EXISTS (SELECT 1 FROM events GROUP BY category)", 39, "GROUP BY", ""),
        ("EXISTS (SELECT 1 FROM events, customers)", 31, "JOIN", ""),
        (EVENTS + "EXISTS (SELECT 1 FROM events))", 51, "inside of a sub-query", "beside"),
        (EVENTS + "customer_id = 'x')", 36, "customer's own", "events.customer_id = customers.customer_id"),
        (EVENTS + "event_time < now())", 36, "upper bound", "leave it out"),
        (EVENTS + "event_time >= '2026-01-01')", 36, "does not move with now()", "7 days"),
        (EVENTS + "event_time >= now())", 36, "not reach into the past", ""),
        (EVENTS + "event_time >= now() + INTERVAL '1 day')", 36, "not reach into the past", ""),
        (EVENTS + "event_time = now() - INTERVAL '1 day')", 36, "not supported yet", "event_time >="),
        (EVENTS + "NOT (event_time >= now() - INTERVAL '1 day'))", 41, "not supported yet", "joined by AND"),
        (
            EVENTS + "price > 1 OR event_time >= now() - INTERVAL '1 day')",
            36,
            "not supported yet",
            "joined by AND",
        ),
        (
            EVENTS + "event_time > now() - INTERVAL '1 day' AND event_time > now() - INTERVAL '2 days')",
            78,
            "the second lower bound",
            "the later",
        ),
    ],
)
def test_what_cannot_be_served_exactly_is_refused(sql: str, at: int, message: str, hint: str) -> None:
    """In one line, at its column, never with a traceback and never approximated."""
    error = refusals(sql)[0]
    assert message in error.message
    assert hint in error.hint
    assert (error.line, error.column) == (1, at)
    shown, carets = error.excerpt.split("\n")
    assert shown == sql[: len(shown)]
    assert carets.index("^") == at - 1


def test_a_long_line_is_shown_around_the_place() -> None:
    """The carets stand under it all the same."""
    (error,) = refusals("location = 'x' OR " * 50 + "ag > 3" + " OR location = 'y'" * 50)
    shown, carets = error.excerpt.split("\n")
    assert len(shown) < 200
    assert shown[carets.index("^") : carets.rindex("^") + 1] == "ag"
    assert error.column == 18 * 50 + 1
