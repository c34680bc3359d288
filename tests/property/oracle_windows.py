"""The grammar of windows: one small function for each way to say which event times count."""

from __future__ import annotations

import re
from collections.abc import Callable

from tests.property import oracle_words as words
from tests.property.oracle_pen import Pen


def window(pen: Pen, bounded: bool) -> list[str]:
    """Conditions on event_time; with a lower bound if ``bounded``."""
    kind = pen.choose(WINDOWS if not bounded else [of for of in WINDOWS if of is not always])
    pen.used.add(kind.__name__)
    return kind(pen)


def since(pen: Pen) -> list[str]:
    """Up to now."""
    return [_above(pen, _lengths(pen)[0])]


def always(pen: Pen) -> list[str]:
    """No window at all."""
    return []


def since_until(pen: Pen) -> list[str]:
    """Two bounds, one by one."""
    longer, shorter = _lengths(pen)
    below = (f"event_time <= now() - {shorter}", f"event_time < now() - {shorter}", "event_time <= now()")
    return [_above(pen, longer), pen.choose(below)]


def between_two(pen: Pen) -> list[str]:
    """Two bounds in one."""
    longer, shorter = _lengths(pen)
    return [f"event_time BETWEEN now() - {longer} AND {pen.choose((f'now() - {shorter}', 'now()'))}"]


def days(pen: Pen) -> list[str]:
    """Whole days of the calendar, today included or not."""
    first = pen.choose(("CURRENT_DATE", "CURRENT_DATE - 1", "CURRENT_DATE - 7", "CURRENT_DATE - INTERVAL '1 month'"))
    if pen.chance(3):
        return [pen.choose(("event_time::DATE = CURRENT_DATE", "CAST(event_time AS DATE) >= CURRENT_DATE - 7"))]
    return [f"event_time >= {first}", *(("event_time < CURRENT_DATE",) if first[-1] == "7" else ())]


def units(pen: Pen) -> list[str]:
    """The running unit of the calendar, or the one before it."""
    unit, zone = pen.choose(pen.world.pace.units), pen.choose(words.ZONES)
    start = f"date_trunc('{unit}', now())"
    if pen.chance(3):
        start = f"(date_trunc('{unit}', now() AT TIME ZONE '{zone}') AT TIME ZONE '{zone}')"
        return [f"event_time >= {start}"]
    if pen.chance(2) and unit not in ("week", "quarter"):
        return [f"event_time >= {start} - INTERVAL '1 {unit}'", f"event_time < {start}"]
    return [f"event_time {pen.choose(('>=', '>'))} {start}"]


def elapsed_since(pen: Pen) -> list[str]:
    """The age of the event."""
    length = _lengths(pen)[0]
    return [f"now() - event_time {pen.choose(('<', '<='))} {length}"] if not _by_month(length) else since(pen)


def _above(pen: Pen, length: str) -> str:
    ways = (f"event_time >= now() - {length}", f"event_time > now() - {length}", f"now() - {length} <= event_time")
    # A month before now() and a month after the event are not the same: that is refused.
    return pen.choose(ways if _by_month(length) else (*ways, f"event_time + {length} >= now()"))


def _lengths(pen: Pen) -> tuple[str, str]:
    """A longer and a shorter one."""
    lengths = pen.world.pace.lengths
    longer = pen.choose(range(1, len(lengths)))
    return pen.spelled(lengths[longer]), pen.spelled(lengths[pen.choose(range(longer))])


def _by_month(length: str) -> bool:
    return re.search("month|year", length, re.IGNORECASE) is not None


WINDOWS: tuple[Callable[[Pen], list[str]], ...] = (
    since,
    since,
    always,
    since_until,
    between_two,
    days,
    units,
    elapsed_since,
)
