"""The live columns of a customer, as segments see them, and which facts can change which.

Instants are µs since the epoch inside the core; a column without a value is None, SQL's NULL.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import Final, Literal, TypeAlias

ColumnType: TypeAlias = Literal["text", "number", "integer", "boolean", "timestamp"]

#: Every live column with its type. Declared attributes of the definition book come on top of these.
COLUMNS: Final[MappingProxyType[str, ColumnType]] = MappingProxyType(
    {
        "customer_id": "text",
        "last_viewed_product": "text",
        "recent_view_category": "text",
        "last_viewed_at": "timestamp",
        "cart_value": "number",
        "cart_items": "number",
        "cart_started_at": "timestamp",
        "cart_updated_at": "timestamp",
        "first_seen_at": "timestamp",
        "last_seen_at": "timestamp",
        "view_count": "integer",
        "order_count": "integer",
        "total_spent": "number",
        "last_order_at": "timestamp",
    }
)

#: Changed by whatever a customer does, a profile update included.
SEEN: Final = frozenset({"first_seen_at", "last_seen_at"})
#: Known with the first fact and the same ever after.
FIXED: Final = frozenset({"customer_id"})

_VIEW: Final = frozenset({"last_viewed_product", "recent_view_category", "last_viewed_at", "view_count"})
_CART: Final = frozenset({"cart_value", "cart_items", "cart_started_at", "cart_updated_at"})
_ORDER: Final = frozenset({"order_count", "total_spent", "last_order_at"})

_BY_EVENT: Final = MappingProxyType(
    {
        "product_view": SEEN | _VIEW,
        "add_to_cart": SEEN | _CART,
        "remove_from_cart": SEEN | _CART,
        "purchase": SEEN | _CART | _ORDER,
    }
)

#: The one event type whose facts change declared attributes.
ATTRIBUTES_CHANGE_WITH: Final = "profile_update"


def columns_of_event(event_type: str) -> frozenset[str]:
    """The live columns that a fact of the (canonical) type can change; attributes are not among them."""
    return _BY_EVENT.get(event_type, SEEN)


def event_types_with_columns() -> frozenset[str]:
    """The event types that change more than ``first_seen_at`` and ``last_seen_at``."""
    return frozenset(_BY_EVENT)
