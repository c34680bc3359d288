"""The calendar means what DuckDB means: units, months, and the clocks of places."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from stream.core.segments import calendar, zones
from stream.core.segments.calendar import DAY, HOUR, SECOND
from stream.core.time import NEVER

duckdb = pytest.importorskip("duckdb")

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# Places whose law has not changed lately: databases of zones differ by when they were made.
ZONES = (
    "Europe/Berlin",
    "America/New_York",
    "America/Sao_Paulo",
    "Asia/Kolkata",
    "Australia/Lord_Howe",
    "Pacific/Apia",
    "Asia/Beirut",
    "Europe/Dublin",
    "America/Santiago",
    "UTC",
)


@pytest.fixture(scope="module")
def database() -> Iterator[Any]:
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    yield connection
    connection.close()


def answers(database: Any, expression: str, instants: Sequence[int], shown: str = "epoch_us") -> list[int]:
    """What DuckDB makes of ``expression`` over ``t``, a TIMESTAMPTZ, for each of the instants."""
    rows = database.execute(
        f"SELECT {shown}({expression}) FROM "
        "(SELECT unnest($1::BIGINT[]) AS us, generate_subscripts($1::BIGINT[], 1) AS n),"
        " LATERAL (SELECT make_timestamptz(us) AS t) ORDER BY n",
        [list(instants)],
    ).fetchall()
    return [row[0] for row in rows]


def scattered(count: int, step: int, begin: int = 0) -> list[int]:
    return [begin + number * step + number % 7 for number in range(count)]


#: From 1960 to 2100, and the hours around the ends of months, quarters and years.
INSTANTS = scattered(3000, 1_472_951_234_567, -315_619_200 * SECOND) + [
    calendar.days_of(year, month, 1) * DAY + by
    for year in (1969, 1970, 1999, 2000, 2023, 2024, 2025, 2026, 2100)
    for month in range(1, 13)
    for by in (-25 * HOUR, -1, 0, 1, 23 * HOUR)
]


@pytest.mark.parametrize("unit", calendar.UNITS)
def test_units_begin_and_are_counted_where_duckdb_says(database: Any, unit: str) -> None:
    """``date_trunc`` and ``date_diff``, in both directions."""
    assert [calendar.truncated(unit, t) for t in INSTANTS] == answers(database, f"date_trunc('{unit}', t)", INSTANTS)
    for other in (INSTANTS[17], INSTANTS[2000], INSTANTS[-50]):
        there = answers(database, f"date_diff('{unit}', make_timestamptz({other}), t)", INSTANTS, "")
        assert [calendar.difference(unit, other, t) for t in INSTANTS] == there
    for t in INSTANTS[::13]:
        number = calendar.index(unit, t)
        assert calendar.start(unit, number) <= t < calendar.start(unit, number + 1)


@pytest.mark.parametrize("name", calendar.PARTS)
def test_the_fields_of_the_calendar_are_duckdbs(database: Any, name: str) -> None:
    """And stay the same within the unit that is said."""
    assert [calendar.part(name, t) for t in INSTANTS] == answers(database, f"date_part('{name}', t)", INSTANTS, "")
    for t in INSTANTS[::13]:
        unit = calendar.PARTS[name]
        begin = calendar.truncated(unit, t)
        end = calendar.start(unit, calendar.index(unit, t) + 1)
        assert calendar.part(name, begin) == calendar.part(name, t) == calendar.part(name, end - 1)


def test_other_names_of_units_are_duckdbs(database: Any) -> None:
    for other, name in calendar.OTHER_NAMES.items():
        first, second = database.execute(
            f"SELECT date_part('{other}', TIMESTAMP '2026-03-04 05:06:07'), "
            f"date_part('{name}', TIMESTAMP '2026-03-04 05:06:07')"
        ).fetchone()
        assert first == second, other


@pytest.mark.parametrize("months", [-25, -12, -3, -1, 1, 2, 12, 48])
def test_months_are_clamped_to_the_last_day(database: Any, months: int) -> None:
    """The 31st of March less a month is the last of February."""
    there = answers(database, f"t + to_months({months})", INSTANTS)
    assert [calendar.add_months(t, months) for t in INSTANTS] == there


@pytest.mark.parametrize("name", ZONES)
def test_clocks_of_places_are_duckdbs(database: Any, name: str) -> None:
    """From 1970 to 2037, every ninety hours and around each change of the clock."""
    zone = zones.zone(name)
    assert zone is not None
    instants = scattered(6500, 90 * HOUR)
    instants += [piece + by for piece in changes(zone) for by in (-1, 0, 1, HOUR // 2, -HOUR // 2)]
    there = answers(database, f"t AT TIME ZONE '{name}'", instants)
    assert [zone.local(t) for t in instants] == there


def changes(zone: zones.Zone) -> list[int]:
    found, t = [], 0
    while t < calendar.days_of(2037, 1, 1) * DAY:
        offset, t = zone.piece(t)
        if zone.piece(t)[0] != offset:
            found.append(t)
    return found


@pytest.mark.parametrize("name", ZONES)
def test_local_times_that_are_skipped_or_come_twice_are_read_as_duckdb_reads_them(database: Any, name: str) -> None:
    """Twice: the later. Skipped: as if the clock had not been changed yet."""
    zone = zones.zone(name)
    assert zone is not None
    locals_ = [zone.local(t) + by * HOUR // 4 for t in changes(zone) for by in range(-8, 9)]
    locals_ += scattered(500, 1234 * HOUR)
    there = answers(database, f"(t AT TIME ZONE 'UTC') AT TIME ZONE '{name}'", locals_)
    assert [zone.instant(t) for t in locals_] == there


def test_a_piece_of_a_clock_ends_where_it_is_said_to() -> None:
    """And offsets are Python's, in the far future too."""
    berlin = zones.zone("europe/berlin")
    assert berlin is not None and berlin.name == "Europe/Berlin"
    t = calendar.days_of(2500, 7, 1) * DAY
    assert berlin.local(t) - t == 2 * HOUR
    offset, end = berlin.piece(t)
    assert berlin.piece(end - 1)[0] == offset
    assert berlin.piece(10**18)[1] == NEVER
    assert berlin.piece(-(10**18))[1] == NEVER


def test_dates_are_pythons() -> None:
    for days in range(-720_000, 2_900_000, 997):
        there = EPOCH + timedelta(days=days) if -719_162 <= days <= 2_932_896 else None
        year, month, day = calendar.date_of(days)
        assert calendar.days_of(year, month, day) == days
        if there is not None:
            assert (year, month, day) == (there.year, there.month, there.day)


def test_only_places_and_utc_are_zones() -> None:
    """Abbreviations are not the same everywhere."""
    assert zones.zone("EST") is None
    assert zones.zone("Nowhere/Land") is None
    assert zones.zone("UTC") is not None
    assert "Europe/Berlin" in zones.zone_names()
