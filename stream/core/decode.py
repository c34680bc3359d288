"""Bytes of the topic ``events`` to facts. A function of the bytes, the log time, the origin and the limits.

The contract is ``schemas.events.Event``. msgspec decodes the common case, an event in our own words, and
can only say yes; everything else is the contract's to understand or refuse, at some ten times the cost. A
property test holds the two equal.

How bytes end is looked at in this order: null value, size, UTF-8, depth, JSON, object, then the fields as
``Event`` has them, then the future. Of a name that comes twice in an object the last one counts. A missing
``timestamp`` is the log time.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import msgspec
from msgspec import Meta
from pydantic import ValidationError

from schemas.events import (
    CANONICAL,
    EARLIEST,
    MAX_DEPTH,
    MAX_EVENT_TYPE,
    MAX_NUMBER,
    MAX_TEXT,
    MAX_USER_AGENT,
    Event,
    canonical_type,
)
from schemas.rejections import RejectionReason
from schemas.vocabulary import (
    ORDER_AMOUNTS,
    PRODUCT_LISTS,
    PRODUCT_NAMES,
    PRODUCT_TYPES,
    PROPERTY_ALIASES,
    SPEAKING_PROPERTIES,
)
from stream.core.fact import Fact, Limits, Rejected, Undecodable, Unusable
from stream.core.time import from_datetime, parse_instant

__all__ = ["Fact", "Limits", "Rejected", "Undecodable", "Unusable", "decode"]

if TYPE_CHECKING:
    _Text: TypeAlias = str | None
else:
    # Numbers are let in as well, for many ids are numbers; they become text before anything looks at them.
    _Text = Annotated[str, Meta(max_length=MAX_TEXT)] | Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)] | None
_Number: TypeAlias = Annotated[float, Meta(ge=-MAX_NUMBER, le=MAX_NUMBER)] | None
_ABSENT = msgspec.Raw()


class _Wire(msgspec.Struct, gc=False):
    """The common case on the wire. A value of another type is not the common case."""

    event_id: _Text = None
    customer_id: _Text = None
    event_type: _Text = None
    timestamp: datetime | int | float | None = None
    product_id: _Text = None
    category: _Text = None
    price: _Number = None
    quantity: _Number = None
    currency: _Text = None
    order_id: _Text = None
    cart_id: _Text = None
    session_id: _Text = None
    user_agent: str | None = None
    ip: _Text = None
    properties: dict[str, Any] | None = None
    # Names that may speak for a missing field: only that they are there matters.
    messageId: msgspec.Raw = _ABSENT
    context: msgspec.Raw = _ABSENT
    traits: msgspec.Raw = _ABSENT


_TEXTS = (
    "event_id",
    "customer_id",
    "event_type",
    "product_id",
    "category",
    "currency",
    "order_id",
    "cart_id",
    "session_id",
    "ip",
)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_decode_wire = msgspec.json.Decoder(_Wire).decode
# Numbers beyond a float become infinite instead of an error: whether they matter depends on the field.
_decode_any = msgspec.json.Decoder(float_hook=float).decode
_STRINGS = re.compile(rb'"(?:[^"\\]++|\\.)*+(?:"|\\?\Z)', re.DOTALL)
_OPENS_ARRAY, _OPENS_OBJECT = b"[{"  # a byte is found in less time than bytes are
_NO_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))


def decode(value: bytes | None, log_time: int, origin: str | None, limits: Limits) -> Fact:
    """The fact that a record's value states.

    ``log_time`` in µs. ``origin`` becomes the event id where the event has none. Raises ``Rejected`` or
    ``Undecodable`` and nothing else.
    """
    if value is None:
        raise Undecodable("tombstone", "the value is null")
    if len(value) > limits.max_bytes:
        raise Rejected("too_large", f"{len(value)} bytes, more than {limits.max_bytes}")
    if not value.isascii():
        _check_utf8(value)
    if _OPENS_ARRAY in value or _OPENS_OBJECT in value[1:]:
        check_depth(value)
    try:
        wire = _decode_wire(value)
    except msgspec.ValidationError:
        return _by_contract(value, log_time, origin, limits)
    except msgspec.DecodeError as error:
        raise _not_json(error) from None
    try:
        fact = _fact(wire, log_time, origin, limits.future_us)
    except AttributeError:  # A number has no strip().
        fact = _fact(_numbers_as_text(wire), log_time, origin, limits.future_us)
    return _by_contract(value, log_time, origin, limits) if fact is None else fact


def _fact(w: _Wire, log_time: int, origin: str | None, future: int) -> Fact | None:
    """The fact, or None where the contract has to decide."""
    if (customer_id := w.customer_id) is None or not (customer_id := customer_id.strip()):
        return None
    if (stated := w.event_type) is None:
        return None
    event_type = CANONICAL.get(stated)
    if event_type is None:
        event_type = canonical_type(stated)
        if not event_type or len(event_type) > MAX_EVENT_TYPE:
            return None
    if (event_id := w.event_id) is not None:
        event_id = event_id.strip() or None
    if (user_agent := w.user_agent) is not None:
        user_agent = user_agent.strip()[:MAX_USER_AGENT] or None
    if (ip := w.ip) is not None:
        ip = ip.strip() or None
    if (product_id := w.product_id) is not None:
        product_id = product_id.strip() or None
    if (category := w.category) is not None:
        category = category.strip() or None
    if (currency := w.currency) is not None:
        currency = currency.strip() or None
    if (order_id := w.order_id) is not None:
        order_id = order_id.strip() or None
    if (cart_id := w.cart_id) is not None:
        cart_id = cart_id.strip() or None
    if (session_id := w.session_id) is not None:
        session_id = session_id.strip() or None

    at = w.timestamp
    stamped = True
    if at is None:
        time = log_time
        stamped = False
    else:
        if type(at) is datetime and at.tzinfo is not None:
            since = at - _EPOCH
            time = since.days * 86_400_000_000 + since.seconds * 1_000_000 + since.microseconds
        else:
            try:
                time = from_datetime(at) if isinstance(at, datetime) else parse_instant(at)
            except ValueError:
                return None
        if time < EARLIEST or time > log_time + future:
            return None

    if event_id is None:
        if w.messageId:
            return None
        event_id = origin
    if w.context and (user_agent is None or ip is None):
        return None
    fact = Fact(
        event_id,
        customer_id,
        event_type,
        time,
        stamped,
        product_id,
        category,
        w.price,
        w.quantity,
        currency,
        order_id,
        cart_id,
        session_id,
        user_agent,
        ip,
        w.properties,
    )
    properties = w.properties
    if properties is None:
        return None if w.traits and event_type == "profile_update" else fact
    if SPEAKING_PROPERTIES.isdisjoint(properties) or event_type == "profile_update":
        return fact
    return None if _speaks(fact, properties) else fact


def _speaks(fact: Fact, properties: dict[str, Any]) -> bool:
    """Whether a property may stand in for a field that is missing."""
    for field, names in PROPERTY_ALIASES.items():
        if getattr(fact, field) is None and any(name in properties for name in names):
            return True
    if fact.event_type in PRODUCT_TYPES:
        if fact.product_id is None and any(name in properties for name in PRODUCT_NAMES):
            return True
        complete = None not in (fact.product_id, fact.category, fact.price, fact.quantity)
        return not complete and any(name in properties for name in PRODUCT_LISTS)
    if fact.event_type == "purchase" and fact.price is None:
        return any(name in properties for name in ORDER_AMOUNTS)
    return False


def _numbers_as_text(wire: _Wire) -> _Wire:
    for name in _TEXTS:
        value = getattr(wire, name)
        if isinstance(value, int):
            setattr(wire, name, str(value))
    return wire


def _by_contract(value: bytes, log_time: int, origin: str | None, limits: Limits) -> Fact:
    """The same by way of ``Event``."""
    try:
        data = _decode_any(value)
    except msgspec.ValidationError as error:  # an integer of thousands of digits
        raise Rejected("invalid_type", str(error)) from None
    except msgspec.DecodeError as error:
        raise _not_json(error) from None
    if not isinstance(data, dict):
        raise Undecodable("not_an_object", f"a JSON {_JSON_NAMES.get(type(data), 'number')}, not an object")
    try:
        event = Event.model_validate(data)
    except ValidationError as error:
        raise _refusal(error) from None
    time = log_time
    if event.timestamp is not None:
        time = from_datetime(event.timestamp)
        if time > log_time + limits.future_us:
            raise Rejected("future", f"{(time - log_time) / 1e6:.0f} s after its log time")
    return Fact(
        event.event_id or origin,
        event.customer_id,
        event.event_type,
        time,
        event.timestamp is not None,
        event.product_id,
        event.category,
        event.price,
        event.quantity,
        event.currency,
        event.order_id,
        event.cart_id,
        event.session_id,
        event.user_agent,
        event.ip,
        event.properties,
    )


_JSON_NAMES: dict[type, str] = {list: "array", str: "string", bool: "boolean", type(None): "null"}
_REASONS = frozenset(reason.value for reason in RejectionReason)


def _refusal(error: ValidationError) -> Rejected:
    """The first thing that ``Event`` finds wrong, in the order of its fields."""
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    field = ".".join(str(part) for part in first["loc"])
    reason = first["type"] if first["type"] in _REASONS else "invalid_type"
    return Rejected(reason, f"{field}: {first['msg']}")


def _not_json(error: msgspec.DecodeError) -> Undecodable:
    return Undecodable("not_json", str(error))


def _check_utf8(value: bytes) -> None:
    try:
        value.decode()
    except UnicodeDecodeError as error:
        raise Undecodable("not_utf8", f"{error.reason} at byte {error.start}") from None


def check_depth(value: bytes) -> None:
    """A limit of our own, because the decoder's depends on how deep the caller's stack is."""
    if value.count(b"{") + value.count(b"[") <= MAX_DEPTH:
        return
    depth = 0
    for bracket in _STRINGS.sub(b"", value).translate(None, _NO_BRACKETS):
        depth += 1 if bracket in b"[{" else -1
        if depth > MAX_DEPTH:
            raise Undecodable("too_deep", f"nested more than {MAX_DEPTH} deep")
