"""The public contract of the topic ``events``: what a customer did, or what became known about one.

Producers should send what the JSON Schema says. What is understood beyond it: ``schemas.vocabulary`` (other
names), ``schemas.scalars`` (other forms). Names that nobody knows are ignored; of a name that comes twice
the last one counts.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, model_validator
from pydantic_core import PydanticCustomError

from schemas.instants import format_iso, from_datetime
from schemas.reading import in_our_words
from schemas.scalars import (
    EARLIEST,
    MAX_DEPTH,
    MAX_EVENT_TYPE,
    MAX_NUMBER,
    MAX_TEXT,
    MAX_USER_AGENT,
    finite,
    instant,
    not_too_deep,
    number,
    text,
    whole_text,
)
from schemas.vocabulary import ALIASES, CANONICAL, EventType, canonical_type

__all__ = [
    "ALIASES",
    "CANONICAL",
    "EARLIEST",
    "MAX_DEPTH",
    "MAX_EVENT_TYPE",
    "MAX_NUMBER",
    "MAX_TEXT",
    "MAX_USER_AGENT",
    "Event",
    "EventType",
    "canonical_type",
]


def _customer_id(value: Any) -> str:
    kept = text(value)
    if kept is None:
        raise PydanticCustomError("missing_customer_id", "missing or blank")
    return kept


def _event_type(value: Any) -> str:
    kept = text(value, MAX_EVENT_TYPE)
    if kept is None:
        raise PydanticCustomError("missing_event_type", "missing or blank")
    return canonical_type(kept)


def _user_agent(value: Any) -> str | None:
    kept = whole_text(value)
    return kept and kept[:MAX_USER_AGENT]


_iso = PlainSerializer(lambda at: None if at is None else format_iso(from_datetime(at)), return_type=str | None)

Text = Annotated[Annotated[str, Field(max_length=MAX_TEXT)] | None, BeforeValidator(text)]
Number = Annotated[Annotated[float, Field(ge=-MAX_NUMBER, le=MAX_NUMBER)] | None, BeforeValidator(number)]


class Event(BaseModel):
    """One fact about one customer. Key the record by ``customer_id``."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    event_id: Annotated[
        Text, Field(description="Unique per event; a repetition within a day is a duplicate. Send one.")
    ] = None
    customer_id: Annotated[str, BeforeValidator(_customer_id), Field(min_length=1, max_length=MAX_TEXT)] = Field(
        description="Whose fact it is. Trimmed."
    )
    event_type: Annotated[str, BeforeValidator(_event_type), Field(min_length=1, max_length=MAX_EVENT_TYPE)] = Field(
        description="One of "
        + ", ".join(EventType)
        + "; any other name is a custom type. Segment's and GA4's names are understood.",
        examples=["product_view"],
    )
    timestamp: Annotated[
        datetime | None,
        BeforeValidator(instant),
        _iso,
        Field(
            description="When it happened: ISO 8601 (UTC if it names no offset), or epoch seconds or "
            "milliseconds. Missing: when it arrived."
        ),
    ] = None
    product_id: Text = None
    category: Text = None
    price: Annotated[
        Number, Field(description='Per piece. Below zero is legal; text such as "12.50" is understood.')
    ] = None
    quantity: Annotated[Number, Field(description="Pieces; missing counts as 1. Below zero is legal: a return.")] = None
    currency: Text = None
    order_id: Text = None
    cart_id: Text = None
    session_id: Text = None
    user_agent: Annotated[
        str | None,
        BeforeValidator(_user_agent),
        Field(description=f"The first {MAX_USER_AGENT} characters are kept and judged."),
    ] = None
    ip: Text = None
    properties: Annotated[
        dict[str, Any] | None,
        BeforeValidator(finite),
        Field(description="Anything else. Of a profile_update: the attributes, null unsets one."),
    ] = None

    @model_validator(mode="before")
    @classmethod
    def _in_our_words(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        not_too_deep(data)
        return in_our_words(data)
