"""Laws of ``stream.core.decode``: a record is a fact or has one ending and one reason, and that is all."""

from __future__ import annotations

import json
import sys
from typing import Any

import pytest

from schemas.events import ALIASES, EventType
from schemas.rejections import DeadLetterReason, RejectionReason
from stream.core.decode import Fact, Limits, Rejected, Undecodable, Unusable, decode
from stream.core.time import parse_iso

LIMITS = Limits()
NOW = parse_iso("2026-03-01T12:00:05Z")
AT = parse_iso("2026-03-01T12:00:00.123Z")
PLAIN: dict[str, Any] = {
    "event_id": "e-1",
    "customer_id": "c-1",
    "event_type": "product_view",
    "timestamp": "2026-03-01T12:00:00.123Z",
    "product_id": "p-1",
    "category": "Electronics",
    "price": 129.99,
    "quantity": 2,
    "currency": "EUR",
    "order_id": "o-1",
    "cart_id": "k-1",
    "session_id": "s-1",
    "user_agent": "Mozilla/5.0",
    "ip": "203.0.113.7",
    "properties": {"campaign": "spring"},
}


def read(value: bytes | None, origin: str | None = None, limits: Limits = LIMITS) -> Fact:
    return decode(value, NOW, origin, limits)


def fact(origin: str | None = None, /, **fields: Any) -> Fact:
    """The fact of a small product view with these fields."""
    event = {"customer_id": "c-1", "event_type": "product_view", **fields}
    return read(json.dumps(event).encode(), origin)


def ending(value: bytes | None, limits: Limits = LIMITS) -> tuple[str, str]:
    with pytest.raises(Unusable) as caught:
        read(value, limits=limits)
    assert isinstance(caught.value, Rejected | Undecodable)
    assert len(caught.value.detail) < 500
    vocabulary = RejectionReason if caught.value.ending == "rejected" else DeadLetterReason
    assert caught.value.reason in [reason.value for reason in vocabulary]
    return caught.value.ending, caught.value.reason


def refused(**fields: Any) -> str:
    event = {"customer_id": "c-1", "event_type": "product_view", **fields}
    where, reason = ending(json.dumps(event).encode())
    assert where == "rejected"
    return reason


def test_an_event_in_our_own_words_keeps_every_field() -> None:
    assert read(json.dumps(PLAIN).encode()) == Fact(
        event_id="e-1",
        customer_id="c-1",
        event_type="product_view",
        time=AT,
        stamped=True,
        product_id="p-1",
        category="Electronics",
        price=129.99,
        quantity=2.0,
        currency="EUR",
        order_id="o-1",
        cart_id="k-1",
        session_id="s-1",
        user_agent="Mozilla/5.0",
        ip="203.0.113.7",
        properties={"campaign": "spring"},
    )


def test_texts_are_trimmed_and_blank_is_absent() -> None:
    padded = fact(customer_id=" c-1\n", event_type=" product_view ", product_id="\tp ", category="  ", event_id="")
    assert padded == fact(product_id="p")


def test_null_is_absent() -> None:
    assert fact(**{name: None for name in PLAIN if name not in ("customer_id", "event_type")}) == fact()


def test_without_a_timestamp_the_event_happened_when_it_was_logged() -> None:
    for missing in ({}, {"timestamp": None}, {"timestamp": " "}):
        bare = fact(**missing)
        assert (bare.time, bare.stamped) == (NOW, False)


@pytest.mark.parametrize(
    "stamp",
    [
        "2026-03-01T12:00:00.123Z",
        "2026-03-01T13:00:00.123+01:00",
        "2026-03-01T12:00:00.123",
        "2026-03-01 12:00:00.123 UTC",
        1772366400.123,
        "1772366400.123",
        1772366400123,
        "1772366400123",
        1772366400123000,
    ],
)
def test_every_way_of_writing_the_timestamp_is_the_same_instant(stamp: Any) -> None:
    stamped = fact(timestamp=stamp)
    assert (stamped.time, stamped.stamped) == (AT, True)


@pytest.mark.parametrize("fraction", ["1234564", "1234565", "123456499", "9999999"])
def test_the_fast_path_rounds_as_the_slow_one_does(fraction: str) -> None:
    text = f"2026-03-01T12:00:00.{fraction}Z"
    assert fact(timestamp=text).time == fact(timestamp=" " + text).time == parse_iso(text)


