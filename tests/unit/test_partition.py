"""Laws of one partition's step: rates, bots, duplicates, time, and books."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from typing import Any

import pytest

from stream.core.config import HOUR, MINUTE, SECOND, CoreSettings
from stream.core.output import Output
from stream.core.partition import Partition
from stream.core.time import format_iso, parse_iso
from stream.interpreter import InMemoryRecord, Interpreter, definitions

#: The beginning of a minute, so that a rate window begins with it.
T = parse_iso("2026-03-02T08:00:00Z")
DAY = 24 * HOUR
BOOK = """
attributes: {age: integer, since: timestamp}
segments:
  viewer: {sql: view_count >= 1}
  loyal: {sql: view_count >= 3}
  adult: {sql: age >= 18}
  resting: {sql: "last_viewed_at <= now() - INTERVAL '10 minutes'"}
"""
APPLIED = ("applied", "fact")
BY_ID = ("duplicate", "event_id")
BY_CONTENT = ("duplicate", "content")
BOT_RATE = ("rejected", "bot_rate")
BOT_AGENT = ("rejected", "bot_user_agent")
DEFINITIONS = (("fact", b"definitions"),)
TICK = (("fact", b"tick"),)


def event(customer: str = "c", kind: str = "product_view", **fields: Any) -> bytes:
    return json.dumps({"customer_id": customer, "event_type": kind, **fields}).encode()


def made(log: Interpreter) -> list[tuple[str, str, str, int, str]]:
    """(customer, segment, action, at, kind of cause) of every change so far."""
    return [(c.customer_id, c.segment, c.action, c.at, c.cause) for c in log.decided]


# -- rates --------------------------------------------------------------------------------------------------


def test_the_301st_event_of_a_customer_in_a_minute_is_rejected_and_the_next_minute_is_not() -> None:
    """The window tumbles in log time; what is over the limit changes nothing."""
    log = Interpreter(BOOK)
    for n in range(302):
        log.pipe(T + n * SECOND // 10, None, event(event_id=f"e{n}"))
    assert log.endings == {APPLIED: 300, BOT_RATE: 2}
    assert log.partition.customers["c"].view_count == 300
    assert [refused.record.value for refused in log.refused] == [event(event_id=f"e{n}") for n in (300, 301)]
    log.pipe(T + MINUTE - 1000, None, event(event_id="still"))
    assert log.endings[BOT_RATE] == 3
    log.pipe(T + MINUTE, None, event(event_id="next"))
    assert log.endings == {APPLIED: 301, BOT_RATE: 3}


def test_a_rate_is_a_customers_own() -> None:
    """One bot stops nobody else."""
    log = Interpreter(BOOK, CoreSettings(rate_limit=2))
    for n in range(3):
        log.pipe(T, None, event("bot", event_id=f"e{n}"))
        log.pipe(T, None, event(f"c{n}"))
    assert log.endings == {APPLIED: 5, BOT_RATE: 1}


def test_profile_updates_do_not_count_as_a_rate() -> None:
    """They come from a CRM, in bulk, and are no behaviour; nor are they rejected for the rate of the rest."""
    log = Interpreter(BOOK, CoreSettings(rate_limit=1))
    for n in range(5):
        log.pipe(T, None, event(kind="profile_update", event_id=f"p{n}", properties={"age": n}))
    log.pipe(T, None, event(event_id="v1"))
    log.pipe(T, None, event(event_id="v2"))
    log.pipe(T, None, event(kind="profile_update", event_id="p9", properties={"age": 40}))
    assert log.endings == {APPLIED: 7, BOT_RATE: 1}
    assert log.partition.customers["c"].attribute("age") == 40


def test_duplicates_and_refused_records_do_not_count_as_a_rate() -> None:
    """Only what would be applied is behaviour."""
    log = Interpreter(BOOK, CoreSettings(rate_limit=2))
    for _ in range(5):
        log.pipe(T, None, event(event_id="same"))
        log.pipe(T, None, event(price="much"))
    log.pipe(T, None, event(event_id="other"))
    assert log.endings == {APPLIED: 2, BY_ID: 4, ("rejected", "invalid_type"): 5}


# -- bots ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "agent",
    [
        "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
        "Mozilla/5.0 (compatible; bingbot/2.0; +http://www.bing.com/bingbot.htm)",
        "curl/8.5.0",
        "python-requests/2.32.3",
    ],
)
def test_a_bot_by_its_user_agent_leaves_no_trace(agent: str) -> None:
    """No customer, no view, no id remembered: the same event by a browser is applied."""
    log = Interpreter(BOOK)
    log.pipe(T, None, event(event_id="e1", user_agent=agent))
    assert log.endings == {BOT_AGENT: 1}
    assert log.partition.customers == {}
    assert log.changes == []
    log.pipe(T, None, event(event_id="e1", user_agent="Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Firefox/140.0"))
    assert log.endings == {BOT_AGENT: 1, APPLIED: 1}


@pytest.mark.parametrize(
    "agent",
    [
        None,
        "",
        "Mozilla/5.0 (Linux; Android 14; CUBOT X70) AppleWebKit/537.36 Chrome/126.0 Mobile Safari/537.36",
        "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1 Version/18.5 Safari/604.1",
    ],
)
def test_a_person_is_no_bot(agent: str | None) -> None:
    """There is a phone called Cubot, and servers send events without a user agent."""
    log = Interpreter(BOOK)
    log.pipe(T, None, event(user_agent=agent))
    assert log.endings == {APPLIED: 1}


# -- duplicates ---------------------------------------------------------------------------------------------


def test_an_event_id_is_a_duplicate_for_24_hours_at_least() -> None:
    """Whatever else the event says; and at some time after that it is forgotten."""
    log = Interpreter(BOOK)
    log.pipe(T, None, event(event_id="e1"))
    log.pipe(T + DAY, None, event(event_id="e1", product_id="another"))
    assert log.endings == {APPLIED: 1, BY_ID: 1}
    log.pipe(T + 2 * DAY, None, event(event_id="e1"))
    assert log.endings == {APPLIED: 2, BY_ID: 1}


def test_the_same_event_id_of_two_customers_is_two_events() -> None:
    """Ids are unique to a customer at least; a shop's counter may start anew for each."""
    log = Interpreter(BOOK)
    log.pipe(T, None, event("a", event_id="1"))
    log.pipe(T, None, event("b", event_id="1"))
    assert log.endings == {APPLIED: 2}


