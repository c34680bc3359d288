"""The hot path and the contract say the same of every JSON object: same verdict, same reason, same values.

The two have different JSON parsers (msgspec, and jiter in pydantic) and, for the common case, different code.
"""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from schemas.events import ALIASES, Event, EventType
from schemas.rejections import RejectionReason
from schemas.vocabulary import SPEAKING_PROPERTIES
from stream.core.decode import Fact, Limits, Rejected, Unusable, decode
from stream.core.time import from_datetime, parse_iso

#: Of the future the contract knows nothing, so the log has come to the last instant that can be written.
LOG_TIME = parse_iso("9999-12-31T23:59:59.999999Z")
LIMITS = Limits(max_bytes=10**9, future_us=0)


class Token(str):
    """JSON text that Python's encoder would not write."""


WORDS = st.one_of(
    st.text(max_size=6),
    st.sampled_from([" ", "a", " b ", "\u00a0", "\x1c", "x" * 256, " " + "x" * 256, "x" * 257, "x" * 128, "x" * 129]),
)
NUMBERS = st.one_of(
    st.integers(-(10**20), 10**20),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from([0, -1, 1.0, -0.0, 2.0**53, 2.0**53 + 2, 1e15, 1.1e15, 10**400, 2**63, -(2**63) - 1]),
    st.sampled_from([Token("1e999"), Token("-1e999"), Token("1E5"), Token("0.1e-400")]),
)
NUMBER_TEXTS = st.sampled_from(["12.50", " 7", "-3", "+.5", "1.", "1e3", "1e999", "abc", "NaN", "1_0", ""])
STAMPS = st.one_of(
    st.datetimes().map(lambda at: at.isoformat()),
    st.datetimes(timezones=st.timezones()).map(lambda at: at.isoformat(" ")),
    st.tuples(st.datetimes(), st.text("0123456789", min_size=1, max_size=9)).map(
        lambda pair: f"{pair[0].replace(microsecond=0).isoformat()}.{pair[1]}Z"
    ),
    st.sampled_from(
        ["2026-03-01", "2026-03-01 12:00:00 UTC", "2026-03-01T23:59:59.9999999Z", "soon", "1970-01-01", ""]
    ),
    st.integers(0, 4_000_000_000),
    st.integers(0, 4_000_000_000_000_000),
    st.floats(0, 4e9),
    st.integers(0, 10**18).map(str),
)
JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), NUMBERS, WORDS, NUMBER_TEXTS),
    lambda inner: st.one_of(st.lists(inner, max_size=2), st.dictionaries(WORDS, inner, max_size=2)),
    max_leaves=4,
)
TEXTS = st.one_of(WORDS, WORDS, st.integers(), NUMBERS, JSON)
AMOUNTS = st.one_of(st.floats(-1e4, 1e4), st.integers(0, 100), NUMBERS, NUMBER_TEXTS, JSON)
TYPES = st.one_of(st.sampled_from([*EventType, *ALIASES, "track", "PURCHASE", "custom"]), TEXTS)
PRODUCT = st.fixed_dictionaries(
    {},
    optional={
        **dict.fromkeys(["product_id", "item_id", "sku", "name", "item_name", "category", "item_category"], TEXTS),
        **dict.fromkeys(["price", "quantity"], AMOUNTS),
    },
)
PROPERTIES = st.one_of(
    st.fixed_dictionaries(
        {},
        optional={
            **dict.fromkeys(["product_id", "item_id", "sku", "name", "category", "item_category", "currency"], TEXTS),
            **dict.fromkeys(["order_id", "transaction_id", "cart_id", "utm"], TEXTS),
            **dict.fromkeys(["price", "quantity", "revenue", "total", "value"], AMOUNTS),
            **dict.fromkeys(["products", "items"], st.lists(PRODUCT, max_size=2)),
        },
    ),
    JSON,
)
CONTEXT = st.one_of(st.fixed_dictionaries({}, optional=dict.fromkeys(["userAgent", "ip"], TEXTS)), JSON)
TEXT_FIELDS = [
    "event_id",
    "product_id",
    "category",
    "currency",
    "order_id",
    "cart_id",
    "session_id",
    "user_agent",
    "ip",
]
OPTIONAL: dict[str, st.SearchStrategy[Any]] = {
    **dict.fromkeys(TEXT_FIELDS, TEXTS),
    "timestamp": st.one_of(STAMPS, STAMPS, JSON),
    "price": AMOUNTS,
    "quantity": AMOUNTS,
    "properties": PROPERTIES,
    "traits": st.one_of(PRODUCT, JSON),
    "context": CONTEXT,
    "messageId": TEXTS,
    "unknown": JSON,
}
SHORT = st.one_of(st.text(max_size=4), st.integers(-9, 9))
YOUNG = st.datetimes(datetime(2000, 1, 2), datetime(9998, 1, 1))
#: Nothing to refuse: what the fast path is for, and what only just misses it.
TAME = st.fixed_dictionaries(
    {
        "customer_id": st.text("abc", min_size=1),
        "event_type": st.sampled_from([*EventType, *ALIASES, "custom"]),
    },
    optional={
        **dict.fromkeys(TEXT_FIELDS, SHORT),
        **dict.fromkeys(["price", "quantity"], st.one_of(st.floats(-1e4, 1e4), st.integers(0, 9))),
        "timestamp": st.one_of(YOUNG.map(lambda at: at.isoformat() + "Z"), st.integers(10**9, 2 * 10**9)),
        "properties": st.dictionaries(st.sampled_from(sorted(SPEAKING_PROPERTIES)), st.integers(0, 9), max_size=2),
        "traits": st.just({"age": 1}),
        "context": st.sampled_from([{}, {"ip": "203.0.113.7"}, {"userAgent": "Mozilla/5.0"}]),
        "messageId": SHORT,
    },
)
ORDINARY = st.fixed_dictionaries(
    {
        "customer_id": st.text(min_size=1, max_size=5),
        "event_type": st.sampled_from([*EventType, *ALIASES, "custom"]),
    },
    optional=OPTIONAL,
)
FOREIGN = st.fixed_dictionaries(
    {},
    optional={
        **OPTIONAL,
        **dict.fromkeys(["customer_id", "userId", "user_id"], TEXTS),
        **dict.fromkeys(["event_type", "event", "event_name", "type"], TYPES),
    },
)