def test_numbers_as_ids_become_their_decimal_text() -> None:
    assert fact(customer_id=541421, product_id=0, event_id=-7, event_type=5) == fact(
        customer_id="541421", product_id="0", event_id="-7", event_type="5"
    )
    assert fact(customer_id=541421.0).customer_id == "541421"
    assert fact(customer_id=2**70).customer_id == str(2**70)
    assert fact(order_id=7, price="12.50").order_id == "7"
    assert refused(product_id=1.5) == "invalid_type"
    assert refused(product_id=1e300) == "invalid_type"


def test_numbers_as_text_are_understood_for_price_and_quantity_only() -> None:
    both = fact(price=" 12.50 ", quantity="-3", product_id="0012")
    assert (both.price, both.quantity, both.product_id) == (12.5, -3.0, "0012")
    assert fact(price="1e3").price == 1000.0
    assert fact(price="").price is None


def test_a_price_or_quantity_below_zero_is_legal() -> None:
    returned = fact(price=-5, quantity=-1)
    assert (returned.price, returned.quantity) == (-5.0, -1.0)
    assert fact(price=1e15).price == 1e15


@pytest.mark.parametrize("field", ["price", "quantity"])
@pytest.mark.parametrize(
    "value",
    [
        "abc",
        "12,50",
        "1_000",
        "NaN",
        "inf",
        "1e999",
        "\u0661\u0662",
        "0x10",
        True,
        [],
        {},
        1.1e15,
        -1.1e15,
        10**400,
        "9" * 400,
    ],
)
def test_what_is_no_finite_number_is_refused(field: str, value: Any) -> None:
    assert refused(**{field: value}) == "invalid_type"


@pytest.mark.parametrize("field", [name for name in PLAIN if name not in ("price", "quantity", "properties")])
@pytest.mark.parametrize("value", [True, False, [], {}, ["x"], {"a": 1}])
def test_what_is_no_text_is_refused(field: str, value: Any) -> None:
    assert refused(**{field: value}) == "invalid_type"


@pytest.mark.parametrize("value", ["", "x", 1, 1.5, True, [], [{}]])
def test_properties_are_an_object(value: Any) -> None:
    assert refused(properties=value) == "invalid_type"


@pytest.mark.parametrize("field", ["customer_id", "price", "timestamp", "properties", "product_id"])
def test_a_number_beyond_every_float_is_refused_where_it_is_used(field: str) -> None:
    for number in (b"1e999", b"-1e999", b"1E400", b"9" * 5000 + b".5"):
        value = b'{"x": 1, "%s": {"deep": [%s]}}' if field == "properties" else b'{"x": 1, "%s": %s}'
        raw = value % (field.encode(), number)
        event = json.dumps({"customer_id": "c", "event_type": "e"}).encode()[:-1] + b", " + raw[1:]
        assert ending(event) == ("rejected", "invalid_type")


def test_fields_that_nobody_knows_are_not_looked_at() -> None:
    event = b'{"customer_id": "c-1", "event_type": "product_view", "x": 1e999, "y": [true], "price": %s}'
    assert read(event % b"1") == read(event % b'"1"') == fact(price=1)


@pytest.mark.parametrize("constant", [b"NaN", b"Infinity", b"-Infinity"])
def test_json_has_no_nan_and_no_infinity(constant: bytes) -> None:
    value = b'{"customer_id": "c", "event_type": "e", "price": %s}' % constant
    assert ending(value) == ("dead_lettered", "not_json")


@pytest.mark.parametrize("customer_id", ["", "  ", "\u00a0\n", None])
def test_without_a_customer_an_event_is_refused(customer_id: str | None) -> None:
    assert refused(customer_id=customer_id) == "missing_customer_id"
    assert ending(b'{"event_type": "e"}') == ("rejected", "missing_customer_id")


@pytest.mark.parametrize("event_type", ["", "  ", None])
def test_without_a_type_an_event_is_refused(event_type: str | None) -> None:
    assert refused(event_type=event_type) == "missing_event_type"
    assert ending(b'{"customer_id": "c", "type": "track"}') == ("rejected", "missing_event_type")


@pytest.mark.parametrize(
    "stamp", [0, 1, 86_400, "0", "1970-01-01T00:00:00Z", "1999-12-31T23:59:59.999999Z", -5, 946_684_799.9]
)
def test_an_event_before_the_year_2000_is_too_old(stamp: Any) -> None:
    assert refused(timestamp=stamp) == "too_old"


