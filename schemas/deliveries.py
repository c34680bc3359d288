"""The topic ``deliveries``: how each segment change ended at each destination."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from schemas.changes import Instant


class Receipt(BaseModel):
    """One change is done with at one destination."""

    model_config = ConfigDict(frozen=True)

    id: Annotated[str, Field(description="Id of the segment change.")]
    destination: str
    status: Literal["delivered", "dead_lettered"]
    attempts: Annotated[int, Field(ge=0)]
    latency_ms: Annotated[float, Field(description="From the change's record on `segment-changes` to this end.")]
    at: Annotated[Instant, Field(description="When it ended.")]
    customer_id: str
    segment: str
    sequence: int
