"""Tables as customer logs: rows become events, in the order of their time, whatever order they are in."""

from __future__ import annotations

import builtins
import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.core.decode import Limits, decode
from stream.sources import UNKNOWN_TIME, Columns, SourceError, SourceRecord, format_of, read, read_csv, read_parquet
from stream.sources.ordering import in_order
from stream.sources.records import Line, untold

SECOND = 1_000_000
T = 1_772_445_600 * SECOND  # 2026-03-02T10:00:00Z


def csv_of(tmp_path: Path, text: str, columns: Columns | None = None) -> list[SourceRecord]:
    path = tmp_path / "events.csv"
    path.write_text(text, "utf-8")
    return list(read_csv(path, columns or Columns(), untold))


def events(records: list[SourceRecord]) -> list[dict[str, Any]]:
    return [json.loads(record.value or b"") for record in records]


def parquet_of(tmp_path: Path, select: str, name: str = "events.parquet") -> Path:
    """A Parquet file of what a query gives."""
    duckdb = pytest.importorskip("duckdb")
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    with duckdb.connect() as database:
        database.execute(f"COPY ({select}) TO '{path}' (FORMAT parquet)")
    return path


def test_a_row_is_an_event_and_what_is_no_field_is_a_property(tmp_path: Path) -> None:
    """In whatever case the column is written; cells that are empty say nothing."""
    records = csv_of(
        tmp_path,
        "CUSTOMER_ID,Event_Type,timestamp,price,brand,properties.size,properties\n"
        'c1,purchase,2026-03-02 10:00:00,12.50,acme,XL,"{""gift"": true}"\n'
        "c2,profile_update,2026-03-02T10:00:01Z,,,,\n",
    )
    assert [(record.log_time, record.key) for record in records] == [(T, b"c1"), (T + SECOND, b"c2")]
    assert events(records) == [
        {
            "customer_id": "c1",
            "event_type": "purchase",
            "timestamp": "2026-03-02 10:00:00",
            "price": "12.50",
            "properties": {"gift": True, "brand": "acme", "size": "XL"},
        },
        {"customer_id": "c2", "event_type": "profile_update", "timestamp": "2026-03-02T10:00:01Z"},
    ]
    assert decode(records[0].value, T, None, Limits()).price == 12.5


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_header_says_what_separates(tmp_path: Path, delimiter: str) -> None:
    rows = [["customer_id", "event_type", "timestamp"], ["c1", '"a, b; c | d"', "1772445600"]]
    (event,) = events(csv_of(tmp_path, "".join(delimiter.join(row) + "\r\n" for row in rows)))
    assert event == {"customer_id": "c1", "event_type": "a, b; c | d", "timestamp": "1772445600"}


def test_cells_may_hold_lines_and_what_is_no_utf_8(tmp_path: Path) -> None:
    path = tmp_path / "events.csv"
    path.write_bytes(b'\xef\xbb\xbfcustomer_id,event_type,note\nc1,x,"two\nlines"\nc2,x,\xff\n')
    first, second = read_csv(path, Columns(), untold)
    assert json.loads(first.value or b"")["properties"] == {"note": "two\nlines"}
    assert b'"\xff"' in (second.value or b"")


def test_rows_are_replayed_by_when_they_arrived_else_by_when_they_happened(tmp_path: Path) -> None:
    records = csv_of(
        tmp_path,
        "customer_id,event_type,timestamp,received_at\n"
        "c3,x,2026-03-02T10:00:03Z,\n"
        "c4,x,soon,\n"
        "c1,x,2026-03-02T10:00:00Z,2026-03-02T10:00:01Z\n"
        "c2,x,2026-03-02T10:00:01Z,\n"
        "c0,x,2026-03-02T10:00:00Z,\n",
    )
    assert [(record.key, record.log_time - T) for record in records] == [
        (b"c0", 0),
        (b"c1", SECOND),
        (b"c2", SECOND),
        (b"c3", 3 * SECOND),
        (b"c4", 3 * SECOND),
    ]


def test_other_names_are_given_and_the_type_of_all_rows(tmp_path: Path) -> None:
    """UCI's online retail: invoices are purchases."""
    columns = Columns({"customer_id": "CustomerID", "timestamp": "InvoiceDate", "price": "UnitPrice"}, "purchase")
    (event,) = events(
        csv_of(tmp_path, "CustomerID,InvoiceDate,UnitPrice,Country\n1,2011-01-01 08:26:00,2.55,UK\n", columns)
    )
    assert event == {
        "customer_id": "1",
        "timestamp": "2011-01-01 08:26:00",
        "price": "2.55",
        "event_type": "purchase",
        "properties": {"Country": "UK"},
    }


