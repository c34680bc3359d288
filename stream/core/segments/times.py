"""Reads what asks the calendar: date_trunc, date_part and EXTRACT, date_diff, AT TIME ZONE, CURRENT_DATE."""

from __future__ import annotations

from difflib import get_close_matches
from typing import Final

from sqlglot import exp

from stream.core.segments import calendar, zones
from stream.core.segments.kinds import TIMES, exact, said
from stream.core.segments.literals import timestamp
from stream.core.segments.moving import moves
from stream.core.segments.source import Source
from stream.core.segments.tree import Call, Cast, Literal, Now, Value, type_of

TODAY: Final = Cast(Now(), "date")
#: Functions of one timestamp that are a date_part.
PARTS: Final[dict[type[exp.Expr], str]] = {
    exp.Year: "year",
    exp.Quarter: "quarter",
    exp.Month: "month",
    exp.Week: "week",
    exp.WeekOfYear: "week",
    exp.Day: "day",
    exp.DayOfMonth: "day",
    exp.DayOfWeek: "dayofweek",
    exp.DayOfWeekIso: "isodow",
    exp.DayOfYear: "dayofyear",
    exp.Hour: "hour",
    exp.Minute: "minute",
    exp.Second: "second",
}
#: The same by names that sqlglot does not know.
NAMED_PARTS: Final = {"weekday": "dayofweek", "dow": "dayofweek", "isodow": "isodow", "doy": "dayofyear"}


def truncated(unit: exp.Expr | None, value: Value, node: exp.Expr, source: Source) -> Value:
    """``date_trunc(unit, value)``."""
    name = _unit(unit, calendar.UNITS, node, source)
    value = _instant(value, "date_trunc", node, source)
    _check_pace(name, value, node, source)
    return Call("date_trunc", (Literal(name, "text"), value), "timestamp" if type_of(value) == "timestamp" else "local")


def part(unit: exp.Expr | str, value: Value, node: exp.Expr, source: Source) -> Value:
    """``date_part(unit, value)``, ``EXTRACT(unit FROM value)`` and ``hour(value)``."""
    name = unit if isinstance(unit, str) else _unit(unit, tuple(calendar.PARTS), node, source)
    value = _instant(value, "date_part", node, source)
    _check_pace(calendar.PARTS[name], value, node, source)
    return Call("date_part", (Literal(name, "text"), value), "integer")


def difference(unit: exp.Expr | None, first: Value, second: Value, node: exp.Expr, source: Source) -> Value:
    """``date_diff(unit, first, second)``: from the first to the second."""
    name = _unit(unit, calendar.UNITS, node, source)
    sides = [_instant(side, "date_diff", node, source) for side in (first, second)]
    if all(isinstance(side, Literal) for side in sides) or all(map(moves, sides)):
        source.refuse(node, "the difference of these is always the same", "write the number")
    for side in sides:
        _check_pace(name, side, node, source)
    return Call("date_diff", (Literal(name, "text"), *sides), "integer")


def zoned(name: exp.Expr, value: Value, node: exp.Expr, source: Source) -> Value:
    """``value AT TIME ZONE name``: of an instant what the clock shows there, of what a clock shows the instant."""
    if not isinstance(name, exp.Literal) or not name.is_string:
        source.refuse(name, "the time zone has to be a fixed name", "write for example 'Europe/Berlin'")
    place = zones.zone(name.this)
    if place is None:
        near = get_close_matches(name.this, zones.zone_names(), n=1, cutoff=0.6)
        hint = f"did you mean '{near[0]}'?" if near else "write a place of the tz database, such as 'Europe/Berlin'"
        source.refuse(name, f"there is no time zone '{name.this}'", hint)
    if isinstance(value, Literal) and value.type == "text":
        source.refuse(node, "a text has no time zone", f"write TIMESTAMP '{value.value}' AT TIME ZONE '{place.name}'")
    value = _instant(value, "AT TIME ZONE", node, source)
    kind = type_of(value)
    if kind != "timestamp" and moves(value):
        source.refuse(node, "this takes now() out of one clock into another", "write now() AT TIME ZONE once")
    if isinstance(value, Literal):
        number = int(value.value)
        if kind == "timestamp":
            return Literal(place.local(number), "local")
        return Literal(place.instant(number * calendar.DAY if kind == "date" else number), "timestamp")
    return Call("timezone", (Literal(place.name, "text"), value), "local" if kind == "timestamp" else "timestamp")


def _instant(value: Value, what: str, node: exp.Expr, source: Source) -> Value:
    value = exact(value)
    if isinstance(value, Literal) and value.type == "text":
        return timestamp(str(value.value), node, source)
    if type_of(value) == "interval":
        source.refuse(node, f"{what} of a length of time is not supported", "compare it with an INTERVAL")
    if type_of(value) not in TIMES:
        source.refuse(node, f"{what} needs a timestamp, not {said(value)}")
    return value


def _unit(unit: exp.Expr | None, known: tuple[str, ...], node: exp.Expr, source: Source) -> str:
    if not isinstance(unit, exp.Var | exp.Literal):
        source.refuse(node, "the unit has to be fixed", "write for example 'day'")
    given = unit.name.lower()
    name = calendar.OTHER_NAMES.get(given, given)
    if name not in known:
        source.refuse(node, f"'{given}' is not supported here", "use " + ", ".join(known))
    return name


def _check_pace(unit: str, value: Value, node: exp.Expr, source: Source) -> None:
    if unit == "second" and moves(value):
        source.refuse(
            node,
            "every customer would have to be asked again every second",
            "take minutes, hours or days of now(), or compare now() itself",
        )
