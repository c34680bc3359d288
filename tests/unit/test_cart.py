"""Laws of the cart: kept per cart and item, in the order of event time whatever the order of arrival."""

from __future__ import annotations

from typing import Any

import pytest

from stream.core.cart import LATENESS, MAX_CARTS, MAX_ENTRIES, MAX_LINES
from stream.core.customer import Customer, fold
from stream.core.fact import Fact

T = 1_772_438_400_000_000
MINUTE = 60_000_000


def fact(minute: float, kind: str, **fields: Any) -> Fact:
    return Fact(None, "c", kind, T + round(minute * MINUTE), True, **fields)


def add(minute: float, product: str = "p", price: float | None = 10.0, **fields: Any) -> Fact:
    return fact(minute, "add_to_cart", product_id=product, price=price, **fields)


def remove(minute: float, product: str = "p", **fields: Any) -> Fact:
    return fact(minute, "remove_from_cart", product_id=product, **fields)


def buy(minute: float, product: str | None = "p", **fields: Any) -> Fact:
    return fact(minute, "purchase", product_id=product, **fields)


def after(*facts: Fact) -> Customer:
    """The customer after these facts, in this order of arrival."""
    customer = Customer(0, "c", facts[0].time, facts[0].time)
    for each in facts:
        fold(customer, each, {})
    return customer


def cart(*facts: Fact) -> tuple[float, float]:
    """Items in the cart and their value."""
    customer = after(*facts)
    return customer.cart_items, customer.cart_value


def instants(*facts: Fact) -> tuple[float | None, float | None]:
    """Minutes at which the cart was started and updated."""
    customer = after(*facts)
    started, updated = customer.cart_started_at, customer.cart_updated_at
    return tuple(None if at is None else (at - T) / MINUTE for at in (started, updated))  # type: ignore[return-value]


def test_nothing_is_in_no_cart() -> None:
    """Before the first addition all is 0 and NULL; to remove or buy what is not there changes none of it."""
    for facts in ([fact(0, "page_view")], [remove(0)], [buy(0)], [buy(0, quantity=2.0)], [buy(0, None)]):
        assert cart(*facts) == (0, 0)
        assert instants(*facts) == (None, None)


def test_additions_add_up() -> None:
    """By item, with their quantities; a quantity that is not stated is one."""
    assert cart(add(0), add(1, quantity=2.0), add(2, "q", 5.0)) == (4, 35)


def test_the_newest_price_of_an_item_is_its_price() -> None:
    """By event time; one that states none leaves it as it was, and where none did it is worth nothing."""
    assert cart(add(0, price=10.0), add(1, price=8.0)) == (2, 16)
    assert cart(add(1, price=8.0), add(0, price=10.0)) == (2, 16)
    assert cart(add(0, price=10.0), add(1, price=None)) == (2, 20)
    assert cart(add(0, price=None)) == (1, 0)


def test_sums_are_kept_to_six_decimals() -> None:
    """Three times 0.1 is 0.3."""
    assert cart(*[add(n, price=0.1) for n in range(3)]) == (3, 0.3)


def test_an_addition_without_a_product_is_an_item_too() -> None:
    """What it is nobody knows; that there is something in the cart, and what it costs, is known."""
    customer = after(fact(0, "add_to_cart", price=7.0))
    assert (customer.cart_items, customer.cart_value) == (1, 7)


def test_a_removal_takes_out_the_item_or_as_many_as_it_says() -> None:
    """Without a quantity all of it."""
    assert cart(add(0, quantity=3.0), add(1, "q", 1.0), remove(2)) == (1, 1)
    assert cart(add(0, quantity=3.0), remove(1, quantity=2.0)) == (1, 10)


def test_a_removal_of_more_than_there_is_leaves_nothing_and_owes_nothing() -> None:
    """What is added afterwards is there."""
    assert cart(add(0), remove(1, quantity=5.0)) == (0, 0)
    assert cart(add(0), remove(1, quantity=5.0), add(2)) == (1, 10)


