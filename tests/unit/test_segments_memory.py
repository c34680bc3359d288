"""What rules remember: as little as decides, shared where filters are the same, and right for late events."""

from __future__ import annotations

import pytest

from stream.core.customer import Customer
from stream.core.fact import Fact
from stream.core.segments import CompiledBook, Definition, DefinitionBook, Memory, compile_book
from stream.core.time import NEVER

HOUR = 3_600_000_000


def book_of(**segments: str) -> CompiledBook:
    return compile_book(DefinitionBook({}, {name: Definition(sql) for name, sql in segments.items()}))


def count(where: str, rest: str = ">= 1") -> str:
    return f"(SELECT count(*) FROM events WHERE {where}) {rest}"


def at(time: int) -> Fact:
    return Fact(None, "c", "view", time, True)


def memory_of(rest: str) -> Memory:
    return book_of(a=count("TRUE", rest)).memories[0]


@pytest.mark.parametrize(
    ("rest", "k"),
    [
        (">= 3", 3),
        ("> 3", 4),
        ("= 3", 4),
        ("<> 3", 4),
        ("<= 3", 4),
        ("< 3", 3),
        ("= 0", 1),
        ("BETWEEN 2 AND 5", 6),
        ("IN (1, 4)", 5),
        (">= 1", 1),
    ],
)
def test_a_count_remembers_as_many_events_as_decide_it(rest: str, k: int) -> None:
    """``>= k`` is decided by the k most recent."""
    assert memory_of(rest).k == k
    assert memory_of("BETWEEN 0 AND 5").k == 6


def test_a_comparison_that_no_count_can_change_remembers_nothing() -> None:
    """No count is negative."""
    book = book_of(always=count("TRUE", ">= 0"), never=count("TRUE", "< 0"))
    assert book.memories == ()
    assert all(segment.memories == frozenset() for segment in book.segments)


def test_late_events_find_their_place_and_old_ones_none() -> None:
    """The k most recent by event time, whatever the order of arrival; two at one time are two."""
    memory = memory_of(">= 3")
    held: dict[str, list[int]] = {}
    assert [memory.remember(held, at(time), 70) for time in (50, 20, 70, 60, 10, 50, 60)] == [
        True,
        True,
        True,
        True,
        False,
        False,
        True,
    ]
    assert held == {memory.key: [60, 60, 70]}


def test_a_record_that_remembers_more_than_this_book_needs_is_cut_back() -> None:
    """After a change of the book a list may be longer than k; the most recent k stay."""
    memory = memory_of(">= 2")
    held = {memory.key: [1, 2, 3, 4]}
    assert not memory.remember(held, at(2), 9)
    assert memory.remember(held, at(9), 9)
    assert held == {memory.key: [4, 9]}


def test_equal_filters_share_one_memory_as_large_as_the_largest_need() -> None:
    """However they are written; each segment looks at its own window."""
    book = book_of(
        a=count("event_type = 'view' AND price > 3 AND event_time >= now() - INTERVAL '1 hour'", ">= 2"),
        b=count("(3 < price) AND NOT (event_type <> 'view') AND event_time > now() - INTERVAL '5 hours'", "> 4"),
        c="EXISTS (SELECT 1 FROM events e WHERE e.customer_id = customers.customer_id "
        "AND event_type IN ('view') AND price > 3 AND price > 3 AND event_time > now() - INTERVAL '2 hours')",
    )
    (memory,) = book.memories
    assert (memory.k, memory.horizon) == (5, 5 * HOUR)
    assert {segment.memories for segment in book.segments} == {frozenset({memory.key})}
    held = {memory.key: [0, HOUR]}
    for segment, expected in zip(book.segments, (False, False, True), strict=True):
        customer = Customer(0, "c", 0, 0, memory=held)
        assert segment.evaluate(customer, 2 * HOUR)[0] is expected


def test_a_count_without_a_window_makes_its_memory_one_for_ever() -> None:
    """``horizon`` says how long an event can matter; beside a window the longer counts."""
    book = book_of(
        a=count("event_type = 'view' AND event_time >= now() - INTERVAL '1 hour'"),
        b=count("event_type = 'view'"),
        c=count("event_type = 'order' AND event_time >= now() - INTERVAL '1 hour'"),
    )
    assert sorted(memory.horizon for memory in book.memories) == [HOUR + 1, NEVER]


