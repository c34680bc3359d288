"""Why somebody is in a segment: each condition as it was written, its truth, and what it read."""

from __future__ import annotations

from typing import Any

from stream.core.customer import Customer
from stream.core.segments import Definition, DefinitionBook, Segment, compile_book
from stream.core.segments.explain import Explained
from stream.core.time import NEVER, parse_iso

NOW = parse_iso("2026-03-03T00:00:00Z")
ATTRIBUTES: dict[str, Any] = {"age": "integer", "location": "text", "consent": "boolean", "born": "timestamp"}


def segment_of(sql: str, **others: str) -> Segment:
    definitions = {name: Definition(each) for name, each in others.items()} | {"asked": Definition(sql)}
    return compile_book(DefinitionBook(ATTRIBUTES, definitions)).by_name["asked"]


def explained(sql: str, attributes: dict[str, Any] | None = None, **others: str) -> Explained:
    customer = Customer(0, "c", NOW, NOW, total_spent=600.0)
    customer.attributes = {name: (value, NOW) for name, value in (attributes or {}).items()} or None
    return segment_of(sql, **others).explain(customer, NOW)


def told(part: Explained) -> list[tuple[str, bool | None]]:
    """The texts and truths, from the whole to its parts."""
    return [(part.text, part.truth), *(each for below in part.parts for each in told(below))]


def test_each_part_of_a_condition_is_told_as_it_was_written() -> None:
    """Comments and line breaks apart; BETWEEN keeps its AND, and parentheses that only group go."""
    found = explained(
        """SELECT customer_id FROM customers c
        WHERE (age BETWEEN 20 AND 40 OR lower(location) = 'nyc') -- one or the other
          AND NOT (consent AND c.age > 30);""",
        {"age": 25},
    )
    assert told(found) == [
        ("(age BETWEEN 20 AND 40 OR lower(location) = 'nyc') AND NOT (consent AND c.age > 30)", True),
        ("age BETWEEN 20 AND 40 OR lower(location) = 'nyc'", True),
        ("age BETWEEN 20 AND 40", True),
        ("lower(location) = 'nyc'", None),
        ("NOT (consent AND c.age > 30)", True),
        ("consent AND c.age > 30", False),
        ("consent", None),
        ("c.age > 30", False),
    ]


def test_what_a_condition_reads_and_computes_is_told_beside_it() -> None:
    """Instants as text, and sub-queries as in the evidence of a change."""
    born = {"born": parse_iso("2026-03-01T12:00:00Z"), "age": 31}
    found = explained("date_diff('day', born, now()) > 3 AND age * 2 > 60", born)
    first, second = found.parts
    assert first.values == {"born": "2026-03-01T12:00:00Z", "date_diff('DAY', born, now())": 2}
    assert second.values == {"age": 31, "age * 2": 62}
    query = "(SELECT count(*) FROM events WHERE event_type = 'search')"
    assert explained(f"{query} >= 2").values == {query: {"count": 0, "or_more": False, "latest": None}}


def test_when_a_condition_changes_by_itself_is_told() -> None:
    """Of each part for itself: the whole may change at another time, or not at all."""
    found = explained(
        "born > now() - INTERVAL '7 days' AND age > 90",
        {"born": parse_iso("2026-03-01T12:00:00Z"), "age": 3},
    )
    assert found.until == NEVER
    assert [part.until for part in found.parts] == [parse_iso("2026-03-08T12:00:00Z"), NEVER]


def test_a_segment_that_is_asked_for_is_told_with_its_own_parts() -> None:
    found = explained("NOT in_segment('vip') OR age > 3", vip="total_spent > 500 AND in_segment('rich')", rich="TRUE")
    assert told(found) == [
        ("NOT in_segment('vip') OR age > 3", None),
        ("NOT in_segment('vip')", False),
        ("in_segment('vip')", True),
        ("total_spent > 500 AND in_segment('rich')", True),
        ("total_spent > 500", True),
        ("in_segment('rich')", True),
        ("TRUE", True),
        ("age > 3", None),
    ]


def test_the_truth_of_the_whole_is_the_segments() -> None:
    case = "CASE WHEN age > 3 THEN consent ELSE TRUE END"
    for sql in ("age > 3", "NOT age > 3", "age IS NULL", case, "(age > 3) IS NULL"):
        for attributes in ({}, {"age": 2}, {"age": 5, "consent": True}, {"age": 5}):
            customer = Customer(0, "c", NOW, NOW)
            customer.attributes = {name: (value, NOW) for name, value in attributes.items()}
            segment = segment_of(sql)
            assert (segment.explain(customer, NOW).truth is True) is segment.evaluate(customer, NOW)[0]
