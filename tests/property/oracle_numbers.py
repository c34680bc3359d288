"""The grammar of numbers: one small function for each construct, giving SQL text of the type that it is listed under.

What is compound stands in parentheses wherever something could stick to it.
"""

from __future__ import annotations

from tests.property import oracle_words as words
from tests.property.oracle_choices import choice
from tests.property.oracle_pen import Grammar, Pen
from tests.property.oracle_subqueries import aggregate

# -- DOUBLE ------------------------------------------------------------------------------------------------


def number_column(pen: Pen, depth: int) -> str:
    return pen.column("number")


def number_literal(pen: Pen, depth: int) -> str:
    return str(pen.choose((*words.PRICES, *words.SCORES)))


def arithmetic(pen: Pen, depth: int) -> str:
    parts = (
        pen.varying("number", depth - 1),
        pen.choose("+-*/"),
        pen.value(pen.choose(("number", "integer")), depth - 1),
    )
    return f"({' '.join(parts)})"


def sum_without_parentheses(pen: Pen, depth: int) -> str:
    a, b, c = pen.varying("number", 0), number_column(pen, 0), pen.value("number", 0)
    return f"({a} {pen.choose('+-*')} {b} {pen.choose('+-*')} {c})"


def modulo(pen: Pen, depth: int) -> str:
    return f"({pen.varying('number', depth - 1)} % {pen.choose(('2.0', '0.75', '4.0'))})"


def negative(pen: Pen, depth: int) -> str:
    return f"(-{pen.varying('number', depth - 1)})" if pen.chance(2) else f"(- {pen.column('number')})"


def absolute(pen: Pen, depth: int) -> str:
    return f"abs({pen.varying('number', depth - 1)})"


def rounding(pen: Pen, depth: int) -> str:
    inner = pen.varying("number", depth - 1)
    return pen.choose((f"round({inner})", f"round({inner}, 1)", f"floor({inner})", f"ceil({inner})"))


def number_choice(pen: Pen, depth: int) -> str:
    return choice(pen, depth, "number")


def number_of_integer(pen: Pen, depth: int) -> str:
    inner = pen.value("integer", depth - 1)
    return pen.choose((f"CAST({inner} AS DOUBLE)", f"({inner})::DOUBLE"))


def number_of_text(pen: Pen, depth: int) -> str:
    return f"TRY_CAST({pen.value('text', depth - 1)} AS DOUBLE)"


def aggregated_number(pen: Pen, depth: int) -> str:
    return aggregate(pen, "number")


# -- BIGINT ------------------------------------------------------------------------------------------------


def integer_column(pen: Pen, depth: int) -> str:
    return pen.column("integer") if pen.has("integer") else integer_literal(pen, depth)


def integer_literal(pen: Pen, depth: int) -> str:
    return str(pen.choose((1, 0, 2, 3, *words.AGES)))


def whole_arithmetic(pen: Pen, depth: int) -> str:
    return f"({pen.varying('integer', depth - 1)} {pen.choose('+-*')} {pen.value('integer', depth - 1)})"


def whole_division(pen: Pen, depth: int) -> str:
    return f"({pen.varying('integer', depth - 1)} {pen.choose(('//', '%'))} {pen.value('integer', depth - 1)})"


def length(pen: Pen, depth: int) -> str:
    return f"length({pen.value('text', depth - 1)})"


def whole_absolute(pen: Pen, depth: int) -> str:
    return f"abs({pen.value('integer', depth - 1)})"


def integer_choice(pen: Pen, depth: int) -> str:
    return choice(pen, depth, "integer")


def integer_of_number(pen: Pen, depth: int) -> str:
    return f"TRY_CAST(round({pen.varying('number', depth - 1)}) AS BIGINT)"


def integer_of_text(pen: Pen, depth: int) -> str:
    return f"TRY_CAST({pen.value('text', depth - 1)} AS BIGINT)"


def calendar_part(pen: Pen, depth: int) -> str:
    part = pen.choose(("month", "day", "hour", "dow", "isodow", "year", "week", "quarter", "doy", "minute"))
    moment = pen.value(pen.choose(("timestamp", "local")), depth - 1)
    return pen.choose((f"date_part('{part}', {moment})", f"EXTRACT({part} FROM {moment})"))


def calendar_part_of_now(pen: Pen, depth: int) -> str:
    pen.varied += 1
    parts = [part for part in ("hour", "day", "isodow", "month", "week", "year", "quarter") if _rare(pen, part)]
    if "minute" in pen.world.pace.units:
        parts.append("minute")
    part, now = pen.choose(parts), _now_somewhere(pen)
    return pen.choose((f"date_part('{part}', {now})", f"EXTRACT({part} FROM {now})"))


def days_between(pen: Pen, depth: int) -> str:
    first, second = pen.varying("timestamp", depth - 1), pen.value("timestamp", depth - 1)
    return f"date_diff('{pen.choose(('day', 'hour', 'week', 'month', 'year'))}', {first}, {second})"


def time_since(pen: Pen, depth: int) -> str:
    pen.varied += 1
    unit, moment = pen.choose(pen.world.pace.units), pen.value("timestamp", depth - 1)
    return pen.choose((f"date_diff('{unit}', {moment}, now())", f"date_diff('{unit}', now(), {moment})"))


def calendar_function(pen: Pen, depth: int) -> str:
    name = pen.choose(("year", "month", "day", "hour", "dayofweek", "isodow", "quarter", "week"))
    return f"{name}({pen.value(pen.choose(('timestamp', 'local')), depth - 1)})"


def days_between_dates(pen: Pen, depth: int) -> str:
    return f"({pen.varying('date', depth - 1)} - {pen.value('date', depth - 1)})"


def aggregated_integer(pen: Pen, depth: int) -> str:
    return aggregate(pen, "integer")


def _now_somewhere(pen: Pen) -> str:
    return pen.choose(("now()", f"now() AT TIME ZONE '{pen.choose(words.ZONES)}'"))


def _rare(pen: Pen, part: str) -> bool:
    """Whether the part changes rarely enough at the pace of the log."""
    return part != "hour" or "hour" in pen.world.pace.units


_NUMBER_LEAVES = (number_column, number_literal)
_NUMBERS = (
    arithmetic,
    sum_without_parentheses,
    modulo,
    negative,
    absolute,
    rounding,
    number_choice,
    number_of_integer,
    number_of_text,
)
_NUMBERS_OF_CUSTOMERS = (aggregated_number,) * 3
_INTEGER_LEAVES = (integer_column, integer_literal)
_INTEGERS = (
    whole_arithmetic,
    whole_division,
    length,
    whole_absolute,
    integer_choice,
    integer_of_number,
    integer_of_text,
    calendar_part,
    calendar_function,
    days_between,
    days_between_dates,
)
_INTEGERS_OF_CUSTOMERS = (aggregated_integer, aggregated_integer, calendar_part_of_now, time_since)
NUMBERS = Grammar(_NUMBER_LEAVES, _NUMBERS, _NUMBERS_OF_CUSTOMERS)
INTEGERS = Grammar(_INTEGER_LEAVES, _INTEGERS, _INTEGERS_OF_CUSTOMERS)
