"""What a cart keeps beside its lines (their sums, when something of it can be forgotten) is what the lines say."""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.core.cart import EVERY_CART, LATENESS, Cart
from stream.core.customer import Customer, fold
from stream.core.fact import Fact

T = 1_772_438_400_000_000
HOUR = 3_600_000_000
COLUMNS = "cart_value", "cart_items", "cart_started_at", "cart_updated_at"
KINDS = "add_to_cart", "add_to_cart", "remove_from_cart", "purchase"

numbers = st.sampled_from([None, 1.0, 2.0, 0.1, 1 / 3, -1.0, 19.99, 123_456.7, 1e15])
facts = st.builds(
    lambda kind, hour, product, cart, price, pieces: Fact(
        None, "c", kind, T + hour * HOUR, True, product, None, price, pieces, None, None, cart
    ),
    st.sampled_from(KINDS),
    st.integers(0, 3 * LATENESS // HOUR),
    st.sampled_from([None, "p", "q", "r"]),
    st.sampled_from([None, "A", "B"]),
    numbers,
    numbers,
)


def counted(cart: Cart) -> Cart:
    """The same cart, with everything counted anew."""
    other = Cart(cart.cleared, cart.updated, cart.lines)
    other.count()
    return other


def as_of_before(record: bytes) -> Customer:
    """A record as it was written when carts had nothing but their lines."""
    fields: list[Any] = msgspec.msgpack.decode(record)
    carts = fields[Customer.__struct_fields__.index("carts")]
    for name, cart in (carts or {}).items():
        carts[name] = cart[:3]
    return msgspec.convert(fields, Customer)


@settings(max_examples=300)
@given(st.lists(facts, min_size=1, max_size=30))
def test_the_sums_of_a_cart_are_what_counting_gives(log: list[Fact]) -> None:
    """After every fact, in whatever order they come; and nothing can be forgotten earlier than the cart says."""
    customer = Customer(0, "c", T, T)
    for fact in log:
        fold(customer, fact, {})
        value = items = 0
        for name, cart in (customer.carts or {}).items():
            anew = counted(cart)
            value, items = value + anew.value, items + anew.items
            if cart.filled >= 0:
                assert (cart.value, cart.items, cart.filled) == (anew.value, anew.items, anew.filled)
                assert not cart.filled or cart.started == anew.started
            empty = [line for line in cart.lines.values() if line.quantity <= 0]
            for line in empty:
                assert max(line.cleared, line.entries[-1][0] if line.entries else -1) >= cart.oldest
            assert cart.filled or cart.lines or name == EVERY_CART or cart.updated >= cart.oldest
        assert (customer.cart_value, customer.cart_items) == (value / 1_000_000, items / 1_000_000)


@settings(max_examples=300)
@given(st.lists(facts, min_size=1, max_size=10), st.lists(facts, min_size=1, max_size=10))
def test_a_cart_goes_on_from_its_record(before: list[Fact], after: list[Fact]) -> None:
    """From one that was just written, and from one of before these sums were kept."""
    customer = Customer(0, "c", T, T)
    for fact in before:
        fold(customer, fact, {})
    record = msgspec.msgpack.encode(customer)
    read, old = msgspec.msgpack.decode(record, type=Customer), as_of_before(record)
    for fact in after:
        for each in (customer, read, old):
            fold(each, fact, {})
        assert read == customer
        assert [getattr(old, name) for name in COLUMNS] == [getattr(customer, name) for name in COLUMNS]
