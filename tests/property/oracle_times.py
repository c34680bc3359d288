"""The grammar of timestamps, clocks and dates: one small function for each construct, giving SQL text of its type.

What is compound stands in parentheses wherever something could stick to it.
"""

from __future__ import annotations

from stream.core.time import format_iso
from tests.property import oracle_words as words
from tests.property.oracle_choices import choice
from tests.property.oracle_pen import Grammar, Pen
from tests.property.oracle_subqueries import aggregate


def time_column(pen: Pen, depth: int) -> str:
    return pen.column("timestamp")


def time_literal(pen: Pen, depth: int) -> str:
    instant = format_iso(pen.choose(pen.world.instants()))
    return pen.choose((f"TIMESTAMPTZ '{instant}'", f"CAST('{instant}' AS TIMESTAMPTZ)"))


def time_shifted(pen: Pen, depth: int) -> str:
    return f"({pen.value('timestamp', depth - 1)} {pen.choose('+-')} {pen.interval()})"


def time_truncated(pen: Pen, depth: int) -> str:
    unit = pen.choose(("day", "month", "hour", "week", "year", "quarter"))
    return f"date_trunc('{unit}', {pen.value('timestamp', depth - 1)})"


def now_truncated(pen: Pen, depth: int) -> str:
    pen.varied += 1
    return f"date_trunc('{pen.choose(pen.world.pace.units)}', now())"


def time_choice(pen: Pen, depth: int) -> str:
    return choice(pen, depth, "timestamp")


def time_of_a_clock(pen: Pen, depth: int) -> str:
    return f"({pen.value('local', depth - 1)} AT TIME ZONE '{pen.choose(words.ZONES)}')"


def aggregated_time(pen: Pen, depth: int) -> str:
    return aggregate(pen, "timestamp")


def clock(pen: Pen, depth: int) -> str:
    return f"({pen.value('timestamp', depth - 1)} AT TIME ZONE '{pen.choose(words.ZONES)}')"


def clock_literal(pen: Pen, depth: int) -> str:
    instant = pen.choose(pen.world.instants())
    return f"TIMESTAMP '{format_iso(instant)[:-1].replace('T', ' ')}'"


def clock_truncated(pen: Pen, depth: int) -> str:
    return f"date_trunc('{pen.choose(('day', 'month', 'week', 'hour'))}', {clock(pen, depth - 1)})"


def clock_of_now_truncated(pen: Pen, depth: int) -> str:
    pen.varied += 1
    unit = pen.choose(pen.world.pace.units)
    return f"date_trunc('{unit}', now() AT TIME ZONE '{pen.choose(words.ZONES)}')"


def clock_shifted(pen: Pen, depth: int) -> str:
    return f"({clock(pen, depth - 1)} {pen.choose('+-')} {pen.interval()})"


def date_of_time(pen: Pen, depth: int) -> str:
    inner = pen.value("timestamp", depth - 1) if pen.chance(2) else clock(pen, depth - 1)
    return pen.choose((f"CAST({inner} AS DATE)", f"({inner})::DATE"))


def date_literal(pen: Pen, depth: int) -> str:
    return f"DATE '{format_iso(pen.choose(pen.world.instants()))[:10]}'"


def today(pen: Pen, depth: int) -> str:
    pen.varied += 1
    return pen.choose(("CURRENT_DATE", "CAST(now() AS DATE)", "now()::DATE"))


def today_somewhere(pen: Pen, depth: int) -> str:
    pen.varied += 1
    return f"CAST(now() AT TIME ZONE '{pen.choose(words.ZONES)}' AS DATE)"


def days_away(pen: Pen, depth: int) -> str:
    return f"({pen.value('date', depth - 1)} {pen.choose('+-')} {pen.choose((1, 7, 30))})"


_TIME_LEAVES = (time_column, time_literal)
_TIMES = (time_shifted, time_truncated, time_choice, time_of_a_clock)
_TIMES_OF_CUSTOMERS = (now_truncated, aggregated_time, aggregated_time)
_LOCALS = (clock, clock_literal, clock_truncated, clock_shifted)
_LOCALS_OF_CUSTOMERS = (clock_of_now_truncated,)
_DATES = (date_of_time, date_literal, days_away)
_DATES_OF_CUSTOMERS = (today, today_somewhere)
TIMES = Grammar(_TIME_LEAVES, _TIMES, _TIMES_OF_CUSTOMERS)
LOCALS = Grammar((clock, clock_literal), _LOCALS, _LOCALS_OF_CUSTOMERS)
DATES = Grammar((date_of_time, date_literal), _DATES, _DATES_OF_CUSTOMERS)