def written(value: Any) -> str:
    """The value as JSON text, tokens as they are."""
    if isinstance(value, Token):
        return str(value)
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(name)}: {written(item)}" for name, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(written, value)) + "]"
    return json.dumps(value, ensure_ascii=False)


def by_contract(value: bytes) -> Fact | set[str]:
    """The fact that ``Event`` reads, or the reasons that it gives."""
    try:
        event = Event.model_validate_json(value)
    except ValidationError as error:
        known = {str(reason) for reason in RejectionReason}
        return {e["type"] if e["type"] in known else "invalid_type" for e in error.errors(include_url=False)}
    stated = event.model_dump(exclude={"timestamp"})
    at = event.timestamp
    return Fact(time=LOG_TIME if at is None else from_datetime(at), stamped=at is not None, **stated)


def agree(value: bytes) -> None:
    expected = by_contract(value)
    try:
        found = decode(value, LOG_TIME, None, LIMITS)
    except Rejected as refusal:
        assert isinstance(expected, set), f"only the hot path refuses: {refusal}"
        assert refusal.reason in expected
    else:
        assert found == expected
        # -0.0 equals 0.0, and 1 equals 1.0 and True: the text tells them apart.
        assert repr(found) == repr(expected)


@given(st.one_of(TAME, ORDINARY, FOREIGN))
@settings(max_examples=1500, deadline=None)
@example({"customer_id": "c", "event_type": "e", "unknown": Token("1e999"), "price": "1"})
@example({"customer_id": "c", "event_type": "e", "timestamp": "2026-03-01T12:00:00.1234565Z"})
@example({"customer_id": "c", "event_type": "e", "timestamp": "9999-12-31T23:59:59-01:00"})
@example({"customer_id": "c", "event_type": "purchase", "quantity": 5e-324, "properties": {"value": 1e15}})
@example({"customer_id": "c", "event_type": "e", "timestamp": 10**400})
@example({"customer_id": 5, "event_type": "e", "properties": {"price": "fair"}})
@example({"userId": 1.0, "type": "track", "event": "Order Completed", "properties": {"total": "9", "products": []}})
def test_the_hot_path_and_the_contract_read_every_object_alike(event: dict[str, Any]) -> None:
    agree(written(event).encode())


@given(
    st.lists(
        st.tuples(st.sampled_from(["customer_id", "event_type", "price", "timestamp", "ip"]), JSON),
        max_size=6,
    )
)
@settings(max_examples=200, deadline=None)
def test_of_repeated_names_both_take_the_last(pairs: list[tuple[str, Any]]) -> None:
    stated = [("customer_id", "c"), ("event_type", "e"), *pairs]
    agree(("{" + ",".join(f'"{name}":{written(value)}' for name, value in stated) + "}").encode())


@given(st.one_of(TAME, ORDINARY, FOREIGN), st.data())
@settings(max_examples=300, deadline=None)
def test_damaged_bytes_are_a_fact_or_have_one_ending(event: dict[str, Any], data: st.DataObject) -> None:
    value = bytearray(written(event).encode())
    for _ in range(data.draw(st.integers(1, 3))):
        start = data.draw(st.integers(0, len(value)))
        length = data.draw(st.integers(0, 3))
        value[start : start + length] = data.draw(
            st.one_of(st.binary(max_size=2), st.sampled_from([b'"', b"{", b"}", b"\\u"]))
        )
    try:
        fact = decode(bytes(value), LOG_TIME, None, LIMITS)
    except Unusable as unusable:
        assert unusable.ending in ("rejected", "dead_lettered")
    else:
        assert fact.customer_id.strip() == fact.customer_id != ""


@pytest.mark.parametrize("depth", [31, 32, 33])
def test_both_refuse_what_is_nested_too_deep(depth: int) -> None:
    inner = "[" * (depth - 1) + "]" * (depth - 1)
    value = f'{{"customer_id": "c", "event_type": "e", "unknown": {inner}}}'.encode()
    if depth <= 32:
        agree(value)
    else:
        with pytest.raises(ValidationError, match="nested more than 32 deep"):
            Event.model_validate_json(value)
        with pytest.raises(Exception, match="too_deep"):
            decode(value, LOG_TIME, None, LIMITS)
