"""What the consumer thread makes of a fetch is what aiokafka itself makes of it, some batches at a time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
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
from aiokafka.structs import ConsumerRecord, TopicPartition

from stream.engine.consumer_thread import Fetched, FetchedRecord, Packed

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

    def __init__(self, log: bytes, start: int, topic: str = EVENTS.topic) -> None:
        assignment = Assignment([EVENTS])
        self.state = assignment.state_value(EVENTS)
        self.state.seek(start)
        records = PartitionRecords(EVENTS, MemoryRecords(log), [], start, None, None, True, READ_UNCOMMITTED)
        self.result = FetchResult(EVENTS, assignment=assignment, partition_records=records, backoff=0)
        Fetched(topic)[EVENTS] = self.result

    def by_aiokafka(self) -> list[tuple[Any, ...]]:
        """All records, as it gives them out itself."""
        return [_fields(record) for record in self.result.getall()]

    def by_steps(self, most: int | None) -> Iterator[Packed]:
        """What each call gives; the position is then behind it."""
        while self.result.has_more():
            taken = self.result.getall(most)
            assert isinstance(taken, Packed)
            assert taken.end == self.state.position
            yield taken


def _fields(record: Any) -> tuple[Any, ...]:
    return (record.offset, record.timestamp, record.timestamp_type, record.key, record.value, tuple(record.headers))


@pytest.mark.parametrize("most", [None, 1, 3, 7, 100])
@pytest.mark.parametrize("start", [0, 4, 10, 13, 25, 40])
async def test_the_records_are_those_that_aiokafka_gives(start: int, most: int | None) -> None:
    """From the middle of a batch, from within a gap, behind a control record, however many are asked for at once."""
    theirs, ours = Fetch(answer(start), start, "another"), Fetch(answer(start), start)
    expected = theirs.by_aiokafka()
    steps = list(ours.by_steps(most))
    assert [_fields(record) for step in steps for part in step for record in part] == expected
    assert [fields[0] for fields in expected] == [
        offset for offset in (*range(10), 11, 12, 15, 17, *range(18, 41)) if offset >= start
    ]
    assert ours.state.position == theirs.state.position == 42
    for step in steps:
        assert len(step) > 0
        assert most is None or len(step) <= most, "the fetcher counts on it"
    # A call takes the batches that it needs for so many, and no more.
    assert len(steps) == {None: 1, 1: len(LOG) - sum(end <= start for end in LOG), 100: 1}.get(most, len(steps))


async def test_records_are_unpacked_by_batches_and_once() -> None:
    (packed,) = Fetch(answer(13), 13).by_steps(None)
    assert [[record.offset for record in part] for part in packed] == [[15, 17], [*range(18, 40)], [40]]
    assert list(packed) == []


async def test_what_has_control_records_only_moves_the_position() -> None:
    """It has no parts, and it is no end of the log."""
    (packed,) = Fetch(answer(41), 41).by_steps(None)
    assert (list(packed), packed.end, len(packed)) == ([], 42, 1)


@pytest.mark.parametrize("most", [None, 2])
async def test_logs_of_the_time_before_record_batches_are_read_as_well(most: int | None) -> None:
    old = legacy(range(5, 12))
    found = [_fields(record) for step in Fetch(old, 5).by_steps(most) for part in step for record in part]
    assert found == Fetch(old, 5, "another").by_aiokafka()
    assert [fields[0] for fields in found] == [*range(5, 12)]


async def test_only_records_of_events_are_packed() -> None:
    assert isinstance(Fetch(answer(0), 0, "another").result.getall(1)[0], ConsumerRecord)
    part = next(iter(Fetch(answer(0), 0).result.getall(1)))
    assert isinstance(part[0], FetchedRecord)


async def test_a_broken_batch_gives_nothing_out_and_moves_nothing() -> None:
    """What stands before it in the same call is fetched again, as with aiokafka."""
    broken = bytearray(answer(0))
    broken[len(LOG[10]) + 40] ^= 1
    for most in (3, None):
        fetch = Fetch(bytes(broken), 0)
        if most:
            assert fetch.result.getall(most).end == 10
        with pytest.raises(CorruptRecordException):
            fetch.result.getall(most)
        assert fetch.state.position == (10 if most else 0)


async def test_nothing_is_given_out_after_a_seek() -> None:
    fetch = Fetch(answer(0), 0)
    fetch.state.seek(11)
    assert not fetch.result.getall(3)
    assert fetch.state.position == 11
    assert not fetch.result.has_more()
