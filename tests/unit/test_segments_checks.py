"""What is odd about a segment is found before it is in force: nobody in it, everybody in it, nobody out of it."""

from __future__ import annotations

from typing import Any

import pytest

from stream.core.segments import Definition, DefinitionBook, DefinitionErrors, compile_book

ATTRIBUTES: dict[str, Any] = {
    "age": "integer",
    "score": "number",
    "location": "text",
    "consent": "boolean",
    "born": "timestamp",
}
NEVER_TRUE = "this can never be true: nobody would ever be in the segment"
ALWAYS_TRUE = "this is always true: everybody would be in the segment"
NEVER_LEFT = "whoever is in this segment can never leave it"
COUNT = "(SELECT count(*) FROM events WHERE event_type = 'view' AND event_time >= now() - INTERVAL '{}')"
WEEK, MONTH = COUNT.format("7 days"), COUNT.format("30 days")


def found(sql: str) -> tuple[str, str] | None:
    book = compile_book(DefinitionBook(ATTRIBUTES, {"asked": Definition(sql, line=3)}))
    if not book.warnings:
        return None
    (warning,) = book.warnings
    assert (warning.segment, warning.book_line, warning.in_sql) == ("asked", 3, True)
    return warning.severity, warning.message


@pytest.mark.parametrize(
    "sql",
    [
        "age > 40 AND age < 30",
        "age > 40 AND age < 41",
        "age > 2.5 AND age < 2.9",
        "age = 2.5",
        "age BETWEEN 30 AND 20",
        "age >= 3 AND age <= 3 AND age <> 3",
        "age IN (1, 2) AND age > 2",
        "age IN (1, 2) AND age NOT IN (1, 2, 3)",
        "age IS NULL AND age > 3",
        "age IS NULL AND age IS NOT NULL",
        "score > 1 AND score < 1",
        "score > 1 AND score <= 1",
        "location = 'a' AND location = 'b'",
        "location > 'b' AND location < 'a'",
        "consent AND NOT consent",
        "consent AND consent = FALSE",
        "view_count < 0",
        "view_count IS NULL",
        "customer_id IS NULL",
        "born < now() - INTERVAL '30 days' AND born > now() - INTERVAL '7 days'",
        "born > now() AND born < now()",
        "born > '2026-02-01' AND born < '2026-01-01'",
        "now() > '2026-02-01' AND now() < '2026-01-01'",
        "last_order_at > last_viewed_at AND last_order_at = last_viewed_at",
        f"{WEEK} >= 3 AND {WEEK} < 3",
        f"{WEEK} >= 3 AND {MONTH} < 2",
        f"{WEEK} < 0",
        "lower(location) = 'a' AND NOT lower(location) = 'a'",
        "(age > 40 OR age IN (50, 60)) AND (age < 30 OR age < 20)",
        "(age > 40 AND consent) AND (age < 30 OR NOT consent)",
        "consent AND (age < 10 AND age > 20 OR age IS NULL AND age = 3)",
        "NOT (age IS NULL OR age IS NOT NULL)",
    ],
)
def test_opposites_joined_by_and_are_an_error(sql: str) -> None:
    assert found(sql) == ("error", NEVER_TRUE)


@pytest.mark.parametrize(
    "sql",
    [
        "age > 40 OR age <= 40 OR age IS NULL",
        "age IS NULL OR age IS NOT NULL",
        "(age > 3) IS NOT NULL OR age IS NULL",
        "view_count >= 0",
        "view_count > -1 OR consent",
        "total_spent IS NOT NULL",
        "(consent) IS TRUE OR (consent) IS NOT TRUE",
        "last_seen_at > now() - INTERVAL '1 day' OR last_seen_at < now()",
        f"{WEEK} >= 3 OR {WEEK} < 3",
        f"{WEEK} < 5 OR {MONTH} >= 4",
        "(location LIKE 'a%') IS TRUE OR (location LIKE 'a%') IS NOT TRUE",
    ],
)
def test_opposites_joined_by_or_are_an_error(sql: str) -> None:
    assert found(sql) == ("error", ALWAYS_TRUE)


@pytest.mark.parametrize(
    "sql",
    [
        "order_count >= 1",
        "view_count > 3 AND order_count > 2",
        "EXISTS (SELECT 1 FROM events WHERE event_type = 'store_visit')",
        "last_order_at IS NOT NULL",
        "first_seen_at < '2026-01-01'",
        "first_seen_at < now() - INTERVAL '30 days'",
        "now() >= '2026-01-01'",
        "customer_id IN ('a', 'b')",
        "last_seen_at > '2026-01-01' OR order_count > 5",
    ],
)
def test_what_can_only_become_true_is_a_warning(sql: str) -> None:
    assert found(sql) == ("warning", NEVER_LEFT)


@pytest.mark.parametrize("sql", ["TRUE", "SELECT customer_id FROM customers", "now() > now() - INTERVAL '1 day'"])
def test_a_segment_of_everybody_is_a_warning(sql: str) -> None:
    """Who writes it down like that means it."""
    severity, message = found(sql) or ("", "")
    assert severity == "warning" and message.startswith("everybody is in this segment")


@pytest.mark.parametrize(
    "sql",
    [
        "age > 40 OR age <= 40",
        "age BETWEEN 30 AND 30",
        "age > 40 AND (age < 30) IS NOT TRUE",
        "(age > 3) IS NOT TRUE AND age IS NULL",
        "score > 1 AND score < 1.0000001",
        "location > 'a' AND location < 'ab'",
        "location <> 'a' AND location <> 'b'",
        "born < now() - INTERVAL '7 days' AND born > now() - INTERVAL '30 days'",
        "born < now() AND born >= now() - INTERVAL '1 second'",
        "born < '2026-01-01' AND born > now() - INTERVAL '1 day'",
        "order_count >= 1 AND last_order_at < now() - INTERVAL '90 days'",
        "order_count = 1",
        "total_spent > 500",
        "cart_value > 0",
        f"{WEEK} >= 3",
        f"{MONTH} >= 3 AND {WEEK} < 3",
        f"{WEEK} >= 3 AND {MONTH} < 5",
        "lower(location) = 'a' AND NOT lower(location) = 'b'",
        "age > score OR age < score",
        "(age > 40 OR consent) AND (age < 30 OR consent)",
        "now() >= '2026-01-01' AND now() < '2026-02-01'",
        "last_order_at IS NULL",
        "EXISTS (SELECT 1 FROM events) AND consent",
        "customer_id <> 'a' AND consent",
    ],
)
def test_what_is_sensible_is_let_through(sql: str) -> None:
    assert found(sql) is None


def test_a_thousand_alternatives_are_not_taken_apart_for_ever() -> None:
    many = " AND ".join(f"(age = {n} OR location = 'x{n}')" for n in range(60))
    assert found(many) is None
    assert found(f"{many} AND consent AND NOT consent") == ("error", NEVER_TRUE)


def test_a_window_longer_than_the_history_is_refused() -> None:
    """To the day; without a limit, as when a book is read from the log, nothing is."""
    book = DefinitionBook({}, {"asked": Definition(f"{MONTH} >= 3"), "other": Definition("cart_value > 0")})
    day = 86_400_000_000
    assert compile_book(book) and compile_book(book, 30 * day)
    with pytest.raises(DefinitionErrors) as caught:
        compile_book(book, 29 * day)
    (error,) = caught.value.errors
    assert error.segment == "asked"
    assert error.message == "a window of 30 days is longer than the 29 days that the log is kept"
    assert "LIVESEGMENTS_HISTORY_DAYS" in error.hint
