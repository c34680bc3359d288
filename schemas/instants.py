"""How an instant is written on the wire, and the one number it becomes: µs since the Unix epoch, UTC.

Understood:

- ISO 8601 in extended format: ``2026-03-01``, ``2026-03-01T12:00``, ``2026-03-01 12:00:00.123+0200``. A
  space for the ``T``, any offset (``Z``, ``+02``, ``+0200``, ``+02:00``, a `` UTC`` suffix), none (then
  UTC), any number of fraction digits;
- epoch seconds, milliseconds or microseconds, as a number or as its text; which of them, the magnitude
  tells: up to 11 digits before the point are seconds, up to 14 milliseconds, up to 17 microseconds.

What is finer than a microsecond is rounded on the seventh digit, half up. No arithmetic on floats: a number
counts as the text that it is written as, so ``1772366400.123`` is exact. Every instant lies in the years 1
to 9999.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache

_ISO = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)"
    r"(?:[Tt ](\d\d):(\d\d)(?::(\d\d)(?:[.,](\d+))?)?"
    r"(?: ?(?:[Zz]|UTC|([+-])(\d\d)(?::?(\d\d))?))?)?",
    re.ASCII,
).fullmatch
_NUMBER = re.compile(r"([+-]?)(\d+)(?:\.(\d+))?", re.ASCII).fullmatch

_EPOCH = datetime(1970, 1, 1)
_EPOCH_UTC = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH_ORDINAL = date(1970, 1, 1).toordinal()
_SECOND = 1_000_000
_FIRST = -62_135_596_800 * _SECOND  # 0001-01-01T00:00:00Z
_LAST = 253_402_300_800 * _SECOND - 1  # 9999-12-31T23:59:59.999999Z
#: Digits before the point, at most -> decimal places from the unit to microseconds.
_UNITS = ((11, 6), (14, 3), (17, 0))
#: What stands for a number of two digits, and of three.
_TWO = tuple(f"{number:02d}" for number in range(60))
_THREE = tuple(f"{number:03d}" for number in range(1_000))
_TOO_LARGE = "too large for an epoch in seconds, milliseconds or microseconds"


def parse_iso(text: str) -> int:
    """ISO 8601 text as µs since the epoch. Raises ``ValueError`` for anything else."""
    found = _ISO(text.strip())
    if found is None:
        raise ValueError("not an ISO 8601 instant")
    year, month, day, hour, minute, second, fraction, sign, off_hour, off_minute = found.groups()
    days = date(int(year), int(month), int(day)).toordinal() - _EPOCH_ORDINAL
    h, m, s = int(hour or 0), int(minute or 0), int(second or 0)
    oh, om = int(off_hour or 0), int(off_minute or 0)
    if h > 23 or m > 59 or s > 59 or oh > 23 or om > 59:
        raise ValueError("hour, minute, second or offset is out of range")
    offset = (oh * 60 + om) * 60
    seconds = days * 86_400 + h * 3600 + m * 60 + s - (-offset if sign == "-" else offset)
    return in_range(seconds * _SECOND + _scaled("0", fraction or "", 6))


def parse_instant(value: str | int | float) -> int:
    """ISO 8601 text, or epoch seconds, milliseconds or microseconds, as µs since the epoch.

    Raises ``ValueError`` for anything else, booleans and numbers that are not finite among it.
    """
    if isinstance(value, str):
        text = value.strip()
        return _epoch(text) if _NUMBER(text) else parse_iso(text)
    if isinstance(value, bool):
        raise ValueError("not an instant")
    for digits, places in _UNITS:
        if -(10**digits) < value < 10**digits:
            if isinstance(value, int):
                return in_range(value * 10**places)
            text = repr(value)
            return _epoch(f"{value:.7f}" if "e" in text else text)
    raise ValueError(_TOO_LARGE)  # and NaN, which is within nothing


def _epoch(text: str) -> int:
    found = _NUMBER(text)
    if found is None:
        raise ValueError("not a number")
    sign, whole, fraction = found.groups()
    whole = whole.lstrip("0") or "0"
    for digits, places in _UNITS:
        if len(whole) <= digits:
            micros = _scaled(whole, fraction or "", places)
            return in_range(-micros if sign == "-" else micros)
    raise ValueError(_TOO_LARGE)


def _scaled(whole: str, fraction: str, places: int) -> int:
    """``whole.fraction`` times 10^``places``, rounded on the first digit after that, half up."""
    if not fraction:
        return int(whole) * int(10**places)
    digits = fraction[: places + 1].ljust(places + 1, "0")
    return int(whole + digits[:places]) + (digits[places] >= "5")


def in_range(micros: int) -> int:
    """The instant, if it is one that can be written. Raises ``ValueError`` outside the years 1 to 9999."""
    if not _FIRST <= micros <= _LAST:
        raise ValueError("outside the years 1 to 9999")
    return micros


def format_iso(micros: int) -> str:
    """``2026-01-02T03:04:05Z``; a fraction, of six digits, only where there is one.

    Raises ``ValueError`` outside the years 1 to 9999.
    """
    minutes, rest = divmod(micros, 60 * _SECOND)
    seconds, fraction = divmod(rest, _SECOND)
    if fraction:
        # By table: four instants stand in a change, and a format specification takes twice as long.
        millis, rest = divmod(fraction, 1_000)
        return f"{_minute(minutes)}{_TWO[seconds]}.{_THREE[millis]}{_THREE[rest]}Z"
    return f"{_minute(minutes)}{_TWO[seconds]}Z"


@lru_cache(maxsize=4096)
def _minute(minutes: int) -> str:
    """``2026-01-02T03:04:``. Remembered, because what is written at once mostly happened at once."""
    return to_datetime(minutes * 60 * _SECOND).isoformat()[:17]


def to_datetime(micros: int) -> datetime:
    """The instant as an aware datetime in UTC. Raises ``ValueError`` outside the years 1 to 9999."""
    seconds, rest = divmod(micros, _SECOND)
    try:
        return _EPOCH_UTC + timedelta(0, seconds, rest)
    except OverflowError:
        raise ValueError("outside the years 1 to 9999") from None


def from_datetime(instant: datetime) -> int:
    """µs since the epoch; a datetime without an offset is UTC."""
    since = instant - (_EPOCH if instant.tzinfo is None else _EPOCH_UTC)
    return since.days * 86_400_000_000 + since.seconds * _SECOND + since.microseconds
