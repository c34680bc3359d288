"""What delivery says: how each change ended, what is to be sent again, and how each destination stands."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from schemas.changes import Erasure, Instant, SegmentChange


class Receipt(BaseModel):
    """One change is done with at one destination (topic ``deliveries``)."""

    model_config = ConfigDict(frozen=True)

    id: Annotated[str, Field(description="Id of the segment change, or of the erasure.")]
    destination: str
    status: Annotated[
        Literal["delivered", "dead_lettered", "superseded", "erased"],
        Field(
            description="`superseded`: not sent, because something newer of the customer's took its place; "
            "`erased`: the platform was told to forget the customer."
        ),
    ]
    attempts: Annotated[int, Field(ge=0, description="Attempts that it took; 0 where it was not sent.")]
    latency_ms: Annotated[float, Field(description="From the change's record on `segment-changes` to this end.")]
    at: Annotated[Instant, Field(description="When it ended.")]
    customer_id: str
    segment: Annotated[str, Field(description="Empty for an erasure.")]
    sequence: Annotated[int, Field(description="0 for an erasure.")]
    origin: Annotated[
        Literal["live", "replay", "resync"],
        Field(description="Why it was sent: it happened, somebody asked for it again, or all memberships were sent."),
    ] = "live"
    offset: Annotated[
        int | None,
        Field(
            ge=0,
            description="Where a live change's record stands on `segment-changes`, in the partition of this receipt.",
        ),
    ] = None


class Redelivery(BaseModel):
    """A change or an erasure that one destination is to be sent again (topic ``redeliveries``).

    A change goes behind what is live. An erasure goes only where nothing of the customer was sent since: they may have
    come back, and it would delete what they are now.
    """

    model_config = ConfigDict(frozen=True)

    destination: str
    origin: Literal["replay", "resync"]
    change: SegmentChange | Erasure
    fact: Annotated[
        Literal["erasure"] | None,
        Field(description="`erasure` where `change` is one; always with the origin `replay`."),
    ] = None
    even_if_returned: Annotated[
        bool, Field(description="Of an erasure: also where something newer of the customer was sent since.")
    ] = False


class DestinationState(BaseModel):
    """How a destination stands (topic ``destination-states``).

    Under the key ``<destination>`` stands what is in force for all replicas until somebody says otherwise: an
    operator's ``active`` or ``paused``, or ``disabled`` once the receiver said that it is gone for good. Under
    ``<destination>/<replica>`` stands what one replica sees, written when it changes and about once a minute; null
    when that replica has stopped.
    """

    model_config = ConfigDict(frozen=True)

    destination: str
    state: Annotated[
        Literal["active", "broken", "paused", "disabled", "waiting"],
        Field(
            description="`broken`: too many attempts failed; `paused`: the platform says that the destination is "
            "wrong, or an operator paused it; `disabled`: gone for good; `waiting`: for something of ours."
        ),
    ]
    reason: Annotated[
        str,
        Field(description="`http_401`, `breaker_open`, `ledger_unavailable`, `restarting`, …; an operator's words."),
    ] = ""
    since: Instant
    by: Annotated[Literal["deliverer", "operator"], Field(description="Who says so.")]
    replica: Annotated[str, Field(description="The process that says so; for an operator, their name.")]
    at: Annotated[Instant, Field(description="When it was said.")]
