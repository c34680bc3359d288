"""A destination's accounts: every change that was read ends delivered, dead-lettered or skipped."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from connectors.changes import Change
from connectors.metrics import DeliveryMetrics
from connectors.outbox import Outbox
from connectors.records import Source, dead_letter, receipt
from connectors.results import Result
from connectors.secrets import redact


@dataclass(frozen=True)
class Accounts:
    destination: str
    changes_topic: str
    deliveries_topic: str
    dead_letters_topic: str
    hidden: Sequence[str]
    """Strings that are redacted from everything that is written."""
    outbox: Outbox
    metrics: DeliveryMetrics

    def delivered(self, change: Change, attempts: int) -> None:
        now = time.time()
        self.metrics.delivery(self.destination, "delivered")
        self.metrics.end_to_end(self.destination, max(0.0, now - change.logged_at))
        self._receipt(change, "delivered", attempts, now)

    def gave_up(self, change: Change, reason: str, result: Result, attempts: int) -> None:
        """The change goes to the dead letters, with what the platform answered."""
        now = time.time()
        source = Source(self.changes_topic, change.partition, change.offset)
        self._bury(source, change.customer_id.encode(), change.raw, reason, result, attempts, now)
        self._receipt(change, "dead_lettered", attempts, now)

    def unreadable(self, source: Source, key: bytes, value: bytes | None, error: str) -> None:
        """A record that is no change: nothing can be sent, and it has no id that a receipt could name."""
        result = Result.refused(error)
        self._bury(source, key, value, "unreadable_change", result, 0, time.time())

    def skipped(self, count: int) -> None:
        """Changes that this destination does not want, or that ended before a restart."""
        if count:
            self.metrics.delivery(self.destination, "skipped", count)

    def _receipt(self, change: Change, status: str, attempts: int, now: float) -> None:
        value = receipt(
            change,
            destination=self.destination,
            status=status,
            attempts=attempts,
            latency_ms=max(0.0, now - change.logged_at) * 1000,
            now=now,
        )
        self.outbox.add(self.deliveries_topic, change.partition, change.customer_id.encode(), value)

    def _bury(
        self,
        source: Source,
        key: bytes,
        value: bytes | None,
        reason: str,
        result: Result,
        attempts: int,
        now: float,
    ) -> None:
        self.metrics.delivery(self.destination, "dead_lettered")
        letter = dead_letter(
            value,
            source=source,
            destination=self.destination,
            reason=reason,
            detail=redact(result.reason, self.hidden),
            status=result.status,
            response=redact(result.excerpt, self.hidden),
            attempts=attempts,
            now=now,
        )
        self.outbox.add(self.dead_letters_topic, source.partition, key, letter)