def test_the_year_2000_is_young_enough() -> None:
    assert fact(timestamp="2000-01-01").time == fact(timestamp=946684800).time == 946_684_800_000_000


@pytest.mark.parametrize("stamp", ["2027-03-01T12:00:00Z", "2027-03-01", 4_000_000_000, "9999-12-31T23:59:59Z"])
def test_an_event_of_next_year_is_refused(stamp: Any) -> None:
    assert refused(timestamp=stamp) == "future"


def test_slightly_ahead_of_the_log_is_not_the_future_and_the_limit_itself_still_passes() -> None:
    assert fact(timestamp=NOW + LIMITS.future_us).time == NOW + LIMITS.future_us
    assert fact(timestamp=str(NOW + LIMITS.future_us)).time == NOW + LIMITS.future_us
    assert refused(timestamp=NOW + LIMITS.future_us + 1) == "future"
    assert refused(timestamp=str(NOW + LIMITS.future_us + 1)) == "future"


@pytest.mark.parametrize("stamp", ["soon", "2026-02-30", "2026-03-01T25:00:00Z", 10**17, 10**400, 1e18, "9" * 5000])
def test_what_is_no_instant_is_refused(stamp: Any) -> None:
    assert refused(timestamp=stamp) == "invalid_timestamp"


@pytest.mark.parametrize(
    "field",
    [
        "event_id",
        "customer_id",
        "product_id",
        "category",
        "currency",
        "order_id",
        "cart_id",
        "session_id",
        "ip",
    ],
)
def test_an_id_has_at_most_256_characters(field: str) -> None:
    longest = "é" * 256
    assert getattr(fact(**{field: f"  {longest}  "}), field) == longest
    assert refused(**{field: longest + "x"}) == "id_too_long"
    assert refused(**{field: 10**256}) == "id_too_long"


def test_an_event_type_has_at_most_128_characters() -> None:
    assert fact(event_type="x" * 128).event_type == "x" * 128
    assert refused(event_type="x" * 129) == "id_too_long"


def test_a_user_agent_of_64_kilobytes_is_cut_and_judged_on_its_beginning() -> None:
    agent = "Googlebot/2.1 " + "x" * 65_536
    assert fact(user_agent=agent).user_agent == agent[:1024]
    assert fact(user_agent=agent, price="1").user_agent == agent[:1024]


def test_more_bytes_than_allowed_are_refused_before_anything_else() -> None:
    large = json.dumps({**PLAIN, "properties": {"x": "y" * 1_000_000}}).encode()
    assert ending(large) == ("rejected", "too_large")
    assert ending(b"\xff" * (LIMITS.max_bytes + 1)) == ("rejected", "too_large")
    value = json.dumps(PLAIN).encode()
    assert read(value, limits=Limits(max_bytes=len(value))).event_id == "e-1"
    assert ending(value, Limits(max_bytes=len(value) - 1)) == ("rejected", "too_large")


def test_a_null_value_is_a_tombstone() -> None:
    assert ending(None) == ("dead_lettered", "tombstone")


@pytest.mark.parametrize(
    "value",
    [
        b"\xff",
        b'{"customer_id": "\xff", "event_type": "e"}',
        b'{"customer_id": "c", "event_type": "e", "unknown": "\xc3"}',
        b'{"customer_id": "\xed\xa0\x80", "event_type": "e"}',
        '{"customer_id": "c", "event_type": "e"}'.encode("utf-16"),
        json.dumps(PLAIN).replace("spring", "fr\u00fchling").encode("latin-1"),
    ],
)
def test_bytes_that_are_not_utf8_are_dead_letters(value: bytes) -> None:
    assert ending(value) == ("dead_lettered", "not_utf8")


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b" ",
        b"not json",
        b'{"customer_id": "c", "event_type": "e"',
        b'{"customer_id": "c", "event_type": "e",}',
        b'{"customer_id": "c", "event_type": "e"} {}',
        b'{"customer_id": "c", "event_type": "e"}\x00',
        b'{"customer_id": "c", "event_type": true, oops',
        b"{'customer_id': 'c'}",
        b'{"customer_id": "a\nb", "event_type": "e"}',
        b'{"customer_id": "c", "event_type": "e", "price": 01}',
        b'\xef\xbb\xbf{"customer_id": "c", "event_type": "e"}',
        b'{"customer_id": "\\ud800", "event_type": "e"}',
        b'{"customer_id": "\\udc00x", "event_type": "e"}',
        b'{"customer_id": "c", "event_type": "e", "unknown": "\\ud800\\ud800"}',
        b'{"customer_id": "c", "event_type": "e", "properties": {"\\ud800": 1}}',
    ],
)
def test_bytes_that_are_not_json_are_dead_letters(value: bytes) -> None:
    assert ending(value) == ("dead_lettered", "not_json")