def test_carts_are_apart() -> None:
    """The same item in two carts is two items, and a removal means the cart that it names."""
    two = add(0, cart_id="A"), add(1, cart_id="B")
    assert cart(*two) == (2, 20)
    assert cart(*two, remove(2, cart_id="A")) == (1, 10)
    assert cart(*two, remove(2)) == (2, 20)


def test_a_purchase_clears_only_what_it_covers() -> None:
    """One product of the cart; of it as many as the purchase says, and all where it does not say."""
    filled = add(0, quantity=3.0), add(1, "q", 1.0)
    assert cart(*filled, buy(2)) == (1, 1)
    assert cart(*filled, buy(2, quantity=1.0)) == (3, 21)
    assert cart(*filled, buy(2, quantity=3.0)) == (1, 1)
    assert cart(*filled, buy(2, "other")) == (4, 31)


@pytest.mark.parametrize(
    "properties",
    [
        {"products": [{"product_id": "p", "quantity": 1}, {"product_id": "q"}]},
        {"items": [{"item_id": "p", "quantity": 1}, {"item_id": "q", "price": 1}]},
        {
            "products": [
                {"sku": "p", "quantity": 1},
                {"product_id": "q", "quantity": 9},
                {"name": "?"},
                7,
                None,
            ]
        },
    ],
    ids=["Segment", "GA4", "with entries that name nothing"],
)
def test_an_order_covers_the_products_that_it_lists(properties: dict[str, Any]) -> None:
    """Segment's ``products`` and GA4's ``items``; the rest stays in the cart."""
    filled = add(0, quantity=3.0), add(1, "q", 1.0), add(2, "r", 100.0)
    assert cart(*filled, buy(3, None, properties=properties)) == (3, 120)


def test_an_order_that_lists_nothing_covers_the_cart_that_it_names() -> None:
    """Or every cart, where it names none."""
    filled = add(0, cart_id="A"), add(1, "q", cart_id="A"), add(2, cart_id="B")
    assert cart(*filled, buy(3, None, cart_id="A")) == (1, 10)
    assert cart(*filled, buy(3, None)) == (0, 0)
    assert cart(*filled, buy(3, None, cart_id="C")) == (3, 30)


def test_a_purchase_that_names_no_cart_covers_the_one_that_holds_its_product() -> None:
    """Shops that name carts when they are filled do not always name them when they are bought."""
    filled = add(0, cart_id="A"), add(1, "q", cart_id="B")
    assert cart(*filled, buy(2)) == (1, 10)
    assert cart(*filled, buy(2, cart_id="B")) == (2, 20)


def test_at_one_instant_the_later_in_the_log_comes_after() -> None:
    """Also of two purchases: what was put in between them is bought."""
    assert cart(buy(1), add(1)) == (1, 10)
    assert cart(buy(1), add(1), buy(1)) == (0, 0)
    assert cart(buy(1), add(1), remove(1), add(1)) == (1, 10)


def test_a_late_addition_of_before_the_purchase_stays_bought() -> None:
    """Whether the purchase names the product, a quantity of it, or nothing at all."""
    assert cart(add(0), buy(10), add(5)) == (0, 0)
    assert cart(add(0), buy(10, None), add(5)) == (0, 0)
    assert cart(add(0), buy(10, None), add(5, "never seen before")) == (0, 0)
    assert cart(buy(10), add(5)) == (0, 0)


def test_a_late_addition_of_after_the_purchase_is_in_the_cart() -> None:
    """It happened after, whenever it arrives."""
    assert cart(add(0), buy(10), add(30, "q"), add(20)) == (2, 20)


def test_a_late_purchase_covers_what_was_there_by_then() -> None:
    """What was added after it stays."""
    assert cart(add(0), add(20), buy(10)) == (1, 10)
    assert cart(add(0), add(20), buy(10, None)) == (1, 10)
    assert cart(add(0), add(20), remove(10)) == (1, 10)
    assert cart(add(0), add(20), buy(10, quantity=1.0)) == (1, 10)


def test_a_purchase_of_some_takes_them_from_what_was_there_at_its_time() -> None:
    """Five put in, two bought: three are left, in whichever order the two arrive."""
    assert cart(add(0, quantity=5.0), buy(10, quantity=2.0)) == (3, 30)
    assert cart(buy(10, quantity=2.0), add(0, quantity=5.0)) == (3, 30)


