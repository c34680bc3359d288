"""What came of a backtest as plain data: what ``--json`` prints, and what tables and plots show."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from stream.backtest.calls import HOUR, Calls, calls
from stream.backtest.run import Outcome
from stream.backtest.tally import MINUTE, Sum, Tally
from stream.core.time import format_iso

#: Seconds of a slice of time that people think in.
_WIDTHS = (60, 300, 900, HOUR, 6 * HOUR, 24 * HOUR, 7 * 24 * HOUR, 28 * 24 * HOUR)
_MOST_SLICES = 100
_SHOWN_CUSTOMERS = 10


def figures(outcome: Outcome, names: Sequence[str] | None = None) -> dict[str, Any]:
    """Everything that is told, of all segments of the book or of those with ``names``. Instants as ISO 8601."""
    told = [segment.name for segment in outcome.book.segments if names is None or segment.name in names]
    width = slice_of((outcome.end - outcome.start) // 1_000_000)
    return {
        "from": format_iso(outcome.start),
        "to": format_iso(outcome.end),
        "version": outcome.book.version,
        **outcome.accounting,
        "slice_seconds": width,
        "segments": {name: _segment(outcome, name, width) for name in told},
        "platforms": [_platform(each) for each in costs(outcome, told)],
    }


def costs(outcome: Outcome, names: Sequence[str]) -> list[Calls]:
    """What the changes of some segments cost at each platform."""
    minutes = {kind: counts for kind, counts in outcome.tally.minutes.items() if kind[0] in names}
    return calls(minutes, (outcome.end - outcome.start) / 1_000_000 / HOUR)


def slice_of(seconds: int) -> int:
    """The width (s) of slices of which not more than a hundred make up so many seconds."""
    return next((width for width in _WIDTHS if seconds <= width * _MOST_SLICES), _WIDTHS[-1])


def series(tally: Tally, name: str, start: int, end: int, width: int) -> list[dict[str, Any]]:
    """Slices of ``width`` seconds from ``start`` to ``end`` (µs): the size at each one's end, entries and exits."""
    first = start // MINUTE * 60 // width
    last = end // MINUTE * 60 // width
    entered = _by_slice(tally.minutes.get((name, True), {}), width)
    exited = _by_slice(tally.minutes.get((name, False), {}), width)
    size, found = 0, []
    for number in range(first, last + 1):
        size += entered[number] - exited[number]
        at = format_iso(max(start, number * width * 1_000_000))
        found.append({"from": at, "size": size, "entries": entered[number], "exits": exited[number]})
    return found


def _by_slice(minutes: Mapping[int, int], width: int) -> Counter[int]:
    found: Counter[int] = Counter()
    for minute, count in minutes.items():
        found[minute * 60 // width] += count
    return found


def _segment(outcome: Outcome, name: str, width: int) -> dict[str, Any]:
    tally, start, end = outcome.tally, outcome.start, outcome.end
    found = tally.sums.get(name, Sum())
    sizes = series(tally, name, start, end, width)
    together = sorted(found.together.items(), key=lambda item: (-item[1], item[0]))
    flapping = sorted(found.flapping.items(), key=lambda item: (-item[1], item[0]))
    data: dict[str, Any] = {
        "entries": found.entries,
        "exits": found.exits,
        "exits_by_time": found.by_time,
        "customers": len(found.customers),
        "size_at_end": outcome.members.get(name, 0),
        "largest": max(slice_["size"] for slice_ in sizes),
        "mean_size": round(found.time / max(1, end - start), 3),
        "median_stay_seconds": median(found.stays) if found.stays else None,
        "flapping_customers": len(flapping),
        "flapping": [{"customer_id": who, "entries": times} for who, times in flapping[:_SHOWN_CUSTOMERS]],
        "overlap": {other: round(time / found.time, 4) for other, time in together},
    }
    if name in outcome.whole_from:
        data["whole_from"] = format_iso(outcome.whole_from[name] // 1_000_000 * 1_000_000)
    return {**data, "series": sizes}


def _platform(each: Calls) -> dict[str, Any]:
    return {
        "platform": each.platform.name,
        "call": each.platform.call,
        "people_per_call": each.platform.people,
        "calls": each.total,
        "calls_per_hour": round(each.mean, 2),
        "busiest_hour": format_iso(each.busiest * HOUR * 1_000_000) if each.most else None,
        "busiest_hour_calls": each.most,
        "limit_per_hour": None if each.per_hour is None else round(each.per_hour),
        "share_of_limit": None if each.share is None else round(each.share, 6),
        "longest_wait_minutes": None if each.wait is None else round(each.wait, 1),
        "source": each.platform.source,
    }
