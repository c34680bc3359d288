"""What the consumer thread makes of a fetch is what aiokafka itself makes of it, some records at a time."""

from __future__ import annotations

from collections.abc import Iterable
from struct import pack_into
from typing import Any

import pytest
from aiokafka.consumer.fetcher import READ_UNCOMMITTED, FetchResult, PartitionRecords
from aiokafka.consumer.subscription_state import Assignment
from aiokafka.errors import CorruptRecordException
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.legacy_records import LegacyRecordBatchBuilder
from aiokafka.record.memory_records import MemoryRecords
from aiokafka.record.util import calc_crc32c
from aiokafka.structs import TopicPartition

from stream.engine.consumer_thread import Fetched, FetchedRecord

EVENTS = TopicPartition("events", 3)
NOW = 1_772_366_400_000
HEADERS: list[tuple[str, bytes | None]] = [("fact", b"tick"), ("origin", None)]
_CONTROL = 0x20
_ATTRIBUTES, _CRC = 21, 17  # places in a batch


def batch(base: int, offsets: Iterable[int], *, codec: int = 0, control: bool = False) -> bytes:
    """A record batch that begins at ``base``; what is missing from ``offsets`` was compacted away."""
    builder = DefaultRecordBatchBuilder(2, codec, 0, -1, -1, -1, 1 << 20)
    for offset in offsets:
        value = None if offset % 5 == 4 else b"v%d" % offset
        builder.append(offset - base, NOW + offset, b"k%d" % offset, value, HEADERS if offset % 3 == 0 else [])
    built = bytearray(builder.build())
    pack_into(">q", built, 0, base)
    if control:
        pack_into(">h", built, _ATTRIBUTES, _CONTROL)
        pack_into(">I", built, _CRC, calc_crc32c(bytes(built[_ATTRIBUTES:])))
    return bytes(built)


def legacy(offsets: range) -> bytes:
    """A message set of the time before record batches."""
    builder = LegacyRecordBatchBuilder(1, 0, 1 << 20)
    for offset in offsets:
        builder.append(offset, NOW + offset, b"k%d" % offset, b"v%d" % offset)
    return bytes(builder.build())


#: Batches by the offset behind each.
LOG = {
    10: batch(0, range(10)),
    11: batch(10, [10], control=True),
    18: batch(11, [11, 12, 15, 17]),
    40: batch(18, range(18, 40), codec=1),
    41: batch(40, [40]),
    42: batch(41, [41], control=True),
}


def answer(start: int) -> bytes:
    """What a broker sends from ``start`` on: whole batches."""
    return b"".join(each for end, each in LOG.items() if end > start)


class Fetch:
    """One result of aiokafka's fetcher, and the position of who consumes it."""

    def __init__(self, log: bytes, start: int, topic: str) -> None:
        assignment = Assignment([EVENTS])
        self.state = assignment.state_value(EVENTS)
        self.state.seek(start)
        records = PartitionRecords(EVENTS, MemoryRecords(log), [], start, None, None, True, READ_UNCOMMITTED)
        self.result = FetchResult(EVENTS, assignment=assignment, partition_records=records, backoff=0)
        Fetched(topic)[EVENTS] = self.result

    def steps(self, most: int | None) -> list[tuple[list[Any], int]]:
        """What each call gives, and the position after it."""
        steps = []
        while self.result.has_more():
            taken = self.result.getall(most)
            steps.append(([_fields(record) for record in taken], self.state.position))
        return steps


def _fields(record: Any) -> tuple[Any, ...]:
    return (record.offset, record.timestamp, record.timestamp_type, record.key, record.value, tuple(record.headers))


@pytest.mark.parametrize("most", [None, 1, 3, 7, 100])
@pytest.mark.parametrize("start", [0, 4, 10, 13, 25, 40])
async def test_the_records_and_positions_are_those_that_aiokafka_gives(start: int, most: int | None) -> None:
    """From the middle of a batch, from within a gap, behind a control record, whatever the number taken at once."""
    ours, theirs = (Fetch(answer(start), start, topic) for topic in (EVENTS.topic, "another"))
    expected = theirs.steps(most)
    assert ours.steps(most) == expected
    assert expected[-1][1] == 42
    assert [record[0] for records, _ in expected for record in records] == [
        offset for offset in (*range(10), 11, 12, 15, 17, *range(18, 41)) if offset >= start
    ]


@pytest.mark.parametrize("most", [None, 2])
async def test_logs_of_the_time_before_record_batches_are_read_as_well(most: int | None) -> None:
    old = legacy(range(5, 12))
    ours, theirs = (Fetch(old, 5, topic) for topic in (EVENTS.topic, "another"))
    expected = theirs.steps(most)
    assert ours.steps(most) == expected
    assert [record[0] for records, _ in expected for record in records] == [*range(5, 12)]


async def test_records_of_events_are_no_more_than_what_is_looked_at() -> None:
    for topic, expected in ((EVENTS.topic, True), ("another", False)):
        first = Fetch(answer(0), 0, topic).result.getall(1)[0]
        assert isinstance(first, FetchedRecord) is expected


async def test_a_broken_batch_gives_nothing_out_and_moves_nothing() -> None:
    """What stands before it in the same call is fetched again, as with aiokafka."""
    broken = bytearray(answer(0))
    broken[len(LOG[10]) + 40] ^= 1
    for most in (3, None):
        for topic in (EVENTS.topic, "another"):
            fetch = Fetch(bytes(broken), 0, topic)
            with pytest.raises(CorruptRecordException):
                for _ in range(5):
                    fetch.result.getall(most)
            assert fetch.state.position == (9 if most else 0)
            assert fetch.result.getall(most) == []
