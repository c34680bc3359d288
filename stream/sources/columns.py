"""Rows of tables as events: which column is which field of an event."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from schemas.events import Event
from schemas.vocabulary import FIELD_ALIASES
from stream.sources.records import Line, SourceError, line_of, packed

#: Names that an event has at its top level, ours and those that the stream understands for them.
_FIELDS = frozenset({*Event.model_fields, *(name for names in FIELD_ALIASES.values() for name in names), "received_at"})
_SPELLINGS = {name.lower(): name for name in _FIELDS}
_PROPERTY = "properties."
_CUSTOMERS = ("customer_id", *FIELD_ALIASES["customer_id"])
_TYPES = ("event_type", *FIELD_ALIASES["event_type"])


@dataclass(frozen=True, slots=True)
class Columns:
    """How a table names things.

    A column is the field of an event that has its name, in whatever case; ``named`` maps fields to columns of other
    names. What is no field is a property, for a ``profile_update`` an attribute; ``properties.size`` is the property
    ``size``. ``event_type`` is the type of rows that state none. Empty cells and NULL say nothing: they unset nothing.
    """

    named: Mapping[str, str] = field(default_factory=dict)
    event_type: str | None = None

    def places(self, path: object, header: Iterable[str]) -> list[tuple[str, bool]]:
        """For each column the name under which its value goes on, and whether among the properties.

        Raises ``SourceError`` where a column that is named is not there, or no column says whose an event is.
        """
        header = [name.strip() for name in header]
        for ours, theirs in self.named.items():
            if theirs not in header:
                raise SourceError(f"{path}: there is no column {theirs!r} for {ours}; the columns are {_list(header)}")
        renamed = {theirs: ours for ours, theirs in self.named.items()}
        found = [_place(renamed.get(name, name), name in renamed) for name in header]
        fields = {name for name, is_property in found if not is_property}
        if fields.isdisjoint(_CUSTOMERS):
            raise SourceError(
                f"{path}: no column says whose event it is; the columns are {_list(header)}. "
                "Name the one that does: --column customer_id=…"
            )
        if self.event_type is None and fields.isdisjoint(_TYPES):
            raise SourceError(
                f"{path}: no column says what happened; the columns are {_list(header)}. "
                "Name the one that does, --column event_type=…, or say what all rows are: --event-type purchase"
            )
        return found

    def line(self, places: list[tuple[str, bool]], cells: Iterable[Any]) -> Line:
        """The event in a row of cells; None and "" are cells that say nothing."""
        event: dict[str, Any] = {}
        properties: dict[str, Any] = {}
        for (name, is_property), cell in zip(places, cells, strict=False):
            if cell is None or cell == "":
                continue
            if is_property:
                properties[name] = cell
            else:
                event[name] = cell
        if self.event_type is not None and not any(name in event for name in _TYPES):
            event["event_type"] = self.event_type
        if properties:
            stated = _object(event.get("properties"))
            event["properties"] = properties if stated is None else {**stated, **properties}
        elif "properties" in event:
            event["properties"] = _object(event["properties"]) or event["properties"]
        return line_of(event, packed(event))


def _place(name: str, is_renamed: bool) -> tuple[str, bool]:
    if name.lower().startswith(_PROPERTY):
        return name[len(_PROPERTY) :], True
    spelling = _SPELLINGS.get(name.lower())
    if spelling is not None:
        return spelling, False
    return name, True


def _object(value: Any) -> dict[str, Any] | None:
    """The properties in a cell: an object, or one written as JSON."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            return None
    return value if isinstance(value, dict) else None


def _list(names: Iterable[str]) -> str:
    return ", ".join(names) or "none"