def test_the_same_content_without_an_id_is_a_duplicate_for_ten_seconds() -> None:
    """A pixel that fires twice; who really does the same again after that has done it twice."""
    log = Interpreter(BOOK)
    for after in (0, SECOND, 10 * SECOND, 10 * SECOND + 1000, 15 * SECOND):
        log.pipe(T + after, None, event(product_id="p"))
    assert log.endings == {APPLIED: 2, BY_CONTENT: 3}
    assert log.partition.customers["c"].view_count == 2


def test_content_is_what_happened_and_not_how_it_travelled() -> None:
    """A repetition over another address or browser is one; another product, time or property is none."""
    same: list[dict[str, Any]] = [
        {"ip": "203.0.113.7"},
        {"user_agent": "Mozilla/5.0 Firefox/140.0"},
        {"new": 1},
    ]
    other: list[dict[str, Any]] = [
        {"product_id": "q"},
        {"category": "Books"},
        {"price": 1},
        {"quantity": 2},
        {"currency": "EUR"},
        {"order_id": "o"},
        {"cart_id": "k"},
        {"session_id": "s"},
        {"timestamp": T // 1000 - 1},
        {"properties": {"color": "red"}},
        {"event_type": "page_view"},
        {"customer_id": "d"},
    ]
    plain: dict[str, Any] = {"product_id": "p", "timestamp": T // 1000}
    for fields in same:
        log = Interpreter(BOOK)
        log.pipe(T, None, event(**plain))
        log.pipe(T, None, event(**plain | fields))
        assert log.endings == {APPLIED: 1, BY_CONTENT: 1}, fields
    for fields in other:
        log = Interpreter(BOOK)
        log.pipe(T, None, event(**plain))
        changed = {"customer_id": "c", "event_type": "product_view"} | plain | fields
        log.pipe(T, None, json.dumps(changed).encode())
        assert log.endings == {APPLIED: 2}, fields


def test_the_order_of_keys_is_no_content() -> None:
    """JSON objects have none."""
    log = Interpreter(BOOK)
    log.pipe(T, None, event(properties={"a": 1, "b": 2}))
    log.pipe(T, None, b'{"properties":{"b":2,"a":1},"event_type":"Product Viewed","customer_id":" c "}')
    assert log.endings == {APPLIED: 1, BY_CONTENT: 1}


def test_an_event_with_an_id_is_never_a_duplicate_by_content() -> None:
    """The producer says that they are two."""
    log = Interpreter(BOOK)
    log.pipe(T, None, event(event_id="e1", product_id="p"))
    log.pipe(T, None, event(event_id="e2", product_id="p"))
    log.pipe(T, None, event(product_id="p"))
    assert log.endings == {APPLIED: 3}


# -- log time -----------------------------------------------------------------------------------------------


def run(*records: InMemoryRecord, settings: CoreSettings | None = None) -> tuple[Partition, Output]:
    """A partition under the book, after these records."""
    partition, out = Partition(0, 1, settings or CoreSettings()), Output()
    partition.process([InMemoryRecord(0, 0, None, definitions(BOOK), DEFINITIONS), *records], out)
    return partition, out


def record(offset: int, at: int, value: bytes | None, headers: Any = (), kind: int = 1) -> InMemoryRecord:
    """A record at ``at`` (µs); ``kind`` 0 is CreateTime, 1 is LogAppendTime."""
    return InMemoryRecord(offset, at // 1000, None, value, headers, kind)


def test_log_time_never_goes_back() -> None:
    """A record is as late as the latest before it, whatever its own timestamp is."""
    partition, out = run(
        record(1, T + HOUR, event("a")),
        record(2, T, event("b", timestamp=T // 1000)),
        record(3, 0, event("d")),
        record(4, -1000, event("e")),
    )
    assert partition.log_time == T + HOUR
    assert [change.at for change in out.changes if change.segment == "viewer"] == [T + HOUR] * 4
    assert partition.customers["b"].last_seen_at == T
    assert partition.customers["d"].last_seen_at == T + HOUR


@pytest.mark.parametrize("value", [None, b"{", event("c", price="x"), event("c", user_agent="curl/8.5.0")])
def test_time_passes_with_records_that_are_refused(value: bytes | None) -> None:
    """They were appended when they were, and are refused at that time."""
    partition, out = run(record(1, T, event("a")), record(2, T + HOUR, value))
    assert partition.log_time == T + HOUR
    assert out.refused[0].log_time == T + HOUR
    assert [(c.segment, c.at) for c in out.changes if c.cause == "time"] == [("resting", T + 10 * MINUTE)]


def test_a_producers_own_timestamp_is_clamped_to_the_last_tick_and_the_skew() -> None:
    """Where a broker ignores LogAppendTime, one producer's wrong clock must not move everybody's time."""
    skew = CoreSettings().clock_skew
    year = 365 * DAY
    partition, out = run(record(1, T, b"{}", TICK, 0), record(2, T + year, event("a"), kind=0))
    assert partition.log_time == T + skew
    assert [change.at for change in out.changes] == [T + skew]
    partition, _ = run(record(1, T, b"{}", TICK, 0), record(2, T + skew - 1000, event("a"), kind=0))
    assert partition.log_time == T + skew - 1000
    later = T + MINUTE
    partition, _ = run(
        record(1, T, b"{}", TICK, 0),
        record(2, T + year, event("a"), kind=0),
        record(3, later, b"{}", TICK, 0),
        record(4, T + year, event("b"), kind=0),
    )
    assert partition.log_time == later + skew


def test_a_moved_record_does_not_move_the_time() -> None:
    """Its stamp is another clock's: that of the worker which found it elsewhere. What comes next keeps its own time."""
    skew = CoreSettings().clock_skew
    origin = (("origin", b"events/3/7"), ("moved", b"1"))
    partition, out = run(
        record(1, T, b"{}", TICK, 0),
        record(2, T + SECOND, event("a"), kind=0),
        record(3, T + skew, event("b"), origin, 0),
        record(4, T + 2 * SECOND, event("c"), kind=0),
    )
    assert partition.log_time == T + 2 * SECOND
    assert [change.at for change in out.changes] == [T + SECOND, T + SECOND, T + 2 * SECOND]
    partition, _ = run(record(1, T, event("a"), origin, 1))
    assert partition.log_time == T, "the broker's own time is the time"


def test_a_definition_book_is_clamped_too() -> None:
    """`segments apply` runs on somebody's laptop."""
    partition, _ = run(
        record(1, T, b"{}", TICK, 0),
        record(2, T + 365 * DAY, definitions(BOOK.replace("3", "4")), DEFINITIONS, 0),
    )
    assert partition.log_time == T + CoreSettings().clock_skew


def test_the_brokers_own_time_is_not_clamped() -> None:
    """With LogAppendTime the broker is the clock; before the first tick there is nothing to hold on to."""
    partition, _ = run(record(1, T, b"{}", TICK), record(2, T + DAY, event("a")))
    assert partition.log_time == T + DAY
    partition, _ = run(record(1, T, event("a"), kind=0), record(2, T + DAY, event("b"), kind=0))
    assert partition.log_time == T + DAY


def test_a_tick_lets_time_pass_and_counts_as_nothing_read() -> None:
    """An idle customer's segments still change."""
    partition, out = run(record(1, T, event("a")), record(2, T + HOUR, b"{}", TICK))
    assert partition.last_tick == partition.log_time == T + HOUR
    assert [(c.segment, c.at) for c in out.changes if c.cause == "time"] == [("resting", T + 10 * MINUTE)]
    assert out.read == 1
    assert out.control == 2


def test_an_early_tick_changes_nothing() -> None:
    """Two workers may tick one partition for a moment."""
    partition, _ = run(record(1, T + HOUR, b"{}", TICK), record(2, T, b"{}", TICK))
    assert partition.last_tick == partition.log_time == T + HOUR


def test_deadlines_pass_before_the_record_in_the_order_of_their_instants() -> None:
    """Across customers, each at its exact instant; what is due at the record's own time is before it, too."""
    log = Interpreter(BOOK)
    for n, customer in enumerate(("late", "early", "middle")):
        seen = T + (3, 1, 2)[n] * MINUTE
        log.pipe(T + 5 * MINUTE, None, event(customer, timestamp=seen // 1000))
    log.decided.clear()
    log.pipe(T + 13 * MINUTE, None, event("early", event_id="again"))
    assert made(log) == [
        ("early", "resting", "entered", T + 11 * MINUTE, "time"),
        ("middle", "resting", "entered", T + 12 * MINUTE, "time"),
        ("late", "resting", "entered", T + 13 * MINUTE, "time"),
        ("early", "resting", "exited", T + 13 * MINUTE, "event"),
    ]


def test_a_deadline_that_a_fact_moved_on_does_not_pass_early() -> None:
    """The entry on the heap is early then, and is put back."""
    log = Interpreter(BOOK)
    log.pipe(T, None, event(event_id="e1"))
    log.pipe(T + 9 * MINUTE, None, event(event_id="e2"))
    log.advance(T + 18 * MINUTE)
    assert [c for c in made(log) if c[1] == "resting"] == []
    log.advance(T + 19 * MINUTE)
    assert [c for c in made(log) if c[1] == "resting"] == [("c", "resting", "entered", T + 19 * MINUTE, "time")]


def test_position_is_that_of_the_last_record_whatever_it_was() -> None:
    """Also of one that was refused, moved, skipped or a tick: a checkpoint covers it."""
    values: list[tuple[bytes | None, Any]] = [
        (event("a"), ()),
        (event("a"), ()),
        (None, ()),
        (b"{}", TICK),
        (b"", DEFINITIONS),
        (b"", (("fact", b"?"),)),
    ]
    for value, headers in values:
        partition, _ = run(record(1, T, value, headers))
        assert partition.position == 1
    with pytest.raises(StopIteration):
        next(iter(run()[0].customers))


# -- books --------------------------------------------------------------------------------------------------

OTHER = """
attributes: {age: integer, since: timestamp}
segments:
  viewer: {sql: view_count >= 2}
  adult: {sql: age >= 18}
  frequent: {sql: view_count >= 3}
  resting: {sql: "last_viewed_at <= now() - INTERVAL '20 minutes'"}
"""


def a_log(rng: random.Random) -> list[tuple[str, bytes]]:
    """Views and profiles of some customers."""
    facts = []
    for n in range(60):
        customer = f"c{rng.randrange(8)}"
        if rng.random() < 0.2:
            facts.append((customer, event(customer, "profile_update", properties={"age": rng.choice((3, 20))})))
        else:
            facts.append((customer, event(customer, event_id=f"e{n}")))
    return facts


def members(log: Interpreter) -> dict[str, set[str]]:
    return {name: set(customer.members or ()) for name, customer in log.partition.customers.items()}


def by_the_changes(log: Interpreter) -> dict[str, set[str]]:
    """Who is where according to what left; fails where somebody enters twice or leaves what he is not in."""
    found: dict[str, set[str]] = {name: set() for name in log.partition.customers}
    for change in log.decided:
        held = found[change.customer_id]
        assert (change.segment in held) is (change.action == "exited"), change
        (held.add if change.action == "entered" else held.remove)(change.segment)
    return found


def test_the_same_book_twice_changes_nothing() -> None:
    """Also written in another order, with other white space, or with another comment."""
    log = Interpreter(BOOK)
    log.pipe(T, None, event())
    before = log.changes
    head, _, segments = BOOK.partition("segments:\n")
    shuffled = head + "segments:\n" + "\n".join(reversed(segments.rstrip().split("\n"))) + "\n\n"
    for text in (BOOK, shuffled):
        log.apply(text, T + SECOND)
        log.pipe(T + SECOND, None, definitions(text, "somebody else", "another comment"), DEFINITIONS)
    assert log.changes == before
    assert len(log.partition.membership.editions) == 1
    assert log.partition.membership.sweeping is False


def test_under_a_new_book_every_customer_stands_as_if_it_had_always_been_in_force() -> None:
    """Of rules that read columns: whom it moves gets a change that names it, and nobody else gets one."""
    for seed in range(5):
        facts = a_log(random.Random(seed))
        log, always = Interpreter(BOOK), Interpreter(OTHER)
        for n, (_, value) in enumerate(facts):
            log.pipe(T + n * SECOND, None, value)
            always.pipe(T + n * SECOND, None, value)
        before = members(log)
        said = len(log.decided)
        at = T + 100 * SECOND
        log.apply(OTHER, at)
        always.advance(at)
        assert members(log) == members(always)
        moved = log.decided[said:]
        assert moved, "a book that moves nobody shows nothing"
        version = log.partition.membership.editions[-1].book.version
        for change in moved:
            body = json.loads(change.value)
            assert body["cause"] == {"kind": "definition", "definition_version": version}
            assert (body["at"], body["definition_version"]) == (format_iso(at), version)
        touched = {(c.customer_id, c.segment) for c in moved}
        after = members(log)
        assert touched == {(name, each) for name in after for each in before[name] ^ after[name]}
        assert by_the_changes(log) == after


def test_a_segment_that_is_removed_is_left_by_all_its_members() -> None:
    """And by nobody else; its deadlines are gone with it."""
    log = Interpreter(BOOK)
    log.pipe(T, None, event("in"))
    log.pipe(T, None, event("out", "page_view"))
    log.decided.clear()
    log.apply("segments:\n  loyal: {sql: view_count >= 3}\n", T + MINUTE)
    assert made(log) == [("in", "viewer", "exited", T + MINUTE, "definition")]
    assert json.loads(log.changes[0])["evidence"] == {}
    log.advance(T + HOUR)
    assert len(log.decided) == 1
    assert set(members(log)["in"]) == set()


def test_a_segment_that_is_renamed_is_left_and_entered() -> None:
    """A name is all that a receiver knows of it."""
    log = Interpreter(BOOK)
    log.pipe(T, None, event())
    log.decided.clear()
    log.apply(BOOK.replace("viewer", "watcher"), T + MINUTE)
    assert made(log) == [
        ("c", "viewer", "exited", T + MINUTE, "definition"),
        ("c", "watcher", "entered", T + MINUTE, "definition"),
    ]


def test_a_book_without_segments_ends_all_memberships() -> None:
    """And the book before brings them back, as of its own time."""
    log = Interpreter(BOOK)
    log.pipe(T, None, event())
    log.apply("segments: {}", T + MINUTE)
    assert members(log) == {"c": set()}
    log.apply(BOOK, T + 2 * MINUTE)
    assert members(log) == {"c": {"viewer"}}
    assert made(log)[-1] == ("c", "viewer", "entered", T + 2 * MINUTE, "definition")


def test_a_new_window_passes_at_its_own_instant() -> None:
    """Also where it was over already when the book came: then at the book's time, and by it."""
    log = Interpreter(BOOK)
    log.pipe(T, None, event())
    log.advance(T + 11 * MINUTE)
    log.decided.clear()
    log.apply(OTHER.replace("view_count >= 2", "view_count >= 1"), T + 12 * MINUTE)
    assert made(log) == [("c", "resting", "exited", T + 12 * MINUTE, "definition")]
    log.advance(T + HOUR)
    assert made(log)[1:] == [("c", "resting", "entered", T + 20 * MINUTE, "time")]


def test_customers_of_before_the_first_book_come_under_it() -> None:
    """A log may have events before anybody wrote a segment."""
    partition, out = Partition(0, 1, CoreSettings()), Output()
    partition.process([record(0, T, event()), record(1, T + MINUTE, definitions(BOOK), DEFINITIONS)], out)
    assert out.endings == {APPLIED: 1}
    partition.sweep(10, out)
    assert [(c.segment, c.at, c.cause) for c in out.changes] == [("viewer", T + MINUTE, "definition")]


ATTRIBUTES: Sequence[tuple[str, Any, str, Any]] = [
    ("integer", 30, "integer", 30),
    ("integer", 30, "number", 30.0),
    ("integer", 30, "text", "30"),
    ("text", "30", "integer", 30),
    ("text", "thirty", "integer", None),
    ("boolean", True, "boolean", True),
    ("boolean", True, "integer", None),
    ("timestamp", "2020-01-01T00:00:00Z", "timestamp", parse_iso("2020-01-01")),
    ("text", "2020-01-01T00:00:00Z", "timestamp", parse_iso("2020-01-01")),
]


@pytest.mark.parametrize(("old", "stated", "new", "held"), ATTRIBUTES, ids=str)
def test_a_new_book_keeps_what_it_still_declares(old: str, stated: Any, new: str, held: Any) -> None:
    """What has its type still stays, what has another is brought to it, and what cannot be is forgotten."""
    log = Interpreter(f"attributes: {{x: {old}}}\nsegments: {{}}")
    log.pipe(T, None, event(kind="profile_update", properties={"x": stated}))
    log.apply(f"attributes: {{x: {new}}}\nsegments: {{viewer: {{sql: view_count >= 1}}}}", T + MINUTE)
    assert log.partition.customers["c"].attribute("x") == held


def test_what_a_new_book_does_not_declare_is_forgotten() -> None:
    """Personal data is kept for a purpose."""
    log = Interpreter(BOOK)
    log.pipe(T, None, event(kind="profile_update", properties={"age": 30}))
    log.apply(BOOK.replace("age: integer, ", "").replace("age >= 18", "view_count >= 9"), T + MINUTE)
    assert not log.partition.customers["c"].attributes


@pytest.mark.parametrize("budget", [1, 2, 3, 1000])
def test_how_a_sweep_is_sliced_changes_nothing_that_a_customer_sees(budget: int) -> None:
    """Nor how many facts, deadlines and further books come before a customer's turn."""

    def said(slices: int, every: int) -> list[tuple[str, int, bytes]]:
        partition, out = Partition(0, 1, CoreSettings()), Output()
        partition.process([record(0, T, definitions(BOOK), DEFINITIONS)], out)
        offset = 0
        for n, (_, value) in enumerate(a_log(random.Random(3))):
            offset += 1
            partition.process([record(offset, T + n * MINUTE, value)], out)
            if n in (20, 25, 26):
                offset += 1
                book = OTHER if n != 25 else BOOK
                partition.process([record(offset, T + n * MINUTE, definitions(book), DEFINITIONS)], out)
            if n % every == 0:
                partition.sweep(slices, out)
        partition.process([record(offset + 1, T + DAY, b"{}", TICK)], out)
        while partition.membership.sweeping:
            partition.sweep(slices, out)
        assert len(partition.membership.editions) == 1
        return sorted((change.customer_id, change.sequence, change.value) for change in out.changes)

    at_once = said(1000, 1)
    assert len(at_once) > 40
    for every in (1, 4, 1000):
        assert said(budget, every) == at_once
