"""The contract of the topic ``definitions``: every version of the book that was ever put in force."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from schemas.changes import Instant
from schemas.facts import Book

VersionHash = Annotated[str, Field(pattern="^[0-9a-f]{16}$")]


class AppliedBook(BaseModel):
    """A version of the book as ``segments apply`` put it in force.

    Written before the facts that bring it into the partitions of the log; each partition has it from the place of its
    fact on. Of two in a row with the same version the second says nothing.
    """

    model_config = ConfigDict(frozen=True)

    version: Annotated[VersionHash, Field(description="Content hash of the book; changes name it.")]
    applied_at: Annotated[Instant, Field(description="When, by the clock of who applied it.")]
    author: Annotated[str, Field(description="Who; empty where nobody said.")] = ""
    comment: Annotated[str, Field(description="Why; empty where nobody said.")] = ""
    replaces: Annotated[VersionHash | None, Field(description="The version before; absent for the first.")] = None
    book: Book
    text: Annotated[str, Field(description="The file as it was applied, its comments included.")]
