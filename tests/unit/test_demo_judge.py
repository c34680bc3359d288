"""The demo's judge finds every kind of fault, and nothing where there is none."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import pytest

from stream.core.config import CoreSettings
from stream.demo.inbox import Inbox
from stream.demo.judge import Evidence, Finding, in_log_time, interpret, judge
from stream.demo.options import DemoOptions, plan
from stream.demo.shopper import HOUR, SECOND
from stream.demo.timeline import TICK_HEADERS, timeline
from stream.interpreter import definitions

PARTITIONS = 3


@dataclass(frozen=True)
class Stored:
    """A record as a topic holds it."""

    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes]] = ()
    timestamp_type: int = 0


def stored(
    items: Sequence[tuple[int, int, bytes | None, bytes | None, Sequence[tuple[str, bytes]]]],
) -> list[Stored]:
    """Partition, timestamp (ms), key, value and headers, as they come to lie in their topic."""
    ends: Counter[int] = Counter()
    records = []
    for partition, timestamp, key, value, headers in items:
        records.append(Stored(partition, ends[partition], timestamp, key, value, headers))
        ends[partition] += 1
    return records


@pytest.fixture(scope="module")
def good() -> Evidence:
    """A small shop's day that went as it should."""
    todo = plan(DemoOptions(customers=60))
    records = [record for record in todo.records if record.key and not record.key.startswith(b"session-")]
    log: list[tuple[int, int, bytes | None, bytes | None, Sequence[tuple[str, bytes]]]] = []
    for number in range(PARTITIONS):
        log.append((number, (todo.start - 60 * SECOND) // 1000, None, b"{}", TICK_HEADERS))
        # The book's own timestamp is far ahead: it is put into force by a person's clock.
        book = definitions(todo.book)
        log.append((number, (todo.start + 9999 * HOUR) // 1000, None, book, (("fact", b"definitions"),)))
    for each in timeline(records, PARTITIONS, todo.start, todo.until, todo.tick_interval, 5 * SECOND):
        log.append((each.partition, each.time_ms, each.key, each.value, TICK_HEADERS if each.tick else ()))
    bare = Evidence(
        book=todo.book,
        settings=CoreSettings(),
        partitions=PARTITIONS,
        until=todo.until,
        sent=len(records),
        endings=Counter(),
        read=0,
        killed=False,
        events=stored(log),
        changes=[],
        rejected=[],
        dead_letters=[],
        inbox=Inbox(),
        bad_signatures=[],
    )
    expected = interpret(bare)
    from stream.core.routing import partition_of

    changes = stored(
        [
            (partition_of(change.customer_id, PARTITIONS), 0, change.customer_id.encode(), change.value, ())
            for change in expected.decided
        ]
    )
    refused = stored(
        [
            (
                0,
                0,
                None,
                json.dumps({"topic": "events", "partition": 0, "offset": nth, "reason": each.reason}).encode(),
                (),
            )
            for nth, each in enumerate(expected.refused)
        ]
    )
    inbox = Inbox()
    for record in changes:
        value = record.value or b""
        inbox.take(json.loads(value)["id"], b'{"data":' + value + b"}")
    return replace(
        bare,
        endings=expected.endings,
        read=sum(expected.endings.values()),
        changes=changes,
        rejected=refused,
        inbox=inbox,
    )


def failing(evidence: Evidence) -> list[Finding]:
    return [finding for finding in judge(evidence) if not finding.holds]


def test_a_day_that_went_well_is_without_fault(good: Evidence) -> None:
    assert len(good.changes) > 30
    assert {json.loads(record.value or b"")["cause"]["kind"] for record in good.changes} == {"event", "time"}
    assert failing(good) == []


def test_an_event_that_vanished_is_found(good: Evidence) -> None:
    (finding,) = failing(replace(good, endings=good.endings - Counter({("applied", "fact"): 1})))
    assert "applied (fact)" in finding.details[0]
    assert [finding.question for finding in failing(replace(good, sent=good.sent + 1))] == [finding.question]


def test_after_a_kill_the_counters_of_the_worker_that_is_left_must_sum(good: Evidence) -> None:
    part = Counter({("applied", "fact"): 7})
    assert failing(replace(good, killed=True, endings=part, read=7)) == []
    (finding,) = failing(replace(good, killed=True, endings=part, read=8))
    assert "8 read, 7 ended" in finding.answer


def test_a_refused_record_without_its_bytes_kept_is_found(good: Evidence) -> None:
    (finding,) = failing(replace(good, rejected=good.rejected[1:]))
    assert "on the topics" in finding.details[0]
    assert failing(replace(good, rejected=[*good.rejected, good.rejected[0]])) == []


def test_a_change_that_stands_twice_is_found(good: Evidence) -> None:
    last = good.changes[-1]
    again = replace(last, offset=last.offset + 1)  # type: ignore[type-var]
    questions = [finding.question for finding in failing(replace(good, changes=[*good.changes, again]))]
    assert any("twice" in question for question in questions)


def test_a_change_in_another_customer_s_partition_is_found(good: Evidence) -> None:
    changes = list(good.changes)
    keys = Counter(record.key for record in changes)
    nth = next(nth for nth, record in enumerate(changes) if keys[record.key] == 1)
    elsewhere = (changes[nth].partition + 1) % PARTITIONS
    changes[nth] = replace(changes[nth], partition=elsewhere)  # type: ignore[type-var]
    (finding,) = failing(replace(good, changes=changes))
    assert finding.details == [f"{changes[nth].key!r} in partition {elsewhere}"]


def test_a_change_that_was_not_delivered_or_otherwise_than_said_is_found(good: Evidence) -> None:
    inbox = Inbox(changes=dict(good.inbox.changes))
    name, _ = inbox.changes.popitem()
    (finding,) = failing(replace(good, inbox=inbox))
    assert finding.details == [f"never delivered: {name}"]
    inbox.changes[name] = b"other"
    (finding,) = failing(replace(good, inbox=inbox))
    assert finding.details == [f"delivered otherwise than said: {name}"]


def test_a_change_that_the_interpreter_does_not_know_is_found(good: Evidence) -> None:
    last = good.changes[-1]
    other = replace(last, value=(last.value or b"").replace(b'"sequence":', b'"sequence":1'))  # type: ignore[type-var]
    questions = [finding.question for finding in failing(replace(good, changes=[*good.changes[:-1], other]))]
    assert any("interpreter" in question for question in questions)


def test_a_moved_record_counts_where_it_was_moved_to() -> None:
    moved = (("origin", b"events/0/1"), ("moved", b"1"))
    log = stored(
        [
            (0, 1_000, None, b"{}", TICK_HEADERS),
            (1, 1_000, None, b"{}", TICK_HEADERS),
            (0, 2_000, b"till-1", b"wrong", ()),
            (1, 3_000, b"c", b"before", ()),
            (1, 2_000, b"till-1", b"wrong", moved),
        ]
    )
    timed = list(in_log_time(log, 5 * SECOND, 2))
    assert [(each.timestamp, each.value, each.headers) for each in timed] == [
        (3_000, b"before", ()),
        (3_000, b"wrong", moved),
    ]


def test_a_timestamp_far_ahead_of_the_last_tick_is_held_back() -> None:
    log = stored([(0, 1_000, None, b"{}", TICK_HEADERS), (0, 60_000, b"c", b"x", ())])
    assert [each.timestamp for each in in_log_time(log, 5 * SECOND, 1)] == [6_000]
