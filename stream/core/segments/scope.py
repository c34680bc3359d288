"""What a name means in the SQL: the customers' columns outside, the events' fields in a sub-query."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import TypeAlias

from sqlglot import exp

from stream.core.columns import COLUMNS, ColumnType
from stream.core.segments.errors import Refused
from stream.core.segments.source import Source
from stream.core.segments.tree import Column, Condition, Value

#: Both names stand for the one row per customer.
CUSTOMER_TABLES = ("customers", "customer_data")
EVENT_TABLE = "events"

#: The fields of an event that a sub-query may filter by.
EVENT_COLUMNS: Mapping[str, Column] = {
    name: Column(name, "number" if name in ("price", "quantity") else "text", "events")
    for name in (
        "event_type",
        "product_id",
        "category",
        "price",
        "quantity",
        "currency",
        "order_id",
        "cart_id",
        "session_id",
    )
}
EVENT_TIME = Column("event_time", "timestamp", "events")
EVENT_CUSTOMER = Column("customer_id", "text", "events")


def customer_columns(attributes: Mapping[str, ColumnType]) -> dict[str, Column]:
    """Live columns and declared attributes by lower-case name: SQL's names know no case."""
    columns = {name: Column(name, kind, "customers") for name, kind in COLUMNS.items()}
    columns.update((name.lower(), Column(name, kind, "attributes")) for name, kind in attributes.items())
    return columns


ReadCondition: TypeAlias = "Callable[[exp.Expr, Scope], Condition]"
ReadQuery: TypeAlias = "Callable[[exp.Subquery, Scope], Value]"


@dataclass(slots=True)
class Scope:
    """The names that are visible, and the refusals collected so far (shared with the sub-queries' scopes)."""

    source: Source
    columns: Mapping[str, Column]
    tables: tuple[str, ...]
    outer: Scope | None = None
    errors: list[Refused] = field(default_factory=list)
    #: How conditions and sub-queries are read where they stand inside of a value; taken from the outer scope.
    condition: ReadCondition | None = None
    query: ReadQuery | None = None
    #: The conditions of other segments, by name; None for one that is not to be had, for the reason given.
    segments: Mapping[str, Condition | str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.outer is not None:
            self.condition = self.condition or self.outer.condition
            self.query = self.query or self.outer.query

    def column(self, node: exp.Column) -> Column:
        """The column that the node names. Raises ``Refused`` with the nearest name if there is none."""
        name = node.name
        low = name.lower()
        if node.args.get("db") or node.args.get("catalog") or not isinstance(node.this, exp.Identifier):
            self.source.refuse(node, f"{node.sql()} is not a column", "write the column's name alone")
        table = node.table.lower()
        if table and table not in self.tables:
            if self.outer is not None and table in self.outer.tables:
                self._refuse_outer(node)
            self._refuse_table(node, node.table)
        found = self.columns.get(low)
        if found is not None:
            return found
        if self.outer is not None:
            if not table and low in self.outer.columns:
                self._refuse_outer(node)
            self.source.refuse(node, f'events have no column "{name}"', self._nearest(low))
        if low == EVENT_TIME.name or low in EVENT_COLUMNS:
            self.source.refuse(
                node,
                f'"{name}" is a column of events, not of customers',
                f"ask for events in a sub-query: EXISTS (SELECT 1 FROM events WHERE {low} …)",
            )
        quoted = isinstance(node.this, exp.Identifier) and node.this.quoted
        compared = isinstance(node.parent, exp.EQ | exp.NEQ | exp.In) and node is not node.parent.this
        hint = self._nearest(low) or (f"texts stand in single quotes: '{name}'" if quoted or compared else "")
        hint = hint or "declare it under `attributes:` if it is a profile attribute"
        self.source.refuse(node, f'there is no column "{name}"', hint)

    def _nearest(self, name: str) -> str:
        near = get_close_matches(name, self.columns, n=1)
        if near:
            return f"did you mean {self.columns[near[0]].name}?"
        if self.outer is not None:
            return "it has " + ", ".join(sorted(self.columns))
        return ""

    def _refuse_outer(self, node: exp.Column) -> None:
        self.source.refuse(
            node,
            f"comparing events with the customer's {node.name} is not supported yet",
            "compare with a fixed value; an event's filter may name the fields of the event only",
        )

    def _refuse_table(self, node: exp.Column, table: str) -> None:
        self.source.refuse(
            node,
            f'there is no table "{table}" here',
            f"write {node.name} alone, or {self.tables[0]}.{node.name}",
        )