def test_more_may_be_bought_than_was_in_the_cart() -> None:
    """Nothing is owed."""
    assert cart(add(0), buy(10, quantity=4.0), add(20)) == (1, 10)


def test_who_adds_again_after_an_order_has_a_new_cart() -> None:
    """Its age is that of the addition, not of the first visit."""
    assert instants(add(0), buy(5), add(40)) == (40, 40)
    assert instants(add(0), buy(5, None), add(40)) == (40, 40)


@pytest.mark.parametrize("emptied", [remove(5, quantity=1.0), buy(5, quantity=1.0)], ids=["removed", "bought"])
def test_a_cart_that_was_emptied_piece_by_piece_starts_anew(emptied: Fact) -> None:
    """It is as old as its first addition since it was last empty, by whatever it became so."""
    assert instants(add(0), emptied, add(40)) == (40, 40)
    assert instants(add(0), add(40), emptied) == (40, 40)


def test_a_cart_starts_with_its_first_addition_and_is_updated_by_every_fact_about_it() -> None:
    """By event time; what happened to a cart that is empty by now is over."""
    assert instants(add(0), add(3, "q")) == (0, 3)
    assert instants(add(0), add(3, "q"), remove(7, "q")) == (0, 7)
    assert instants(add(0), add(3, "q"), buy(7)) == (3, 7)
    assert instants(add(3, "q"), add(0)) == (0, 3)
    assert instants(add(0), remove(9)) == (None, None)


def test_a_cart_that_is_empty_does_not_make_another_look_touched() -> None:
    """The instants are those of carts that hold something."""
    assert instants(add(0, cart_id="A"), add(1, cart_id="B"), buy(9, None, cart_id="B")) == (0, 0)


def test_of_facts_of_one_instant_the_later_in_the_log_wins() -> None:
    """Shops whose clocks tick in seconds remove and add again within one."""
    assert cart(add(0), buy(0)) == (0, 0)
    assert cart(add(0), remove(0)) == (0, 0)
    assert cart(buy(0), add(0)) == (1, 10)
    assert cart(add(-1), remove(0), add(0)) == (1, 10)


def test_many_additions_of_one_item_are_folded_and_none_is_lost() -> None:
    """Past the bound the oldest are summed up; the quantity and the price stay exact."""
    many = [add(n, price=float(n)) for n in range(3 * MAX_ENTRIES)]
    assert cart(*many) == (3 * MAX_ENTRIES, 3 * MAX_ENTRIES * (3 * MAX_ENTRIES - 1))
    customer = after(*many)
    assert customer.carts is not None
    assert len(customer.carts[""].lines["p"].entries) == MAX_ENTRIES
    assert cart(*many, buy(500)) == (0, 0)


def test_folding_keeps_when_the_cart_was_started() -> None:
    """A cart that somebody keeps filling is as old as its first addition."""
    assert instants(*[add(n) for n in range(MAX_ENTRIES + 5)])[0] == 0


def test_one_customer_has_a_bounded_number_of_carts_and_items() -> None:
    """The least recently used cart, and the oldest item, give way."""
    carts = after(*[add(n, cart_id=f"cart{n}") for n in range(MAX_CARTS + 3)])
    assert carts.carts is not None
    assert list(carts.carts) == [f"cart{n}" for n in range(3, MAX_CARTS + 3)]
    items = after(*[add(n, f"item{n}", 1.0) for n in range(MAX_LINES + 3)])
    assert items.cart_items == MAX_LINES
    assert items.carts is not None
    assert "item2" not in items.carts[""].lines


def test_what_was_emptied_is_forgotten_after_a_week() -> None:
    """By then no addition of before is on its way; a line that holds something is kept for ever."""
    week = LATENESS / MINUTE
    customer = after(add(0), add(0, "q"), buy(1), add(week + 2, "r"))
    assert customer.carts is not None
    assert set(customer.carts[""].lines) == {"q", "r"}
    emptied = after(add(0, cart_id="A"), buy(1, cart_id="A"), add(week + 2, cart_id="B"))
    assert emptied.carts is not None
    assert list(emptied.carts) == ["B"]
