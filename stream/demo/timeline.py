"""From records to what is sent: each record's partition, and the ticks that make time pass."""

from __future__ import annotations

from binascii import crc32
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from stream.core.routing import murmur2
from stream.demo.noise import TILL
from stream.sources import SourceRecord

TICK_VALUE = b"{}"
TICK_HEADERS: tuple[tuple[str, bytes], ...] = (("fact", b"tick"),)

_MS = 1000


class Sending(NamedTuple):
    """One record for the producer; ``time_ms`` is its Kafka timestamp (CreateTime)."""

    partition: int
    time_ms: int
    key: bytes | None
    value: bytes | None
    tick: bool


def partition_for(key: bytes | None, partitions: int, nth: int) -> int:
    """Where a record's own producer puts it: murmur2 as Java does, for a till CRC32 as librdkafka does.

    Without a key the partitions take turns by ``nth``, the number of the record.
    """
    if key is None:
        return nth % partitions
    if key.startswith(TILL.encode()):
        return crc32(key) % partitions
    return (murmur2(key) & 0x7FFFFFFF) % partitions


def timeline(
    records: Iterable[SourceRecord],
    partitions: int,
    start: int,
    until: int,
    interval: int,
    skew: int,
) -> Iterator[Sending]:
    """Put ticks between the records and after them, until ``until``. All times in µs.

    Every partition has a tick at least each ``interval``, and no record is more than ``skew`` ahead of the
    last tick before it in its partition: the stream believes a producer's own clock only so far.
    """
    last = [start] * partitions
    due = start
    for nth, record in enumerate(records):
        while due <= record.log_time:
            yield from _ticks(last, due)
            due += interval
        partition = partition_for(record.key, partitions, nth)
        if record.log_time > last[partition] + skew:
            last[partition] = record.log_time
            yield _tick(partition, record.log_time)
        yield Sending(partition, record.log_time // _MS, record.key, record.value, False)
    while due < until:
        yield from _ticks(last, due)
        due += interval
    yield from _ticks(last, until)


def _ticks(last: list[int], time: int) -> Iterator[Sending]:
    for partition, before in enumerate(last):
        if time >= before:
            last[partition] = time
            yield _tick(partition, time)


def _tick(partition: int, time: int) -> Sending:
    return Sending(partition, time // _MS, None, TICK_VALUE, True)
