"""P6: a fact costs its own rules, and what its plan leaves out it does not change."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from stream.core.columns import COLUMNS
from stream.core.customer import Customer, fold
from stream.core.fact import Fact
from stream.core.segments import Segment, compile_book, load_book
from stream.core.segments.settle import settle
from stream.core.time import NEVER

SECOND = 1_000_000
START = 1_772_366_400 * SECOND
TYPES = (
    "product_view",
    "add_to_cart",
    "remove_from_cart",
    "purchase",
    "profile_update",
    "page_view",
    "custom",
)


def rule(column: str, kind: str) -> str:
    """A segment that every change of the column is likely to be seen in."""
    if kind == "timestamp":
        return f"{column} > now() - INTERVAL '3 seconds'"
    return f"{column} = 'a'" if kind == "text" else f"{column} >= 2"


RULES = {f"reads_{column}": rule(column, kind) for column, kind in COLUMNS.items()} | {
    "reads_age": "age IS NULL OR age > 1",
    "counts_views": "(SELECT count(*) FROM events WHERE event_type = 'product_view') >= 2",
    "counts_customs": "EXISTS (SELECT 1 FROM events WHERE event_type IN ('custom', 'other'))",
    "counts_others": "(SELECT count(*) FROM events WHERE event_type <> 'custom' AND category = 'a') < 3",
    "counts_by_order": "EXISTS (SELECT 1 FROM events WHERE event_type > 'page')",
    "counts_no_type": "EXISTS (SELECT 1 FROM events WHERE NOT (event_type = 'purchase' OR price > 1))",
    "counts_all": "(SELECT count(*) FROM events WHERE event_time > now() - INTERVAL '2 seconds') = 2",
}
BOOK = compile_book(
    load_book(
        "attributes: {age: integer}\nsegments:\n"
        + "\n".join(f'  {name}: {{sql: "{sql}"}}' for name, sql in RULES.items())
    )
)

facts = st.lists(
    st.builds(
        lambda kind, second, product, category, price, quantity, age: Fact(
            None,
            "a",
            kind,
            START + second * SECOND,
            True,
            product_id=product,
            category=category,
            price=price,
            quantity=quantity,
            properties=None if age is None else {"age": age},
        ),
        st.sampled_from(TYPES),
        st.integers(0, 9),
        st.sampled_from("ab"),
        st.none() | st.sampled_from("ab"),
        st.none() | st.sampled_from((0.5, 2.0)),
        st.none() | st.sampled_from((1.0, 2.0)),
        st.none() | st.integers(0, 3),
    ),
    min_size=2,
    max_size=10,
)


def answers(customer: Customer, now: int) -> dict[str, Any]:
    return {segment.name: segment.evaluate(customer, now) for segment in BOOK.segments}


@settings(max_examples=150, deadline=None)
@given(facts)
def test_a_fact_changes_no_segment_that_its_plan_leaves_out(log: list[Fact]) -> None:
    """Neither the truth nor the announced instant; of the first fact of a customer no plan speaks."""
    customer = Customer(0, "a", log[0].time, log[0].time)
    fold(customer, log[0], BOOK.attributes)
    customer.memory = {}
    now = START + 10 * SECOND
    for fact in log[1:]:
        before = answers(customer, now)
        plan = BOOK.plan(fact.event_type)
        fold(customer, fact, BOOK.attributes)
        for memory in BOOK.memories:
            if memory.matches(fact):
                assert memory in plan.memories
                memory.remember(customer.memory, fact, now)
        changed = {name for name, answer in answers(customer, now).items() if answer != before[name]}
        assert changed <= {segment.name for segment in plan.segments}


@settings(max_examples=150, deadline=None)
@given(facts)
def test_what_is_compiled_does_what_asking_one_after_the_other_does(log: list[Fact]) -> None:
    """The same is remembered, the same segments turn, the same instants are announced."""
    now = START + 10 * SECOND
    one, other = (Customer(0, "a", log[0].time, log[0].time) for _ in range(2))
    for each in (one, other):
        turned: list[Segment] = []
        settle(BOOK.segments, each, now, turned)
        each.members = dict.fromkeys((segment.name for segment in turned), now)
    for fact in log:
        for each in (one, other):
            fold(each, fact, BOOK.attributes)
        plan = BOOK.plan(fact.event_type)
        touched = plan.look(plan.feed(one, fact, now))
        turned = []
        soonest = touched.settle(one, now, turned)
        remembered = {} if other.memory is None else other.memory
        for memory in BOOK.memories:
            if memory.matches(fact):
                memory.remember(remembered, fact, now)
        other.memory = remembered or None
        expected: list[Segment] = []
        settle(BOOK.segments, other, now, expected)
        assert one.memory == other.memory
        assert turned == expected
        assert (one.due or {}) == (other.due or {})
        assert soonest == min(((one.due or {}).get(each.name, NEVER) for each in touched.segments), default=NEVER)
        for each in (one, other):
            members = each.members = each.members or {}
            for segment in turned:
                if members.pop(segment.name, None) is None:
                    members[segment.name] = now
