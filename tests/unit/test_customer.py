"""Laws of the customer's record: every column, in the order of event time whatever the order of arrival."""

from __future__ import annotations

import itertools
from typing import Any

import msgspec
import pytest

from stream.core.attributes import AttributeTypeError, AttributeValue
from stream.core.columns import COLUMNS, columns_of_event
from stream.core.customer import RECENT_ORDERS, Customer, fold
from stream.core.fact import Fact
from stream.core.time import parse_iso

T = parse_iso("2026-03-02T08:00:00Z")
MINUTE = 60_000_000
DECLARED = {
    "age": "integer",
    "score": "number",
    "location": "text",
    "consent": "boolean",
    "since": "timestamp",
}
EMPTY: dict[str, Any] = {
    "customer_id": "c",
    "last_viewed_product": None,
    "recent_view_category": None,
    "last_viewed_at": None,
    "cart_value": 0.0,
    "cart_items": 0.0,
    "cart_started_at": None,
    "cart_updated_at": None,
    "first_seen_at": 0,
    "last_seen_at": 0,
    "view_count": 0,
    "order_count": 0,
    "total_spent": 0.0,
    "last_order_at": None,
}


def fact(minute: float, kind: str, **fields: Any) -> Fact:
    return Fact(None, "c", kind, T + round(minute * MINUTE), True, **fields)


def view(minute: float, product: str | None = "p", category: str | None = "Books") -> Fact:
    return fact(minute, "product_view", product_id=product, category=category)


def order(minute: float, **fields: Any) -> Fact:
    return fact(minute, "purchase", **fields)


def profile(minute: float, **stated: Any) -> Fact:
    return fact(minute, "profile_update", properties=stated)


def after(*facts: Fact) -> Customer:
    """The customer after these facts, in this order of arrival."""
    customer = Customer(0, "c", facts[0].time, facts[0].time)
    for each in facts:
        fold(customer, each, DECLARED)
    return customer


def columns(*facts: Fact) -> dict[str, Any]:
    """The live columns after these facts; instants in minutes."""
    customer = after(*facts)
    found = {}
    for name, kind in COLUMNS.items():
        value = getattr(customer, name)
        found[name] = (value - T) / MINUTE if kind == "timestamp" and value is not None else value
    return found


def attributes(*facts: Fact) -> dict[str, AttributeValue]:
    """The declared attributes after these facts."""
    customer = after(*facts)
    return {name: customer.attribute(name) for name in DECLARED if name in (customer.attributes or {})}


def test_a_fact_of_each_type_changes_its_columns_and_no_others() -> None:
    """Every column by its first fact; what ``columns_of_event`` promises to the planner is what is true."""
    expected: dict[str, tuple[Fact, dict[str, Any]]] = {
        "product_view": (
            view(0),
            {
                "last_viewed_product": "p",
                "recent_view_category": "Books",
                "last_viewed_at": 0,
                "view_count": 1,
            },
        ),
        "add_to_cart": (
            fact(0, "add_to_cart", product_id="p", price=10.0, quantity=2.0),
            {"cart_value": 20.0, "cart_items": 2.0, "cart_started_at": 0, "cart_updated_at": 0},
        ),
        "remove_from_cart": (fact(0, "remove_from_cart", product_id="p"), {}),
        "purchase": (
            order(0, product_id="p", price=10.0),
            {"order_count": 1, "total_spent": 10.0, "last_order_at": 0},
        ),
        "profile_update": (profile(0, age=30), {}),
        **{
            kind: (fact(0, kind), {})
            for kind in (
                *("page_view", "search", "checkout_started", "cart_abandonment"),
                *("email_open", "email_click", "spun the wheel"),
            )
        },
    }
    for kind, (first, changed) in expected.items():
        found = columns(first)
        assert found == EMPTY | changed, kind
        different = {name for name, value in found.items() if value != EMPTY[name]}
        assert different <= columns_of_event(kind), kind


def test_every_live_column_is_an_attribute_of_the_record() -> None:
    """Segments read the record itself."""
    assert EMPTY.keys() == COLUMNS.keys()
    assert set(COLUMNS) <= set(Customer.__struct_fields__)


