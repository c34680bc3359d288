"""An event in another vocabulary, said in ours: names only, values stay as they are.

A field is missing where it is absent, null or blank. Then, and only then, another name speaks for it: at
the top level (``userId``, ``event``, ``messageId``, ``traits``), in Segment's ``context``, or in
``properties`` (``revenue``, ``item_id``).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pydantic_core import PydanticCustomError

from schemas.scalars import number, text
from schemas.vocabulary import (
    CANONICAL,
    CONTEXT_ALIASES,
    FIELD_ALIASES,
    ORDER_AMOUNTS,
    PRODUCT_LISTS,
    PRODUCT_NAMES,
    PRODUCT_TYPES,
    PROPERTY_ALIASES,
    SEGMENT_TRACK,
    canonical_type,
)

_NUMBERS = frozenset({"price", "quantity"})


def missing(value: Any) -> bool:
    """Absent, null or blank."""
    return value is None or (isinstance(value, str) and not value.strip())


def in_our_words(data: Mapping[str, Any]) -> dict[str, Any]:
    """The event's fields under our names, with the fallbacks filled in."""
    fields = dict(data)
    for field, names in FIELD_ALIASES.items():
        _fill(fields, field, data, names)
    if data.get("type") != SEGMENT_TRACK:
        _fill(fields, "event_type", data, ("type",))
    context = data.get("context")
    if isinstance(context, dict):
        for field, names in CONTEXT_ALIASES.items():
            _fill(fields, field, context, names)
    # Absent and null have the same reason for their rejection.
    fields.setdefault("customer_id", None)
    stated = fields.setdefault("event_type", None)
    kind = canonical_type(stated) if isinstance(stated, str) else ""
    properties = fields.get("properties")
    if kind == "profile_update":
        if properties is None and "traits" in data:
            fields["properties"] = data["traits"]
    elif isinstance(properties, dict):
        _fill_from_properties(fields, kind, properties)
    return fields


def _fill(fields: dict[str, Any], field: str, source: Mapping[str, Any], names: Iterable[str]) -> None:
    """Fill a missing field with what the first of the names states."""
    if missing(fields.get(field)):
        stated = _stated(source, names)
        if stated is not None:
            fields[field] = stated


def _stated(source: Mapping[str, Any], names: Iterable[str]) -> Any:
    return next((source[name] for name in names if not missing(source.get(name))), None)


def _fill_from_properties(fields: dict[str, Any], kind: str, properties: dict[str, Any]) -> None:
    """Fill missing fields from ``properties``.

    The properties of a custom type are its own: one that would not fit the field is no fallback. Of a type
    that we know it is an error, to be seen, for an order without its amount is worse than one that is
    refused.
    """
    for field, names in PROPERTY_ALIASES.items():
        if kind in CANONICAL or _fits(field, _stated(properties, names)):
            _fill(fields, field, properties, names)
    if kind in PRODUCT_TYPES:
        _fill_in_product(fields, properties)
    elif kind == "purchase" and missing(fields.get("price")):
        _fill_in_amount(fields, _stated(properties, ORDER_AMOUNTS))


def _fits(field: str, value: Any) -> bool:
    try:
        number(value) if field in _NUMBERS else text(value)
    except PydanticCustomError:
        return False
    return True


def _fill_in_product(fields: dict[str, Any], properties: dict[str, Any]) -> None:
    """A list of products that holds a single one speaks for the event; a name stands in for an id."""
    listed: list[dict[str, Any]] = next(
        (properties[name] for name in PRODUCT_LISTS if _single(properties.get(name))), []
    )
    for product in listed:
        for field in ("product_id", "category", "price", "quantity"):
            _fill(fields, field, product, PROPERTY_ALIASES[field])
    for source in (properties, *listed):
        _fill(fields, "product_id", source, PRODUCT_NAMES)


def _single(listed: Any) -> bool:
    return isinstance(listed, list) and len(listed) == 1 and isinstance(listed[0], dict)


def _fill_in_amount(fields: dict[str, Any], amount: Any) -> None:
    """What the whole order came to, as a price per piece, so that price times quantity is the amount."""
    if amount is None:
        return
    fields["price"] = amount
    try:
        total, pieces = number(amount), number(fields.get("quantity"))
    except PydanticCustomError:
        return  # What does not fit is refused when its own field is looked at.
    if total is not None and pieces is not None and pieces > 0:
        fields["price"] = total / pieces
