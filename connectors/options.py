"""What every destination may say in `destinations.yaml`, whatever its platform."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from connectors.retry import RetryPolicy
from connectors.urls import check_base_url

SegmentName = Annotated[str, Field(min_length=1, max_length=200)]
ProfileField = Annotated[str, Field(min_length=1, max_length=200)]
"""`customer_id`, or a field of a change's `profile`: a live column or a declared attribute."""


class Strict(BaseModel):
    """How every part of `destinations.yaml` is validated: frozen, closed, and its values never quoted."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, strict=False)


class Options(Strict):
    """Common options; a platform's own options extend them. All times are seconds."""

    platform: str = Field(description="The platform: the name of a module of `connectors.platforms`.")
    segments: Literal["all"] | Annotated[list[SegmentName], Field(min_length=1)] | Mapping[SegmentName, Any] = Field(
        "all",
        description="The segments whose changes are sent: `all`, a list of names, or what each is at the platform.",
    )
    start: Literal["earliest", "latest"] = Field(
        "earliest",
        description="Where a new destination begins: with the oldest change on the topic, or with the next.",
    )
    batch_size: int = Field(1, ge=1, le=1000, description="Changes per request, at most (of different customers).")
    batch_bytes: int = Field(1_000_000, ge=1_000, le=10_000_000, description="Bytes of changes per request, at most.")
    batch_wait: float = Field(0.25, ge=0, le=60, description="How long a change waits for a batch to fill.")
    coalesce: bool = Field(
        True,
        description="Of a customer's waiting changes of one segment send only the newest: the state, not its history.",
    )
    requests_per_second: float | None = Field(
        None, gt=0, le=100_000, description="Requests per second at most, where the account has less than its platform."
    )
    concurrency: int = Field(32, ge=1, le=1000, description="Requests in flight at once.")
    connect_timeout: float = Field(5.0, gt=0, le=60, description="Limit for a connection, TLS included.")
    timeout: float = Field(15.0, gt=0, le=300, description="Limit for a whole request.")
    retry_base: float = Field(1.0, gt=0, le=60, description="First backoff; doubled by each failed attempt.")
    retry_cap: float = Field(300.0, gt=0, le=3600, description="Longest backoff.")
    retry_horizon: float = Field(
        86_400.0, ge=0, le=2_592_000, description="Retries go on this long, then a change is dead-lettered."
    )
    allow_http: bool = Field(False, description="Permit plain HTTP.")
    allow_private_addresses: bool = Field(
        False, description="Permit loopback, private, link-local and other addresses that are not public."
    )

    def wants(self, segment: str) -> bool:
        return self.segments == "all" or segment in self.segments

    def retry_policy(self) -> RetryPolicy:
        return RetryPolicy(base=self.retry_base, cap=self.retry_cap, horizon=self.retry_horizon)


class Hosted(Options):
    """Options of a platform that has a host of its own, unless another one is given: a gateway, a test."""

    base_url: str | None = Field(None, repr=False, description="Another host for all requests: a private gateway.")

    @model_validator(mode="after")
    def _base_url_is_usable(self) -> Self:
        if self.base_url is not None:
            check_base_url(self.base_url, allow_http=self.allow_http)
        return self

    def base(self, own: str) -> str:
        """Where requests go, ready for a path to be appended: `base_url`, else the platform's `own` host."""
        return check_base_url(self.base_url or own, allow_http=self.allow_http)
