"""The grammar of sub-queries: a filter over events, a window of time, an aggregate over both."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TypeAlias

from stream.core.time import format_iso
from tests.property import oracle_words as words
from tests.property.oracle_pen import Pen, quoted
from tests.property.oracle_windows import window


def aggregate(pen: Pen, kind: str) -> str:
    """A sub-query that gives one value of the type."""
    pen.varied += 1
    of = pen.choose(AGGREGATES[kind])
    pen.used.add(of.__name__)
    return of(pen, kind)


def events(pen: Pen, bounded: bool = False, ordered: str = "") -> str:
    """``FROM events WHERE …``; with a lower bound of time if ``bounded``."""
    alias = pen.choose(("", "", " e", " AS e"))
    conditions = [*_correlation(pen, alias), *_types(pen), *_filters(pen), *window(pen, bounded)]
    where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
    return f"FROM events{alias}{where}{ordered}"


# -- what is asked -----------------------------------------------------------------------------------------


def count(pen: Pen, kind: str) -> str:
    what = pen.choose(("*", "*", "price", "category"))
    return f"(SELECT count({what}){_filter_clause(pen)} {events(pen)})"


def count_distinct(pen: Pen, kind: str) -> str:
    inside = _inside(pen)
    argument = pen.choose(
        (
            "product_id",
            "category",
            "price",
            "CAST(event_time AS DATE)",
            "date_trunc('day', event_time)",
            f"CAST(event_time AT TIME ZONE '{pen.choose(words.ZONES)}' AS DATE)",
            inside.value("text", 1),
        )
    )
    return f"(SELECT count(DISTINCT {argument}) {events(pen, bounded=True)})"


def total(pen: Pen, kind: str) -> str:
    return f"(SELECT sum({_exact_number(pen)}){_filter_clause(pen)} {events(pen)})"


def average(pen: Pen, kind: str) -> str:
    return f"(SELECT avg({_exact_number(pen)}){_filter_clause(pen)} {events(pen)})"


def extreme(pen: Pen, kind: str) -> str:
    return f"(SELECT {pen.choose(('max', 'min'))}({_argument(pen, kind)}){_filter_clause(pen)} {events(pen)})"


def first_or_last(pen: Pen, kind: str) -> str:
    argument = _argument(pen, kind)
    way = pen.choose((f"arg_max({argument}, event_time)", f"arg_min({argument}, event_time)"))
    return f"(SELECT {way} {events(pen)})"


def first_or_last_ordered(pen: Pen, kind: str) -> str:
    word = pen.choose(("last", "first"))
    return f"(SELECT {word}({_argument(pen, kind)} ORDER BY event_time) {events(pen)})"


def first_or_last_row(pen: Pen, kind: str) -> str:
    order = f" ORDER BY event_time {pen.choose(('DESC', 'ASC'))} LIMIT 1"
    return f"(SELECT {_argument(pen, kind)} {events(pen, ordered=order)})"


# -- where it looks ----------------------------------------------------------------------------------------


def _correlation(pen: Pen, alias: str) -> list[str]:
    if not pen.chance(4):
        return []
    inner = "e" if alias else "events"
    return [f"{inner}.customer_id = {pen.alias or 'customers'}.customer_id"]


def _types(pen: Pen) -> list[str]:
    if pen.chance(4):
        return []
    one, other = pen.choose(words.EVENT_TYPES), pen.choose(words.EVENT_TYPES)
    return [pen.choose((f"event_type = '{one}'", f"event_type IN ('{one}', '{other}')", f"event_type <> '{other}'"))]


def _filters(pen: Pen) -> list[str]:
    if not pen.chance(2):
        return []
    plain = (
        f"category = {quoted(pen.choose(words.CATEGORIES))}",
        f"price >= {pen.choose(words.PRICES)}",
        "quantity IS NOT NULL",
        f"product_id LIKE {quoted(pen.choose(('a%', '_0%', '%b')))}",
        "price * quantity > 2.5",
        f"event_time >= '{format_iso(pen.choose(pen.world.instants()))}'",
        f"date_part('hour', event_time AT TIME ZONE '{pen.choose(words.ZONES)}') BETWEEN 6 AND 18",
    )
    return [f"({_inside(pen).condition(1)})" if pen.chance(3) else pen.choose(plain)]


def _filter_clause(pen: Pen) -> str:
    if not pen.chance(4):
        return ""
    pen.used.add("filter_clause")
    return f" FILTER (WHERE {_inside(pen).condition(1)})"


def _argument(pen: Pen, kind: str) -> str:
    inside = _inside(pen)
    if kind == "number":
        return pen.choose(("price", "price * quantity", "quantity", inside.value("number", 1)))
    if kind == "text":
        return pen.choose(("category", "product_id", inside.value("text", 1)))
    return pen.choose(("event_time", inside.value("timestamp", 1)))


def _exact_number(pen: Pen) -> str:
    """A number in steps that a double holds: its sum is the same in every order."""
    if pen.chance(5):
        return f"CASE WHEN {_inside(pen).condition(1)} THEN price ELSE quantity END"
    return pen.choose(_EXACT)


def _inside(pen: Pen) -> Pen:
    return replace(pen, events=True)


_EXACT = (
    "price",
    "price * quantity",
    "quantity",
    "coalesce(price, 1.5)",
    "abs(price - 10)",
    "price * coalesce(quantity, 1)",
    "floor(price)",
    "nullif(price, 1)",
)
Aggregating: TypeAlias = Callable[[Pen, str], str]
#: Every aggregate by the type of its value.
AGGREGATES: dict[str, tuple[Aggregating, ...]] = {
    "integer": (count, count_distinct),
    "number": (total, average, extreme, first_or_last, first_or_last_ordered, first_or_last_row),
    "text": (extreme, first_or_last, first_or_last_ordered, first_or_last_row),
    "timestamp": (extreme, first_or_last, first_or_last_row),
}
