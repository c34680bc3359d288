"""Files as customer logs: one line of JSON per event, or the CSV files of the REES46 open shop logs.

A reader yields every line of its file, the broken ones too: what a line is worth is for the stream to say.
Lines come in the order of the file, and log time never goes back. A file may be packed (``.gz``, ``.zst``).
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import math
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, Literal, NamedTuple, TypeAlias, cast

from schemas.instants import parse_instant

Format: TypeAlias = Literal["events-jsonl", "rees46"]

#: The log time (µs) of a file of which no line says when: 2000-01-01, the earliest that the stream accepts.
UNKNOWN_TIME = 946_684_800_000_000

#: REES46's word -> ours. A word that is not here is kept: it becomes a custom event type.
REES46_EVENTS = {
    "view": "product_view",
    "cart": "add_to_cart",
    "remove_from_cart": "remove_from_cart",
    "purchase": "purchase",
}
_REES46_NEEDS = frozenset({"event_time", "event_type", "product_id", "user_id"})


class SourceError(Exception):
    """A file that cannot be read at all; the message says why and what to do."""


class SourceRecord(NamedTuple):
    """One record of a customer log on its way in; ``log_time`` in µs since the epoch."""

    log_time: int
    key: bytes | None
    value: bytes | None


def read(path: str | Path, form: Format) -> Iterator[SourceRecord]:
    """The records of a file in the format ``form``. Raises ``SourceError``."""
    return READERS[form](path)


def read_events_jsonl(path: str | Path) -> Iterator[SourceRecord]:
    """One line, one event: the bytes of the line are the record's value, whatever they are.

    The log time is the event's ``received_at`` (ISO 8601 or epoch), else its ``timestamp``, but never less
    than that of the line before. A line of which neither can be read has the log time of the line before; the
    first lines that of the first line that has one. Raises ``SourceError`` where the file cannot be opened.
    """
    return _in_log_time(map(_jsonl_line, _lines(path)))


def read_rees46(path: str | Path) -> Iterator[SourceRecord]:
    """A REES46 shop log (CSV with a header; REES46 Open CDP): one record per row, without an event id.

    Both spellings of its times are understood (``2019-10-01 00:00:00 UTC``, ``2020-09-24 13:51:07+00:00``).
    The log time is the event's time. What does not fit its column goes on as it is, for the stream to refuse;
    a row that is no CSV becomes a record of its own bytes. Raises ``SourceError``, also for another header.
    """
    lines = _lines(path)
    header = next(csv.reader([next(lines, b"").decode("utf-8-sig", "replace")]), [])
    columns = [name.strip() for name in header]
    if not _REES46_NEEDS.issubset(columns):
        missing = ", ".join(sorted(_REES46_NEEDS.difference(columns)))
        raise SourceError(f"{path}: no REES46 log, its first line does not name: {missing}")
    return _in_log_time(_rees46_row(columns, line) for line in lines if line)


READERS: dict[Format, Callable[[str | Path], Iterator[SourceRecord]]] = {
    "events-jsonl": read_events_jsonl,
    "rees46": read_rees46,
}


def open_bytes(path: str | Path) -> BinaryIO:
    """Open a file for reading, unpacked if it is ``.gz`` or ``.zst``. Raises ``SourceError``."""
    path = Path(path)
    try:
        if path.suffix == ".gz":
            return cast(BinaryIO, gzip.open(path, "rb"))
        file = path.open("rb")
    except OSError as error:
        raise SourceError(f"{path}: {error.strerror or error}") from error
    if path.suffix != ".zst":
        return file
    try:
        import zstandard
    except ImportError as error:
        file.close()
        raise SourceError(
            f"{path}: reading .zst needs the package zstandard (pip install zstandard); "
            f"or unpack it first: zstd -d {path.name}"
        ) from error
    return cast(BinaryIO, io.BufferedReader(_Zst(file, zstandard.ZstdDecompressor), 1 << 16))


class _Zst(io.RawIOBase):
    """Unpacks the frames of a file. zstandard's own reader takes a frame that is cut off for its end."""

    def __init__(self, file: BinaryIO, decompressor: Callable[[], Any]) -> None:
        self._file, self._decompressor = file, decompressor
        self._frame: Any = None
        self._ready = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._ready:
            rest = self._frame.unused_data if self._frame is not None and self._frame.eof else b""
            packed = rest or self._file.read(1 << 16)
            if not packed:
                if self._frame is not None and not self._frame.eof:
                    raise EOFError("the archive is cut off")
                return 0
            if self._frame is None or self._frame.eof:
                self._frame = self._decompressor().decompressobj()
            self._ready = self._frame.decompress(packed)
        taken = self._ready[: len(buffer)]
        buffer[: len(taken)] = taken
        self._ready = self._ready[len(taken) :]
        return len(taken)

    def close(self) -> None:
        self._file.close()
        super().close()


