"""Files as customer logs: every line is a record, and log time never goes back."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from stream.sources import (
    UNKNOWN_TIME,
    SourceError,
    SourceRecord,
    instant,
    read,
    read_events_jsonl,
    read_rees46,
)

DATA = Path(__file__).parents[2].parent / "shared" / "data"
SECOND = 1_000_000
T = 1_772_445_600 * SECOND  # 2026-03-02T10:00:00Z


def jsonl(tmp_path: Path, *lines: bytes, end: bytes = b"\n") -> list[SourceRecord]:
    path = tmp_path / "events.jsonl"
    path.write_bytes(b"".join(line + end for line in lines))
    return list(read_events_jsonl(path))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("2026-03-02T10:00:00Z", T),
        ("2026-03-02T10:00:00", T),
        ("2026-03-02T15:30:00.25+05:30", T + 250_000),
        (" 2026-03-02T10:00:00.000001Z ", T + 1),
        (1_772_445_600, T),
        (1_772_445_600.5, T + SECOND // 2),
        (1_772_445_600_123, T + 123_000),
        ("yesterday", None),
        ("", None),
        (None, None),
        (True, None),
        (-1, None),
        (float("inf"), None),
        (float("nan"), None),
        (10**400, None),
        ({}, None),
    ],
)
def test_instants_are_iso_or_epoch_seconds_or_milliseconds(value: object, expected: int | None) -> None:
    assert instant(value) == expected


def test_the_line_s_own_bytes_are_the_record(tmp_path: Path) -> None:
    line = b'{"customer_id": " c1 ",  "timestamp": "2026-03-02T10:00:00Z", "event_type": "x"}'
    assert jsonl(tmp_path, line) == [SourceRecord(T, b"c1", line)]
    assert jsonl(tmp_path, line, end=b"\r\n") == [SourceRecord(T, b"c1", line)]


def test_received_at_is_the_log_time_and_else_the_timestamp(tmp_path: Path) -> None:
    times = [
        record.log_time
        for record in jsonl(
            tmp_path,
            b'{"received_at": "2026-03-02T10:00:00Z", "timestamp": "2026-03-02T09:00:00Z"}',
            b'{"received_at": 1772445601, "timestamp": "2026-03-02T09:00:00Z"}',
            b'{"timestamp": "2026-03-02T10:00:02Z"}',
            b'{"received_at": "soon", "timestamp": "2026-03-02T10:00:03Z"}',
        )
    ]
    assert times == [T, T + SECOND, T + 2 * SECOND, T + 3 * SECOND]


def test_log_time_never_goes_back(tmp_path: Path) -> None:
    records = jsonl(
        tmp_path,
        b'{"timestamp": "2026-03-02T10:00:00Z"}',
        b'{"timestamp": "2026-03-01T10:00:00Z"}',
        b'{"timestamp": "1970-01-01T00:00:00Z"}',
    )
    assert [record.log_time for record in records] == [T, T, T]


def test_broken_lines_stay_records_with_the_time_before_them(tmp_path: Path) -> None:
    broken = [b"not json", b"\xff\xfe{", b"[1]", b"", b'{"a":' * 5000, b"null"]
    records = jsonl(tmp_path, b'{"timestamp": 1772445600, "customer_id": 7}', *broken)
    assert records == [
        SourceRecord(T, b"7", b'{"timestamp": 1772445600, "customer_id": 7}'),
        *(SourceRecord(T, None, line) for line in broken),
    ]


def test_numbers_that_json_has_not_do_not_hide_the_time(tmp_path: Path) -> None:
    (record,) = jsonl(tmp_path, b'{"timestamp": 1772445600, "customer_id": "c", "price": NaN, "x": 1e999}')
    assert (record.log_time, record.key) == (T, b"c")


def test_lines_before_the_first_time_have_the_first_time(tmp_path: Path) -> None:
    records = jsonl(tmp_path, b"broken", b"{}", b'{"timestamp": 1772445600}')
    assert [record.log_time for record in records] == [T, T, T]
    assert [record.log_time for record in jsonl(tmp_path, b"broken", b"{}")] == [UNKNOWN_TIME] * 2


def test_packed_files_are_unpacked(tmp_path: Path) -> None:
    zstandard = pytest.importorskip("zstandard")
    line = b'{"timestamp": 1772445600, "customer_id": "c"}'
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(line + b"\n"))
    (tmp_path / "a.jsonl.zst").write_bytes(zstandard.compress(line + b"\n" + line))
    assert list(read_events_jsonl(tmp_path / "a.jsonl.gz")) == [SourceRecord(T, b"c", line)]
    assert list(read(tmp_path / "a.jsonl.zst", "events-jsonl")) == [SourceRecord(T, b"c", line)] * 2


def test_a_file_that_is_not_there_is_a_plain_error(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="No such file"):
        list(read_events_jsonl(tmp_path / "none.jsonl"))


ROWS = b"""event_time,event_type,product_id,category_id,category_code,brand,price,user_id,user_session\r
2019-10-01 00:00:00 UTC,view,44600062,2103,,shiseido,35.79,541312140,72d7\r
2019-10-01 00:00:01+00:00,cart,1,2,electronics.smartphone,,0.5,2,\r
soon,purchase,1,2,electronics,x,free,2,s\r
2019-10-01 00:00:00 UTC,remove_from_cart,1\r
2019-10-01 00:00:02 UTC,"vi"ew,1,2\r
"""


def test_a_rees46_row_becomes_an_event_without_an_id(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_bytes(ROWS)
    records = list(read_rees46(path))
    start = 1_569_888_000 * SECOND
    first = json.loads(records[0].value or b"")
    assert records[0][:2] == (start, b"541312140")
    assert first == {
        "event_type": "product_view",
        "timestamp": "2019-10-01T00:00:00Z",
        "customer_id": "541312140",
        "product_id": "44600062",
        "category": None,
        "price": 35.79,
        "session_id": "72d7",
        "properties": {"brand": "shiseido", "category_id": "2103"},
    }
    second = json.loads(records[1].value or b"")
    assert (second["event_type"], second["timestamp"]) == ("add_to_cart", "2019-10-01T00:00:01Z")
    third = json.loads(records[2].value or b"")
    assert (third["timestamp"], third["price"]) == ("soon", "free")
    assert records[3].key is None and json.loads(records[3].value or b"")["event_type"] == "remove_from_cart"
    assert records[4].value == b'2019-10-01 00:00:02 UTC,"vi"ew,1,2'
    assert [record.log_time for record in records] == [start] + [start + SECOND] * 4


def test_a_csv_of_another_kind_is_a_plain_error(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_text("a,b\n1,2\n")
    with pytest.raises(SourceError, match="event_time, event_type, product_id, user_id"):
        read_rees46(path)


@pytest.mark.skipif(not DATA.exists(), reason=f"real data is not at {DATA}")
def test_every_row_of_the_open_shop_logs_is_a_record() -> None:
    pytest.importorskip("zstandard")
    first = list(read_rees46(DATA / "rees46_multicategory" / "2019-Oct.first17k.csv.zst"))
    repeats = list(read_rees46(DATA / "rees46_electronics_duplicates" / "duplicates.csv"))
    assert len(first) == 17_435
    assert (len(repeats), len(set(repeats))) == (1_284, 629)
