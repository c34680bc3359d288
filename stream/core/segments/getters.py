"""What a column is worth in a row, and how two values of one type compare."""

from __future__ import annotations

import operator
from collections.abc import Callable
from types import NoneType
from typing import Any, TypeAlias, get_args

from msgspec.structs import fields

from stream.core.customer import Customer
from stream.core.fact import Fact
from stream.core.segments.tree import Column, Op

Row: TypeAlias = Customer | Fact

#: The value of a column in a row; None is NULL.
Getter: TypeAlias = Callable[[Any], Any]

OPERATORS: dict[Op, Callable[[Any, Any], bool]] = {
    "=": operator.eq,
    "<>": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_HELD_AS: dict[str, tuple[type, ...]] = {
    "text": (str,),
    "boolean": (bool,),
    "integer": (int,),
    "number": (float, int),
    "timestamp": (int,),
}
#: The columns of events whose name in the SQL is not that of the field.
_FIELDS = {"event_time": "time"}


#: Fields of a customer's record that always have a value.
_ALWAYS_KNOWN = frozenset(each.name for each in fields(Customer) if NoneType not in get_args(each.type))


def is_known(column: Column) -> bool:
    """Whether the column is never NULL."""
    return column.table == "customers" and column.name in _ALWAYS_KNOWN


def field(column: Column) -> str:
    """The name of the field of a customer or an event that holds a column. Attributes are in none of their own."""
    known = Customer.__struct_fields__ if column.table == "customers" else Fact.__struct_fields__
    name = _FIELDS.get(column.name, column.name) if column.table == "events" else column.name
    if column.table == "attributes" or name not in known:
        raise LookupError(f"no record has a field for {column}")
    return name


def getter(column: Column) -> Getter:
    """A function from row to value. A value that is not of the column's type counts as NULL."""
    if column.table != "attributes":
        return operator.attrgetter(field(column))
    name = column.name
    kinds = _HELD_AS[column.type]

    def attribute(customer: Customer) -> Any:
        held = customer.attributes
        if held is None:
            return None
        found = held.get(name)
        if found is None:
            return None
        value = found[0]
        # `type`, not `isinstance`: a boolean is no number. The type may be an older book's.
        return value if type(value) in kinds else None

    return attribute
