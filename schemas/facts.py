"""The facts of the customer log that are no events, and the record headers that tell facts apart.

A record without the header ``fact`` is an event. Producers send events only.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

#: Header: which kind of fact the value is; absent on events.
FACT_HEADER = "fact"
#: Header: ``topic/partition/offset`` that a moved record first had.
ORIGIN_HEADER = "origin"
#: Header: ``1`` on a record that was sent again to the partition of its customer.
MOVED_HEADER = "moved"


class FactKind(StrEnum):
    """Values of the header ``fact``."""

    TICK = "tick"
    DEFINITIONS = "definitions"
    FILLED = "filled"


class Tick(BaseModel):
    """Time passed: its log time is all it says. From the partition's worker, about once a second."""

    model_config = ConfigDict(frozen=True)


class Filled(BaseModel):
    """Windows of the book ``version`` were read from the log, from offset ``first`` on. From the partition's worker.

    From here on the memories ``keys`` miss nothing since log time ``since`` (µs; 0 if nothing at all).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: Annotated[str, Field(pattern="^[0-9a-f]{16}$")]
    keys: list[str]
    first: Annotated[int, Field(ge=0)]
    since: Annotated[int, Field(ge=0)]


#: A length of time in words: ``10 minutes``, ``1 day 6 hours``.
_Length = Annotated[str, Field(pattern=r"^\d+ [a-z]+( \d+ [a-z]+)*$")]


class SegmentDefinition(BaseModel):
    """One segment: the customers for whom ``sql`` is true."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    sql: Annotated[str, Field(min_length=1)]
    description: str = ""
    enter_after: Annotated[_Length | None, Field(description="Enter once the SQL has been true for so long.")] = None
    min_stay: Annotated[_Length | None, Field(description="Stay at least so long.")] = None
    cooldown: Annotated[
        _Length | None, Field(description="After an exit, enter again so much later at the earliest.")
    ] = None


class Book(BaseModel):
    """All segments, and the profile attributes that they may read."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    attributes: dict[str, Literal["integer", "number", "text", "boolean", "timestamp"]] = {}
    segments: dict[str, SegmentDefinition]


class Definitions(BaseModel):
    """A new version of the whole book, sent to every partition."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    book: Book
    author: str | None = None
    comment: str | None = None