def test_a_late_view_does_not_become_the_last_viewed() -> None:
    """It counts, and shows that the customer was there."""
    found = columns(view(10, "new"), view(5, "old", "Toys"))
    assert (found["last_viewed_product"], found["recent_view_category"]) == ("new", "Books")
    assert found["last_viewed_at"] == 10
    assert found["view_count"] == 2
    assert (found["first_seen_at"], found["last_seen_at"]) == (5, 10)


def test_of_two_views_of_one_instant_the_later_in_the_log_is_the_last() -> None:
    """Event time cannot tell them apart, the log can."""
    found = columns(view(5, "first", "Toys"), view(5, "second"))
    assert (found["last_viewed_product"], found["recent_view_category"]) == ("second", "Books")
    assert found["view_count"] == 2


def test_the_last_view_gives_product_and_category_together() -> None:
    """A view that does not say its category has none; it does not keep that of another product."""
    found = columns(view(0), view(1, "q", None))
    assert (found["last_viewed_product"], found["recent_view_category"]) == ("q", None)
    found = columns(view(0), view(1, None, "Toys"))
    assert (found["last_viewed_product"], found["recent_view_category"]) == (None, "Toys")


def test_the_order_of_arrival_of_views_and_orders_changes_nothing() -> None:
    """Any order, the same columns."""
    facts = [view(0, "a"), view(3, "b", "Toys"), order(1, order_id="o1", price=5.0), fact(2, "search")]
    results = [columns(*each) for each in itertools.permutations(facts)]
    assert all(result == results[0] for result in results)


def test_a_customer_is_seen_by_whatever_it_does() -> None:
    """First and last by event time, a profile update and a custom event included."""
    found = columns(fact(5, "spun the wheel"), profile(9, age=1), fact(2, "email_open"), fact(7, "page_view"))
    assert (found["first_seen_at"], found["last_seen_at"]) == (2, 9)


def test_money_is_price_times_quantity() -> None:
    """Of every line of every order; a quantity that is not stated is one, a price that is not is none."""
    assert columns(order(0, price=5.0))["total_spent"] == 5
    assert columns(order(0, price=5.0, quantity=3.0))["total_spent"] == 15
    assert columns(order(0, product_id="p"))["total_spent"] == 0
    assert columns(order(0, price=5.0), order(1, price=2.5, quantity=2.0))["total_spent"] == 10


def test_money_is_kept_to_six_decimals() -> None:
    """Ten times 0.1 is 1."""
    assert columns(*[order(n, price=0.1) for n in range(10)])["total_spent"] == 1


def test_an_order_without_an_amount_is_worth_its_products() -> None:
    """As Segment and GA4 list them."""
    listed = [{"product_id": "p", "price": 5, "quantity": 2}, {"item_id": "q", "price": 1.5}, {"sku": "r"}]
    assert columns(order(0, properties={"products": listed}))["total_spent"] == 11.5
    assert columns(order(0, properties={"items": listed}))["total_spent"] == 11.5
    assert columns(order(0, price=10.0, properties={"products": listed}))["total_spent"] == 10


def test_a_return_takes_money_back() -> None:
    """A quantity below zero is legal."""
    assert columns(order(0, price=5.0, quantity=3.0), order(1, price=5.0, quantity=-1.0))["total_spent"] == 10


def test_the_lines_of_one_order_count_once() -> None:
    """One order, the money of all its lines, whatever comes in between."""
    lines = [order(n, order_id="o1", product_id=f"p{n}", price=10.0) for n in range(3)]
    found = columns(*lines)
    assert (found["order_count"], found["total_spent"]) == (1, 30)
    found = columns(lines[0], order(5, order_id="o2", price=1.0), *lines[1:])
    assert (found["order_count"], found["total_spent"]) == (2, 31)


def test_purchases_without_an_order_id_are_orders_of_their_own() -> None:
    """Nothing says that they belong together."""
    assert columns(order(0, price=1.0), order(0, price=1.0))["order_count"] == 2


def test_a_bounded_number_of_orders_is_remembered() -> None:
    """The most recent ones in the log; a line that comes after so many others counts as an order again."""
    found = after(*[order(n, order_id=f"o{n}") for n in range(RECENT_ORDERS + 1)], order(50, order_id="o0"))
    assert found.order_count == RECENT_ORDERS + 2
    assert found.orders is not None
    assert len(found.orders) == RECENT_ORDERS


