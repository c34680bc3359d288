"""Every operator and function says what DuckDB says: of odd numbers and texts, of NULL, and of time.

Where DuckDB stops with an error, the value here is NULL, as its ``TRY(…)`` has it.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from stream.core.customer import Customer
from stream.core.segments import numbers, texts
from stream.core.segments.formula import value_at
from stream.core.segments.sql import parse_sql, read_part
from stream.core.segments.tree import type_of
from stream.core.time import parse_iso

duckdb = pytest.importorskip("duckdb")

NOW = parse_iso("2026-03-31T21:30:00Z")
ATTRIBUTES: dict[str, Any] = {
    "i": "integer",
    "j": "integer",
    "x": "number",
    "y": "number",
    "s": "text",
    "t": "text",
    "b": "boolean",
    "met": "timestamp",
    "since": "timestamp",
}
IN_DUCKDB = {
    "integer": "BIGINT",
    "number": "DOUBLE",
    "text": "VARCHAR",
    "boolean": "BOOLEAN",
    "timestamp": "TIMESTAMPTZ",
}
INTEGERS = (None, 0, 1, -1, 2, 7, -7, 30, 155, -155, 2**31, 2**53 + 1, 2**63 - 1, -(2**63))
NUMBERS = (None, 0.0, -0.0, 1.0, -1.5, 2.5, 0.285, 1234.565, -1234.5, 0.1, 1e300, -1e300, 5e-324, 4503599627370497.5)
TEXTS = (
    None,
    "",
    "a",
    "New York",
    "new york",
    "  x y\t ",
    "ß",
    "İi",
    "ΑΣ",
    "🛒é",
    "a%b",
    "12",
    "-12.5",
    "1e3",
    "true",
    "NULL",
    "\u00a0z",
)
INSTANTS = tuple(
    None if text is None else parse_iso(text)
    for text in (
        None,
        "2026-03-31T21:30:00Z",
        "2026-03-29T01:00:00Z",
        "2024-02-29T12:34:56.789Z",
        "1969-12-31T23:59:59.999999Z",
        "2026-10-25T00:30:00Z",
        "2025-12-31T23:00:00Z",
        "2026-01-01T00:00:00Z",
        # What a client of DuckDB can still fetch when a year has been added or taken away.
        "0003-03-01T00:00:00Z",
        "0099-12-31T23:59:59.5Z",
        "1600-02-29T00:00:00Z",
        "9997-12-31T23:59:59.999999Z",
    )
)


def rows() -> list[dict[str, Any]]:
    """Every value beside several others."""
    found = []
    for n in range(120):
        found.append(
            {
                "i": INTEGERS[n % len(INTEGERS)],
                "j": INTEGERS[(n // 2 + n // 13) % len(INTEGERS)],
                "x": NUMBERS[n % len(NUMBERS)],
                "y": NUMBERS[(n // 3 + n // 17) % len(NUMBERS)],
                "s": TEXTS[n % len(TEXTS)],
                "t": TEXTS[(n // 2 + n // 11) % len(TEXTS)],
                "b": (None, True, False)[n % 3],
                "met": INSTANTS[n % len(INSTANTS)],
                "since": INSTANTS[(n // 2 + n // 5) % len(INSTANTS)],
            }
        )
    return found


ROWS = rows()


@pytest.fixture(scope="module")
def database() -> Iterator[Any]:
    """The rows as a table, and ``now()`` bound to NOW."""
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    columns = ", ".join(f'"{name}" {IN_DUCKDB[kind]}' for name, kind in ATTRIBUTES.items())
    connection.execute(f"CREATE TABLE customers (n INTEGER, {columns})")
    marks = ", ".join("make_timestamptz(?)" if kind == "timestamp" else "?" for kind in ATTRIBUTES.values())
    for n, row in enumerate(ROWS):
        connection.execute(f"INSERT INTO customers VALUES ({n}, {marks})", [row[name] for name in ATTRIBUTES])
    yield connection
    connection.close()


def theirs(database: Any, sql: str) -> list[Any]:
    sql = sql.replace("now()", f"make_timestamptz({NOW})").replace("CURRENT_DATE", f"make_timestamptz({NOW})::DATE")
    try:
        found = database.execute(f"SELECT {sql} FROM customers ORDER BY n").fetchall()
    except duckdb.Error:
        found = database.execute(f"SELECT TRY({sql}) FROM customers ORDER BY n").fetchall()
    return [row[0] for row in found]


def ours(sql: str) -> list[Any]:
    parsed = parse_sql(sql, "asked")
    value = read_part(parsed.node, parsed, ATTRIBUTES, {})
    assert value is not None, sql
    get, kind = value_at(value), type_of(value)
    found = []
    for row in ROWS:
        customer = Customer(0, "c", 0, 0)
        customer.attributes = {name: (held, 0) for name, held in row.items() if held is not None}
        found.append(shown(get(customer, NOW)[0], kind))
    return found


def shown(value: Any, kind: str) -> Any:
    """As Python's duckdb has it."""
    if value is None:
        return None
    if kind == "date":
        return date(1970, 1, 1) + timedelta(days=value)
    if kind == "interval":
        return timedelta(microseconds=value)
    if kind in ("timestamp", "local"):
        at = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=value)
        return at if kind == "timestamp" else at.replace(tzinfo=None)
    return value


