"""The open shop logs of REES46."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

from stream.sources.packed import lines
from stream.sources.records import Line, SourceError, SourceRecord, Tell, in_log_time, instant, number, packed, untold

#: REES46's word -> ours. A word that is not here is kept: it becomes a custom event type.
REES46_EVENTS = {
    "view": "product_view",
    "cart": "add_to_cart",
    "remove_from_cart": "remove_from_cart",
    "purchase": "purchase",
}
_NEEDS = frozenset({"event_time", "event_type", "product_id", "user_id"})


def read_rees46(path: str | Path, tell: Tell = untold) -> Iterator[SourceRecord]:
    """A REES46 shop log (CSV with a header; REES46 Open CDP): one record per row, without an event id.

    Both spellings of its times are understood (``2019-10-01 00:00:00 UTC``, ``2020-09-24 13:51:07+00:00``).
    The log time is the event's time. What does not fit its column goes on as it is, for the stream to refuse;
    a row that is no CSV becomes a record of its own bytes. Raises ``SourceError``, also for another header.
    """
    rows = lines(path, tell)
    header = next(csv.reader([next(rows, b"").decode("utf-8-sig", "replace")]), [])
    columns = [name.strip() for name in header]
    if not _NEEDS.issubset(columns):
        missing = ", ".join(sorted(_NEEDS.difference(columns)))
        raise SourceError(f"{path}: no REES46 log, its first line does not name: {missing}")
    return in_log_time(_row(columns, line) for line in rows if line)


def _row(columns: list[str], line: bytes) -> Line:
    try:
        cells = next(csv.reader([line.decode("utf-8", "surrogateescape")], strict=True))
    except (csv.Error, StopIteration):
        return Line(None, None, line)
    row = dict(zip(columns, cells, strict=False))
    time, stated = _time(row.get("event_time", ""))
    customer = row.get("user_id") or None
    kind = row.get("event_type", "")
    event = {
        "event_type": REES46_EVENTS.get(kind, kind),
        "timestamp": time,
        "customer_id": customer,
        "product_id": row.get("product_id") or None,
        "category": row.get("category_code") or None,
        "price": number(row.get("price", "")),
        "session_id": row.get("user_session") or None,
        "properties": {"brand": row.get("brand") or None, "category_id": row.get("category_id") or None},
    }
    return Line(stated, customer.encode("utf-8", "surrogateescape") if customer else None, packed(event))


def _time(text: str) -> tuple[str, int | None]:
    """ISO 8601 and µs of a REES46 time; the text as it is and None where it is none."""
    plain = text.removesuffix(" UTC")
    stated = instant(plain)
    if stated is None:
        return text, None
    if len(plain) == 19 or plain.endswith("+00:00"):
        return f"{plain[:10]}T{plain[11:19]}Z", stated
    return plain, stated
