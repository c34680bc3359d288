"""What the deliverer tells about itself. Whoever runs it implements this with a metrics library."""

from __future__ import annotations

from typing import Protocol


class DeliveryMetrics(Protocol):
    """Called from the event loop only; an implementation must not block. `destination` is a declared name,
    so there are few.
    """

    def delivery(self, destination: str, outcome: str, count: int = 1) -> None:
        """Count changes by outcome.

        Endings, one per change that was read: `delivered`, `erased` (the platform was told to forget the
        customer), `dead_lettered`, `superseded` (a newer change took its place), `skipped` (a segment the
        destination does not want, or one that is finished already). Events on the way: `retried` (an attempt
        failed and will be repeated), `refused` (the platform will never take it).
        """

    def attempt(self, destination: str, seconds: float) -> None:
        """Observe the duration of one attempt, whatever its result."""

    def end_to_end(self, destination: str, seconds: float) -> None:
        """Observe, for a delivered change, the time since its record was written to `segment-changes`."""

    def pending(self, destination: str, count: int) -> None:
        """Set the number of changes that were read and are not finished."""

    def state(self, destination: str, active: bool, reason: str) -> None:
        """Set whether the destination is sent to; if not, why: `http_401`, `breaker_open`, `operator`,
        `ledger_unavailable`, `restarting`, …
        """

    def lag(self, destination: str, count: int) -> None:
        """Set the number of changes on this process's partitions that are not finished."""

    def redeliveries(self, destination: str, count: int) -> None:
        """Set the number of redeliveries, for whatever destination, on this process's partitions that are not
        finished.
        """

    def throttled(self, destination: str, limit: str) -> None:
        """Count an answer that says "too fast"; `limit` is one of the connector's, so there are few."""

    def rate(self, destination: str, limit: str, share: float) -> None:
        """Set which share of the published rate is in use, in (0, 1]: less after a throttling."""

    def rate_wait(self, destination: str, limit: str, seconds: float) -> None:
        """Count the time in which changes were ready to leave and `limit` did not permit a request."""


class NoMetrics:
    """Metrics for a process that shows none."""

    def delivery(self, destination: str, outcome: str, count: int = 1) -> None: ...
    def attempt(self, destination: str, seconds: float) -> None: ...
    def end_to_end(self, destination: str, seconds: float) -> None: ...
    def pending(self, destination: str, count: int) -> None: ...
    def state(self, destination: str, active: bool, reason: str) -> None: ...
    def lag(self, destination: str, count: int) -> None: ...
    def redeliveries(self, destination: str, count: int) -> None: ...
    def throttled(self, destination: str, limit: str) -> None: ...
    def rate(self, destination: str, limit: str, share: float) -> None: ...
    def rate_wait(self, destination: str, limit: str, seconds: float) -> None: ...
