"""Ticks: no record runs ahead of the time that its partition was told."""

from __future__ import annotations

from zlib import crc32

from hypothesis import given
from hypothesis import strategies as st

from stream.demo.shopper import SECOND
from stream.demo.timeline import partition_for, timeline
from stream.sources import SourceRecord

_records = st.lists(
    st.tuples(st.integers(0, 3_000_000), st.one_of(st.none(), st.binary(min_size=1, max_size=4))), max_size=40
).map(lambda items: [SourceRecord(ms * 1000, key, b"{}") for ms, key in sorted(items, key=lambda item: item[0])])


@given(_records, st.integers(1, 5), st.integers(1, 600))
def test_no_record_is_further_ahead_of_its_partition_s_last_tick_than_the_skew(
    records: list[SourceRecord], partitions: int, interval: int
) -> None:
    skew, last = 5 * SECOND, [0] * partitions
    sent = list(timeline(records, partitions, 0, 3_600 * SECOND, interval * SECOND, skew))
    for sending in sent:
        if sending.tick:
            assert sending.time_ms >= last[sending.partition]
            last[sending.partition] = sending.time_ms
        else:
            assert sending.time_ms * 1000 <= last[sending.partition] * 1000 + skew
    assert last == [3_600_000] * partitions
    assert [(each.time_ms * 1000, each.key, each.value) for each in sent if not each.tick] == records


@given(_records, st.integers(1, 5))
def test_time_never_goes_back_in_a_partition(records: list[SourceRecord], partitions: int) -> None:
    last = [0] * partitions
    for sending in timeline(records, partitions, 0, 3_600 * SECOND, 30 * SECOND, 5 * SECOND):
        assert sending.time_ms >= last[sending.partition]
        last[sending.partition] = sending.time_ms


def test_the_tills_partition_by_another_hash_than_kafka() -> None:
    keys = [b"till-%04d" % number for number in range(50)]
    crc = [partition_for(key, 4, 0) for key in keys]
    murmur = [partition_for(key.replace(b"till-", b"desk-"), 4, 0) for key in keys]
    assert set(crc) == set(murmur) == {0, 1, 2, 3}
    assert crc == [crc32(key) % 4 for key in keys]


def test_records_without_a_key_take_turns() -> None:
    assert [partition_for(None, 3, nth) for nth in range(6)] == [0, 1, 2, 0, 1, 2]
