"""The calendar: units of time, months, and fields of a date. Instants are µs since the epoch, UTC.

What is here means what DuckDB means by it with ``TimeZone = 'UTC'``; a test compares them.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

SECOND: Final = 1_000_000
MINUTE: Final = 60 * SECOND
HOUR: Final = 60 * MINUTE
DAY: Final = 24 * HOUR
#: What DuckDB takes a month for where lengths of time are compared.
MONTH: Final = 30 * DAY

_FIXED = {"second": SECOND, "minute": MINUTE, "hour": HOUR, "day": DAY}
_MONTHS = {"month": 1, "quarter": 3, "year": 12}
#: The units that date_trunc and date_diff know.
UNITS: Final = (*_FIXED, "week", *_MONTHS)
#: What date_part can ask for, with the unit within which it stays the same.
PARTS: Final = {
    "year": "year",
    "quarter": "quarter",
    "month": "month",
    "week": "week",
    "day": "day",
    "dayofweek": "day",
    "isodow": "day",
    "dayofyear": "day",
    "hour": "hour",
    "minute": "minute",
    "second": "second",
}
#: DuckDB's other names for the units and parts.
OTHER_NAMES: Final = {
    other: name
    for name, others in {
        "second": "s sec secs seconds",
        "minute": "m min mins minutes",
        "hour": "h hr hrs hours",
        "day": "d days dayofmonth",
        "week": "w weeks weekofyear",
        "month": "mon mons months",
        "quarter": "quarters",
        "year": "y yr yrs years",
        "dayofweek": "dow weekday",
        "dayofyear": "doy",
    }.items()
    for other in others.split()
}


# -- days, months and years --------------------------------------------------------------------------------


@lru_cache(1 << 15)
def date_of(days: int) -> tuple[int, int, int]:
    """Year, month and day of a day, counted from 1970-01-01; of any year, before Christ too."""
    days += 719_468
    era, day_of_era = divmod(days, 146_097)
    year_of_era = (day_of_era - day_of_era // 1460 + day_of_era // 36_524 - day_of_era // 146_096) // 365
    day_of_year = day_of_era - (365 * year_of_era + year_of_era // 4 - year_of_era // 100)
    shifted = (5 * day_of_year + 2) // 153  # months from March on
    month = shifted + 3 if shifted < 10 else shifted - 9
    return year_of_era + era * 400 + (month <= 2), month, day_of_year - (153 * shifted + 2) // 5 + 1


def days_of(year: int, month: int, day: int) -> int:
    """The day counted from 1970-01-01."""
    year -= month <= 2
    era, year_of_era = divmod(year, 400)
    day_of_year = (153 * (month - 3 if month > 2 else month + 9) + 2) // 5 + day - 1
    return era * 146_097 + year_of_era * 365 + year_of_era // 4 - year_of_era // 100 + day_of_year - 719_468


def length_of_month(year: int, month: int) -> int:
    """Days in the month."""
    if month == 2:
        return 29 if year % 4 == 0 and (year % 100 != 0 or year % 400 == 0) else 28
    return 30 if month in (4, 6, 9, 11) else 31


def add_months(instant: int, months: int) -> int:
    """The same day and time so many months later; the last day of a month that has no such day."""
    days, time = divmod(instant, DAY)
    return day_after(days, months) * DAY + time


@lru_cache(1 << 15)
def day_after(days: int, months: int) -> int:
    """The same day so many months later, or the last of the month."""
    year, month, day = date_of(days)
    year, month = divmod(year * 12 + month - 1 + months, 12)
    month += 1
    return days_of(year, month, min(day, length_of_month(year, month)))


@lru_cache(1 << 15)
def first_day(least: int, months: int) -> int:
    """The first day that, so many months later, is not before the day ``least``."""
    day = day_after(least, -months) - 4
    while day_after(day, months) < least:
        day += 1
    return day


def index(unit: str, instant: int) -> int:
    """The number of the second, minute, … or year in which ``instant`` lies."""
    fixed = _FIXED.get(unit)
    if fixed is not None:
        return instant // fixed
    days = instant // DAY
    if unit == "week":
        return (days + 3) // 7  # 1970-01-01 was a Thursday; weeks begin on Monday
    year, month, _ = date_of(days)
    return (year * 12 + month - 1) // _MONTHS[unit]


def start(unit: str, number: int) -> int:
    """The instant at which the unit of this number begins."""
    fixed = _FIXED.get(unit)
    if fixed is not None:
        return number * fixed
    if unit == "week":
        return (number * 7 - 3) * DAY
    year, month = divmod(number * _MONTHS[unit], 12)
    return days_of(year, month + 1, 1) * DAY


def truncated(unit: str, instant: int) -> int:
    """``date_trunc``."""
    return start(unit, index(unit, instant))


def difference(unit: str, first: int, second: int) -> int:
    """``date_diff``: how many boundaries of the unit lie between; of weeks, how many are full."""
    if unit == "week":
        days = second // DAY - first // DAY
        return days // 7 if days >= 0 else -(-days // 7)
    return index(unit, second) - index(unit, first)


def part(name: str, instant: int) -> int:
    """``date_part``: a field of the calendar. Sunday is 0 of ``dayofweek`` and 7 of ``isodow``."""
    if name == "hour":
        return instant // HOUR % 24
    if name == "minute":
        return instant // MINUTE % 60
    if name == "second":
        return instant // SECOND % 60
    days = instant // DAY
    if name == "dayofweek":
        return (days + 4) % 7
    if name == "isodow":
        return (days + 3) % 7 + 1
    if name == "week":
        thursday = days - (days + 3) % 7 + 3
        return (thursday - days_of(date_of(thursday)[0], 1, 1)) // 7 + 1
    year, month, day = date_of(days)
    if name == "dayofyear":
        return days - days_of(year, 1, 1) + 1
    if name == "year":
        return year
    return (month + 2) // 3 if name == "quarter" else month if name == "month" else day
