"""Files as customer logs: one record per line or row, in the order of a log time that never goes back.

A reader yields everything that is in its file, the broken lines too: what a line is worth is for the stream to say.
One format, one module; a file may be packed (``.gz``, ``.zst``), but for Parquet, which packs itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeAlias

from stream.sources.columns import Columns
from stream.sources.csvfile import read_csv
from stream.sources.jsonl import read_events_jsonl
from stream.sources.parquet import read_parquet
from stream.sources.records import UNKNOWN_TIME, Format, SourceError, SourceRecord, Tell, instant, untold
from stream.sources.rees46 import REES46_EVENTS, read_rees46

__all__ = [
    "READERS",
    "REES46_EVENTS",
    "UNKNOWN_TIME",
    "Columns",
    "Format",
    "SourceError",
    "SourceRecord",
    "Tell",
    "format_of",
    "instant",
    "read",
    "read_csv",
    "read_events_jsonl",
    "read_parquet",
    "read_rees46",
]

Reader: TypeAlias = Callable[[str | Path, Columns, Tell], Iterator[SourceRecord]]

READERS: dict[Format, Reader] = {
    "events-jsonl": lambda path, _, tell: read_events_jsonl(path, tell),
    "csv": read_csv,
    "parquet": read_parquet,
    "rees46": lambda path, _, tell: read_rees46(path, tell),
}
_ENDINGS: dict[str, Format] = {
    ".jsonl": "events-jsonl",
    ".ndjson": "events-jsonl",
    ".json": "events-jsonl",
    ".csv": "csv",
    ".tsv": "csv",
    ".parquet": "parquet",
    ".pq": "parquet",
}


def read(path: str | Path, form: Format, columns: Columns | None = None, tell: Tell = untold) -> Iterator[SourceRecord]:
    """The records of a file in the format ``form``. ``columns`` say how tables name things. Raises ``SourceError``."""
    return READERS[form](path, columns or Columns(), tell)


def format_of(path: Path) -> Format | None:
    """The format that a file's name says it has."""
    endings = [ending.lower() for ending in path.suffixes if ending.lower() not in (".gz", ".zst")]
    return _ENDINGS.get(endings[-1]) if endings else None