@pytest.mark.parametrize(
    ("text", "columns", "why"),
    [
        ("event_type\nx\n", Columns(), "no column says whose event it is; the columns are event_type"),
        ("customer_id\nx\n", Columns(), "no column says what happened"),
        ("customer_id,event_type\n", Columns({"price": "Price"}), "there is no column 'Price' for price"),
        ("", Columns(), "is empty"),
        (f"customer_id,event_type\nc1,x\nc2,{'x' * 200_000}\n", Columns(), "line 3: field larger than"),
    ],
)
def test_a_table_that_is_none_says_why(tmp_path: Path, text: str, columns: Columns, why: str) -> None:
    with pytest.raises(SourceError, match=why):
        csv_of(tmp_path, text, columns)


def test_a_packed_table_is_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "events.csv.gz"
    path.write_bytes(gzip.compress(b"customer_id,event_type\nc1,x\n"))
    assert format_of(path) == "csv"
    assert [record.key for record in read(path, "csv")] == [b"c1"]
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(SourceError, match="end-of-stream"):
        list(read(path, "csv"))


lines = st.builds(
    Line, st.none() | st.integers(T, T + 5), st.just(b"k"), st.integers(0, 99).map(lambda n: str(n).encode())
)


@given(st.lists(lines, max_size=40), st.integers(1, 10))
def test_pieces_on_disk_are_one_order(rows: list[Line], piece: int) -> None:
    """By time, then as they came, however many rows are held in memory; no row is lost."""
    now, expected = UNKNOWN_TIME, []
    for number, line in enumerate(rows):
        now = now if line.stated is None else line.stated
        expected.append((now, number, line.value))
    found = [(line.stated, line.value) for line in in_order(rows, untold, piece)]
    assert found == [(time, value) for time, _, value in sorted(expected)]


def test_parquet_has_the_types_of_json(tmp_path: Path) -> None:
    """Times are ISO 8601 in UTC, numbers what they say, structs and maps objects; NaN is NULL."""
    path = parquet_of(
        tmp_path,
        """SELECT 'c1' AS customer_id, 'purchase' AS event_type, TIMESTAMPTZ '2026-03-02 12:00:00.25+02' AS "timestamp",
                  49.9::FLOAT AS price, 2::TINYINT AS quantity, 19.99::DECIMAL(9, 2) AS fee, DATE '2026-04-01' AS due,
                  DATE '12026-04-01' AS far,
                  TIMESTAMP_NS '2026-03-02 10:00:00.123456789' AS exact, true AS gift,
                  NULL AS nothing, 'nan'::DOUBLE AS missing,
                  {'size': 'XL', 'tags': ['a', 'b']} AS properties, MAP {'k': 1} AS extra, '12:30'::TIME AS hour""",
    )
    (record,) = read_parquet(path, Columns(), untold)
    assert record.log_time == T + SECOND // 4
    assert json.loads(record.value or b"") == {
        "customer_id": "c1",
        "event_type": "purchase",
        "timestamp": "2026-03-02T10:00:00.250000Z",
        "price": 49.9,
        "quantity": 2,
        "properties": {
            "size": "XL",
            "tags": ["a", "b"],
            "fee": 19.99,
            "due": "2026-04-01T00:00:00Z",
            "far": 317_344_521_600_000_000,
            "exact": "2026-03-02T10:00:00.123457Z",
            "gift": True,
            "extra": {"k": 1},
            "hour": "12:30:00",
        },
    }


def test_parquet_of_several_files_is_one_log(tmp_path: Path) -> None:
    """A folder, and whatever order rows and files have; nothing is lost between two fetches."""
    select = """SELECT 'c' || i AS userId, 'x' AS "event", to_timestamp(1772445600 + i) AS "timestamp"
                FROM range({}, {}) r(i) ORDER BY i DESC"""
    parquet_of(tmp_path, select.format(6_000, 12_000), "log/a.parquet")
    parquet_of(tmp_path, select.format(0, 6_000), "log/b.parquet")
    told: list[float] = []
    records = list(read(tmp_path / "log", "parquet", None, told.append))
    assert [record.log_time for record in records] == [T + i * SECOND for i in range(12_000)]
    assert [record.key for record in records] == [f"c{i}".encode() for i in range(12_000)]
    assert told == sorted(told) and told[0] >= 0 and told[-1] <= 1


def test_what_is_no_parquet_says_so(tmp_path: Path) -> None:
    pytest.importorskip("duckdb")
    path = tmp_path / "events.parquet"
    path.write_text("no")
    with pytest.raises(SourceError, match=r"events\.parquet: .+"):
        list(read_parquet(path, Columns(), untold))
    folder = tmp_path / "empty"
    folder.mkdir()
    with pytest.raises(SourceError, match=r"no \*\.parquet in this folder"):
        list(read_parquet(folder, Columns(), untold))


def test_without_duckdb_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *rest: Any, **more: Any) -> Any:
        if name == "duckdb":
            raise ImportError(name)
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(SourceError, match=r"pip install 'livesegments\[parquet\]'"):
        list(read_parquet(tmp_path / "events.parquet", Columns(), untold))