@pytest.mark.parametrize("value", [b"null", b"true", b"0", b"1e999", b'"x"', b"[]", b"[{}]", b"[1e999]"])
def test_json_that_is_no_object_is_a_dead_letter(value: bytes) -> None:
    assert ending(value) == ("dead_lettered", "not_an_object")


def nested(depth: int, opening: str = "[", closing: str = "]", field: str = "properties") -> bytes:
    """An event whose objects and arrays are nested that deep."""
    inner = opening * (depth - 2) + "0" + closing * (depth - 2)
    return f'{{"customer_id": "c", "event_type": "e", "{field}": {{"x": {inner}}}}}'.encode()


@pytest.mark.parametrize("field", ["properties", "unknown"])
@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}")])
def test_32_deep_is_read_and_33_is_not(field: str, opening: str, closing: str) -> None:
    assert read(nested(32, opening, closing, field)).customer_id == "c"
    assert ending(nested(33, opening, closing, field)) == ("dead_lettered", "too_deep")
    assert ending(nested(50_000, opening, closing, field)[: LIMITS.max_bytes])[1] == "too_deep"


def test_how_deep_is_too_deep_does_not_depend_on_the_callers_stack() -> None:
    def at_depth(frames: int) -> Fact:
        return read(nested(32)) if frames == 0 else at_depth(frames - 1)

    assert at_depth(sys.getrecursionlimit() // 2).customer_id == "c"


def test_brackets_within_strings_and_side_by_side_are_not_deep() -> None:
    assert fact(properties={"x": '[{"\\' * 100, "y": [[]] * 100}).customer_id == "c-1"


@pytest.mark.parametrize("tail", [b"", b"\\", b'\\"', b'"'])
def test_a_string_that_never_ends_is_judged_in_linear_time(tail: bytes) -> None:
    value = b'{"x":[[{' * 100 + b'"' + b'\\"[' * 60_000 + tail
    assert ending(value)[0] == "dead_lettered"


def test_of_a_key_that_comes_twice_the_last_one_counts() -> None:
    value = b'{"customer_id": "a", "event_type": "e", "price": "x", "customer_id": "b", "price": 2, "price": 3}'
    twice = read(value)
    assert (twice.customer_id, twice.price) == ("b", 3.0)
    assert ending(b'{"customer_id": "a", "event_type": "e", "customer_id": null}')[1] == "missing_customer_id"


def test_the_origin_is_the_id_of_an_event_that_has_none() -> None:
    assert fact().event_id is None
    assert fact("orders/3/17").event_id == "orders/3/17"
    assert fact("orders/3/17", event_id=" ", price="1").event_id == "orders/3/17"
    assert fact("orders/3/17", event_id="e-1").event_id == "e-1"
    assert fact("orders/3/17", messageId="m-1").event_id == "m-1"


@pytest.mark.parametrize("name", [*EventType, *ALIASES])
def test_every_known_name_of_an_event_type_becomes_ours(name: str) -> None:
    ours = ALIASES.get(name, name)
    for spelling in (name, name.upper(), name.lower(), f" {name} "):
        assert fact(event_type=spelling).event_type == ours


def test_an_unknown_event_type_is_a_custom_one_and_stays_as_it_is() -> None:
    assert fact(event_type=" Loyalty Joined ").event_type == "Loyalty Joined"
    assert fact(event_type="Product Clicked").event_type == "Product Clicked"
    assert fact(event_type="Order Refunded").event_type == "Order Refunded"


SEGMENT_TRACK: dict[str, Any] = {
    "type": "track",
    "event": "Product Added",
    "userId": "u-1",
    "messageId": "m-1",
    "timestamp": "2026-03-01T12:00:00.123Z",
    "context": {"ip": "203.0.113.7", "userAgent": "Mozilla/5.0", "library": {"name": "analytics.js"}},
    "properties": {
        "product_id": "p-1",
        "category": "Games",
        "price": "18.99",
        "quantity": 2,
        "cart_id": "k-1",
    },
}


def test_a_segment_message_is_understood() -> None:
    assert read(json.dumps(SEGMENT_TRACK).encode()) == Fact(
        event_id="m-1",
        customer_id="u-1",
        event_type="add_to_cart",
        time=AT,
        stamped=True,
        product_id="p-1",
        category="Games",
        price=18.99,
        quantity=2.0,
        cart_id="k-1",
        user_agent="Mozilla/5.0",
        ip="203.0.113.7",
        properties=SEGMENT_TRACK["properties"],
    )


def test_a_segment_identify_is_a_profile_update_of_its_traits() -> None:
    identify = {"type": "identify", "userId": "u-1", "traits": {"age": 34, "name": "Ada", "price": "n/a"}}
    update = read(json.dumps(identify).encode())
    assert (update.event_type, update.properties) == ("profile_update", identify["traits"])
    assert update.product_id is None and update.price is None
    assert fact(event_type="profile_update", traits={"age": 1}).properties == {"age": 1}
    assert fact(event_type="profile_update", properties={}, traits={"age": 1}).properties == {}
    assert fact(event_type="page_view", traits={"age": 1}).properties is None


def test_our_own_names_win_over_every_other() -> None:
    both = fact(
        userId="u",
        event="Order Completed",
        messageId="m",
        event_id="e",
        context={"ip": "1.1.1.1"},
        ip="2.2.2.2",
    )
    assert (both.customer_id, both.event_type, both.event_id, both.ip) == (
        "c-1",
        "product_view",
        "e",
        "2.2.2.2",
    )
    stated = fact(product_id="top", properties={"product_id": "below", "price": 3})
    assert (stated.product_id, stated.price) == ("top", 3.0)


def test_a_ga4_item_speaks_for_its_event() -> None:
    item = {
        "item_id": "SKU_1",
        "item_name": "Shirt",
        "item_category": "Apparel",
        "price": 10.01,
        "quantity": 3,
    }
    viewed = fact(event_type="view_item", properties={"currency": "USD", "value": 30.03, "items": [item]})
    assert (viewed.product_id, viewed.category, viewed.price, viewed.quantity) == (
        "SKU_1",
        "Apparel",
        10.01,
        3.0,
    )
    assert viewed.currency == "USD"
    assert fact(event_type="view_item", properties={"items": [item, item]}).product_id is None
    partly = fact(event_type="add_to_cart", product_id="p", category="c", price=1, properties={"items": [item]})
    assert (partly.product_id, partly.category, partly.price, partly.quantity) == ("p", "c", 1.0, 3.0)
    assert fact(event_type="add_to_cart", properties={"name": "Shirt"}).product_id == "Shirt"
    assert fact(event_type="page", properties={"name": "Home"}).product_id is None


@pytest.mark.parametrize("name", ["revenue", "total", "value"])
def test_a_whole_order_is_worth_its_amount(name: str) -> None:
    order = fact(event_type="Order Completed", properties={name: 25, "order_id": 50314, "products": [{"sku": "a"}]})
    assert (order.price, order.quantity, order.order_id, order.product_id) == (25.0, None, "50314", None)
    pieces = fact(event_type="purchase", quantity=2, properties={name: "25"})
    assert (pieces.price, pieces.quantity) == (12.5, 2.0)
    assert fact(event_type="purchase", price=9, properties={name: 25}).price == 9.0
    assert fact(event_type="add_to_cart", properties={name: 25}).price is None


def test_a_property_that_does_not_fit_is_an_error_of_a_known_type_and_none_of_a_custom_one() -> None:
    assert refused(event_type="purchase", properties={"revenue": "a lot"}) == "invalid_type"
    assert refused(event_type="purchase", properties={"revenue": 1e15, "quantity": 1e-9}) == "invalid_type"
    assert refused(event_type="add_to_cart", properties={"price": [1]}) == "invalid_type"
    custom = fact(event_type="survey", properties={"price": "fair", "category": ["a"], "quantity": 3})
    assert (custom.price, custom.category, custom.quantity) == (None, None, 3.0)


def test_the_first_wrong_field_in_the_order_of_the_contract_gives_the_reason() -> None:
    assert refused(customer_id="", event_type="", timestamp="soon") == "missing_customer_id"
    assert refused(timestamp="1970-01-01", price="abc") == "too_old"
    assert refused(timestamp="2030-01-01", price="abc") == "invalid_type"
