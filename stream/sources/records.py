"""What every reader gives, and the log time of what it reads."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Literal, NamedTuple, TypeAlias

from schemas.instants import parse_instant

Format: TypeAlias = Literal["events-jsonl", "csv", "parquet", "rees46"]
#: Called while a file is read, with the share of it (0 to 1) that is done.
Tell: TypeAlias = Callable[[float], None]

#: The log time (µs) of a file of which no line says when: 2000-01-01, the earliest that the stream accepts.
UNKNOWN_TIME = 946_684_800_000_000

_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


class SourceError(Exception):
    """A file that cannot be read at all; the message says why and what to do."""


class SourceRecord(NamedTuple):
    """One record of a customer log on its way in; ``log_time`` in µs since the epoch."""

    log_time: int
    key: bytes | None
    value: bytes | None


class Line(NamedTuple):
    """One line or row as read; ``stated`` is the log time (µs) that it states, None if it cannot be read."""

    stated: int | None
    key: bytes | None
    value: bytes


def untold(share: float) -> None:
    """For whom nobody waits."""


def in_log_time(lines: Iterable[Line]) -> Iterator[SourceRecord]:
    """Give every line a log time that never goes back.

    A line that states none has that of the line before; the first lines have that of the first line that states one.
    """
    early: list[Line] = []
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


def line_of(event: dict[str, Any], value: bytes) -> Line:
    """An event with its bytes: it arrived at its ``received_at``, else when it happened, its ``timestamp``."""
    stated = instant(event.get("received_at"))
    if stated is None:
        stated = instant(event.get("timestamp"))
    return Line(stated, key_of(event), value)


def instant(value: object) -> int | None:
    """The instant (µs) that ISO 8601 text or an epoch names, as ``schemas.instants`` reads it; None for others."""
    if not isinstance(value, str | int | float):
        return None
    try:
        micros = parse_instant(value)
    except (ValueError, OverflowError):
        return None
    return micros if micros >= 0 else None


def key_of(event: dict[str, Any]) -> bytes | None:
    """The record key that a producer would give an event: its customer, None without one."""
    for name in ("customer_id", "userId", "user_id"):
        value = event.get(name)
        if isinstance(value, str) or (isinstance(value, int) and not isinstance(value, bool)):
            return str(value).strip().encode("utf-8", "surrogatepass") or None
    return None


def number(text: str) -> float | str | None:
    """A price; what is no number stays text, so that it is refused and not lost."""
    try:
        found = float(text) if text else None
    except ValueError:
        return text
    return text if found is not None and not math.isfinite(found) else found


def packed(event: dict[str, Any]) -> bytes:
    """An event as JSON. surrogateescape: bytes that are no UTF-8 reach the stream as they were."""
    return _encode(event).encode("utf-8", "surrogateescape")
