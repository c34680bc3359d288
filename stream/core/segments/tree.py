"""The typed tree that a segment's SQL becomes: values and conditions, already checked against the columns.

What the language gains later is a node here, a case where it is read, and a case in ``normal``.
Instants and lengths of time are µs.
"""

from __future__ import annotations

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


# -- values ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Column:
    """A live column or declared attribute of the customer, or a field of an event."""

    name: str
    type: ColumnType
    table: OneOf["customers", "attributes", "events"]


@dataclass(frozen=True, slots=True)
class Literal:
    """A fixed value; a timestamp is µs since the epoch."""

    value: Plain
    type: ColumnType


@dataclass(frozen=True, slots=True)
class Now:
    """The instant at which the question is asked."""


@dataclass(frozen=True, slots=True)
class Null:
    """NULL as written."""


@dataclass(frozen=True, slots=True)
class Shifted:
    """A timestamp plus ``by`` µs, which may be negative."""

    base: Column | Now
    by: int


@dataclass(frozen=True, slots=True)
class EventCount:
    """How many of the customer's events pass ``filter`` within a window that ends at no time.

    An event of time t counts at ``now`` while ``now < t + reach``; with ``reach`` None it counts for ever.
    ``text`` is the sub-query as written, with white space evened out.
    """

    filter: Condition
    reach: int | None
    text: str


Value: TypeAlias = Column | Literal | Now | Null | Shifted | EventCount


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
    """``column IN (literals)``; ``with_null`` if NULL was among them."""

    column: Column
    options: tuple[Literal, ...]
    with_null: bool


@dataclass(frozen=True, slots=True)
class IsNull:
    """``column IS NULL``."""

    column: Column


@dataclass(frozen=True, slots=True)
class Flag:
    """A boolean column standing as a condition."""

    column: Column


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


Condition: TypeAlias = Known | Compare | In | IsNull | Flag | Is | Not | And | Or
