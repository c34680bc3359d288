"""How the shop's clients word what customers do: the web shop, the app, a partner's site, an old pixel.

The web shop speaks the words of ``schemas/events.py``. The app has the names of Google Analytics 4, the
partner those of the Segment e-commerce spec. The old pixel gives no event ids and knows only whole seconds.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, NamedTuple, TypeAlias

import orjson

from stream.demo.catalog import Product

_NEW_YORK = timezone(timedelta(hours=-5))
_GA4 = {
    "product_view": "view_item",
    "checkout_started": "begin_checkout",
    "search": "search",
    "page_view": "page_view",
}
_SEGMENT = {
    "product_view": "Product Viewed",
    "search": "Products Searched",
    "add_to_cart": "Product Added",
    "remove_from_cart": "Product Removed",
    "checkout_started": "Checkout Started",
    "purchase": "Order Completed",
    "email_open": "Email Opened",
    "email_click": "Email Link Clicked",
}


class Line(NamedTuple):
    """One line of a cart or an order."""

    product: Product
    quantity: int


@dataclass(frozen=True, slots=True)
class Act:
    """Something a customer does, before any client has worded it. ``time`` in µs (whole milliseconds)."""

    kind: str
    time: int
    event_id: str
    customer_id: str | int
    session_id: str | None = None
    user_agent: str | None = None
    line: Line | None = None
    order: tuple[Line, ...] = ()
    order_id: str | None = None
    cart_id: str | None = None
    properties: dict[str, Any] | None = None

    @property
    def total(self) -> float:
        """What the order costs."""
        return round(sum(line.product.price * line.quantity for line in self.order), 2)


Dialect: TypeAlias = Callable[[Act], bytes]


def web(act: Act) -> bytes:
    """The web shop: the canonical words, ISO 8601 in UTC."""
    return _encode(_canonical(act) | {"timestamp": iso(act.time)})


def pixel(act: Act) -> bytes:
    """The old tracking pixel: no event id, epoch seconds."""
    return _encode(_canonical(act) | {"event_id": None, "timestamp": act.time // 1_000_000})


def app(act: Act) -> bytes:
    """The app: names of GA4, an order as one event with ``items``, epoch milliseconds."""
    event = _canonical(act) | {"event_type": _GA4.get(act.kind, act.kind), "timestamp": act.time // 1000}
    if act.order:
        items = [
            {"item_id": line.product.id, "price": line.product.price, "quantity": line.quantity} for line in act.order
        ]
        event |= {
            "price": None,
            "cart_id": None,
            "properties": {"value": act.total, "currency": "USD", "items": items},
        }
    return _encode(event)


def partner(act: Act) -> bytes:
    """The partner's site: Segment's names, everything in ``properties``, ISO 8601 with New York's offset."""
    properties: dict[str, Any] = dict(act.properties or {})
    if act.line is not None:
        product = act.line.product
        properties |= {
            "product_id": product.id,
            "name": product.name,
            "category": product.category,
            "price": product.price,
            "quantity": act.line.quantity if act.kind != "product_view" else None,
            "currency": "USD",
            "cart_id": act.cart_id,
        }
    if act.order:
        products = [
            {"product_id": line.product.id, "price": line.product.price, "quantity": line.quantity}
            for line in act.order
        ]
        properties |= {
            "order_id": act.order_id,
            "revenue": act.total,
            "currency": "USD",
            "products": products,
        }
    event = {
        "messageId": act.event_id,
        "userId": act.customer_id,
        "event": _SEGMENT.get(act.kind, act.kind),
        "timestamp": iso(act.time, _NEW_YORK),
        "properties": {name: value for name, value in properties.items() if value is not None},
    }
    return _encode(event)


def _canonical(act: Act) -> dict[str, Any]:
    event: dict[str, Any] = {
        "event_id": act.event_id,
        "customer_id": act.customer_id,
        "event_type": act.kind,
        "timestamp": None,
        "session_id": act.session_id,
        "user_agent": act.user_agent,
        "cart_id": act.cart_id,
        "order_id": act.order_id,
        "properties": act.properties,
    }
    if act.line is not None:
        product = act.line.product
        event |= {"product_id": product.id, "category": product.category, "price": product.price}
        if act.kind != "product_view":
            event |= {"quantity": act.line.quantity, "currency": "USD"}
    if act.order:
        event |= {"price": act.total, "currency": "USD"}
    return event


def _encode(event: dict[str, Any]) -> bytes:
    return orjson.dumps({name: value for name, value in event.items() if value is not None})


def iso(time: int, zone: timezone = UTC) -> str:
    """ISO 8601 with milliseconds of an instant in µs."""
    moment = datetime.fromtimestamp(time // 1_000_000, zone).replace(microsecond=time % 1_000_000)
    text = moment.isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")
