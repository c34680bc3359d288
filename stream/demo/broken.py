"""Records as no shop should send them and every shop does: one maker per kind of bad input.

Some are refused, some are no events at all, and some are merely odd and have to be applied all the same.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import orjson

from stream.demo.dialects import iso

_YEAR = 365 * 86_400_000_000


class Broken(NamedTuple):
    """Key and value of a record; None is Kafka's null."""

    key: bytes | None
    value: bytes | None


#: ``(customer id, event id, log time in µs) -> record``.
Maker: TypeAlias = Callable[[str, str, int], Broken]


def _view(customer: str, event_id: str, time: int, **changed: Any) -> bytes:
    event = {
        "event_id": event_id,
        "customer_id": customer,
        "event_type": "product_view",
        "timestamp": iso(time),
        "product_id": "HO-1007",
        "category": "Home",
        "price": 24.99,
    }
    return orjson.dumps({name: value for name, value in (event | changed).items() if value is not ...})


def _cut_off(customer: str, event_id: str, time: int) -> Broken:
    return Broken(customer.encode(), _view(customer, event_id, time)[:-9])


def _not_utf8(customer: str, event_id: str, time: int) -> Broken:
    return Broken(customer.encode(), _view(customer, event_id, time, category="M")[:-1] + b',"x":"\xf6\xe4"}')


def _no_object(customer: str, event_id: str, time: int) -> Broken:
    return Broken(customer.encode(), orjson.dumps(["product_view", event_id]))


def _no_customer(customer: str, event_id: str, time: int) -> Broken:
    return Broken(customer.encode(), _view(customer, event_id, time, customer_id=...))


def _empty_customer(customer: str, event_id: str, time: int) -> Broken:
    return Broken(customer.encode(), _view(customer, event_id, time, customer_id="  "))


def _no_type(customer: str, event_id: str, time: int) -> Broken:
    return Broken(customer.encode(), _view(customer, event_id, time, event_type=...))


def _wrong_type(customer: str, event_id: str, time: int) -> Broken:
    return Broken(customer.encode(), _view(customer, event_id, time, price={"amount": "free"}))


def _not_a_number(customer: str, event_id: str, time: int) -> Broken:
    return Broken(customer.encode(), _view(customer, event_id, time).replace(b"24.99", b"NaN"))


def _endless_number(customer: str, event_id: str, time: int) -> Broken:
    return Broken(customer.encode(), _view(customer, event_id, time).replace(b"24.99", b"1e999"))


def _from_1970(customer: str, event_id: str, time: int) -> Broken:
    return Broken(customer.encode(), _view(customer, event_id, time, timestamp="1970-01-01T00:00:00Z"))


def _from_next_year(customer: str, event_id: str, time: int) -> Broken:
    return Broken(customer.encode(), _view(customer, event_id, time + _YEAR))


def _no_instant(customer: str, event_id: str, time: int) -> Broken:
    return Broken(customer.encode(), _view(customer, event_id, time, timestamp="yesterday"))


def _deep(customer: str, event_id: str, time: int) -> Broken:
    value = _view(customer, event_id, time)[:-1] + b',"properties":' + b'{"a":' * 5000 + b"1" + b"}" * 5001
    return Broken(customer.encode(), value)


def _repeated_keys(customer: str, event_id: str, time: int) -> Broken:
    return Broken(customer.encode(), b'{"category":"Toys","price":3,' + _view(customer, event_id, time)[1:])


def _no_key(customer: str, event_id: str, time: int) -> Broken:
    # When a record that was moved arrives is a matter of chance, so this one decides about no segment.
    return Broken(None, _view(customer, event_id, time, event_type="page_view"))


def _other_key(customer: str, event_id: str, time: int) -> Broken:
    value = _view(customer, event_id, time, event_type="page_view")
    return Broken(b"session-" + event_id[:8].encode(), value)


def _tombstone(customer: str, event_id: str, time: int) -> Broken:
    return Broken(customer.encode(), None)


def _custom_type(customer: str, event_id: str, time: int) -> Broken:
    return Broken(customer.encode(), _view(customer, event_id, time, event_type="loyalty_card_scanned"))


def _long_agent(customer: str, event_id: str, time: int) -> Broken:
    return Broken(customer.encode(), _view(customer, event_id, time, user_agent="Mozilla/5.0 " + "x" * 65_524))


def _wrong_attribute(customer: str, event_id: str, time: int) -> Broken:
    event = _view(customer, event_id, time, event_type="profile_update", properties={"age": "thirty"})
    return Broken(customer.encode(), event)


def _long_id(customer: str, event_id: str, time: int) -> Broken:
    return Broken(customer.encode(), _view("c" * 5000, event_id, time))


def _megabyte(customer: str, event_id: str, time: int) -> Broken:
    return Broken(customer.encode(), _view(customer, event_id, time, properties={"note": "x" * 1_000_000}))


#: Every kind by its name.
KINDS: dict[str, Maker] = {
    "cut_off": _cut_off,
    "not_utf8": _not_utf8,
    "no_object": _no_object,
    "no_customer": _no_customer,
    "empty_customer": _empty_customer,
    "no_type": _no_type,
    "wrong_type": _wrong_type,
    "not_a_number": _not_a_number,
    "endless_number": _endless_number,
    "from_1970": _from_1970,
    "from_next_year": _from_next_year,
    "no_instant": _no_instant,
    "deep": _deep,
    "repeated_keys": _repeated_keys,
    "no_key": _no_key,
    "other_key": _other_key,
    "tombstone": _tombstone,
    "custom_type": _custom_type,
    "long_agent": _long_agent,
    "wrong_attribute": _wrong_attribute,
    "long_id": _long_id,
    "megabyte": _megabyte,
}
