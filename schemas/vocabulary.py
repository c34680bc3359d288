"""Names: the event types and field names that we use, and what other vocabularies call them.

Sources: Segment's e-commerce spec v2 (and the v1 names that its libraries still send), email spec and
message envelope (https://www.twilio.com/docs/segment/connections/spec); GA4's recommended and automatically
collected events (https://developers.google.com/analytics/devguides/collection/ga4/reference/events).

Left custom on purpose: clicks in lists ("Product Clicked", ``select_item``), because the view of the
product follows and would count twice; steps within a checkout; and everything that undoes or edits an order
("Order Refunded", ``refund``, "Order Updated", "Order Cancelled"), because it is no purchase.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum


class EventType(StrEnum):
    """The event types that the customer record understands. Any other name is a custom type."""

    PRODUCT_VIEW = "product_view"
    PAGE_VIEW = "page_view"
    SEARCH = "search"
    ADD_TO_CART = "add_to_cart"
    REMOVE_FROM_CART = "remove_from_cart"
    CHECKOUT_STARTED = "checkout_started"
    CART_ABANDONMENT = "cart_abandonment"
    PURCHASE = "purchase"
    EMAIL_OPEN = "email_open"
    EMAIL_CLICK = "email_click"
    #: Its ``properties`` are profile attributes.
    PROFILE_UPDATE = "profile_update"


#: Name elsewhere -> ours. Matched exactly, then without regard to case.
ALIASES: dict[str, str] = {
    # Segment, e-commerce spec v2
    "Products Searched": "search",
    "Product List Viewed": "page_view",  # a page of a category, no product in particular
    "Product Viewed": "product_view",
    "Product Added": "add_to_cart",
    "Wishlist Product Added to Cart": "add_to_cart",
    "Product Removed": "remove_from_cart",
    "Cart Viewed": "page_view",
    "Checkout Started": "checkout_started",
    "Order Completed": "purchase",
    # Segment, e-commerce spec v1
    "Viewed Product Category": "page_view",
    "Viewed Product": "product_view",
    "Added Product": "add_to_cart",
    "Removed Product": "remove_from_cart",
    "Completed Order": "purchase",
    # Segment, email spec and calls
    "Email Opened": "email_open",
    "Email Link Clicked": "email_click",
    "identify": "profile_update",
    "page": "page_view",
    "screen": "page_view",
    # GA4 (page_view, search, add_to_cart, remove_from_cart and purchase are ours already)
    "screen_view": "page_view",
    "view_item_list": "page_view",
    "view_cart": "page_view",
    "view_item": "product_view",
    "view_search_results": "search",
    "begin_checkout": "checkout_started",
    "ecommerce_purchase": "purchase",
}

#: Every name that is understood exactly as it stands -> ours.
CANONICAL: Mapping[str, str] = {**{kind.value: kind.value for kind in EventType}, **ALIASES}
_FOLDED: Mapping[str, str] = {name.lower(): kind for name, kind in CANONICAL.items()}


def canonical_type(name: str) -> str:
    """Our name for an event type: trimmed, and a custom type as it is."""
    name = name.strip()
    return CANONICAL.get(name) or _FOLDED.get(name.lower()) or name


#: Field -> names at the top level that stand in for it where it is missing, in this order.
FIELD_ALIASES: Mapping[str, tuple[str, ...]] = {
    "customer_id": ("userId", "user_id"),
    "event_type": ("event", "event_name"),
    "event_id": ("messageId",),
}
#: What ``type`` says of every behaviour in a Segment message; of other calls it is the event type.
SEGMENT_TRACK = "track"
#: Field -> names within Segment's ``context`` that stand in for it.
CONTEXT_ALIASES: Mapping[str, tuple[str, ...]] = {"user_agent": ("userAgent",), "ip": ("ip",)}

#: Types whose ``name`` property names a product, for want of any id.
PRODUCT_TYPES = frozenset({"product_view", "add_to_cart", "remove_from_cart"})
#: Field -> names in ``properties`` that stand in for it where it is missing at the top level, in this order.
PROPERTY_ALIASES: Mapping[str, tuple[str, ...]] = {
    "product_id": ("product_id", "item_id", "sku"),
    "category": ("category", "item_category"),
    "price": ("price",),
    "quantity": ("quantity",),
    "currency": ("currency",),
    "order_id": ("order_id", "transaction_id"),
    "cart_id": ("cart_id",),
}
#: Further names of the product, for ``PRODUCT_TYPES`` only.
PRODUCT_NAMES = ("name", "item_name")
#: Lists of products; one that holds a single product speaks for an event of ``PRODUCT_TYPES``.
PRODUCT_LISTS = ("products", "items")
#: What a whole order came to, for ``purchase`` only.
ORDER_AMOUNTS = ("revenue", "total", "value")
#: Every name above: properties that have none of them say nothing that a field is missing.
SPEAKING_PROPERTIES: frozenset[str] = frozenset(
    [name for names in PROPERTY_ALIASES.values() for name in names] + [*PRODUCT_NAMES, *PRODUCT_LISTS, *ORDER_AMOUNTS]
)
