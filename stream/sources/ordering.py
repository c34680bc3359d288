"""Rows of a table in the order of their log time, however many there are: sorted in pieces, on disk."""

from __future__ import annotations

import heapq
import marshal
import tempfile
from collections.abc import Iterable, Iterator
from typing import BinaryIO

from stream.sources.records import UNKNOWN_TIME, Line, Tell

#: Rows that are sorted in memory; about 100 MB.
PIECE = 200_000
_BLOCK = 1_000
#: A row with its place: log time, number in the table, key, value.
_Row = tuple[int, int, bytes | None, bytes]


def in_order(lines: Iterable[Line], tell: Tell, piece: int = PIECE) -> Iterator[Line]:
    """``lines`` by their log time; those of one instant, in the order in which they came.

    A row that states no time belongs to the row before it. The first half of ``tell`` is for whoever reads the rows;
    what this function tells is the second.
    """
    with tempfile.TemporaryFile() as file:
        pieces: list[tuple[int, int]] = []  # where each begins and ends in the file
        rows: list[_Row] = []
        now = UNKNOWN_TIME
        number = 0
        for line in lines:
            now = now if line.stated is None else line.stated
            rows.append((now, number, line.key, line.value))
            number += 1
            if len(rows) >= piece:
                pieces.append(_put(file, rows))
                rows = []
        rows.sort()
        merged = heapq.merge(*(_get(file, *place) for place in pieces), rows)
        for done, (log_time, _, key, value) in enumerate(merged):
            if not done % _BLOCK:
                tell(0.5 + done / number / 2)
            yield Line(log_time, key, value)


def _put(file: BinaryIO, rows: list[_Row]) -> tuple[int, int]:
    start = file.tell()
    rows.sort()
    for first in range(0, len(rows), _BLOCK):
        marshal.dump(rows[first : first + _BLOCK], file)
    return start, file.tell()


def _get(file: BinaryIO, start: int, end: int) -> Iterator[_Row]:
    while start < end:
        file.seek(start)
        block = marshal.load(file)
        start = file.tell()
        yield from block
