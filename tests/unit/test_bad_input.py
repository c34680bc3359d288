"""Bad input ends in exactly one of the four places of P4, the stream goes on, and nothing is printed."""

from __future__ import annotations

import json
import logging
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from schemas.rejections import DeadLetterReason, RejectionReason
from stream.core.config import CoreSettings
from stream.core.output import Output, Refused
from stream.core.partition import Partition
from stream.core.routing import partition_of
from stream.core.time import parse_iso
from stream.interpreter import InMemoryRecord, Interpreter, definitions

BOOK = """
attributes: {age: integer, since: timestamp}
segments:
  viewer: {sql: view_count >= 1}
  twice: {sql: view_count >= 2}
  buyer: {sql: total_spent > 0}
"""
START = parse_iso("2026-03-02T08:00:00Z")
SECOND = 1_000_000
APPLIED = ("applied", "fact")
Headers = Sequence[tuple[str, bytes]]


def body(**fields: Any) -> bytes:
    """A view of the customer ``c``, with these fields."""
    return json.dumps({"customer_id": "c", "event_type": "product_view", **fields}).encode()


def with_(more: bytes) -> bytes:
    """The same, with JSON that Python would not write."""
    return b"%b, %b}" % (body()[:-1], more)


def profile(age: bytes) -> bytes:
    """A profile update that states an age."""
    update = b'{"customer_id":"c","event_type":"profile_update","event_id":"of %d","properties":{"age":%b}}'
    return update % (len(age), age)


def nested(depth: int) -> bytes:
    """An event whose properties are nested so deep."""
    return b'{"customer_id":"c","event_type":"x","properties":%b1%b}' % (b'{"a":' * depth, b"}" * depth)


def digits(count: int) -> bytes:
    """A whole number of so many digits."""
    return b"1" + b"0" * (count - 1)


def ending_of(
    value: bytes | None,
    *,
    key: bytes | None = b"c",
    headers: Headers = (),
    settings: CoreSettings | None = None,
) -> tuple[tuple[str, str], list[Refused]]:
    """Where a record between two good ones ends: its ending and reason, and what was refused.

    Of every record: it ends once, the good ones around it are applied and say what they would without it.
    """
    log = Interpreter(BOOK, settings or CoreSettings())
    log.pipe(START, b"before", body(customer_id="before", event_id="e1"))
    before = log.endings.copy()
    log.pipe(START + SECOND, key, value, headers)
    during = log.endings - before
    log.pipe(START + 2 * SECOND, b"before", body(customer_id="before", event_id="e2"))
    assert log.endings - before - during == {APPLIED: 1}, "the stream did not go on"
    assert during.total() == 1, "a record ends exactly once"
    said = [(c.segment, c.at) for c in log.decided if c.customer_id == "before"]
    assert said == [("viewer", START), ("twice", START + 2 * SECOND)]
    report = log.report()
    rejected, dead = report["rejected"], report["dead_lettered"]
    assert isinstance(rejected, dict)
    assert isinstance(dead, dict)
    parts = [report["applied"], report["duplicates"], *rejected.values(), *dead.values()]
    assert report["read"] == sum(parts) == 3
    (ending,) = during
    return ending, log.refused


@dataclass(frozen=True)
class Bad:
    """One entry of the list, as the issue calls it."""

    name: str
    value: bytes | None
    ending: str
    reason: str