def test_the_key_of_a_memory_is_that_of_its_filter_alone() -> None:
    """Records hold it: another book, another window, another number find the same memory again."""
    one = book_of(a=count("category = 'Ä' OR price >= 2.5", ">= 3")).memories[0]
    other = book_of(z=count("price >= 2.5 OR category = 'Ä'", "< 9")).memories[0]
    assert one.key == other.key == "777764d8d33c6db6"
    assert one.key != book_of(a=count("category = 'A' OR price >= 2.5")).memories[0].key


def test_a_plan_feeds_what_the_event_type_can_match_and_touches_who_reads_it() -> None:
    """Types that no rule names share one plan."""
    book = book_of(
        bought="order_count > 0",
        seen="last_seen_at > now() - INTERVAL '1 day'",
        viewed=count("event_type = 'product_view' AND price > 3"),
        not_ordered=count("event_type <> 'purchase'"),
        something=count("price > 3"),
        mine=count("event_type IN ('mine', 'yours')"),
    )

    def touched(event_type: str) -> list[str]:
        return [segment.name for segment in book.plan(event_type).segments]

    assert touched("product_view") == ["not_ordered", "seen", "something", "viewed"]
    assert touched("purchase") == ["bought", "seen", "something"]
    assert touched("mine") == ["mine", "not_ordered", "seen", "something"]
    assert touched("unheard_of") == ["not_ordered", "seen", "something"]
    assert book.plan("unheard_of") is book.plan("never_heard_of")
    assert len(book.plan("product_view").memories) == 3


def test_a_profile_update_touches_who_reads_an_attribute() -> None:
    """And nobody who reads live columns, but for those that say when the customer was seen."""
    book = compile_book(
        DefinitionBook(
            {"age": "integer"},
            {
                "old": Definition("age > 60"),
                "rich": Definition("total_spent > 5"),
                "x": Definition("view_count > 1"),
            },
        )
    )
    assert [segment.name for segment in book.plan("profile_update").segments] == ["old"]
    assert [segment.name for segment in book.plan("purchase").segments] == ["rich"]


def test_matches_is_the_whole_filter() -> None:
    """Whoever asks it need not know the plan."""
    memory = book_of(a=count("event_type = 'view' AND category = 'A'")).memories[0]
    fact = Fact(None, "c", "view", 0, True, category="A")
    assert memory.matches(fact)
    assert not memory.matches(Fact(None, "c", "order", 0, True, category="A"))
    assert not memory.matches(Fact(None, "c", "view", 0, True))


def test_evidence_names_what_decided_and_counts_as_far_as_the_rule_does() -> None:
    """Columns by name, sub-queries by their text, timestamps as ISO 8601, all of it JSON."""
    query = (
        "(SELECT count(*)\n  FROM events -- all\n  WHERE category = 'a  b' AND event_time >= now() - INTERVAL '1 hour')"
    )
    book = compile_book(
        DefinitionBook({"age": "integer"}, {"a": Definition(f"{query} >= 2 AND age > 3 AND last_order_at IS NULL")})
    )
    segment, memory = book.segments[0], book.memories[0]
    text = "(SELECT count(*) FROM events WHERE category = 'a  b' AND event_time >= now() - INTERVAL '1 hour')"
    customer = Customer(0, "c", 0, 0)
    assert segment.evidence(customer, 0) == {
        "age": None,
        "last_order_at": None,
        text: {"count": 0, "or_more": False, "latest": None},
    }
    customer.attributes = {"age": (30, 0)}
    customer.last_order_at = 5_000_000
    customer.memory = {memory.key: [1_000_000, 2_000_000]}
    assert segment.evidence(customer, HOUR) == {
        "age": 30,
        "last_order_at": "1970-01-01T00:00:05Z",
        text: {"count": 2, "or_more": True, "latest": "1970-01-01T00:00:02Z"},
    }
    late = segment.evidence(customer, HOUR + 1_000_001)
    assert late[text] == {"count": 1, "or_more": False, "latest": "1970-01-01T00:00:02Z"}