def same(a: Any, b: Any) -> bool:
    if isinstance(a, float) and isinstance(b, float):
        return (math.isnan(a) and math.isnan(b)) or (a == b and math.copysign(1, a) == math.copysign(1, b))
    return type(a) is type(b) and a == b


EXPRESSIONS = """
i + j | i - j | i * j | i / j | i // j | i % j | -i | abs(i) | i + 1 | i * 3 - j | 7 // i | i % 7 | mod(i, j) | x + y
x - y | x * y | x / y | x % y | -x | abs(x) | x + i | i * x | x * 0.1 | x - 3 | 1 / x | x / 0 | i / 0 | x / 3
round(x) | round(x, 2) | round(x, -2) | round(x, 0) | round(x, 30) | round(i) | round(i, -1) | round(i, -2)
round(i, 3) | round(i, -18) | round(i, -19) | round(x, 400) | round(x, -400) | floor(x) | ceil(x) | ceiling(x)
floor(i) | ceil(i) | floor(x / y) | greatest(i, j) | least(i, j, 5) | greatest(x, y) | least(x, y) | greatest(i, x)
greatest(s, t) | least(s, t, 'm') | greatest(met, since) | greatest(x / y, 1) | least(x / 0, y) | coalesce(i, j)
coalesce(i, 0) | coalesce(x, i) | coalesce(s, t, '') | coalesce(met, since) | ifnull(i, 3)
coalesce(met, '2026-01-01') | coalesce(met, DATE '2026-01-01') | coalesce(b, FALSE) | nullif(i, j) | nullif(i, 0)
nullif(x, 1) | nullif(s, t) | nullif(s, '') | nullif(i, x) | nullif(met, since) | CASE WHEN i > 0 THEN i ELSE j END
CASE WHEN i > j THEN 'more' WHEN i = j THEN 'same' END | CASE i WHEN 1 THEN 'one' WHEN 2 THEN 'two' ELSE s END
CASE WHEN b THEN x ELSE i END | if(b, 1, 2) | CASE WHEN b THEN 1 END | CASE WHEN i IS NULL THEN met ELSE since END
CASE WHEN b THEN 0.5 ELSE x END | CASE WHEN s LIKE 'n%' THEN length(s) ELSE 0 END
(CASE WHEN b THEN 1000000 ELSE 3 END) * 1000000 | (CASE WHEN b THEN 1000000 ELSE 3 END) * i
-(CASE WHEN b THEN 1 ELSE 2 END) | lower(s) | upper(s) | length(s) | trim(s) | ltrim(s) | rtrim(s) | trim(s, 'x ')
left(s, 2) | left(s, -1) | right(s, 2) | right(s, -1) | left(s, 0) | right(s, 0) | replace(s, 'n', 'N')
replace(s, '', 'x') | replace(s, t, '-') | upper(trim(s)) | s || t | s || '!' | s || i | s || x | s || b
concat(s, t) | concat(s, i, x, b) | concat('<', s, '>') | s || met | starts_with(s, 'n') | starts_with(s, t)
ends_with(s, 'k') | contains(s, 'e') | contains(s, t) | suffix(s, 't') | s ^@ 'a' | i::DOUBLE | i::VARCHAR
i::BOOLEAN | x::BIGINT | x::VARCHAR | x::BOOLEAN | b::BIGINT | b::DOUBLE | b::VARCHAR | TRY_CAST(s AS BIGINT)
TRY_CAST(s AS DOUBLE) | TRY_CAST(s AS BOOLEAN) | s::BIGINT | CAST(s AS DOUBLE) | (x / y)::BIGINT | (x / y)::VARCHAR
met::VARCHAR | met::DATE | met::TIMESTAMP | met::DATE::VARCHAR | met::TIMESTAMP::VARCHAR | met::TIMESTAMP::TIMESTAMPTZ
met::DATE::TIMESTAMPTZ | DATE '2026-01-31' + 3 | met::DATE + 7 | met::DATE - 7 | met::DATE - since::DATE
CURRENT_DATE - met::DATE | met - since | met - TIMESTAMPTZ '2026-01-01 00:00:00+00' | met::DATE - since
met + (since - met) | (met - since) + INTERVAL '1 day' | met + INTERVAL '1 day' | met - INTERVAL '1 month'
met + INTERVAL '1 month 1 day' | met - INTERVAL '1 year 2 months' | met + INTERVAL '1 quarter'
INTERVAL '3 months' + met | met::DATE + INTERVAL '1 month' | met::TIMESTAMP - INTERVAL '1 month'
DATE '2026-01-31' + INTERVAL '1 month' | met - INTERVAL '1 month' - INTERVAL '1 month' | met + INTERVAL '1 week'
met + INTERVAL 90 MINUTE | met - INTERVAL '5 m' | met - INTERVAL '1 mon' | date_trunc('day', met)
date_trunc('week', met) | date_trunc('month', met) | date_trunc('quarter', met) | date_trunc('year', met)
date_trunc('hour', met) | date_trunc('minute', met) | date_trunc('second', met) | date_trunc('month', met::DATE)
date_trunc('day', met::TIMESTAMP) | date_trunc('day', now()) | date_trunc('month', now() - INTERVAL '1 month')
date_trunc('week', now()) + INTERVAL '3 days' | date_part('year', met) | date_part('month', met)
date_part('day', met) | date_part('hour', met) | date_part('dow', met) | date_part('isodow', met)
date_part('week', met) | date_part('doy', met) | date_part('quarter', met) | date_part('minute', met)
date_part('second', met) | date_part('hour', met::DATE) | extract(hour FROM met) | extract('dow' FROM met) | year(met)
month(met) | day(met) | hour(met) | dayofweek(met) | isodow(met) | week(met) | dayofyear(met) | hour(now())
date_part('dow', now() AT TIME ZONE 'Europe/Berlin') | date_part('hour', now() + INTERVAL '3 hours') | weekofyear(met)
date_diff('day', met, since) | date_diff('week', met, since) | date_diff('month', met, since)
date_diff('hour', met, since) | date_diff('year', met, now()) | date_diff('day', now(), met)
date_diff('minute', met, since) | date_diff('second', met, since) | date_diff('quarter', met, since)
datediff('day', met, CURRENT_DATE) | date_diff('hour', met::DATE, since) | date_diff('week', met, now())
met AT TIME ZONE 'Europe/Berlin' | (met AT TIME ZONE 'America/New_York')::DATE
date_trunc('day', met AT TIME ZONE 'Asia/Kolkata')
date_trunc('day', met AT TIME ZONE 'Europe/Berlin') AT TIME ZONE 'Europe/Berlin'
met::TIMESTAMP AT TIME ZONE 'Europe/Berlin' | timezone('America/New_York', met)
TIMESTAMP '2026-03-29 02:30:00' AT TIME ZONE 'Europe/Berlin' | hour(met AT TIME ZONE 'Europe/Berlin')
(now() AT TIME ZONE 'Asia/Tokyo')::DATE | CURRENT_DATE | CURRENT_DATE - 30 | CURRENT_DATE + INTERVAL '1 day' | i > j
i = x | i < x | x > y | x / y > 1 | x / y = x / y | x / 0 > y | i > 2.5 | x = 0.1 | s < t | s > 'n' | met > since
met > '2026-01-01' | met::DATE = '2026-03-31' | met > DATE '2026-01-01' | met::DATE < since | met::TIMESTAMP > since
b = (i > 0) | (i > 0) = TRUE | b <> (x > 0) | met - since > INTERVAL '1 day' | met - since < INTERVAL '1 month'
met - since = INTERVAL '0 days' | s LIKE 'n%' | s LIKE '%e%' | s LIKE '_' | s LIKE '' | s LIKE '%'
s LIKE 'a!%b' ESCAPE '!' | s LIKE 'a\\%b' | s NOT LIKE '%y%' | s LIKE '%_ _%' | s ILIKE 'NEW%' | s NOT ILIKE '%YORK'
s ILIKE '\u03b1\u03c3' | s LIKE t | s ILIKE t | s ILIKE 'ß' | s ILIKE 'i_' | i IS DISTINCT FROM j
i IS NOT DISTINCT FROM j | s IS DISTINCT FROM t | x IS DISTINCT FROM 1 | met IS NOT DISTINCT FROM since
x / y IS DISTINCT FROM x / y | s IS DISTINCT FROM NULL | i IS DISTINCT FROM x | lower(s) IN ('a', 'new york')
x + 1 IN (1, 2, NULL) | x + 1 NOT IN (1, 2, NULL) | x / y IN (1, 2.5) | substring(s, 2, 3) | substring(s, -3, 2)
substring(s, 0, 2) | substring(s, 3, -2) | substring(s, -9, 7) | substr(s, 3) | substring(s, -2)
substring(s, -2, -2) | strpos(s, 'o') | strpos(s, t) | position('e' IN s) | instr(s, '')
date_add(met, INTERVAL '1 month') | length(s) BETWEEN 1 AND 3 | x - y BETWEEN 0 AND i | i IS NULL OR j > 3
(x + y) IS NULL | (s || t) IS NULL | CASE WHEN b THEN i > 0 ELSE NULL END
""".strip()


