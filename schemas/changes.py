"""The public contract of the topic ``segment-changes``: a customer entered or left a segment, or is to be forgotten."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, JsonValue, PlainSerializer

from schemas.facts import FACT_HEADER
from schemas.instants import format_iso, from_datetime, parse_instant, to_datetime


def _read(value: Any) -> datetime:
    if isinstance(value, datetime):
        return to_datetime(from_datetime(value))
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError("not an instant")
    return to_datetime(parse_instant(value))


def _write(at: datetime) -> str:
    return format_iso(from_datetime(at))


#: An aware datetime in UTC; on the wire ``2026-01-02T03:04:05Z``, with six digits of any fraction.
Instant = Annotated[datetime, BeforeValidator(_read), PlainSerializer(_write, return_type=str)]


class EventCause(BaseModel):
    """An event of the customer's decided."""

    model_config = ConfigDict(frozen=True)

    kind: Literal["event"]
    event_id: str | None
    event_type: str
    event_time: Instant


class TimeCause(BaseModel):
    """Nothing happened; time passed."""

    model_config = ConfigDict(frozen=True)

    kind: Literal["time"]


class DefinitionCause(BaseModel):
    """The segments were defined anew."""

    model_config = ConfigDict(frozen=True)

    kind: Literal["definition"]
    definition_version: Annotated[str, Field(pattern="^[0-9a-f]{16}$")]


class ResyncCause(BaseModel):
    """Nothing changed: a destination is told the present membership anew. Never on ``segment-changes``."""

    model_config = ConfigDict(frozen=True)

    kind: Literal["resync"]


class SegmentChange(BaseModel):
    """One change of one customer's membership. A change that is sent twice is byte-identical."""

    model_config = ConfigDict(frozen=True)

    id: Annotated[str, Field(pattern="^[0-9a-f]{32}$", description="Hash of what determines the change.")]
    customer_id: str
    segment: str
    action: Literal["entered", "exited"]
    at: Annotated[Instant, Field(description="The exact instant at which it became true.")]
    sequence: Annotated[
        int,
        Field(
            ge=1,
            description="Number among all changes of the customer, without gaps: the higher is the newer.",
        ),
    ]
    definition_version: Annotated[
        str, Field(pattern="^[0-9a-f]{16}$", description="Content hash of the book of segments that decided.")
    ]
    cause: Annotated[EventCause | TimeCause | DefinitionCause | ResyncCause, Field(discriminator="kind")]
    evidence: Annotated[
        dict[str, JsonValue],
        Field(description="What the segment's SQL reads, and its values at that instant."),
    ]
    profile: Annotated[
        dict[str, JsonValue],
        Field(
            description="For templates: last_viewed_product, recent_view_category, cart_value, cart_items, "
            "last_order_at, order_count, total_spent, and every attribute that the customer has."
        ),
    ]
    code: Annotated[str, Field(description="Version of the code, and of its settings, that decided.")]
    complete_since: Annotated[
        Instant | None,
        Field(
            description="Only where the segment counts events and its window reaches further back than its memory: "
            "events that arrived before this instant are not counted."
        ),
    ] = None


#: Value of the header ``fact`` of an erasure's record.
ERASURE = "erasure"


def is_change(headers: Iterable[tuple[str, bytes]]) -> bool:
    """Whether a record of ``segment-changes`` with these headers is a segment change: all others have ``fact``."""
    return not any(name == FACT_HEADER for name, _ in headers)


class Erasure(BaseModel):
    """A customer is to be forgotten everywhere: a record of ``segment-changes`` with the header ``fact: erasure``.

    Comes after all of the customer's earlier changes.
    """

    model_config = ConfigDict(frozen=True)

    id: Annotated[str, Field(pattern="^[0-9a-f]{32}$", description="Hash of what determines the erasure.")]
    customer_id: str
    at: Annotated[Instant, Field(description="When it was asked for.")]
    profile: Annotated[
        dict[str, JsonValue],
        Field(description="The customer's identifiers as they were: by what platforms know whom to delete."),
    ]
