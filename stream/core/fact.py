"""What decoding gives: a fact, or the reason why there is none; and the limits that it depends on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import msgspec


@dataclass(frozen=True, slots=True)
class Limits:
    """What a single event may be, besides what ``Event`` says."""

    #: Bytes of the record's value, at most.
    max_bytes: int = 256 * 1024
    #: µs that an event may claim to happen after its log time.
    future_us: int = 300_000_000


class Unusable(Exception):
    """A record that is not applied. ``ending`` says where it goes, ``reason`` is counted."""

    ending: ClassVar[str]

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


class Rejected(Unusable):
    """An event that can be read and is refused: topic ``events-rejected``."""

    ending = "rejected"


class Undecodable(Unusable):
    """Bytes that are no event at all: topic ``dead-letters``."""

    ending = "dead_lettered"


# gc=False is safe: JSON values have no reference cycles, so none can go through a fact.
class Fact(msgspec.Struct, gc=False):
    """One event as the core works with it. ``time`` in µs since the epoch, UTC."""

    event_id: str | None
    customer_id: str
    event_type: str
    time: int
    #: Whether the event said when it happened; else ``time`` is the log time.
    stamped: bool
    product_id: str | None = None
    category: str | None = None
    price: float | None = None
    quantity: float | None = None
    currency: str | None = None
    order_id: str | None = None
    cart_id: str | None = None
    session_id: str | None = None
    user_agent: str | None = None
    ip: str | None = None
    properties: dict[str, Any] | None = None
