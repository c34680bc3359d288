"""The functions of the language: what they take, what they give, and what they do to values.

The names in ``Call`` are those of the tables here. A function is handed None for NULL only where it is not strict.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple, TypeAlias

from stream.core.segments import calendar, numbers, texts, zones
from stream.core.segments.tree import Call, Case, Cast, Length, Literal, Value, ValueType, type_of

#: From values (None is NULL) to a value.
Function: TypeAlias = Callable[..., Any]


class Shape(NamedTuple):
    """What a function takes, by type, the last ``optional`` of which may be left out; and what it gives."""

    takes: tuple[ValueType, ...]
    gives: ValueType
    does: Function
    optional: int = 0


#: Functions of texts, and which lead from texts to other things. All are strict.
TEXT: Final[dict[str, Shape]] = {
    "lower": Shape(("text",), "text", texts.lower),
    "upper": Shape(("text",), "text", texts.upper),
    "length": Shape(("text",), "integer", len),
    "trim": Shape(("text", "text"), "text", lambda text, away=texts.SPACES: text.strip(away) if away else text, 1),
    "ltrim": Shape(("text", "text"), "text", lambda text, away=texts.SPACES: text.lstrip(away) if away else text, 1),
    "rtrim": Shape(("text", "text"), "text", lambda text, away=texts.SPACES: text.rstrip(away) if away else text, 1),
    "left": Shape(("text", "integer"), "text", texts.left),
    "right": Shape(("text", "integer"), "text", texts.right),
    "substring": Shape(("text", "integer", "integer"), "text", texts.substring, 1),
    "strpos": Shape(("text", "text"), "integer", texts.position),
    "replace": Shape(("text", "text", "text"), "text", lambda text, old, new: text.replace(old, new) if old else text),
    "starts_with": Shape(("text", "text"), "boolean", str.startswith),
    "ends_with": Shape(("text", "text"), "boolean", str.endswith),
    "contains": Shape(("text", "text"), "boolean", operator.contains),
}
#: The functions that an analyst can name, for suggestions.
NAMES: Final = (
    *TEXT,
    *("abs", "round", "floor", "ceil", "greatest", "least", "coalesce", "nullif", "concat", "if"),
    *("now", "date_trunc", "date_part", "date_diff", "timezone", "in_segment"),
)
_NOT_STRICT: Final = frozenset({"coalesce", "nullif", "greatest", "least", "concat"})


def function(call: Call) -> Function:
    """What ``call`` does with the values of its arguments, NULL taken care of; not for what needs ``now``."""
    does = _does(call)
    if call.name in _NOT_STRICT:
        return does
    count = len(call.args)
    if count == 1:
        return lambda value: None if value is None else does(value)
    if count == 2:
        return lambda a, b: None if a is None or b is None else does(a, b)
    return lambda *values: None if None in values else does(*values)


def width(value: Value) -> int:
    """The bits of a whole number: DuckDB computes in 32 where nothing but small fixed numbers comes in."""
    match value:
        case Literal(value=int() as number):
            return 32 if abs(number) < 2**31 else 64
        case Case():
            results = [then for _, then in value.branches] + ([] if value.default is None else [value.default])
            return max(map(width, results))
        case Call(name="+" | "-" | "*" | "//" | "%" | "neg" | "abs" | "coalesce" | "greatest" | "least"):
            return max(map(width, value.args))
        case Call(name="round" | "nullif"):
            return width(value.args[0])
    return 64 if type_of(value) != "null" else 32


def _does(call: Call) -> Function:
    shape = TEXT.get(call.name)
    if shape is not None:
        return shape.does
    kinds = [type_of(arg) for arg in call.args]
    match call.name:
        case "coalesce":
            return lambda *values: next((value for value in values if value is not None), None)
        case "nullif":
            return _nullif(call.type)
        case "greatest" | "least":
            return _extreme(call.name == "greatest", call.type)
        case "concat":
            written = [text_of(kind) for kind in kinds]
            return lambda *values: "".join(
                write(value) for write, value in zip(written, values, strict=True) if value is not None
            )
        case "||":
            first, second = map(text_of, kinds)
            return lambda a, b: first(a) + second(b)
        case "date_trunc" | "date_part" | "date_diff":
            return _of_calendar(call)
        case "timezone":
            return _of_zone(call)
    if call.type in ("timestamp", "local", "date", "interval") or kinds[:1] == ["date"]:
        return _of_time(call)
    return _of_numbers(call, kinds)


def _of_numbers(call: Call, kinds: Sequence[ValueType]) -> Function:
    exact = call.type == "integer"
    bits = width(call) if exact else 64
    match call.name:
        case "+" | "-" | "*":
            plain = {"+": operator.add, "-": operator.sub, "*": operator.mul}[call.name]
            if exact:
                return lambda a, b: numbers.whole(plain(a, b), bits)
            return lambda a, b: plain(float(a), float(b))
        case "/":
            return numbers.divided
        case "//":
            return numbers.quotient
        case "%":
            return numbers.remainder if exact else numbers.remainder_of_doubles
        case "neg":
            return (lambda a: numbers.whole(-a, bits)) if exact else operator.neg
        case "abs":
            return (lambda a: numbers.whole(abs(a), bits)) if exact else abs
        case "floor":
            return numbers.down
        case "ceil":
            return numbers.up
        case "round":
            if len(kinds) == 1:
                return (lambda a: a) if exact else numbers.rounded
            return numbers.rounded_whole if exact else numbers.rounded_to
    raise TypeError(f"there is no function {call.name}")


def _nullif(kind: ValueType) -> Function:
    same = numbers.compared("=") if kind in ("number", "decimal", "integer") else operator.eq
    return lambda a, b: None if a is not None and b is not None and same(a, b) else a


def _extreme(greatest: bool, kind: ValueType) -> Function:
    better = numbers.compared(">" if greatest else "<") if kind in ("number", "decimal") else None
    if better is None:
        better = operator.gt if greatest else operator.lt

    def extreme(*values: Any) -> Any:
        found = None
        for value in values:
            if value is not None and (found is None or better(value, found)):
                found = value
        return found

    return extreme


# -- time --------------------------------------------------------------------------------------------------


def _of_time(call: Call) -> Function:
    """``+`` and ``-`` of instants, dates and lengths of time; lengths with months go by the calendar."""
    first, second = call.args
    sign = 1 if call.name == "+" else -1
    if isinstance(second, Length) and second.months:
        months, by = sign * second.months, sign * second.by
        scale = calendar.DAY if type_of(first) == "date" else 1
        return lambda a, b: calendar.add_months(a * scale, months) + by
    if type_of(first) == "date" and type_of(second) == "interval":
        return lambda a, b: a * calendar.DAY + sign * b
    if sign > 0:
        return operator.add
    return operator.sub


def _of_calendar(call: Call) -> Function:
    unit = unit_of(call)
    scales = [calendar.DAY if type_of(arg) == "date" else 1 for arg in call.args]
    scale = scales[1]
    if call.name == "date_trunc":
        return lambda _, instant: calendar.truncated(unit, instant * scale)
    if call.name == "date_part":
        return lambda _, instant: calendar.part(unit, instant * scale)
    last = scales[2]
    return lambda _, first, second: calendar.difference(unit, first * scale, second * last)


def _of_zone(call: Call) -> Function:
    place = zone_of(call)
    if type_of(call.args[1]) == "timestamp":
        return lambda _, instant: place.local(instant)
    scale = calendar.DAY if type_of(call.args[1]) == "date" else 1
    return lambda _, local: place.instant(local * scale)


def unit_of(call: Call) -> str:
    """The unit in the first argument of date_trunc, date_part and date_diff."""
    (unit, *_) = call.args
    assert isinstance(unit, Literal)
    return str(unit.value)


def zone_of(call: Call) -> zones.Zone:
    """The zone in the first argument of timezone."""
    (name, *_) = call.args
    assert isinstance(name, Literal)
    found = zones.zone(str(name.value))
    assert found is not None
    return found


# -- casts -------------------------------------------------------------------------------------------------

#: From a type to a type, and how. What is not here cannot be served as DuckDB does.
CASTS: Final[dict[tuple[ValueType, ValueType], Function]] = {
    ("text", "integer"): numbers.whole_of_text,
    ("text", "number"): numbers.double_of_text,
    ("text", "boolean"): numbers.boolean_of_text,
    ("integer", "number"): float,
    ("decimal", "number"): float,
    ("number", "integer"): numbers.whole_of_double,
    ("boolean", "integer"): int,
    ("boolean", "number"): float,
    ("integer", "boolean"): bool,
    ("number", "boolean"): bool,
    ("integer", "text"): str,
    ("number", "text"): lambda value: numbers.text_of_double(float(value)),
    ("boolean", "text"): lambda value: "true" if value else "false",
    ("timestamp", "text"): lambda value: _written(value) + "+00",
    ("local", "text"): lambda value: _written(value),
    ("date", "text"): lambda value: _written_date(value),
    ("timestamp", "local"): lambda value: value,
    ("local", "timestamp"): lambda value: value,
    ("timestamp", "date"): lambda value: value // calendar.DAY,
    ("local", "date"): lambda value: value // calendar.DAY,
    ("date", "timestamp"): lambda value: value * calendar.DAY,
    ("date", "local"): lambda value: value * calendar.DAY,
}


def cast(node: Cast) -> Function:
    """What the cast does with a value; None stays None."""
    kind = type_of(node.value)
    if kind == node.type or kind == "null":
        return lambda value: value
    does = CASTS[kind, node.type]
    return lambda value: None if value is None else does(value)


def text_of(kind: ValueType) -> Function:
    """How a value of the type is written as text."""
    return str if kind in ("text", "null") else CASTS[kind, "text"]


def _written_date(days: int) -> str:
    year, month, day = calendar.date_of(days)
    return f"{year:04}-{month:02}-{day:02}"


def _written(instant: int) -> str:
    days, time = divmod(instant, calendar.DAY)
    seconds, micros = divmod(time, calendar.SECOND)
    fraction = f".{micros:06}".rstrip("0") if micros else ""
    hour, minute = seconds // 3600, seconds // 60 % 60
    return f"{_written_date(days)} {hour:02}:{minute:02}:{seconds % 60:02}{fraction}"
