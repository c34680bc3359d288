"""A destination's accounts: every change that was read has one ending, and a receipt that says which."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from connectors.changes import ERASED, Change
from connectors.metrics import DeliveryMetrics
from connectors.outbox import Outbox
from connectors.platforms import Connector
from connectors.records import Source, dead_letter, receipt, sent
from connectors.results import Result
from connectors.secrets import redact


@dataclass(frozen=True)
class Accounts:
    destination: str
    deliveries_topic: str
    dead_letters_topic: str
    connector: Connector
    """Knows what is redacted from everything that is written."""
    outbox: Outbox
    metrics: DeliveryMetrics

    def delivered(self, change: Change, attempts: int, at: float) -> None:
        """The platform took it, at `at` (Unix seconds)."""
        status = "erased" if change.action == ERASED else "delivered"
        self.metrics.delivery(self.destination, status)
        self.metrics.end_to_end(self.destination, max(0.0, at - change.logged_at))
        self._receipt(change, status, attempts, at)

    def delivered_before(self, change: Change) -> None:
        """The ledger knows that it was; whether its receipt was written, nobody does."""
        self.skipped(1)
        self._receipt(change, "erased" if change.action == ERASED else "delivered", 0, time.time())

    def superseded(self, change: Change) -> None:
        """A newer one took its place."""
        self.metrics.delivery(self.destination, "superseded")
        self._receipt(change, "superseded", 0, time.time())

    def gave_up(self, change: Change, reason: str, result: Result, attempts: int) -> None:
        """The change goes to the dead letters, with what was sent and what the platform answered."""
        now = time.time()
        source = Source(change.topic, change.partition, change.offset)
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
        hidden: Sequence[str] = self.connector.hidden
        letter = dead_letter(
            value,
            source=source,
            destination=self.destination,
            reason=reason,
            detail=redact(result.reason, hidden),
            status=result.status,
            response=redact(result.excerpt, hidden),
            attempts=attempts,
            now=now,
            request=None if result.request is None else sent(result.request, hidden),
        )
        self.outbox.add(self.dead_letters_topic, source.partition, key, letter)
