"""CSV with a header: what a warehouse or a spreadsheet exports."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path

from stream.sources.columns import Columns
from stream.sources.ordering import in_order
from stream.sources.packed import opened
from stream.sources.records import Line, SourceError, SourceRecord, Tell, in_log_time

_DELIMITERS = ",;\t|"
_LOOK = 4_096


def read_csv(path: str | Path, columns: Columns, tell: Tell) -> Iterator[SourceRecord]:
    """A CSV file whose first line names its columns, in UTF-8; whichever of ``, ; tab |`` the header has separates.

    One event per row. A table has no order: rows are replayed by ``received_at``, else ``timestamp``. Values go on as
    the texts that they are, for the stream to read or refuse. Raises ``SourceError``.
    """
    return in_log_time(in_order(_rows(path, columns, lambda share: tell(share / 2)), tell))


def _rows(path: str | Path, columns: Columns, tell: Tell) -> Iterator[Line]:
    with opened(path) as (file, share):
        text = io.TextIOWrapper(file, encoding="utf-8-sig", errors="surrogateescape", newline="")
        head = text.readline()
        delimiter = max(_DELIMITERS, key=head.count)
        header = next(csv.reader([head], delimiter=delimiter), [])
        if not header:
            raise SourceError(f"{path} is empty")
        places = columns.places(path, header)
        rows = csv.reader(text, delimiter=delimiter)
        try:
            for number, cells in enumerate(rows):
                if not number % _LOOK:
                    tell(share())
                if cells:
                    yield columns.line(places, map(str.strip, cells))
        except csv.Error as error:
            raise SourceError(f"{path}, line {rows.line_num + 1}: {error}") from error
        finally:
            text.detach()
