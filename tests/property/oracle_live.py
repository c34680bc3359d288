"""The grammar of conditions that only customers have: on now(), on their events, on other segments."""

from __future__ import annotations

from tests.property import oracle_words as words
from tests.property.oracle_pen import OPERATORS, Pen
from tests.property.oracle_subqueries import events

ORDERS = ("<", "<=", ">", ">=")


def against_now(pen: Pen, depth: int) -> str:
    moment, other = _moment(pen), pen.value("timestamp", depth)
    sides = (moment, other) if pen.chance(3) else (other, moment)
    return f"{sides[0]} {pen.choose(ORDERS)} {sides[1]}"


def between_moments(pen: Pen, depth: int) -> str:
    word = pen.choose(("BETWEEN", "BETWEEN", "NOT BETWEEN"))
    return f"{pen.value('timestamp', depth)} {word} {_moment(pen)} AND {_moment(pen)}"


def column_between_moments(pen: Pen, depth: int) -> str:
    lengths = pen.world.pace.lengths
    longer = pen.choose(range(1, len(lengths)))
    shorter = pen.spelled(lengths[pen.choose(range(longer))])
    return f"{pen.column('timestamp')} BETWEEN now() - {pen.spelled(lengths[longer])} AND now() - {shorter}"


def now_between(pen: Pen, depth: int) -> str:
    start = pen.value("timestamp", depth)
    return f"now() BETWEEN {start} AND {pen.choose((f'{start} + {pen.interval()}', pen.value('timestamp', depth)))}"


def elapsed(pen: Pen, depth: int) -> str:
    return f"now() - {pen.value('timestamp', depth)} {pen.choose(ORDERS)} {pen.interval()}"


def clock_against_clock(pen: Pen, depth: int) -> str:
    shown = f"now() AT TIME ZONE '{pen.choose(words.ZONES)}'"
    return f"{shown} {pen.choose(ORDERS)} {pen.value('local', depth)}"


def day_against_today(pen: Pen, depth: int) -> str:
    zone = f" AT TIME ZONE '{pen.choose(words.ZONES)}'"
    ours, theirs = pen.choose((("", ""), (zone, zone), (zone, ""), ("", zone)))
    today = pen.choose(("CURRENT_DATE", "now()::DATE")) if not theirs else f"CAST(now(){theirs} AS DATE)"
    away = pen.choose(("", " - 1", " + 1", " - 7", " - 30"))
    day = f"CAST({pen.value('timestamp', depth)}{ours} AS DATE)"
    return pen.choose((f"{day} {pen.choose(OPERATORS)} {today}{away}", f"{day} BETWEEN {today} - 7 AND {today}{away}"))


def unit_against_now(pen: Pen, depth: int) -> str:
    zone = pen.choose(("", f" AT TIME ZONE '{pen.choose(words.ZONES)}'"))
    unit = pen.choose(pen.world.pace.units)
    sides = f"date_trunc('{unit}', now(){zone})", f"date_trunc('{unit}', {pen.value('timestamp', depth)}{zone})"
    first, second = sides if pen.chance(3) else reversed(sides)
    return f"{first} {pen.choose(OPERATORS)} {second}"


def age_in_units(pen: Pen, depth: int) -> str:
    unit = pen.choose(("day", *pen.world.pace.units))
    elapsed = f"date_diff('{unit}', {pen.value('timestamp', depth)}, {pen.choose(('now()', 'CURRENT_DATE'))})"
    return f"{elapsed} {pen.choose(('>= 1', '= 2', 'BETWEEN 1 AND 3', '< 7', '<> 0', '> -2', '<= order_count'))}"


def exists(pen: Pen, depth: int) -> str:
    return f"{pen.choose(('EXISTS', 'NOT EXISTS'))} (SELECT {pen.choose(('1', '*'))} {events(pen)})"


def count_compared(pen: Pen, depth: int) -> str:
    count = f"(SELECT count(*) {events(pen)})"
    if pen.chance(4):
        return f"{count} BETWEEN {pen.choose((1, 0, 2))} AND {pen.choose((2, 3))}"
    return f"{count} {pen.choose(OPERATORS)} {pen.choose((1, 2, 0, 3))}"


def of_several_aggregates(pen: Pen, depth: int) -> str:
    asked = pen.choose(
        (
            "max(price) - min(price) >= 1",
            "count(*) > 2",
            "count(*) = count(price)",
            "sum(price) > max(quantity) * 2",
            "avg(price) BETWEEN 1 AND 10",
        )
    )
    return f"(SELECT {asked} {events(pen)})"


def in_segment(pen: Pen, depth: int) -> str:
    if not pen.others:
        return exists(pen, depth)
    return f"{pen.choose(('', 'NOT '))}in_segment('{pen.choose(pen.others)}')"


def _moment(pen: Pen) -> str:
    now = pen.choose(("now()", "now()", "CURRENT_TIMESTAMP"))
    sign = pen.choose(("-", "-", "+", ""))
    return f"{now} {sign} {pen.interval()}" if sign else now


OF_CUSTOMERS = (
    against_now,
    against_now,
    between_moments,
    column_between_moments,
    now_between,
    elapsed,
    clock_against_clock,
    day_against_today,
    day_against_today,
    unit_against_now,
    age_in_units,
    exists,
    exists,
    count_compared,
    count_compared,
    of_several_aggregates,
    in_segment,
)