def instant(value: object) -> int | None:
    """The instant (µs) that ISO 8601 text or an epoch names, as ``schemas.instants`` reads it; None for others."""
    if not isinstance(value, str | int | float):
        return None
    try:
        micros = parse_instant(value)
    except (ValueError, OverflowError):
        return None
    return micros if micros >= 0 else None


class _Line(NamedTuple):
    stated: int | None  # the log time (µs) that it states, if it can be read
    key: bytes | None
    value: bytes


def _lines(path: str | Path) -> Iterator[bytes]:
    with open_bytes(path) as file:
        lines = iter(file)
        while True:
            try:
                line = next(lines, None)
            except (EOFError, OSError, zlib.error) as error:
                raise SourceError(f"{path}: {error}") from error
            except Exception as error:
                if type(error).__name__ != "ZstdError":  # zstandard is not installed everywhere
                    raise
                raise SourceError(f"{path}: {error}") from error
            if line is None:
                return
            yield line.rstrip(b"\r\n")


def _in_log_time(lines: Iterable[_Line]) -> Iterator[SourceRecord]:
    """Give every line a log time that never goes back."""
    early: list[_Line] = []
    now: int | None = None
    for line in lines:
        if now is None:
            if line.stated is None:
                early.append(line)
                continue
            now = line.stated
            yield from (SourceRecord(now, each.key, each.value) for each in early)
            early.clear()
        elif line.stated is not None and line.stated > now:
            now = line.stated
        yield SourceRecord(now, line.key, line.value)
    yield from (SourceRecord(UNKNOWN_TIME, each.key, each.value) for each in early)


def _jsonl_line(line: bytes) -> _Line:
    event = _parse(line)
    stated = instant(event.get("received_at"))
    if stated is None:
        stated = instant(event.get("timestamp"))
    return _Line(stated, _key(event), line)


def _parse(line: bytes) -> dict[str, Any]:
    """What a line says, {} if it is no JSON object. Python's reader, because it also reads NaN and 1e999."""
    try:
        event = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return event if isinstance(event, dict) else {}


def _key(event: dict[str, Any]) -> bytes | None:
    """The record key that a producer would give an event: its customer, None without one."""
    for name in ("customer_id", "userId", "user_id"):
        value = event.get(name)
        if isinstance(value, str) or (isinstance(value, int) and not isinstance(value, bool)):
            return str(value).strip().encode("utf-8", "surrogatepass") or None
    return None


def _rees46_row(columns: list[str], line: bytes) -> _Line:
    try:
        cells = next(csv.reader([line.decode("utf-8", "surrogateescape")], strict=True))
    except (csv.Error, StopIteration):
        return _Line(None, None, line)
    row = dict(zip(columns, cells, strict=False))
    time, stated = _rees46_time(row.get("event_time", ""))
    customer = row.get("user_id") or None
    kind = row.get("event_type", "")
    event = {
        "event_type": REES46_EVENTS.get(kind, kind),
        "timestamp": time,
        "customer_id": customer,
        "product_id": row.get("product_id") or None,
        "category": row.get("category_code") or None,
        "price": _number(row.get("price", "")),
        "session_id": row.get("user_session") or None,
        "properties": {"brand": row.get("brand") or None, "category_id": row.get("category_id") or None},
    }
    # surrogateescape: bytes that are no UTF-8 reach the stream as they were.
    value = json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogateescape")
    return _Line(stated, customer.encode("utf-8", "surrogateescape") if customer else None, value)


def _rees46_time(text: str) -> tuple[str, int | None]:
    """ISO 8601 and µs of a REES46 time; the text as it is and None where it is none."""
    plain = text.removesuffix(" UTC")
    stated = instant(plain)
    if stated is None:
        return text, None
    if len(plain) == 19 or plain.endswith("+00:00"):
        return f"{plain[:10]}T{plain[11:19]}Z", stated
    return plain, stated


def _number(text: str) -> float | str | None:
    """A price; what is no number stays text, so that it is refused and not lost."""
    try:
        number = float(text) if text else None
    except ValueError:
        return text
    return text if number is not None and not math.isfinite(number) else number
