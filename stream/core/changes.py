"""Segment changes as bytes: everything in them follows from the log, so a change said twice is the same bytes."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b
from typing import Any, NamedTuple

import msgspec

from stream.core.attributes import stated
from stream.core.customer import Customer
from stream.core.decode import Fact
from stream.core.segments import CompiledBook
from stream.core.time import format_iso

#: Version of the code that decides. Raise it with every commit that can change what a log says.
CODE = "4"

_encode = msgspec.json.Encoder().encode


class Change(NamedTuple):
    """One segment change on its way out; ``value`` is what goes to ``segment-changes``."""

    customer_id: str
    sequence: int
    value: bytes
    segment: str
    action: str
    at: int
    cause: str


class _Value(msgspec.Struct):
    id: str
    customer_id: str
    segment: str
    action: str
    at: str
    sequence: int
    definition_version: str
    cause: dict[str, Any]
    evidence: dict[str, Any]
    profile: dict[str, Any]
    code: str
    complete_since: str | msgspec.UnsetType = msgspec.UNSET


def change_id(customer_id: str, segment: str, action: str, sequence: int, at: int, version: str) -> str:
    """The id of a change: a hash of what determines it, 32 hex digits; never a random or a clock."""
    name = customer_id.encode("utf-8", "surrogatepass")
    text = f"{len(name)}:{segment}:{action}:{sequence}:{at}:{version}:".encode()
    return blake2b(text + name, digest_size=16).hexdigest()


def cause_of(fact: Fact) -> dict[str, Any]:
    """The cause of a change that a fact brought about."""
    return {
        "kind": "event",
        "event_id": fact.event_id,
        "event_type": fact.event_type,
        "event_time": format_iso(fact.time),
    }


def profile_of(customer: Customer, declared: Mapping[str, str]) -> dict[str, Any]:
    """The fields that templates of the e-mail platforms use, as they are at this change.

    ``declared`` maps the attributes to their types.
    """
    at = customer.last_order_at
    profile: dict[str, Any] = {
        "last_viewed_product": customer.last_viewed_product,
        "recent_view_category": customer.recent_view_category,
        "cart_value": customer.cart_value,
        "cart_items": customer.cart_items,
        "order_count": customer.order_count,
        "total_spent": customer.total_spent,
        "last_order_at": None if at is None else format_iso(at),
    }
    if customer.attributes:
        for name, (value, _) in customer.attributes.items():
            profile[name] = stated(value, declared.get(name, "text"))
    return profile


def change(
    customer: Customer,
    segment: str,
    entered: bool,
    at: int,
    book: CompiledBook,
    cause: dict[str, Any],
    evidence: dict[str, Any],
    code: str,
    complete_since: int | None = None,
) -> Change:
    """Number the customer's next change and put it into bytes. ``at`` and ``complete_since`` in µs."""
    customer.sequence = sequence = customer.sequence + 1
    action = "entered" if entered else "exited"
    version = book.version
    value = _Value(
        change_id(customer.customer_id, segment, action, sequence, at, version),
        customer.customer_id,
        segment,
        action,
        format_iso(at),
        sequence,
        version,
        cause,
        evidence,
        profile_of(customer, book.attributes),
        code,
        msgspec.UNSET if complete_since is None else format_iso(complete_since),
    )
    return Change(customer.customer_id, sequence, _encode(value), segment, action, at, cause["kind"])
