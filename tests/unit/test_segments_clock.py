"""What time alone does to a condition is what DuckDB says at every instant, and is announced before it happens."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import pytest

from stream.core.customer import Customer
from stream.core.segments import Definition, DefinitionBook, compile_book
from stream.core.time import NEVER, parse_iso

duckdb = pytest.importorskip("duckdb")

HOUR = 3_600_000_000
DAY = 24 * HOUR
ATTRIBUTES: dict[str, Any] = {"born": "timestamp", "age": "integer", "score": "number"}
#: Around the ends of months, leap days, and the nights in which clocks are set.
BORN = tuple(
    None if text is None else parse_iso(text)
    for text in (
        None,
        "2024-02-29T10:00:00Z",
        "2026-01-31T23:59:59.999999Z",
        "2026-02-28T00:00:00Z",
        "2026-03-29T00:59:59.5Z",
        "2026-03-30T12:00:00Z",
        "2026-10-25T01:30:00Z",
        "2027-02-28T13:00:00Z",
    )
)
BEGIN, END = parse_iso("2026-01-30T22:00:00Z"), parse_iso("2027-04-02T00:00:00Z")

CONDITIONS = """
born < now() - INTERVAL '1 month'
born <= now() - INTERVAL '1 month'
born > now() - INTERVAL '1 month'
born >= now() - INTERVAL '1 month 3 days'
born >= now() - INTERVAL '1 month' - INTERVAL '3 hours'
born < now() + INTERVAL '-1 month 1 day'
born::TIMESTAMP < now()::TIMESTAMP - INTERVAL '1 month 2 weeks'
born = now() - INTERVAL '1 month'
born <> now() - INTERVAL '1 month'
born + INTERVAL '1 month' < now()
born + INTERVAL '1 month' = now()
born BETWEEN now() - INTERVAL '3 months' AND now() - INTERVAL '1 month'
born > now() - INTERVAL '1 year'
now() - INTERVAL '1 month' > '2026-02-28'
now() + INTERVAL '1 month' >= '2026-02-28 12:00:00'
now() - INTERVAL '1 month' - INTERVAL '1 month' > born
now() - born > INTERVAL '30 days'
now() - born < INTERVAL '1 month'
born - now() > INTERVAL '5 days'
born - now() <= INTERVAL '-5 days'
now() - INTERVAL '1 month' - born > INTERVAL '3 days'
(now() AT TIME ZONE 'Europe/Berlin') - born::TIMESTAMP > INTERVAL '3 days'
born AT TIME ZONE 'Europe/Berlin' < now() AT TIME ZONE 'Europe/Berlin'
now() AT TIME ZONE 'Europe/Berlin' > TIMESTAMP '2026-03-29 02:30:00'
now() AT TIME ZONE 'Europe/Berlin' < TIMESTAMP '2026-10-25 02:30:00'
now() AT TIME ZONE 'Europe/Berlin' = TIMESTAMP '2026-10-25 02:30:00'
now() AT TIME ZONE 'America/New_York' BETWEEN TIMESTAMP '2026-11-01 01:15:00' AND TIMESTAMP '2026-11-01 01:45:00'
date_trunc('day', now()) > born
date_trunc('month', now()) = date_trunc('month', born)
date_trunc('week', now() - INTERVAL '1 week') <= born
date_trunc('month', now() - INTERVAL '1 month') < born
born >= date_trunc('month', now()) - INTERVAL '1 month'
date_trunc('day', now() AT TIME ZONE 'Europe/Berlin') = date_trunc('day', born AT TIME ZONE 'Europe/Berlin')
date_trunc('day', now() AT TIME ZONE 'Europe/Berlin') AT TIME ZONE 'Europe/Berlin' < born
CURRENT_DATE = born::DATE
CURRENT_DATE - born::DATE > 30
CURRENT_DATE - 7 <= born
born < CURRENT_DATE
date_diff('day', born, now()) > 30
date_diff('month', born, now()) >= 1
date_diff('week', born, now()) = 2
date_diff('year', now(), born) < 0
date_diff('day', born, now() AT TIME ZONE 'America/New_York') = 3
date_part('month', now()) = date_part('month', born) AND date_part('day', now()) = date_part('day', born)
date_part('hour', now() AT TIME ZONE 'Europe/Berlin') BETWEEN 9 AND 17
date_part('isodow', now() AT TIME ZONE 'Europe/Berlin') IN (6, 7)
extract(month FROM now()) IN (11, 12)
date_part('doy', now()) = age
hour(now()) = age
(now() < born) IS NULL
(now() - born) IS NULL
now() IS DISTINCT FROM born
now() - INTERVAL '1 month' IS NOT DISTINCT FROM born
CASE WHEN date_part('isodow', now()) > 5 THEN score > 1 ELSE now() > born END
CASE WHEN now() > born THEN 'after' WHEN now() > '2026-03-01' THEN 'spring' END = 'after'
coalesce(date_diff('day', born, now()), age) > 20
greatest(date_trunc('day', now()), born) = born
NOT (born < now() - INTERVAL '1 month' OR date_part('day', now()) = 1)
(now() > born) = (date_part('month', now()) > 6)
born + (CURRENT_DATE - born) < now()
now()::DATE = DATE '2026-03-29'
last_seen_at > CURRENT_DATE - INTERVAL '1 month'
born >= CURRENT_DATE - INTERVAL '1 month'
born < CURRENT_DATE - INTERVAL '1 month 3 days'
born::DATE >= (now() AT TIME ZONE 'Europe/Berlin')::DATE - 5
born > date_trunc('day', now() AT TIME ZONE 'Europe/Berlin') AT TIME ZONE 'Europe/Berlin' - INTERVAL '2 days'
date_trunc('hour', now() AT TIME ZONE 'Europe/Berlin') = TIMESTAMP '2026-10-25 02:00:00'
date_trunc('hour', now() AT TIME ZONE 'Europe/Berlin') >= TIMESTAMP '2026-10-25 02:00:00'
date_trunc('hour', now() AT TIME ZONE 'Europe/Berlin') > TIMESTAMP '2026-10-25 02:00:00'
date_trunc('hour', now() AT TIME ZONE 'Europe/Berlin') <> TIMESTAMP '2026-03-29 02:00:00'
date_trunc('hour', now() AT TIME ZONE 'Europe/Berlin') >= TIMESTAMP '2026-03-29 02:00:00'
(now() AT TIME ZONE 'Asia/Beirut')::DATE = DATE '2026-10-24'
(now() AT TIME ZONE 'Asia/Beirut')::DATE > DATE '2026-10-24'
date_trunc('day', now() AT TIME ZONE 'America/Santiago') >= TIMESTAMP '2026-04-05 00:00:00'
date_trunc('day', now() AT TIME ZONE 'America/Santiago') > TIMESTAMP '2026-09-05 00:00:00'
date_trunc('day', now() AT TIME ZONE 'America/Santiago') < TIMESTAMP '2026-04-05 00:00:00'
date_trunc('month', now()) - INTERVAL '1 month' <= born AND born < date_trunc('month', now())
date_trunc('quarter', now() - INTERVAL '1 week') > born
date_trunc('week', now()) = '2026-03-30'
date_trunc('week', born) + INTERVAL '2 weeks' = date_trunc('week', now())
date_diff('week', now(), born) < -3
date_diff('week', born, now()) BETWEEN 0 AND 2
date_diff('week', now(), born) > 0
date_diff('week', born, now()) <> 0
date_diff('month', now(), born) = -2
date_diff('quarter', born, now()) > age - 11
date_diff('hour', born, now() + INTERVAL '30 minutes') = 7
date_diff('day', born::DATE, CURRENT_DATE) > 2
date_diff('day', CURRENT_DATE, born) >= -2
CURRENT_DATE - born::DATE = age
born::DATE - CURRENT_DATE > -9
CURRENT_DATE - born::DATE > score
date_diff('day', born, now()) > score
30 < date_diff('day', born, now())
CURRENT_DATE + 3 > born
CURRENT_DATE - 3 + INTERVAL '1 month' > born
now()::TIMESTAMP > born
(now() - INTERVAL '1 month')::DATE = DATE '2026-02-28'
""".strip().splitlines()


@pytest.fixture(scope="module")
def database() -> Iterator[Any]:
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    yield connection
    connection.close()


def truths(database: Any, sql: str, questions: list[tuple[Any, ...]]) -> list[bool]:
    """What DuckDB answers for each ``(now, born, age, score)``."""
    sql = sql.replace("CURRENT_DATE", "t::DATE").replace("now()", "t").replace("last_seen_at", "make_timestamptz(0)")
    rows = database.execute(
        f"SELECT coalesce({sql}, FALSE) FROM "
        "(SELECT make_timestamptz(us) AS t, make_timestamptz(b) AS born, age, score FROM "
        "(SELECT unnest($1::BIGINT[]) AS us, unnest($2::BIGINT[]) AS b, unnest($3::BIGINT[]) AS age, "
        "unnest($4::DOUBLE[]) AS score, generate_subscripts($1::BIGINT[], 1) AS n) ORDER BY n)",
        [list(column) for column in zip(*questions, strict=True)],
    ).fetchall()
    return [row[0] for row in rows]


@pytest.mark.parametrize("sql", CONDITIONS)
def test_a_condition_is_duckdbs_until_the_instant_that_it_announces(database: Any, sql: str) -> None:
    """At each announced instant, a microsecond before, and in between, over fourteen months."""
    (segment,) = compile_book(DefinitionBook(ATTRIBUTES, {"asked": Definition(sql)})).segments
    chance = random.Random(sql)
    questions: list[tuple[Any, ...]] = []
    answers: list[bool] = []
    for number, born in enumerate(BORN):
        known = {"born": born, "age": (None, 3, 12, 70)[number % 4], "score": (0.5, 2.0, None)[number % 3]}
        customer = Customer(0, "c", 0, 0)
        customer.attributes = {name: (value, 0) for name, value in known.items() if value is not None}
        now = BEGIN + chance.randrange(DAY)
        for _ in range(600):
            member, until = segment.evaluate(customer, now)
            assert until > now
            end = min(until, END)
            for instant in {now, end - 1, *(chance.randrange(now, end) for _ in range(3))}:
                questions.append((instant, *known.values()))
                answers.append(member)
            if until >= END:
                break
            # Asked in between, it says the same, and announces nothing that lies behind.
            between = chance.randrange(now, until)
            again, then = segment.evaluate(customer, between)
            assert again is member and then > between
            now = until
    found = truths(database, sql, questions)
    wrong = [(q, theirs, ours) for q, theirs, ours in zip(questions, found, answers, strict=True) if theirs is not ours]
    assert not wrong, wrong[:3]
    assert until <= NEVER


T = parse_iso("2026-03-01T12:00:00Z")


@pytest.mark.parametrize(
    ("sql", "member", "until"),
    [
        ("date_diff('day', last_seen_at, now()) > 30", False, "2026-04-01T00:00:00Z"),
        ("date_diff('month', last_seen_at, now()) < 3", True, "2026-06-01T00:00:00Z"),
        ("CURRENT_DATE - last_seen_at::DATE >= 7", False, "2026-03-08T00:00:00Z"),
        ("last_seen_at >= CURRENT_DATE - INTERVAL '1 month'", True, "2026-04-02T00:00:00Z"),
        ("last_seen_at >= date_trunc('month', now())", True, "2026-04-01T00:00:00Z"),
        ("last_seen_at < date_trunc('month', now())", False, "2026-04-01T00:00:00Z"),
        ("(now() AT TIME ZONE 'Europe/Berlin')::DATE > '2026-03-31'", False, "2026-03-31T22:00:00Z"),
        ("last_seen_at < now() - INTERVAL '1 month'", False, "2026-04-01T12:00:00.000001Z"),
        ("last_seen_at < now() - INTERVAL '1 year'", False, "2027-03-01T12:00:00.000001Z"),
        ("date_part('month', now()) = 12", False, "2026-12-01T00:00:00Z"),
        ("date_part('hour', now() AT TIME ZONE 'Europe/Berlin') BETWEEN 9 AND 17", True, "2026-03-01T17:00:00Z"),
        ("date_trunc('month', last_seen_at) = date_trunc('month', now())", True, "2026-04-01T00:00:00Z"),
    ],
)
def test_an_announcement_is_as_late_as_it_can_be(sql: str, member: bool, until: str) -> None:
    """Nobody is asked again at every midnight on the way to the one that changes something."""
    (segment,) = compile_book(DefinitionBook(ATTRIBUTES, {"asked": Definition(sql)})).segments
    assert segment.evaluate(Customer(0, "c", T, T), T) == (member, parse_iso(until))


def test_what_depends_on_the_clock_alone_is_the_same_for_everybody_whenever_it_is_asked() -> None:
    """It is worked out once; going back in time is no trouble."""
    sql = "date_part('hour', now()) BETWEEN 9 AND 17"
    (segment,) = compile_book(DefinitionBook(ATTRIBUTES, {"asked": Definition(sql)})).segments
    nobody = Customer(0, "c", T, T)
    for hours in (0, 7, 30, -5, -4, 0, 100, 2):
        now = T + hours * HOUR
        hour = now // HOUR % 24
        member, until = segment.evaluate(nobody, now)
        assert member is (9 <= hour <= 17)
        assert until == now // DAY * DAY + (18 if member else 9 if hour < 9 else 33) * HOUR
