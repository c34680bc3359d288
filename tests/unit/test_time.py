"""Laws of ``stream.core.time``: how instants are read and written."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.core.time import NEVER, format_iso, from_datetime, parse_instant, parse_iso, to_datetime

NOON = 1_772_366_400_000_000  # 2026-03-01T12:00:00Z
INSTANTS = st.datetimes(timezones=st.just(UTC))


@pytest.mark.parametrize(
    "text",
    [
        "2026-03-01T12:00:00Z",
        "2026-03-01t12:00:00z",
        "2026-03-01T12:00Z",
        "2026-03-01T12:00:00",
        "2026-03-01 12:00:00",
        "2026-03-01 12:00:00 UTC",
        "2026-03-01T12:00:00+00:00",
        "2026-03-01T12:00:00-00:00",
        "2026-03-01T14:00:00+02:00",
        "2026-03-01T14:00:00+0200",
        "2026-03-01T14:00:00+02",
        "2026-03-01 14:00:00 +0200",
        "2026-03-01T06:30:00-05:30",
        "2026-03-02T11:59:00+23:59",
        "2026-03-01T12:00:00.000000000Z",
        "2026-03-01T12:00:00,000",
        "  2026-03-01T12:00:00Z\n",
    ],
)
def test_every_way_of_writing_one_instant_is_that_instant(text: str) -> None:
    assert parse_iso(text) == NOON
    assert parse_instant(text) == NOON


def test_a_date_is_its_midnight_in_utc() -> None:
    assert parse_iso("2026-03-01") == NOON - 12 * 3_600_000_000


@pytest.mark.parametrize(
    ("fraction", "micros"),
    [
        ("1", 100_000),
        ("123", 123_000),
        ("123456", 123_456),
        ("1234564", 123_456),
        ("1234565", 123_457),
        ("12345649999", 123_456),
        ("9999999", 1_000_000),
        ("000000001", 0),
    ],
)
def test_a_fraction_is_rounded_on_its_seventh_digit(fraction: str, micros: int) -> None:
    assert parse_iso(f"2026-03-01T12:00:00.{fraction}Z") == NOON + micros


@pytest.mark.parametrize(
    "text",
    [
        "",
        "yesterday",
        "2026",
        "2026-3-1",
        "20260301T120000Z",
        "2026-W09-7",
        "2026-060",
        "2026-02-29",
        "2026-13-01",
        "0000-01-01",
        "2026-03-01T",
        "2026-03-01T12",
        "2026-03-01T24:00:00Z",
        "2026-03-01T12:60:00Z",
        "2026-03-01T23:59:60Z",
        "2026-03-01T12:00:00.Z",
        "2026-03-01T12:00:00+24:00",
        "2026-03-01T12:00:00+00:60",
        "2026-03-01T12:00:00 CET",
        "2026-03-01Z",
        "2026-03-01T1\uff12:00:00Z",
        "0001-01-01T00:00:00+01:00",
        "9999-12-31T23:59:59-01:00",
        "9999-12-31T23:59:59.9999999Z",
        "2026-03-01T12:00:00Z; drop table",
    ],
)
def test_what_is_no_instant_is_an_error_and_never_a_guess(text: str) -> None:
    with pytest.raises(ValueError):
        parse_iso(text)
    if not text.isdigit():
        with pytest.raises(ValueError):
            parse_instant(text)


@pytest.mark.parametrize("form", [lambda x: x, str], ids=["number", "text"])
@pytest.mark.parametrize(
    "value",
    [1_772_366_400, 1_772_366_400_000, 1_772_366_400_000_000, 1_772_366_400.0, 1.7723664e12, 1.7723664e15],
)
def test_the_magnitude_tells_seconds_from_milliseconds_from_microseconds(form: type, value: float) -> None:
    assert parse_instant(form(value)) == NOON


def test_the_units_meet_where_the_digits_say() -> None:
    assert parse_instant(10**11 - 1) == (10**11 - 1) * 10**6
    assert parse_instant(10**11) == 10**14
    assert parse_instant(10**14 - 1) == 10**17 - 1000
    assert parse_instant(10**14) == 10**14


@pytest.mark.parametrize("value", ["1772366400.123456", "1772366400123.456", "1772366400123456", "01772366400.1234560"])
def test_an_epoch_as_text_is_exact(value: str) -> None:
    assert parse_instant(value) == NOON + 123_456


@given(st.integers(0, 4_000_000_000_000_000))
def test_an_epoch_of_seconds_is_exact_to_the_microsecond_as_text_and_as_a_float(micros: int) -> None:
    text = f"{micros // 10**6}.{micros % 10**6:06d}"
    assert parse_instant(text) == micros
    assert parse_instant(float(text)) == micros


@pytest.mark.parametrize(
    "value",
    [
        10**17,
        10**400,
        -(10**17),
        1e17,
        float("nan"),
        float("inf"),
        True,
        "1" * 18,
        "1e9",
        "\u0661\u0667",
        "0x10",
        "1_000",
        "9" * 5000,
    ],
)
def test_a_number_that_no_unit_fits_is_an_error(value: float | str) -> None:
    with pytest.raises(ValueError):
        parse_instant(value)


def test_small_and_negative_numbers_are_seconds_around_1970() -> None:
    assert parse_instant(0) == 0
    assert parse_instant(-1) == -1_000_000
    assert parse_instant("-0.5") == -500_000
    assert parse_instant(1e-7) == 0
    assert parse_instant(-1.5) == -1_500_000


@given(INSTANTS)
def test_what_is_written_is_read_back(at: datetime) -> None:
    micros = from_datetime(at)
    text = format_iso(micros)
    assert parse_iso(text) == micros
    assert datetime.fromisoformat(text) == at == to_datetime(micros)
    assert text.endswith("Z") and len(text) == (27 if at.microsecond else 20)


@given(
    st.datetimes(datetime(2, 1, 1), datetime(9998, 1, 1)),
    st.integers(-1439, 1439),
    st.sampled_from(["T", " "]),
)
def test_any_offset_is_read_as_python_reads_it(at: datetime, minutes: int, separator: str) -> None:
    local = at.replace(tzinfo=timezone(timedelta(minutes=minutes)))
    assert parse_iso(local.isoformat(separator)) == from_datetime(local)


def test_a_datetime_without_an_offset_is_utc() -> None:
    assert from_datetime(datetime(2026, 3, 1, 12)) == NOON


@pytest.mark.parametrize("micros", [NEVER, -NEVER, 253_402_300_800_000_000, -62_135_596_800_000_001])
def test_an_instant_outside_the_calendar_cannot_be_written(micros: int) -> None:
    with pytest.raises(ValueError):
        format_iso(micros)
    with pytest.raises(ValueError):
        to_datetime(micros)


def test_never_is_later_than_whatever_can_be_written() -> None:
    assert parse_iso("9999-12-31T23:59:59.999999Z") < NEVER
