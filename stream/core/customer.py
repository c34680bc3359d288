"""One customer's live record, and how a fact folds into it.

Facts are ordered by *event time*: a late view does not become the last viewed. Between facts of the same event time
the one that is later in the log wins. Sums are kept to six decimals.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from schemas.scalars import MAX_TEXT
from stream.core.attributes import MAX_TEXTS, AttributeValue, TooMuchText, coerce
from stream.core.cart import Cart, purchase, rounded, totals
from stream.core.cart import change as cart_change
from stream.core.decode import Fact

#: Order ids remembered per customer, so that the lines of one order count as one.
RECENT_ORDERS = 8
#: Larger numbers are not understood; the limit of numbers at the top level of an event.
_LARGEST = 1e15


class Customer(msgspec.Struct, array_like=True, gc=False):
    """The record of one customer; all instants in µs since the epoch, None is SQL's NULL.

    Absolute, and stamped: ``offset`` is that of the last log record that it covers. ``book`` is the number (in its
    partition) of the definition book that it was last evaluated under. ``members`` maps a segment to the instant of
    its entry, ``due`` to the instant of its next change by time alone, ``holds`` to what holds it back
    (``hysteresis``). ``wake`` is the instant of the record's entry
    on the partition's heap, ``mark`` the checkpoint that will hold it as it is now; both mean nothing on disk.
    """

    offset: int
    customer_id: str
    first_seen_at: int
    last_seen_at: int
    book: int = 0
    sequence: int = 0
    last_viewed_product: str | None = None
    recent_view_category: str | None = None
    last_viewed_at: int | None = None
    view_count: int = 0
    cart_value: float = 0.0
    cart_items: float = 0.0
    cart_started_at: int | None = None
    cart_updated_at: int | None = None
    order_count: int = 0
    total_spent: float = 0.0
    last_order_at: int | None = None
    rate_window: int = -1
    rate_count: int = 0
    members: dict[str, int] | None = None
    due: dict[str, int] | None = None
    memory: dict[str, list[Any]] | None = None
    attributes: dict[str, tuple[AttributeValue, int]] | None = None
    carts: dict[str, Cart] | None = None
    orders: list[str] | None = None
    holds: dict[str, tuple[int | None, int | None]] | None = None
    wake: int = 0
    mark: int = 0

    def attribute(self, name: str) -> AttributeValue:
        """The value of a declared attribute, None (NULL) where the customer has none."""
        held = self.attributes.get(name) if self.attributes else None
        return held[0] if held is not None else None


def fold(customer: Customer, fact: Fact, declared: Mapping[str, str]) -> None:
    """Fold one behaviour fact or profile update into the record.

    ``declared`` maps attribute names to their types. Raises ``AttributeTypeError`` before anything is changed.
    """
    kind = fact.event_type
    time = fact.time
    if kind == "product_view":
        customer.view_count += 1
        last = customer.last_viewed_at
        if last is None or time >= last:
            customer.last_viewed_at = time
            customer.last_viewed_product = fact.product_id
            customer.recent_view_category = fact.category
    elif kind == "add_to_cart" or kind == "remove_from_cart":
        _fold_cart(customer, fact)
    elif kind == "purchase":
        _fold_purchase(customer, fact)
    elif kind == "profile_update":
        _fold_profile(customer, fact, declared)
    if time > customer.last_seen_at:
        customer.last_seen_at = time
    elif time < customer.first_seen_at:
        customer.first_seen_at = time


def _fold_cart(customer: Customer, fact: Fact) -> None:
    carts = customer.carts
    if carts is None:
        carts = customer.carts = {}
    adding = fact.event_type == "add_to_cart"
    for product, quantity, price in items_of(fact) or [("", fact.quantity, fact.price or 0.0)]:
        if adding:
            delta: float | None = 1.0 if quantity is None else quantity
        else:
            delta = None if quantity is None else -quantity
        cart_change(carts, fact.cart_id, product, delta, price, fact.time)
    _total(customer, carts, fact.time)


def _fold_purchase(customer: Customer, fact: Fact) -> None:
    bought = items_of(fact)
    amount = fact.price
    if amount is not None:
        amount *= 1.0 if fact.quantity is None else fact.quantity
    elif fact.product_id is None:
        amount = sum(price * (1.0 if quantity is None else quantity) for _, quantity, price in bought)
    if amount:
        customer.total_spent = rounded(customer.total_spent + amount)
    order = fact.order_id
    orders = customer.orders
    if order is None or orders is None or order not in orders:
        customer.order_count += 1
        if order is not None:
            customer.orders = [*orders, order][-RECENT_ORDERS:] if orders else [order]
    if customer.last_order_at is None or fact.time > customer.last_order_at:
        customer.last_order_at = fact.time
    carts = customer.carts
    if carts is None:
        # Kept although nothing is in it: an addition of earlier event time may still be on its way.
        carts = customer.carts = {}
    purchase(carts, fact.cart_id, bought, fact.time)
    _total(customer, carts, fact.time)


def items_of(fact: Fact) -> list[tuple[str, float | None, float]]:
    """What a purchase or a change of a cart names: ``(product, quantity or None, unit price or 0)``.

    One product at the top level, else the ``products`` (Segment) or ``items`` (GA4) of its properties; entries that
    name no product, or one whose name is longer than a product's may be, are passed over.
    """
    if fact.product_id is not None:
        return [(fact.product_id, fact.quantity, fact.price or 0.0)]
    return list(_listed(fact.properties)) if fact.properties else []


def _listed(properties: Mapping[str, Any]) -> Iterator[tuple[str, float | None, float]]:
    listed = properties.get("products") or properties.get("items")
    for entry in listed if isinstance(listed, list) else ():
        if not isinstance(entry, dict):
            continue
        product = entry.get("product_id") or entry.get("item_id") or entry.get("sku")
        if not isinstance(product, str | int) or isinstance(product, bool):
            continue
        name = str(product).strip()
        if len(name) <= MAX_TEXT:
            yield name, _number(entry.get("quantity")), _number(entry.get("price")) or 0.0


def _number(value: Any) -> float | None:
    """A listed number as at the top level of an event: finite, and text will do."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if abs(number) <= _LARGEST else None


def _total(customer: Customer, carts: dict[str, Cart], time: int) -> None:
    sums = totals(carts, max(customer.last_seen_at, time))
    customer.cart_value, customer.cart_items, customer.cart_started_at, customer.cart_updated_at = sums


def _fold_profile(customer: Customer, fact: Fact, declared: Mapping[str, str]) -> None:
    stated = fact.properties
    if not stated:
        return
    fresh = {name: coerce(name, stated[name], kind) for name, kind in declared.items() if name in stated}
    if not fresh:
        return
    held = dict(customer.attributes or {})
    for name, value in fresh.items():
        known = held.get(name)
        if known is None or fact.time >= known[1]:
            held[name] = (value, fact.time)
    if sum(len(value) for value, _ in held.values() if isinstance(value, str)) > MAX_TEXTS:
        raise TooMuchText
    customer.attributes = held
