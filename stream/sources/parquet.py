"""Parquet, one file or a folder of them, read by DuckDB."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from schemas.instants import format_iso
from stream.sources.columns import Columns
from stream.sources.ordering import in_order
from stream.sources.records import Line, SourceError, SourceRecord, Tell, in_log_time

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_FETCH = 5_000
_INTEGERS = {"TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", *("UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT")}


def read_parquet(path: str | Path, columns: Columns, tell: Tell) -> Iterator[SourceRecord]:
    """A Parquet file, or all ``*.parquet`` in a folder and below; one event per row.

    Rows are replayed by ``received_at``, else ``timestamp``; timestamps without a zone are UTC. Structs and maps are
    objects. Raises ``SourceError``, also where the package duckdb is missing.
    """
    return in_log_time(in_order(_rows(path, columns, lambda share: tell(share / 2)), tell))


def _rows(path: str | Path, columns: Columns, tell: Tell) -> Iterator[Line]:
    try:
        import duckdb
    except ImportError as error:
        raise SourceError(
            f"{path}: reading Parquet needs the package duckdb: pip install 'livesegments[parquet]'; "
            "or export the table as CSV"
        ) from error
    path = Path(path)
    files = sorted(map(str, path.rglob("*.parquet"))) if path.is_dir() else [str(path)]
    if not files:
        raise SourceError(f"{path}: there is no *.parquet in this folder")
    with duckdb.connect(config={"TimeZone": "UTC", "autoinstall_known_extensions": False}) as database:
        try:
            yield from _read(database, path, files, columns, tell)
        except duckdb.Error as error:
            raise SourceError(f"{path}: {str(error).splitlines()[0]}") from error


def _read(database: DuckDBPyConnection, path: Path, files: list[str], columns: Columns, tell: Tell) -> Iterator[Line]:
    table = "read_parquet(?, union_by_name = true)"
    described = database.execute(f"DESCRIBE SELECT * FROM {table}", [files]).fetchall()
    places = columns.places(path, [name for name, *_ in described])
    told = [_told(name, kind) for name, kind, *_ in described]
    ((count,),) = database.execute(f"SELECT count(*) FROM {table}", [files]).fetchall()
    rows = database.execute(f"SELECT {', '.join(sql for sql, _ in told)} FROM {table}", [files])
    read = [reading for _, reading in told]
    done = 0
    while batch := rows.fetchmany(_FETCH):
        for row in batch:
            cells = (cell if cell is None else reading(cell) for reading, cell in zip(read, row, strict=True))
            yield columns.line(places, cells)
        done += len(batch)
        tell(done / count)


def _told(name: str, kind: str) -> tuple[str, Callable[[Any], Any]]:
    """The SQL that fetches a column of this type, and what makes its value one that JSON has."""
    column = '"' + name.replace('"', '""') + '"'
    if kind.startswith("TIMESTAMP") or kind == "DATE":
        return f"epoch_us({column}{'::TIMESTAMP' if kind == 'DATE' else ''})", _iso
    if kind in _INTEGERS or kind in ("BOOLEAN", "VARCHAR"):
        return column, _itself
    if kind == "DOUBLE":
        return f"nullif({column}, 'nan'::DOUBLE)", _itself  # pandas writes NaN for what is missing
    if kind == "FLOAT" or kind.startswith("DECIMAL"):
        return (
            f"nullif({column}::VARCHAR::DOUBLE, 'nan'::DOUBLE)",
            _itself,
        )  # by its text: a FLOAT that says 49.9 is not 49.90000152
    if kind.startswith(("STRUCT", "MAP")) or kind.endswith("]"):
        return f"to_json({column})::VARCHAR", json.loads
    return f"{column}::VARCHAR", _itself


def _iso(micros: int) -> str | int:
    """ISO 8601; the number as it is beyond the year 9999, for the stream to refuse."""
    try:
        return format_iso(micros)
    except ValueError:
        return micros


def _itself(value: Any) -> Any:
    return value