@pytest.mark.parametrize("sql", [each.strip() for line in EXPRESSIONS.splitlines() for each in line.split(" | ")])
def test_an_expression_is_what_duckdb_says(database: Any, sql: str) -> None:
    """For every row, to the type and the sign of zero."""
    there, here = theirs(database, sql), ours(sql)
    different = [(row, a, b) for row, a, b in zip(ROWS, there, here, strict=True) if not same(a, b)]
    assert not different, (sql, different[:3])


def test_upper_and_lower_case_are_duckdbs_for_every_character(database: Any) -> None:
    chars = [chr(code) for code in range(1, 0x110000) if not 0xD800 <= code < 0xE000]
    found = database.execute(
        "SELECT lower(c), upper(c), length(c), trim(c) = '' FROM (SELECT unnest($1::VARCHAR[]) AS c)", [chars]
    ).fetchall()
    for char, (low, up, length, empty) in zip(chars, found, strict=True):
        assert (texts.lower(char), texts.upper(char), len(char)) == (low, up, length), hex(ord(char))
        assert (not char.strip(texts.SPACES)) is empty


PATTERNS = (
    "",
    "%",
    "_",
    "a%",
    "%a",
    "%a%",
    "a_c",
    "%a_%c",
    "__",
    "%%",
    "a%b%c",
    "_%_",
    "%ab%ab%",
    "é_",
    "!%",
    "a!_c",
    "!!",
    "%!%%",
)


