"""The cart is a function of the set of facts: the order of their arrival changes nothing in it.

Facts have distinct event times and stay within the documented bounds: entries, items, carts, lateness.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

from hypothesis import given, settings
from hypothesis import strategies as st

from stream.core.customer import Customer, fold
from stream.core.fact import Fact

T = 1_772_438_400_000_000
MINUTE = 60_000_000
PRODUCTS = ("p", "q")
CARTS = ("A", "B")
LAST = 100


class Step(NamedTuple):
    """One fact about carts."""

    kind: str
    product: str | None
    cart: str | None
    pieces: float | None
    price: float | None
    minute: int

    @property
    def fact(self) -> Fact:
        time = T + self.minute * MINUTE
        stated = self.product, None, self.price, self.pieces, None, None, self.cart
        return Fact(None, "c", self.kind, time, True, *stated)


Log: TypeAlias = list[Step]
Texts: TypeAlias = st.SearchStrategy[str | None]
Numbers: TypeAlias = st.SearchStrategy[float | None]

nothing = st.none()
pieces: Numbers = st.sampled_from([None, 1.0, 2.0, 5.0])
products: Texts = st.sampled_from(PRODUCTS)
carts: Texts = st.sampled_from(CARTS)
prices = st.sampled_from([3.0, 10.0])
last = st.just(LAST)
additions = st.builds(Step, st.just("add_to_cart"), products, carts, pieces, prices, last)
removals = st.builds(Step, st.just("remove_from_cart"), products, carts, pieces, nothing, last)


def purchases(bought: Texts, of: Texts, some: Numbers) -> st.SearchStrategy[Step]:
    return st.builds(Step, st.just("purchase"), bought, of, some, nothing, last)


def arrivals(*kinds: st.SearchStrategy[Step]) -> st.SearchStrategy[tuple[Log, Log]]:
    """Facts in the order of their event times, and in an order of arrival; half of them are additions."""

    def timed(steps: Log) -> st.SearchStrategy[tuple[Log, Log]]:
        log = [step._replace(minute=minute) for minute, step in enumerate(steps)]
        return st.tuples(st.just(log), st.permutations(log))

    return st.lists(additions | st.one_of(kinds), min_size=1, max_size=10).flatmap(timed)


def cart(log: Sequence[Step]) -> tuple[float, float, int | None, int | None]:
    """Items, value, and the minutes of start and last update, after ``log`` in its order of arrival."""
    customer = Customer(0, "c", log[0].fact.time, log[0].fact.time)
    for step in log:
        fold(customer, step.fact, {})
    since = customer.cart_started_at, customer.cart_updated_at
    started, updated = (None if at is None else (at - T) // MINUTE for at in since)
    return customer.cart_items, customer.cart_value, started, updated


def by_the_book(log: Sequence[Step]) -> tuple[float, float]:
    """Items and value by the plainest means: one fact after the other, in the order of event time."""
    lines: dict[tuple[str | None, str | None], tuple[float, float]] = {}
    for step in sorted(log, key=lambda step: step.minute):
        line = step.cart, step.product
        count, price = lines.get(line, (0.0, 0.0))
        if step.kind == "add_to_cart":
            lines[line] = count + (1.0 if step.pieces is None else step.pieces), step.price or price
        elif step.product is None:
            lines = {other: held for other, held in lines.items() if other[0] != step.cart}
        else:
            lines[line] = (0.0 if step.pieces is None else max(0.0, count - step.pieces)), price
    return sum(count for count, _ in lines.values()), sum(count * price for count, price in lines.values())


EVERYTHING = removals, purchases(products, carts, pieces), purchases(nothing, carts, nothing)


@given(arrivals(removals))
def test_additions_and_removals_may_come_in_any_order(logs: tuple[Log, Log]) -> None:
    """What is in the cart, what it is worth, since when and until when."""
    assert cart(logs[1]) == cart(logs[0])


@given(arrivals(purchases(products, carts, nothing)))
def test_purchases_of_items_may_come_in_any_order(logs: tuple[Log, Log]) -> None:
    """A purchase that names its cart and its product, and so all of it."""
    assert cart(logs[1]) == cart(logs[0])


@given(arrivals(purchases(products, carts, pieces)))
def test_purchases_of_some_pieces_may_come_in_any_order(logs: tuple[Log, Log]) -> None:
    """What a purchase leaves does not depend on whether it arrived before what it bought."""
    assert cart(logs[1]) == cart(logs[0])


@given(arrivals(purchases(nothing, carts, nothing)))
def test_purchases_of_whole_carts_may_come_in_any_order(logs: tuple[Log, Log]) -> None:
    """Items that nobody had heard of when their cart was bought are bought, too."""
    assert cart(logs[1]) == cart(logs[0])


@given(arrivals(purchases(products, nothing, nothing)))
def test_purchases_of_items_without_a_cart_may_come_in_any_order(logs: tuple[Log, Log]) -> None:
    """The cart that holds the product is bought, whether its additions have arrived or not."""
    assert cart(logs[1]) == cart(logs[0])


@given(arrivals(purchases(nothing, nothing, nothing)))
def test_purchases_of_everything_may_come_in_any_order(logs: tuple[Log, Log]) -> None:
    """A purchase that names nothing covers every cart as it was at that time, arrived or not."""
    assert cart(logs[1]) == cart(logs[0])


@settings(max_examples=200)
@given(arrivals(*EVERYTHING))
def test_the_cart_is_what_the_facts_say_in_the_order_of_their_times(logs: tuple[Log, Log]) -> None:
    """Items and value, in whichever order the facts arrived."""
    for log in logs:
        assert cart(log)[:2] == by_the_book(log)


@given(arrivals(removals, purchases(products, carts, nothing)))
def test_a_purchase_clears_only_what_it_covers(logs: tuple[Log, Log]) -> None:
    """Lines do not know of each other: together they are what each would be alone."""
    items = value = 0.0
    for where in CARTS:
        for product in PRODUCTS:
            line = [step for step in logs[1] if (step.cart, step.product) == (where, product)]
            if line:
                some, worth, _, _ = cart(line)
                items += some
                value += worth
    assert cart(logs[1])[:2] == (items, value)


@given(arrivals(*EVERYTHING), additions, st.integers(0, LAST - 1))
def test_a_late_addition_of_before_its_purchase_changes_nothing(logs: tuple[Log, Log], late: Step, minute: int) -> None:
    """Neither in the cart that was bought nor in any other: it is as if it had never been."""
    bought = Step("purchase", late.product, late.cart, None, None, LAST)
    so_far = [*logs[1], bought]
    assert cart([*so_far, late._replace(minute=minute)]) == cart(so_far)


@given(arrivals(*EVERYTHING), additions)
def test_an_addition_of_after_everything_is_in_the_cart(logs: tuple[Log, Log], added: Step) -> None:
    """What arrives afterwards, and happened before, does not take it out."""
    assert cart([added, *logs[1]])[0] >= (1.0 if added.pieces is None else added.pieces)