BAD = [
    Bad("not JSON", b'{"customer_id": "c", ', "dead_lettered", "not_json"),
    Bad("not JSON: text after the object", body() + b"x", "dead_lettered", "not_json"),
    Bad("not JSON: nothing", b"", "dead_lettered", "not_json"),
    Bad("not JSON: half of a surrogate pair", with_(b'"ip": "\\ud800"'), "dead_lettered", "not_json"),
    Bad("not UTF-8", with_(b'"category": "Caf\xe9"'), "dead_lettered", "not_utf8"),
    Bad("no object: an array", b"[1, 2]", "dead_lettered", "not_an_object"),
    Bad("no object: a string", b'"purchase"', "dead_lettered", "not_an_object"),
    Bad("no object: a number", b"7", "dead_lettered", "not_an_object"),
    Bad("no object: null", b"null", "dead_lettered", "not_an_object"),
    Bad("missing customer_id", b'{"event_type": "product_view"}', "rejected", "missing_customer_id"),
    Bad("null customer_id", body(customer_id=None), "rejected", "missing_customer_id"),
    Bad("empty customer_id", body(customer_id=""), "rejected", "missing_customer_id"),
    Bad("blank customer_id", body(customer_id=" \t "), "rejected", "missing_customer_id"),
    Bad("missing event_type", b'{"customer_id": "c"}', "rejected", "missing_event_type"),
    Bad("wrong type: customer_id", body(customer_id={"id": 1}), "rejected", "invalid_type"),
    Bad("wrong type: event_type", body(event_type=["product_view"]), "rejected", "invalid_type"),
    Bad("wrong type: price", body(price="a lot"), "rejected", "invalid_type"),
    Bad("wrong type: quantity", body(quantity=True), "rejected", "invalid_type"),
    Bad("wrong type: properties", body(properties="red"), "rejected", "invalid_type"),
    Bad("wrong type: timestamp", body(timestamp={"s": 1}), "rejected", "invalid_type"),
    Bad("a timestamp that is none", body(timestamp="yesterday"), "rejected", "invalid_timestamp"),
    Bad("NaN", body(price=float("nan")), "dead_lettered", "not_json"),
    Bad("Infinity", body(price=float("inf")), "dead_lettered", "not_json"),
    Bad("1e999", with_(b'"price": 1e999'), "rejected", "invalid_type"),
    Bad("1e999 in properties", with_(b'"properties": {"x": [1e999]}'), "rejected", "invalid_type"),
    Bad("a number of 400 digits", with_(b'"price": %b' % digits(400)), "rejected", "invalid_type"),
    Bad("a number of 9000 digits", with_(b'"price": %b' % digits(9000)), "rejected", "invalid_type"),
    Bad("a timestamp in 1970", body(timestamp="1970-01-01T00:00:01Z"), "rejected", "too_old"),
    Bad("a timestamp of 0", body(timestamp=0), "rejected", "too_old"),
    Bad("a timestamp of next year", body(timestamp="2027-03-02T08:00:00Z"), "rejected", "future"),
    Bad("1 MB of properties", body(properties={"x": "y" * 1_000_000}), "rejected", "too_large"),
    Bad("deep nesting", nested(10_000), "dead_lettered", "too_deep"),
    Bad("deep nesting by arrays", body()[:-1] + b', "x": ' + b"[" * 5_000, "dead_lettered", "too_deep"),
    Bad("an id of 300 characters", body(customer_id="c" * 300), "rejected", "id_too_long"),
    Bad("null value (tombstone)", None, "dead_lettered", "tombstone"),
    Bad("an attribute of another type", profile(b'"old"'), "rejected", "attribute_type"),
    Bad("an attribute of 400 digits", profile(digits(400)), "rejected", "attribute_type"),
]


@pytest.mark.parametrize("bad", BAD, ids=lambda bad: bad.name)
def test_it_is_refused_for_its_reason_and_kept_as_it_was(bad: Bad) -> None:
    """Rejected or dead-lettered, once, with a reason of the vocabulary and the original record."""
    ending, (refused,) = ending_of(bad.value)
    assert ending == (bad.ending, bad.reason)
    assert (refused.ending, refused.reason) == ending
    assert refused.record.value == bad.value
    assert refused.record.key == b"c"
    assert refused.log_time == START + SECOND
    assert 0 < len(refused.detail) < 1_000
    vocabulary = RejectionReason if bad.ending == "rejected" else DeadLetterReason
    assert bad.reason in [reason.value for reason in vocabulary]


