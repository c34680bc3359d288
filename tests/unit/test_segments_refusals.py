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
        ("now() > age", 1, "cannot be compared", ""),
        ("age", 1, "age is integer, not a condition", "IS NOT NULL"),
        ("now()", 1, "not a condition", ""),
        ("'x'", 1, "not a condition", ""),
        ("count(*) > 3", 1, "count(*) stands in a sub-query", "(SELECT count(*) FROM events"),
        ("age > 3 AND (SELECT count(*) FROM events)", 21, "not a condition", ""),
        ("age = NULL", 1, "comparing with NULL is never true", "IS NULL"),
        ("age IN (NULL)", 1, "IN (NULL) is never true", "IS NULL"),
        ("1 = 1", 1, "two fixed values", "leave it out"),
        ("cart_value > 1e999", 14, "cannot be compared exactly", "15 digits"),
        ("cart_value > 0.1234567890123456789", 14, "cannot be compared exactly", ""),
        ("age > 99999999999999999999", 7, "too large", ""),
        ("now() IS NULL", 1, "never NULL", ""),
        # time
        ("born < now() - INTERVAL '3 moons'", 16, 'no unit "moons"', "weeks"),
        ("born < now() - INTERVAL '1.5 hours'", 16, "is not understood", "90 minutes"),
        ("born < now() - INTERVAL '01:30:00'", 25, "is not understood", "90 minutes"),
        ("born < now() - INTERVAL '200000 days'", 16, "longer than a hundred years", ""),
        ("age + INTERVAL '1 day' < now()", 1, "to a timestamp only", ""),
        ("born < now() - INTERVAL '1 month 3 hours'", 25, "now in one order, now in the other", "- INTERVAL '1 month'"),
        ("born > TIMESTAMP '2026-01-31 18:00+02:00'", 18, "leaves the offset of a TIMESTAMP out", "TIMESTAMPTZ"),
        ("born = DATE '2026-01-01 10:00'", 13, "is not a date", "TIMESTAMP"),
        ("born::DATE = '2026-01-01 10:00'", 1, "is not a date", "2026-01-31"),
        ("INTERVAL '1 day' > age", 20, "cannot be compared with an INTERVAL", "one type"),
        ("now() - born = now() - last_seen_at", 1, "on both sides", "one side"),
        ("now() - now() > INTERVAL '1 day'", 1, "is fixed", "INTERVAL"),
        ("coalesce(born, now()) < '2026-01-01'", 1, "moves on every microsecond", "date_trunc"),
        ("greatest(born, now()) < '2026-01-01'", 1, "moves on every microsecond", "CURRENT_DATE"),
        ("CASE WHEN consent THEN now() END < born", 24, "moves on every microsecond", "date_diff"),
        ("(now() - born) + (born - now()) > INTERVAL '1 day'", 2, "not supported", "to the other"),
        ("born + (now() - last_seen_at) > born", 1, "that now() is part of", "one side"),
        ("date_part('second', now()) = 3", 1, "every second", "minutes"),
        ("date_trunc('fortnight', born) = born", 1, "'fortnight' is not supported", "week"),
        ("date_part('epoch', born) > 3", 1, "'epoch' is not supported", "isodow"),
        ("date_part(location, born) > 3", 1, "the unit has to be fixed", "'day'"),
        ("date_part('hour', age) = 3", 1, "needs a timestamp, not age (integer)", ""),
        ("date_diff('day', now(), now()) = 0", 1, "always the same", "the number"),
        ("date_trunc('day', now() - born) = born", 1, "of a length of time", "INTERVAL"),
        ("now() AT TIME ZONE 'Europe/Berlinn' > born", 20, "no time zone 'Europe/Berlinn'", "'Europe/Berlin'"),
        ("now() AT TIME ZONE 'EST' > born", 20, "no time zone 'EST'", "tz database"),
        ("now() AT TIME ZONE location > born", 20, "has to be a fixed name", "'Europe/Berlin'"),
        ("'2026-01-01' AT TIME ZONE 'Europe/Berlin' > born", 1, "a text has no time zone", "TIMESTAMP '2026-01-01'"),
        ("CURRENT_DATE + age > born", 16, "a fixed number", "+ 7"),
        ("born + INTERVAL (age) DAY > now()", 18, "a fixed length", "30 minutes"),
        # numbers
        ("age + 0.5 > 3", 1, "make a DECIMAL in DuckDB", "0.5::DOUBLE"),
        ("coalesce(age, 0.5) > 3", 1, "make a DECIMAL in DuckDB", "0.5::DOUBLE"),
        ("1 + 1 > age", 1, "two fixed numbers", "the result"),
        ("age + NULL > 3", 1, "computed with NULL is NULL", "leave it out"),
        ("location + 'x' = 'y'", 1, "cannot be added", "||"),
        ("location * 2 = 3", 1, "no * of location (text) and the integer 2", "numbers"),
        ("cart_value // 2 = 1", 1, "whole numbers only", "floor(a / b)"),
        ("age ** 2 > 3", 1, "powers are not supported", "a * a"),
        ("round(cart_value, age) > 3", 1, "a fixed number of digits", "round(cart_value, 2)"),
        # texts and functions
        ("metaphone(location) = 'nyc'", 1, "no function metaphone", "the functions are lower"),
        ("lowr(location) = 'nyc'", 1, "no function lowr", "did you mean lower?"),
        ("lower(age) = 'x'", 1, "lower needs a text, not age (integer)", "age::VARCHAR"),
        ("lower(NULL) = 'x'", 1, "lower of NULL is NULL", ""),
        ("abs(location) = 3", 1, "abs needs a number, not location (text)", ""),
        ("age LIKE '3%'", 1, "LIKE compares texts, not age (integer)", "age::VARCHAR"),
        ("location LIKE 'x!' ESCAPE '!'", 1, "ends with its escape character", "twice"),
        ("location LIKE 'x' ESCAPE 'ab'", 1, "one character that is no letter", "ESCAPE '!'"),
        ("location LIKE ANY ('x', 'y')", 1, "LIKE ANY is not supported", "OR"),
        ("location ~ 'x'", 1, "regular expressions are not supported", "LIKE"),
        ("age || consent = 'x'", 1, "are no texts", "VARCHAR"),
        ("CASE WHEN consent THEN 1 ELSE 'x' END = 1", 11, "the integer 1 and the text 'x' cannot stand", "cast"),
        ("CASE WHEN consent THEN NULL END = 1", 11, "nothing but NULL", ""),
        ("age::INT > 3", 1, "the type INT is not supported", "BIGINT"),
        ("age::DECIMAL(10, 2) > 3", 1, "is not supported", "DOUBLE"),
        ("location::JSON = 'x'", 1, "the type JSON is not supported", "VARCHAR"),
        ("location::TIMESTAMP > now()", 1, "cannot be cast to TIMESTAMP", "declare the attribute"),
        ("location = 'a' IS NULL IS NULL IS NULL = NULL", 1, "comparing with NULL", ""),
        ("age IS DISTINCT FROM 'x'", 1, "cannot be compared with the text 'x'", "whole number"),
        ("1 IS DISTINCT FROM 2", 1, "two fixed values", ""),
        ("age > ?", 7, "a parameter has no value here", "its value"),
        # other segments
        ("in_segment('asket')", 12, 'no segment "asket"', "did you mean 'asked'?"),
        ("in_segment(location)", 1, "takes the name of a segment", "in_segment('vip')"),
        ("in_segment('asked')", 12, "in a circle: asked → asked", "do without"),
        (EVENTS + "in_segment('x'))", 47, "about the customer, not about events", "beside"),
        # what is SQL and not here
        ("age BETWEEN SYMMETRIC 3 AND 1", 1, "SYMMETRIC", "lower bound first"),
        # events
        ("(SELECT count(DISTINCT category) FROM events) > 3", 9, "remember every value", "add a window"),
        ("(SELECT count(*) FROM customers) > 3", 23, "cannot select from customers here", "events"),
        ("(SELECT count(*) FROM events) >= 10000", 9, "remember 10000 events", "view_count"),
        ("(SELECT count(*) FROM events) IS NULL", 9, "a count is never NULL", ""),
        ("customer_id IN (SELECT customer_id FROM events)", 1, "not a query", "EXISTS"),
        ("EXISTS (SELECT count(*) FROM events)", 16, "always true", "SELECT 1"),
        ("EXISTS (SELECT 1 FROM events GROUP BY category)", 39, "GROUP BY", ""),
        ("EXISTS (SELECT 1 FROM events, customers)", 31, "JOIN", ""),
        (EVENTS + "EXISTS (SELECT 1 FROM events))", 51, "inside of a sub-query", "beside"),
        (EVENTS + "customer_id = 'x')", 36, "customer's own", "events.customer_id = customers.customer_id"),
        (EVENTS + "event_time < now())", 36, "upper bound", "leave it out"),
        (EVENTS + "event_time >= now())", 36, "not reach into the past", ""),
        (EVENTS + "event_time >= now() + INTERVAL '1 day')", 36, "not reach into the past", ""),
        (EVENTS + "event_time = now() - INTERVAL '1 day')", 36, "not supported", "event_time >="),
        (
            EVENTS + "NOT (event_time >= now() - INTERVAL '1 day'))",
            41,
            "only event_time can be compared with now()",
            "joined by AND",
        ),
        (
            EVENTS + "price > 1 OR event_time >= now() - INTERVAL '1 day')",
            36,
            "only event_time can be compared with now()",
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


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        ("age > {}", "too large"),
        ("cart_value > {}.5", "cannot be compared exactly"),
        ("born < now() - INTERVAL '{} days'", "longer than a hundred years"),
        ("born < now() - INTERVAL {} MONTH", "longer than a hundred years"),
        ("born < now() - INTERVAL '1 day -{} months'", "longer than a hundred years"),
    ],
)
def test_a_number_of_more_digits_than_python_reads_is_refused_in_words(sql: str, message: str) -> None:
    assert message in refusals(sql.format("9" * 6_000))[0].message


@pytest.mark.parametrize(
    "sql",
    ["age > {}5", "cart_value > {}5.5", "born < now() - INTERVAL '{}5 days'", "cart_value > 1e-99999999999999999999"],
)
def test_zeros_before_a_number_do_not_count(sql: str) -> None:
    compile_book(DefinitionBook(ATTRIBUTES, {"asked": Definition(sql.format("0" * 6_000))}))


def test_a_long_line_is_shown_around_the_place() -> None:
    """The carets stand under it all the same."""
    (error,) = refusals("location = 'x' OR " * 50 + "ag > 3" + " OR location = 'y'" * 50)
    shown, carets = error.excerpt.split("\n")
    assert len(shown) < 200
    assert shown[carets.index("^") : carets.rindex("^") + 1] == "ag"
    assert error.column == 18 * 50 + 1
