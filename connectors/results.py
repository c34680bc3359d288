"""What became of a change, sorted by what the deliverer does next, and how HTTP says it."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from connectors.exchange import Request


class Outcome(StrEnum):
    DELIVERED = "delivered"
    RETRY = "retry"
    """May heal by itself: sent again later, with the same id and body."""
    REFUSED = "refused"
    """The platform will never take this change: it is dead-lettered."""
    SPLIT = "split"
    """The request was refused as a whole and one of its changes may be why: its halves are sent apart."""
    PAUSE = "pause"
    """The destination itself is wrong (key, address, permission): only probes are sent, nothing is lost."""
    RENEW = "renew"
    """The access token is no longer taken: sent again at once, after `Connector.prepare` got another."""
    DISABLE = "disable"
    """The receiver says that it is gone for good (410): nothing is sent until somebody enables it again."""


@dataclass(frozen=True, slots=True)
class Result:
    outcome: Outcome
    reason: str = ""
    """`http_<status>`, or a word of `connectors.sender.REASONS`."""
    status: int | None = None
    after: float | None = None
    """Seconds that the platform asks us to wait (`Retry-After`)."""
    excerpt: str = ""
    """The beginning of the response. May quote what we sent: redacted before it is written anywhere."""
    request: Request | None = field(default=None, repr=False, compare=False)
    """What was sent, for the dead letter; written without its headers, and redacted."""
    throttled: bool = False
    """A RETRY that says "too fast", whatever its status: the rate goes down. A 429 says so by itself."""

    @classmethod
    def refused(cls, reason: str) -> Result:
        return cls(Outcome.REFUSED, reason)


DELIVERED = Result(Outcome.DELIVERED)

RETRYABLE = frozenset({408, 425, 429})
"""And every 5xx."""

DESTINATION_WRONG = frozenset({401, 402, 403, 404, 405, 407, 421, 426, 451})
"""Statuses that speak of the endpoint or the account, not of the change. And every 3xx: redirects are not
followed.
"""


GONE = 410


def outcome_of(status: int, items: int = 1) -> Outcome:
    """What the status of a request with `items` changes calls for, where a platform has no own rule."""
    if 200 <= status < 300:
        return Outcome.DELIVERED
    if status >= 500 or status in RETRYABLE:
        return Outcome.RETRY
    if status == GONE:
        return Outcome.DISABLE
    if status in DESTINATION_WRONG or 300 <= status < 400:
        return Outcome.PAUSE
    return Outcome.REFUSED if items == 1 else Outcome.SPLIT
