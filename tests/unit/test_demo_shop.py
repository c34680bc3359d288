"""The demo's shop day is fixed by its seed, in order, and holds everything that it promises."""

from __future__ import annotations

import re
from collections import Counter

import orjson
import pytest
from crawleruseragents import is_crawler

from stream.demo.options import DemoOptions, plan
from stream.demo.shop import Shop, shop_day
from stream.demo.shopper import HOUR, SECOND
from stream.interpreter import Interpreter
from stream.sources import SourceRecord

SHOP = Shop(seed=5, customers=400)


@pytest.fixture(scope="module")
def day() -> list[SourceRecord]:
    return list(shop_day(SHOP))


def events(day: list[SourceRecord]) -> list[dict[str, object]]:
    readable = []
    for record in day:
        try:
            event = orjson.loads(record.value or b"")
        except orjson.JSONDecodeError:
            continue
        if isinstance(event, dict):
            readable.append(event)
    return readable


def test_a_seed_fixes_every_byte(day: list[SourceRecord]) -> None:
    assert list(shop_day(SHOP)) == day
    assert list(shop_day(Shop(seed=6, customers=400))) != day


def test_log_times_never_go_back_and_are_whole_milliseconds(day: list[SourceRecord]) -> None:
    times = [record.log_time for record in day]
    assert times == sorted(times)
    assert all(time % 1000 == 0 for time in times)
    assert SHOP.start <= times[0] and times[-1] < SHOP.end


def test_a_shorter_day_is_the_beginning_of_the_long_one(day: list[SourceRecord]) -> None:
    morning = list(shop_day(Shop(seed=5, customers=400, hours=6)))
    assert 0 < len(morning) < len(day) / 2
    assert morning == day[: len(morning)]


def test_the_day_is_busier_in_the_evening_than_before_dawn(day: list[SourceRecord]) -> None:
    hours = Counter((record.log_time - SHOP.start) // HOUR for record in day)
    assert hours[20] + hours[21] > 5 * (hours[3] + hours[4])


def test_the_words_of_all_clients_occur(day: list[SourceRecord]) -> None:
    words = {event.get("event_type") or event.get("event") for event in events(day)}
    assert {"product_view", "purchase", "email_open", "email_click", "profile_update", "search"} <= words
    assert {"Product Viewed", "Product Added", "Order Completed"} <= words
    assert {"view_item", "begin_checkout"} <= words


def test_carts_are_left_and_bought(day: list[SourceRecord]) -> None:
    added: set[object] = set()
    bought: set[object] = set()
    for event in events(day):
        if event.get("event_type") == "add_to_cart":
            added.add(event["customer_id"])
        elif event.get("event_type") == "purchase":
            bought.add(event["customer_id"])
    assert len(bought & added) > 10
    assert len(added - bought) > 10


def test_crawlers_call_themselves_by_names_that_are_known(day: list[SourceRecord]) -> None:
    agents = Counter(is_crawler(str(event["user_agent"])[:1000]) for event in events(day) if event.get("user_agent"))
    assert 100 < agents[True] < agents[False]


def test_scrapers_look_at_hundreds_of_products_a_minute(day: list[SourceRecord]) -> None:
    minutes = Counter((record.key, record.log_time // (60 * SECOND)) for record in day)
    (key, _), most = minutes.most_common(1)[0]
    assert most > 300 and key is not None and key.startswith(b"guest-")


def test_pixels_fire_twice_within_seconds_with_and_without_an_event_id(day: list[SourceRecord]) -> None:
    seen: dict[bytes, int] = {}
    near = {True: 0, False: 0}
    for record in day:
        if record.value is None or len(record.value) > 10_000:
            continue
        before = seen.get(record.value)
        if before is not None and record.log_time - before <= 4 * SECOND:
            near[b'"event_id"' in record.value or b'"messageId"' in record.value] += 1
        seen[record.value] = record.log_time
    assert near[True] > 20 and near[False] > 2


def test_some_events_are_minutes_to_hours_late(day: list[SourceRecord]) -> None:
    late = 0
    for record in day:
        found = re.search(rb'"timestamp":(\d{13})\b', record.value or b"")
        if found and record.log_time // 1000 - int(found[1]) > 300_000:
            late += 1
    assert late > 20


def test_every_kind_of_bad_input_occurs(day: list[SourceRecord]) -> None:
    values = [record.value for record in day]
    assert None in values
    assert any(record.key is None for record in day)
    assert sum(len(value or b"") > 900_000 for value in values) == 1
    assert any(value is not None and b"1e999" in value for value in values)
    assert any(value is not None and b"NaN" in value for value in values)
    assert any(value is not None and b'"timestamp":"1970' in value for value in values)


def test_when_moved_records_arrive_decides_about_no_segment() -> None:
    """A till's records, and those with no key or another's, are moved, in their own time."""
    todo = plan(DemoOptions(seed=5, customers=400))
    said = []
    for delay in (0, 6 * HOUR):
        interpreter = Interpreter(todo.book)
        late = [
            record._replace(log_time=record.log_time + delay) if moved(record) else record for record in todo.records
        ]
        for record in sorted(late, key=lambda record: record.log_time):
            interpreter.pipe(record.log_time, record.key, record.value)
        interpreter.advance(todo.until)
        said.append(interpreter.changes)
    assert sorted(said[0]) == sorted(said[1])


def moved(record: SourceRecord) -> bool:
    """Whether the record lies, or may lie, in another partition than its customer's."""
    return record.key is None or record.key.startswith((b"till-", b"session-"))


def test_the_stream_refuses_what_is_meant_to_be_refused_and_nothing_else(day: list[SourceRecord]) -> None:
    interpreter = Interpreter("attributes: {age: integer}\nsegments: {any: {sql: view_count > 0}}")
    for record in day:
        interpreter.pipe(record.log_time, record.key, record.value)
    refused = Counter(each.reason for each in interpreter.refused)
    crawled = sum(
        is_crawler(str(event.get("user_agent", ""))[:1000])
        for event in events(day)
        if str(event.get("customer_id")).startswith("visitor-")
    )
    assert refused.pop("bot_user_agent") == crawled
    assert refused.pop("bot_rate") > 100
    once = (
        "attribute_type",
        "future",
        "id_too_long",
        "invalid_timestamp",
        "missing_event_type",
        "not_an_object",
    )
    more = ("not_utf8", "tombstone", "too_deep", "too_large", "too_old")
    twice = ("invalid_type", "missing_customer_id", "not_json")
    assert refused == dict.fromkeys(once + more, 1) | dict.fromkeys(twice, 2)


def test_ids_need_trimming_are_numbers_and_are_not_all_ascii(day: list[SourceRecord]) -> None:
    ids = [event.get("customer_id") for event in events(day)]
    assert any(isinstance(name, str) and name.strip() and name != name.strip() for name in ids)
    assert any(isinstance(name, int) for name in ids)
    assert any(isinstance(name, str) and not name.isascii() for name in ids)
