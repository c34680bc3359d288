"""Laws of the difference of two books: by segment and field, and what moves nobody is told from what does."""

from __future__ import annotations

from dataclasses import Field, fields, replace
from typing import Any

import pytest

from stream.core.segments import Definition, DefinitionBook, load_book
from stream.core.segments.difference import NOTHING, difference, written

BOOK = """
attributes: {age: integer, city: text}
segments:
  a: {sql: age > 1, description: older than one}
  b: {sql: age > 2}
"""


def of(text: str) -> Any:
    return written(load_book(text))


def test_the_same_book_is_no_difference_however_it_is_written() -> None:
    """Order, comments and white space around the SQL say nothing."""
    other = "segments: {b: {sql: ' age > 2 '}, a: {description: older  than one, sql: age > 1}}\n# same\n"
    assert not difference(of(BOOK), of(other + "attributes: {city: text, age: integer}"))


def test_everything_is_new_to_nothing() -> None:
    found = difference(NOTHING, of(BOOK))
    assert [(each.name, each.kind) for each in found.segments] == [("a", "added"), ("b", "added")]
    assert [(each.name, each.before, each.after) for each in found.attributes] == [
        ("age", None, "integer"),
        ("city", None, "text"),
    ]
    assert found


@pytest.mark.parametrize(
    ("after", "kinds"),
    [
        ("a: {sql: age > 1, description: older than one}", {"b": "removed"}),
        ("a: {sql: age > 1, description: old}\n  b: {sql: age > 2}", {"a": "described"}),
        ("a: {sql: age > 9, description: old}\n  b: {sql: age > 2}", {"a": "changed"}),
        ("a: {sql: age > 1, description: older than one}\n  c: {sql: age > 2}", {"b": "removed", "c": "added"}),
    ],
)
def test_a_segment_is_added_removed_changed_or_only_described(after: str, kinds: dict[str, str]) -> None:
    """A new name is a new segment: its members enter it, those of the old one leave."""
    found = difference(of(BOOK), of(f"attributes: {{age: integer, city: text}}\nsegments:\n  {after}\n"))
    assert {each.name: each.kind for each in found.segments} == kinds
    assert not found.attributes


def test_the_fields_that_differ_are_named_and_the_sql_comes_last() -> None:
    found = difference(of(BOOK), of(BOOK.replace("older than one", "old").replace("age > 1", "age > 9")))
    (segment,) = found.segments
    assert [(each.name, each.before, each.after) for each in segment.fields] == [
        ("description", "older than one", "old"),
        ("sql", "age > 1", "age > 9"),
    ]


def test_one_segment_can_be_picked_out() -> None:
    found = difference(NOTHING, of(BOOK))
    assert [each.name for each in found.only("b").segments] == ["b"]
    assert not found.only("c")
    assert found.only(None) is found


@pytest.mark.parametrize("field", [field for field in fields(Definition) if field.compare], ids=lambda f: str(f.name))
def test_whatever_makes_another_definition_is_a_difference(field: Field[Any]) -> None:
    """Also a field that definitions gain later; the place in the file is none."""
    plain = Definition("true")
    value: Any = 600_000_000 if isinstance(field.default, int) else "false"
    other = replace(plain, **{field.name: value})
    found = difference(*(written(DefinitionBook({}, {"a": each})) for each in (plain, other)))
    assert [each.name for segment in found.segments for each in segment.fields] == [field.name]
    assert not difference(*(written(DefinitionBook({}, {"a": each})) for each in (plain, replace(plain, line=7))))


def test_who_asks_for_a_segment_that_is_different_follows_it() -> None:
    """Also by way of another; not if only the description is different, nor if they are different themselves."""
    book = """
segments:
  vip: {sql: total_spent > 100, description: big}
  near: {sql: "NOT in_segment('vip') AND view_count > 3"}
  far: {sql: IN_SEGMENT ( 'near' ) OR order_count > 1}
  alone: {sql: view_count > 9}
"""
    found = difference(of(book), of(book.replace("total_spent > 100", "total_spent > 200")))
    assert [each.name for each in found.segments] == ["vip"]
    assert found.follow == {"far": "near", "near": "vip"}
    assert found.only("near").follow == {"near": "vip"}
    assert difference(of(book), of(book.replace("big", "huge"))).follow == {}
    both = book.replace("total_spent > 100", "total_spent > 200").replace("view_count > 3", "view_count > 4")
    assert difference(of(book), of(both)).follow == {"far": "near"}
