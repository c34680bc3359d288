"""The typed tree that a segment's SQL becomes: values and conditions, already checked against the columns.

What the language gains later is a node here, a case where it is read, and a case in ``normal``.
Instants and lengths of time are µs.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal as OneOf
from typing import TypeAlias

from stream.core.columns import ColumnType

Op: TypeAlias = OneOf["=", "<>", "<", "<=", ">", ">="]

#: The operator for swapped operands: ``3 <= x`` is ``x >= 3``.
MIRRORED: dict[Op, Op] = {"=": "=", "<>": "<>", "<": ">", "<=": ">=", ">": "<", ">=": "<="}
#: The operator that is true where this one is false.
OPPOSITE: dict[Op, Op] = {"=": "<>", "<>": "=", "<": ">=", "<=": ">", ">": "<=", ">=": "<"}

Plain: TypeAlias = str | int | float | bool
#: What a value inside of an expression can be: a column's type; "date", days since 1970-01-01; "local", what the
#: clock of some place shows, in µs as if it were UTC (DuckDB's TIMESTAMP); "interval", in µs; "decimal", a number
#: written with a point; "null", NULL as written.
ValueType: TypeAlias = ColumnType | OneOf["interval", "date", "local", "decimal", "null"]


# -- values ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Column:
    """A live column or declared attribute of the customer, or a field of an event."""

    name: str
    type: ColumnType
    table: OneOf["customers", "attributes", "events"]


@dataclass(frozen=True, slots=True)
class Literal:
    """A fixed value; a timestamp is µs since the epoch, a date days since it."""

    value: Plain
    type: ValueType


@dataclass(frozen=True, slots=True)
class Now:
    """The instant at which the question is asked."""


@dataclass(frozen=True, slots=True)
class Null:
    """NULL as written."""


@dataclass(frozen=True, slots=True)
class Shifted:
    """A timestamp plus ``by`` µs, which may be negative. What has months in it is a ``Call`` of ``+``."""

    base: Column | Now
    by: int


@dataclass(frozen=True, slots=True)
class Length:
    """A fixed length of time: ``by`` µs and ``months`` of the calendar. Never shown, only added and compared."""

    by: int
    months: int = 0


@dataclass(frozen=True, slots=True)
class Call:
    """An operator (``+ - * / // %``, unary ``neg``) or a function, by the name that ``functions`` knows it under."""

    name: str
    args: tuple[Value, ...]
    type: ValueType


@dataclass(frozen=True, slots=True)
class Cast:
    """``CAST(value AS type)``, and TRY_CAST, which is the same: NULL where it fails."""

    value: Value
    type: ValueType


@dataclass(frozen=True, slots=True)
class Case:
    """``CASE WHEN … THEN … ELSE … END``; ``default`` None is NULL."""

    branches: tuple[tuple[Condition, Value], ...]
    default: Value | None
    type: ValueType


@dataclass(frozen=True, slots=True)
class Truth:
    """A condition standing as a boolean value."""

    condition: Condition


@dataclass(frozen=True, slots=True)
class Bound:
    """One end of a window: ``now() - by (µs) - months``, itself in the window if ``inclusive``.

    Or, if there is a ``value``, the steps that ``now()`` takes in it: ``date_trunc('day', now())``.
    """

    by: int
    months: int
    inclusive: bool
    value: Value | None = None


@dataclass(frozen=True, slots=True)
class Window:
    """Which event times count; None is no end on that side."""

    since: Bound | None
    until: Bound | None


AggregateName: TypeAlias = OneOf["count", "count_distinct", "sum", "min", "max", "avg", "first", "last"]


@dataclass(frozen=True, slots=True)
class Aggregate:
    """An aggregate over the customer's events that pass ``filter`` in ``window``.

    ``argument`` is a value over one event; None for ``count(*)``. Of no events a count is 0, the others are NULL.
    ``text`` is the sub-query as written, with white space evened out.
    """

    function: AggregateName
    argument: Value | None
    filter: Condition
    window: Window
    text: str
    type: ValueType


@dataclass(frozen=True, slots=True)
class EventCount:
    """How many of the customer's events pass ``filter`` within a window that ends at no time.

    An event of time t counts at ``now`` while ``now < t + reach``; with ``reach`` None it counts for ever.
    ``text`` is the sub-query as written, with white space evened out.
    """

    filter: Condition
    reach: int | None
    text: str


Value: TypeAlias = (
    Column | Literal | Now | Null | Shifted | Length | Call | Cast | Case | Truth | Aggregate | EventCount
)


# -- conditions, of three values ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Known:
    """TRUE or FALSE as written."""

    truth: bool


@dataclass(frozen=True, slots=True)
class Compare:
    """Both sides are of one class: numbers, texts, booleans, timestamps, or a count and a whole number."""

    op: Op
    left: Value
    right: Value


@dataclass(frozen=True, slots=True)
class In:
    """``value IN (literals)``; ``with_null`` if NULL was among them."""

    column: Value
    options: tuple[Literal, ...]
    with_null: bool


@dataclass(frozen=True, slots=True)
class IsNull:
    """``value IS NULL``."""

    column: Value


@dataclass(frozen=True, slots=True)
class Flag:
    """A boolean value standing as a condition."""

    column: Value


@dataclass(frozen=True, slots=True)
class Like:
    """``value LIKE pattern ESCAPE escape``; ILIKE if ``ignore_case``."""

    value: Value
    pattern: Value
    escape: str | None
    ignore_case: bool


@dataclass(frozen=True, slots=True)
class Distinct:
    """``left IS DISTINCT FROM right``, which is never NULL."""

    left: Value
    right: Value


@dataclass(frozen=True, slots=True)
class Is:
    """``condition IS TRUE | FALSE | NULL`` (None)."""

    condition: Condition
    truth: bool | None


@dataclass(frozen=True, slots=True)
class Not:
    """``NOT condition``."""

    condition: Condition


@dataclass(frozen=True, slots=True)
class And:
    """All of them."""

    parts: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class Or:
    """Any of them."""

    parts: tuple[Condition, ...]


Condition: TypeAlias = Known | Compare | In | IsNull | Flag | Like | Distinct | Is | Not | And | Or


# -- looking into them -------------------------------------------------------------------------------------


def type_of(value: Value) -> ValueType:
    """What the value is when it is not NULL."""
    match value:
        case Now() | Shifted():
            return "timestamp"
        case Null():
            return "null"
        case Length():
            return "interval"
        case Truth():
            return "boolean"
        case EventCount():
            return "integer"
    return value.type


def within(node: Value | Condition) -> Iterator[Value | Condition]:
    """The node and what it consists of, from left to right; not what sub-queries say about single events."""
    yield node
    match node:
        case Call(args=parts) | And(parts=parts) | Or(parts=parts):
            for part in parts:
                yield from within(part)
        case Cast(value=inner) | In(column=inner) | IsNull(column=inner) | Flag(column=inner):
            yield from within(inner)
        case Truth(condition=condition) | Not(condition=condition) | Is(condition=condition):
            yield from within(condition)
        case Case():
            for asked, then in node.branches:
                yield from within(asked)
                yield from within(then)
            if node.default is not None:
                yield from within(node.default)
        case Compare(left=left, right=right) | Distinct(left=left, right=right):
            yield from within(left)
            yield from within(right)
        case Like():
            yield from within(node.value)
            yield from within(node.pattern)
        case Shifted(base=base):
            yield base


def is_timeless(node: Value | Condition) -> bool:
    """Whether it says the same of a row at all times, and needs no memory of events."""
    return not any(isinstance(part, Now | Aggregate | EventCount) for part in within(node))
