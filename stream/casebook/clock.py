"""The clock of a case: instants as ISO 8601, or as a length of time since its zero. µs."""

from __future__ import annotations

import re
from decimal import Decimal

from stream.core.time import in_range, parse_iso

_UNITS: dict[str, int] = {
    unit: length
    for units, length in (
        ("microsecond microseconds", 1),
        ("ms millisecond milliseconds", 1_000),
        ("s sec second seconds", 1_000_000),
        ("min mins minute minutes", 60_000_000),
        ("h hr hour hours", 3_600_000_000),
        ("d day days", 86_400_000_000),
        ("w week weeks", 604_800_000_000),
    )
    for unit in units.split()
}
_PART = re.compile(r"(\d+(?:\.\d+)?)\s*([a-z]+)\s*", re.ASCII | re.IGNORECASE)
#: How a length is told: from the largest unit on.
_TOLD = (("day", 86_400_000_000), ("hour", 3_600_000_000), ("minute", 60_000_000))


def length(text: str) -> int:
    """``30 minutes``, ``1 day 6 hours``, ``-2 hours``. Raises ``ValueError``, also for parts of a microsecond."""
    rest = text.strip()
    sign = -1 if rest.startswith("-") else 1
    rest = rest.removeprefix("-").lstrip()
    if not rest:
        raise ValueError("an empty length of time")
    total = Decimal(0)
    while rest:
        part = _PART.match(rest)
        if part is None or part[2].lower() not in _UNITS:
            raise ValueError(f"{text!r} is no time: write 30 minutes, 1 day 6 hours, or 2026-03-02T10:00:00Z")
        total += Decimal(part[1]) * _UNITS[part[2].lower()]
        rest = rest[part.end() :]
    if total != int(total):
        raise ValueError(f"{text!r} is finer than a microsecond")
    return sign * int(total)


def instant(text: str, zero: int | None) -> int:
    """The instant that a text names, on a clock whose zero is ``zero``. Raises ``ValueError``."""
    try:
        return parse_iso(text)
    except ValueError:
        since = length(text)
    if zero is None:
        raise ValueError(f"{text!r} needs a `clock:`, the instant that it counts from")
    return in_range(zero + since)


def told(micros: int) -> str:
    """A length of time in words: ``1 day 6 hours``, ``24.5 seconds``."""
    sign, rest = ("-", -micros) if micros < 0 else ("", micros)
    words = []
    for unit, size in _TOLD:
        count, rest = divmod(rest, size)
        if count:
            words.append(f"{count} {unit}{'' if count == 1 else 's'}")
    if rest or not words:
        seconds = f"{rest // 1_000_000}.{rest % 1_000_000:06d}".rstrip("0").rstrip(".")
        words.append(f"{seconds} second{'' if seconds == '1' else 's'}")
    return sign + " ".join(words)