@pytest.mark.parametrize("bad", BAD, ids=lambda bad: bad.name)
def test_nothing_is_printed_and_nothing_logged(
    bad: Bad, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """A bad record costs a counter and a record on a topic, never a line or a traceback."""
    with caplog.at_level(logging.DEBUG):
        ending_of(bad.value)
    assert capfd.readouterr() == ("", "")
    assert caplog.records == []


def test_all_of_it_in_one_batch_ends_as_it_does_alone() -> None:
    """Batches change nothing: every bad record ends where it would by itself, and the good one is applied."""
    log = Interpreter(BOOK)
    values = [bad.value for bad in BAD] + [body()]
    log.feed([InMemoryRecord(n, START // 1000, b"c", value) for n, value in enumerate(values, 1)])
    assert [(r.ending, r.reason) for r in log.refused] == [(bad.ending, bad.reason) for bad in BAD]
    assert log.endings[APPLIED] == 1
    assert log.endings.total() == len(values)


#: JSON is free to hold numbers that no machine word does; a producer's ids and hashes are such.
LARGE = [
    pytest.param(b'{"n":%b}' % str(2**64).encode(), id="of 65 bits"),
    pytest.param(b'{"n":[{"m":%b}]}' % digits(400), id="of 400 digits"),
    pytest.param(b'{"n":-%b}' % digits(30), id="below zero"),
]


@pytest.mark.parametrize("properties", LARGE)
@pytest.mark.parametrize("event_id", [b"", b'"event_id":"e",'], ids=["without an id", "with an id"])
def test_a_large_whole_number_in_properties_is_applied(properties: bytes, event_id: bytes) -> None:
    """Nothing looks at a property that no rule reads, however large; told apart by content or by id."""
    value = b'{%b"customer_id":"c","event_type":"x","properties":%b}' % (event_id, properties)
    assert ending_of(value) == (APPLIED, [])


def test_contents_that_differ_in_a_large_number_only_are_two_events() -> None:
    """A double-fire is one event, and two are two: also by what is too large for a machine word."""
    log = Interpreter(BOOK)
    for number in (2**70, 2**70 + 1, 2**70):
        log.pipe(START, None, b'{"customer_id":"c","event_type":"x","properties":{"n":%d}}' % number)
    assert log.endings == {APPLIED: 2, ("duplicate", "content"): 1}


@pytest.mark.parametrize("field", ["price", "quantity"])
@pytest.mark.parametrize("number", [digits(400), b"1e308"], ids=["400 digits", "1e308"])
def test_an_absurd_number_in_a_list_of_products_breaks_no_sum(field: str, number: bytes) -> None:
    """A listed product has the bounds of the top level: no sum overflows, no money is infinite."""
    item = b'{"product_id":"p","price":1e308,"quantity":2,"%b":%b}' % (field.encode(), number)
    value = b'{"customer_id":"c","event_type":"purchase","properties":{"products":[%b,%b]}}' % (item, item)
    log = Interpreter(BOOK)
    log.pipe(START, None, value)
    assert log.endings.total() == 1
    for customer in log.partition.customers.values():
        assert abs(customer.total_spent) < 1e300
        assert abs(customer.cart_value) < 1e300


def test_duplicate_json_keys() -> None:
    """Of a name that comes twice the last one counts."""
    log = Interpreter(BOOK)
    log.pipe(START, None, b'{"customer_id":"a","event_type":"product_view","customer_id":"b"}')
    assert log.endings == {APPLIED: 1}
    assert list(log.partition.customers) == ["b"]


def test_null_key() -> None:
    """Whose fact it is stands in the value; the key is only how it came to its partition."""
    assert ending_of(body(), key=None) == (APPLIED, [])


def test_an_unknown_event_type_is_a_custom_one() -> None:
    """Applied, and the customer has been seen."""
    log = Interpreter(BOOK)
    log.pipe(START, None, body(event_type="Spun the Wheel"))
    assert log.endings == {APPLIED: 1}
    assert log.partition.customers["c"].last_seen_at == START


def test_a_key_that_differs_from_customer_id_is_applied_to_the_customer() -> None:
    """The value decides whose fact it is."""
    assert ending_of(body(customer_id="me"), key=b"somebody else") == (APPLIED, [])
    log = Interpreter(BOOK)
    log.pipe(START, b"somebody else", body(customer_id="me"))
    assert list(log.partition.customers) == ["me"]


def test_a_user_agent_of_64_kb_is_judged_by_its_beginning() -> None:
    """A browser with a long tail is a browser, and a bot with one a bot."""
    long = "Mozilla/5.0 (X11; Linux x86_64) " + "padding " * 8_192
    assert len(long) > 65_536
    assert ending_of(body(user_agent=long)) == (APPLIED, [])
    ending, (refused,) = ending_of(body(user_agent="Googlebot/2.1 " + long))
    assert ending == ("rejected", "bot_user_agent")
    assert len(refused.detail) <= 200


def test_an_unknown_kind_of_fact_is_a_dead_letter() -> None:
    """A later version's fact does not stop this one."""
    ending, _ = ending_of(b"{}", headers=[("fact", b"erasure-of-everything")])
    assert ending == ("dead_lettered", "unknown_fact")


@pytest.mark.parametrize("header", ["fact", "origin", "moved", "traceparent"])
def test_a_header_without_a_value_stops_nothing(header: str) -> None:
    """Kafka lets a header's value be null, and clients hand it on as None."""
    null: Any = None
    assert ending_of(body(), headers=[(header, null)]) == (APPLIED, [])


@pytest.mark.parametrize("origin", [b"\xff\xfe", b"", b"x" * 100_000], ids=["not UTF-8", "empty", "huge"])
def test_an_origin_that_is_none_stops_nothing(origin: bytes) -> None:
    """Headers are a producer's to write."""
    assert ending_of(body(), headers=[("origin", origin)]) == (APPLIED, [])


BAD_BOOKS = [
    pytest.param(None, id="null"),
    pytest.param(b"", id="empty"),
    pytest.param(b"\xff", id="not UTF-8"),
    pytest.param(b"{", id="not JSON"),
    pytest.param(b"[]", id="no object"),
    pytest.param(b"{}", id="no book"),
    pytest.param(b'{"book": 7}', id="a number"),
    pytest.param(b'{"book": {"segments": {"vip": {"sql": "nobody >= 1"}}}}', id="SQL that does not compile"),
    pytest.param(b'{"book": {"segments": {"vip": {"sql": "%b"}}}}' % (b"(" * 20_000), id="SQL nested too deep"),
    pytest.param(b'{"book": ' + b"[" * 50_000 + b"]" * 50_000 + b"}", id="nested too deep"),
    pytest.param(b'{"x": ' + b"[" * 50_000 + b"]" * 50_000 + b', "book": {}}', id="nested too deep beside it"),
]


@pytest.mark.parametrize("value", BAD_BOOKS)
def test_a_book_that_cannot_be_used_is_a_dead_letter_and_the_one_before_stays(value: bytes | None) -> None:
    """A bad book stops nobody; the good ones around it say what they would without it."""
    ending, (refused,) = ending_of(value, key=None, headers=[("fact", b"definitions")])
    assert ending == ("dead_lettered", "bad_definitions")
    assert refused.record.value == value


def test_ticks_and_books_are_not_counted_as_read() -> None:
    """They are facts of ours: the four counters sum to what producers wrote."""
    log = Interpreter(BOOK)
    log.advance(START)
    log.apply(BOOK.replace("twice", "thrice"), START)
    assert log.report()["read"] == 0
    assert log.endings.total() == 0


# -- partitions ------------------------------------------------------------------------------------------


def partitions(count: int) -> list[Partition]:
    """All partitions of a log, under the book."""
    made = [Partition(number, count, CoreSettings()) for number in range(count)]
    for partition in made:
        book = InMemoryRecord(0, START // 1000, None, definitions(BOOK), (("fact", b"definitions"),))
        partition.process([book], Output())
    return made


def sent_again(out: Output, offset: int, source: int) -> InMemoryRecord:
    """The record that the engine makes of one to be moved."""
    (moved,) = out.moved
    origin = f"events/{source}/{moved.record.offset}".encode()
    headers = [*moved.record.headers, ("origin", origin), ("moved", b"1")]
    return InMemoryRecord(offset, START // 1000, moved.customer_id.encode(), moved.record.value, headers)


CUSTOMER = next(
    name for name in (f"customer-{n}" for n in range(100)) if zlib.crc32(name.encode()) % 4 != partition_of(name, 4)
)
ASTRAY, HOME = zlib.crc32(CUSTOMER.encode()) % 4, partition_of(CUSTOMER, 4)


def test_a_crc32_partitioned_producer_has_its_records_moved_and_then_applied() -> None:
    """A record in the wrong partition is counted where it ends, and leaves no customer where it strayed."""
    log = partitions(4)
    strayed, arrived = Output(), Output()
    value = body(customer_id=CUSTOMER)
    log[ASTRAY].process([InMemoryRecord(1, START // 1000, CUSTOMER.encode(), value)], strayed)
    assert [moved.customer_id for moved in strayed.moved] == [CUSTOMER]
    assert strayed.moved[0].record.value == value
    assert strayed.read == 0
    assert strayed.refused == [] and strayed.changes == []
    assert log[ASTRAY].customers == {}
    log[HOME].process([sent_again(strayed, 1, ASTRAY)], arrived)
    assert arrived.endings == {APPLIED: 1}
    assert [change.segment for change in arrived.changes] == ["viewer"]


def test_a_record_in_its_own_partition_is_not_moved() -> None:
    """Wherever its key says it should be."""
    out = Output()
    value = body(customer_id=CUSTOMER)
    partitions(4)[HOME].process([InMemoryRecord(1, START // 1000, b"any", value)], out)
    assert out.moved == []
    assert out.endings == {APPLIED: 1}


def test_a_record_that_was_moved_and_is_still_astray_is_misrouted() -> None:
    """Once, and no more: a record must not wander for ever."""
    out = Output()
    record = InMemoryRecord(1, START // 1000, None, body(customer_id=CUSTOMER), (("moved", b"1"),))
    partitions(4)[ASTRAY].process([record], out)
    assert out.moved == []
    assert out.endings == {("dead_lettered", "misrouted"): 1}
    assert out.refused[0].record is record


@pytest.mark.parametrize("fields", [{}, {"event_id": "e1"}, {"timestamp": START // 1000}], ids=str)
def test_a_record_that_is_moved_twice_is_applied_once(fields: dict[str, Any]) -> None:
    """Without an id it gets its origin as id, so a move that is repeated after a crash is harmless."""
    log = partitions(4)
    strayed, arrived = Output(), Output()
    record = InMemoryRecord(17, START // 1000, None, body(customer_id=CUSTOMER, **fields))
    log[ASTRAY].process([record], strayed)
    again = sent_again(strayed, 1, ASTRAY)
    # Minutes apart, so that it is not the content that tells.
    later = InMemoryRecord(2, START // 1000 + 600_000, again.key, again.value, again.headers)
    log[HOME].process([again, later], arrived)
    assert arrived.endings == {APPLIED: 1, ("duplicate", "event_id"): 1}
    cause = json.loads(arrived.changes[0].value)["cause"]
    assert cause["event_id"] == fields.get("event_id", f"events/{ASTRAY}/17")


def test_two_records_without_an_id_that_are_moved_are_two_events() -> None:
    """Each has an origin of its own, even where both say the same, a minute apart."""
    log = partitions(4)
    arrived = Output()
    for n, minute in enumerate((0, 1), 1):
        strayed = Output()
        at = START // 1000 + minute * 60_000
        log[ASTRAY].process([InMemoryRecord(n, at, None, body(customer_id=CUSTOMER))], strayed)
        log[HOME].process([sent_again(strayed, n, ASTRAY)], arrived)
    assert arrived.endings == {APPLIED: 2}


def test_an_unreadable_record_is_refused_wherever_it_is() -> None:
    """Nobody can say whose it is, so nobody moves it."""
    out = Output()
    partitions(4)[ASTRAY].process([InMemoryRecord(1, START // 1000, CUSTOMER.encode(), b"{")], out)
    assert out.moved == []
    assert out.endings == {("dead_lettered", "not_json"): 1}