@pytest.mark.parametrize("pattern", PATTERNS)
def test_like_is_duckdbs(database: Any, pattern: str) -> None:
    """With and without an escape character, which is always a matter of the pattern alone."""
    values = [
        "",
        "a",
        "b",
        "abc",
        "aXc",
        "a\nc",
        "ababab",
        "aab",
        "é🛒",
        "%",
        "!",
        "a_c",
        "a%b",
        "xaycz",
        "!%",
        "aAc",
        "ab" * 9,
    ]
    for escape in (None, "!"):
        said = "" if escape is None else f" ESCAPE '{escape}'"
        rows = database.execute(
            f"SELECT c LIKE '{pattern}'{said}, c ILIKE '{pattern}'{said} FROM (SELECT unnest($1::VARCHAR[]) AS c)",
            [values],
        ).fetchall()
        matcher, ignoring = (texts.matcher(pattern, escape, ignore) for ignore in (False, True))
        assert matcher is not None and ignoring is not None
        assert [(matcher(value), ignoring(value)) for value in values] == rows


NUMERALS = """
0 1 -1 +5 12 -12.5 1e3 1E3 1e-3 .5 5. . 5.e3 .e3 1_000 1__0 _1 1_ 1.5_0 0x1F -0x1F 0b11 0b2 1e5_0 5e 5e+ 1e19 1e400
-1e400 9223372036854775807 9223372036854775808 -9223372036854775808 9223372036854775807.4 9223372036854775807.5 2.5
3.5 -2.5 inf -inf +inf Infinity nan -nan NaN infin true t T yes y no n f 0.0 TRUE x 1d \u0661 00012 -0 --1 1e-400
0.99999999999999999999999999 9E-4 1e-32768 1e-32769 1e32768 0e32768 0e40000 1e99999999999999999999
-1e-99999999999999999999 0e-99999999999999999999 12345678901234567890e-5 9223372036854775807e-30 0.5e-1 4.5e0
1e00000000000000000000000000002 0.9223372036854775808 0.92233720368547758083 99.5e-2 99.5e-1
"""
WRITTEN = [
    *NUMERALS.split(),
    *("", " ", " 12 ", "\t5\n", "1 2", "- 5", " true", "true "),
    # More digits than Python reads as one number.
    *("9" * 6_000, "0" * 6_000 + "1", "0." + "0" * 6_000 + "1", "1e" + "0" * 6_000 + "2", "0x" + "f" * 6_000),
]