def test_a_late_order_counts_and_is_not_the_last() -> None:
    """By event time."""
    found = columns(order(10, price=1.0), order(5, price=2.0))
    assert (found["order_count"], found["total_spent"], found["last_order_at"]) == (2, 3, 10)


# -- attributes ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "stated", "held"),
    [
        ("age", 34, 34),
        ("age", "34", 34),
        ("age", 34.0, 34),
        ("age", -(2**63) + 1, -(2**63) + 1),
        ("score", 1.5, 1.5),
        ("score", 2, 2.0),
        ("score", "1e3", 1000.0),
        ("location", " NYC ", "NYC"),
        ("location", 10115, "10115"),
        ("consent", True, True),
        ("consent", "False", False),
        ("since", "2026-03-02T09:00:00+01:00", T),
        ("since", "2026-03-02", T - 8 * 60 * MINUTE),
    ],
)
def test_an_attribute_is_brought_to_its_declared_type(name: str, stated: object, held: AttributeValue) -> None:
    """Numbers may come as text, instants come as ISO 8601."""
    found = attributes(profile(0, **{name: stated}))
    assert found == {name: held}
    assert type(found[name]) is type(held)


@pytest.mark.parametrize(
    ("name", "stated"),
    [
        *(("age", value) for value in ("old", "", 34.5, True, [34], {"n": 1}, 2**63, 10**400, 1e300)),
        *(("score", value) for value in ("high", True, [1], "nan", "inf", 10**400)),
        *(("location", value) for value in (True, ["NYC"], {"city": "NYC"})),
        *(("consent", value) for value in ("yes", 1, 0.0, [True])),
        *(("since", value) for value in ("yesterday", True, [1], "2026-02-30")),
    ],
)
def test_what_does_not_fit_its_type_changes_nothing(name: str, stated: object) -> None:
    """The whole update is refused, also what of it would fit; the message tells the name, not the value."""
    customer = after(profile(0, age=30, location="NYC"))
    before = msgspec.msgpack.encode(customer)
    update = profile(5, **{"location": "LA", "score": 1, name: stated})
    with pytest.raises(AttributeTypeError, match=repr(name)) as refused:
        fold(customer, update, DECLARED)
    assert DECLARED[name] in str(refused.value)
    assert msgspec.msgpack.encode(customer) == before


def test_attributes_that_are_not_declared_are_passed_over() -> None:
    """The book says what is kept."""
    assert attributes(profile(0, age=30, shoe_size=44)) == {"age": 30}
    assert attributes(profile(0, shoe_size=44)) == {}
    assert attributes(fact(0, "profile_update")) == {}


def test_each_attribute_holds_what_is_newest_by_event_time() -> None:
    """A late update fills in what nothing newer has said; of one instant the later in the log wins."""
    first, late = profile(10, age=50), profile(5, age=30, location="NYC")
    assert attributes(first, late) == {"age": 50, "location": "NYC"}
    assert attributes(late, first) == {"age": 50, "location": "NYC"}
    assert attributes(profile(5, age=1), profile(5, age=2)) == {"age": 2}


def test_null_unsets_an_attribute_at_its_event_time() -> None:
    """A value of before that arrives later does not come back."""
    assert attributes(profile(0, age=30), profile(5, age=None)) == {"age": None}
    assert attributes(profile(5, age=None), profile(0, age=30)) == {"age": None}
    assert attributes(profile(5, age=None), profile(6, age=30)) == {"age": 30}


def test_only_a_profile_update_sets_attributes() -> None:
    """The properties of a view are the view's."""
    assert attributes(fact(0, "product_view", properties={"age": 30})) == {}


def test_a_record_is_the_same_after_a_round_trip_through_its_bytes() -> None:
    """What is written to the state topic is all there is."""
    customer = after(
        view(0),
        fact(1, "add_to_cart", product_id="p", price=3.0, cart_id="A"),
        order(2, order_id="o1", product_id="q", price=5.0),
        profile(3, age=30, since="2020-01-01", consent=None),
    )
    again = msgspec.msgpack.decode(msgspec.msgpack.encode(customer), type=Customer)
    for each in (customer, again):
        fold(each, fact(4, "remove_from_cart", product_id="p", cart_id="A"), DECLARED)
        fold(each, profile(2, age=1, location="NYC"), DECLARED)
    assert again == customer
