"""How records of foreign topics become events."""

from __future__ import annotations

import json
from typing import Any

import pytest

from schemas.events import Event
from stream.core.output import DEAD_LETTERED, REJECTED
from stream.engine.gate import ForeignTopic, Unmappable, map_record

ORDERS = ForeignTopic(
    "orders",
    event_type="purchase",
    fields={
        "buyer.id": "customer_id",
        "number": "order_id",
        "lines.0.sku": "product_id",
        "total.amount": "price",
        "total.currency": "currency",
        "placed_at": "timestamp",
        "coupon": "properties.coupon",
    },
)
CLICKS = ForeignTopic(
    "web-events",
    event_type=None,
    fields={"uid": "customer_id", "name": "event_type"},
    event_types={"pdp": "product_view"},
)


def mapped(source: Any, topic: ForeignTopic = ORDERS, timestamp_ms: int = -1) -> dict[str, Any]:
    value = source if isinstance(source, bytes) else json.dumps(source).encode()
    event: dict[str, Any] = json.loads(map_record(value, timestamp_ms, topic).value)
    Event.model_validate(event)
    return event


def unmappable(source: Any, topic: ForeignTopic = ORDERS) -> tuple[str, str]:
    value = source if isinstance(source, bytes | None) else json.dumps(source).encode()
    with pytest.raises(Unmappable) as caught:
        map_record(value, -1, topic)
    return caught.value.ending, caught.value.reason.value


def test_paths_lead_through_objects_and_lists_to_fields_and_properties() -> None:
    """A dotted path goes through objects by name and through lists by number; values stay as they are."""
    source = {
        "buyer": {"id": "c1", "name": "Ada"},
        "number": 4711,
        "lines": [{"sku": "p1"}, {"sku": "p2"}],
        "total": {"amount": 12.5, "currency": "EUR"},
        "placed_at": "2026-01-02T03:04:05+01:00",
        "coupon": {"code": "X"},
    }
    assert mapped(source) == {
        "customer_id": "c1",
        "event_type": "purchase",
        "order_id": 4711,
        "product_id": "p1",
        "price": 12.5,
        "currency": "EUR",
        "timestamp": "2026-01-02T03:04:05+01:00",
        "properties": {"coupon": {"code": "X"}},
    }


def test_a_path_that_leads_nowhere_maps_nothing() -> None:
    """Absent, null, out of range and through a scalar are all nothing, not an error."""
    holes: list[dict[str, Any]] = [{}, {"total": None}, {"total": 3}, {"lines": []}, {"lines": {"0": {}}}]
    for hole in holes:
        assert mapped({"buyer": {"id": "c1"}, **hole}) == {"customer_id": "c1", "event_type": "purchase"}


def test_a_numeric_customer_id_becomes_its_text() -> None:
    """The key is the text that the customer agent would make of it."""
    assert mapped({"buyer": {"id": 42}})["customer_id"] == "42"
    assert mapped({"buyer": {"id": "  c1 "}})["customer_id"] == "c1"


def test_a_type_from_the_record_is_renamed_if_the_mapping_says_so() -> None:
    """Mapped names are renamed, all others are left to the aliases that every event may use."""
    assert mapped({"uid": "c1", "name": "pdp"}, CLICKS)["event_type"] == "product_view"
    assert mapped({"uid": "c1", "name": "Product Viewed"}, CLICKS)["event_type"] == "Product Viewed"


def test_kafkas_timestamp_stands_in_for_a_missing_one() -> None:
    """An event happened when Kafka got it, unless the record says when."""
    arrived = 1_767_323_045_250
    assert mapped({"buyer": {"id": "c"}}, timestamp_ms=arrived)["timestamp"] == "2026-01-02T03:04:05.250000Z"
    stated = mapped({"buyer": {"id": "c"}, "placed_at": 1_767_000_000}, timestamp_ms=arrived)
    assert stated["timestamp"] == 1_767_000_000


@pytest.mark.parametrize(
    ("value", "ending", "reason"),
    [
        (None, DEAD_LETTERED, "tombstone"),
        (b"\xff\xfe", DEAD_LETTERED, "not_utf8"),
        (b'{"buyer": {"id": "\xff"}}', DEAD_LETTERED, "not_utf8"),
        (b"", DEAD_LETTERED, "not_json"),
        (b"{", DEAD_LETTERED, "not_json"),
        (b'{"buyer": NaN}', DEAD_LETTERED, "not_json"),
        (b"[1]", DEAD_LETTERED, "not_an_object"),
        (b"null", DEAD_LETTERED, "not_an_object"),
        (b'{"a":' * 40 + b"1" + b"}" * 40, DEAD_LETTERED, "too_deep"),
        (b"[" * 100_000 + b"]" * 100_000, DEAD_LETTERED, "too_deep"),
        ({"buyer": {}}, REJECTED, "missing_customer_id"),
        ({"buyer": {"id": " "}}, REJECTED, "missing_customer_id"),
        ({"buyer": {"id": True}}, REJECTED, "invalid_type"),
        ({"buyer": {"id": ["c"]}}, REJECTED, "invalid_type"),
        ({"buyer": {"id": "c" * 257}}, REJECTED, "id_too_long"),
    ],
)
def test_what_gives_no_event_ends_with_a_reason(value: Any, ending: str, reason: str) -> None:
    """Bytes that are no object are dead letters, an object without a usable customer is rejected."""
    assert unmappable(value) == (ending, reason)


def test_a_record_without_its_type_is_rejected() -> None:
    """A mapped type that is missing, blank, no text or too long is a rejection."""
    assert unmappable({"uid": "c1"}, CLICKS) == (REJECTED, "missing_event_type")
    assert unmappable({"uid": "c1", "name": ""}, CLICKS) == (REJECTED, "missing_event_type")
    assert unmappable({"uid": "c1", "name": {}}, CLICKS) == (REJECTED, "invalid_type")
    assert unmappable({"uid": "c1", "name": "x" * 129}, CLICKS) == (REJECTED, "id_too_long")


@pytest.mark.parametrize(
    ("fields", "event_type", "why"),
    [
        ({"a": "order_id"}, "purchase", "customer_id"),
        ({"a": "customer_id", "b": "colour"}, "purchase", "colour"),
        ({"a": "customer_id", "b": "properties"}, "purchase", "properties"),
        ({"a": "customer_id", "b": "properties."}, "purchase", "properties"),
        ({"a": "customer_id", "b": "price", "c": "price"}, "purchase", "more than one path"),
        ({"a": "customer_id"}, None, "event_type"),
        ({"a": "customer_id", "b": "event_type"}, "purchase", "event_type"),
    ],
)
def test_a_mapping_that_cannot_give_an_event_is_refused(
    fields: dict[str, str], event_type: str | None, why: str
) -> None:
    """A mistake in the configuration is found when it is read, not record by record."""
    with pytest.raises(ValueError, match=why):
        ForeignTopic("t", event_type, fields)