def numerals(count: int) -> Iterator[str]:
    """Decimal notation with ends of 64 and 16 bits in it."""
    rng = random.Random(20)

    def digits(lengths: tuple[int, ...]) -> str:
        return "".join(rng.choice("0123456789059") for _ in range(rng.choice(lengths)))

    for _ in range(count):
        text = rng.choice(("", "", "-", "+")) + digits((0, 1, 1, 2, 3, 5, 18, 19, 20))
        if rng.random() < 0.6:
            text += "." + rng.choice(("", "", "0" * rng.randrange(30), "922337203685477580"))
            text += digits((0, 0, 1, 2, 3, 18, 19, 20, 25))
        if rng.random() < 0.6:
            power = rng.choice(
                (digits((1, 2, 2)), str(rng.randrange(17, 31)), "0" + digits((1,)), "32767", "32768", "32769", "9" * 20)
            )
            text += rng.choice("eE") + rng.choice(("", "-", "-", "+")) + power
        yield text


CASTS = {"BIGINT": numbers.whole_of_text, "DOUBLE": numbers.double_of_text, "BOOLEAN": numbers.boolean_of_text}


@pytest.mark.parametrize("kind", CASTS)
def test_texts_are_read_as_numbers_as_duckdb_reads_them(database: Any, kind: str) -> None:
    sql = f"SELECT TRY_CAST(c AS {kind}) FROM (SELECT unnest($1::VARCHAR[]) AS c)"
    written = [*WRITTEN, *numerals(20_000)]
    there, here = database.execute(sql, [written]).fetchall(), map(CASTS[kind], written)
    wrong = [(text, a, b) for text, (a,), b in zip(written, there, here, strict=True) if not same(a, b)]
    assert not wrong
