"""Segments that ask for segments: the same as if their SQL stood there, in whatever order they are written."""

from __future__ import annotations

import pytest

from stream.core.customer import Customer
from stream.core.segments import CompiledBook, Definition, DefinitionBook, DefinitionErrors, compile_book

NOW = 1_772_366_400_000_000


def book_of(**segments: str | Definition) -> CompiledBook:
    definitions = {name: Definition(sql) if isinstance(sql, str) else sql for name, sql in segments.items()}
    return compile_book(DefinitionBook({"age": "integer"}, definitions))


def refusals(**segments: str | Definition) -> list[tuple[str | None, str]]:
    with pytest.raises(DefinitionErrors) as caught:
        book_of(**segments)
    return [(error.segment, error.message) for error in caught.value.errors]


def members(book: CompiledBook, **attributes: int) -> set[str]:
    customer = Customer(0, "c", NOW, NOW, total_spent=600.0)
    customer.attributes = {name: (value, NOW) for name, value in attributes.items()} or None
    return {segment.name for segment in book.segments if segment.evaluate(customer, NOW)[0]}


def test_a_segment_may_ask_for_another_that_comes_later_in_the_book() -> None:
    book = book_of(a="in_segment('b') AND age > 3", b="in_segment('c')", c="total_spent > 500", d="NOT in_segment('a')")
    assert members(book, age=5) == {"a", "b", "c"}
    assert members(book, age=2) == {"b", "c", "d"}


def test_who_is_not_surely_in_a_segment_is_not_in_it() -> None:
    """NULL ends where a segment does: NOT in_segment is TRUE of those of whom nothing is known."""
    book = book_of(old="age > 60", others="NOT in_segment('old')", kind="(in_segment('old')) IS NULL OR age > 99")
    assert members(book) == {"others"}


def test_it_reads_what_the_other_reads() -> None:
    """A fact that touches the one touches the other."""
    book = book_of(a="in_segment('b')", b="age > 3 AND view_count > 2 AND EXISTS (SELECT 1 FROM events)")
    a, b = book.segments
    assert (a.columns, a.attributes, a.memories) == (b.columns, b.attributes, b.memories)
    assert len(book.memories) == 1


def test_circles_are_refused_with_the_way_around() -> None:
    assert refusals(a="in_segment('a')") == [("a", "segments ask for each other in a circle: a → a")]
    (found,) = refusals(a="in_segment('b')", b="age > 3 AND in_segment('c')", c="in_segment('a')", d="in_segment('b')")
    assert found == ("c", "segments ask for each other in a circle: c → a → b → c")


def test_what_is_wrong_with_a_segment_is_told_once_and_in_its_own_place() -> None:
    assert refusals(a="in_segment('b') AND in_segment('nobody')", b="agee > 3") == [
        ("a", 'there is no segment "nobody"'),
        ("b", 'there is no column "agee"'),
    ]


def test_a_segment_whose_membership_is_slow_is_not_asked_for() -> None:
    """Its members are not those of whom its condition is true."""
    slow = Definition("age > 3", min_stay=5_000_000, cooldown=1_000_000)
    (found,) = refusals(a="in_segment('b')", b=slow)
    assert found[1].startswith("b has min_stay and cooldown, so its members are not those")
    assert book_of(a=Definition("in_segment('b')", min_stay=1), b="age > 3")


def test_asking_twice_again_and_again_is_refused_before_it_takes_for_ever() -> None:
    """Each level would double what there is to do."""
    chain = {f"s{n:02}": f"in_segment('s{n - 1:02}') OR NOT in_segment('s{n - 1:02}')" for n in range(1, 20)}
    messages = [message for _, message in refusals(s00="age > 3", **chain)]
    assert "with all that it asks for, this segment is too long" in messages
    long = {f"s{n:03}": f"in_segment('s{n - 1:03}')" for n in range(1, 90)}
    assert members(book_of(s000="age > 3", **long), age=5) == {"s000", *long}
    deep = {f"s{n:03}": f"in_segment('s{n - 1:03}')" for n in range(1, 900)}
    messages = [message for _, message in refusals(s000="age > 3", **deep)]
    assert set(messages) == {"with all that it asks for, this segment is nested too deeply"}
