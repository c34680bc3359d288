"""What becomes of a parcel's changes once an attempt has ended: delivered, given up, or sent again."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from connectors.accounts import Accounts
from connectors.changes import Change
from connectors.lanes import Lanes, Parcel
from connectors.ledger import Ledger
from connectors.results import Outcome, Result
from connectors.retry import RetryPolicy

WRONG = frozenset({Outcome.PAUSE, Outcome.DISABLE})
"""The destination is wrong, not the change."""


@dataclass(frozen=True)
class Endings:
    """`finished` is called when a change has ended and is accounted for; `buried` when one was given up, whose
    customer waits until the dead letter is written: else a crash could lose it behind something newer.
    """

    accounts: Accounts
    ledger: Ledger
    retry: RetryPolicy
    finished: Callable[[Change, bool], None]
    buried: Callable[[Change], None]

    def settle(self, lanes: Lanes, parcel: Parcel, results: Sequence[Result], now: float) -> None:
        """`now` is of the event loop's clock."""
        again: list[Change] = []
        renewed: list[Change] = []
        split: list[Change] = []
        longest: Result | None = None
        at = time.time()
        for change, result in zip(parcel.changes, results, strict=True):
            match result.outcome:
                case Outcome.DELIVERED:
                    self.ledger.mark(change, partial(self._delivered, change, parcel.attempts, at))
                case Outcome.REFUSED:
                    self.accounts.metrics.delivery(self.accounts.destination, "refused")
                    self._give_up(change, "refused", result, parcel.attempts)
                case Outcome.RETRY if self._is_exhausted(parcel, now):
                    self._give_up(change, "retries_exhausted", result, parcel.attempts)
                case Outcome.SPLIT:
                    split.append(change)
                case Outcome.RENEW:
                    renewed.append(change)
                case Outcome.RETRY | Outcome.PAUSE | Outcome.DISABLE:
                    again.append(change)
                    if longest is None or (result.after or 0.0) > (longest.after or 0.0):
                        longest = result
        if split:
            lanes.split(parcel, tuple(split), now)
        if renewed:
            self._send_at_once(lanes, parcel, tuple(renewed), now)
        if longest is not None:
            self._send_again(lanes, parcel, tuple(again), longest, now)

    def _delivered(self, change: Change, attempts: int, at: float) -> None:
        self.accounts.delivered(change, attempts, at)
        self.finished(change, True)

    def _give_up(self, change: Change, reason: str, result: Result, attempts: int) -> None:
        self.accounts.gave_up(change, reason, result, attempts)
        self.buried(change)

    def _is_exhausted(self, parcel: Parcel, now: float) -> bool:
        return parcel.first_failed is not None and self.retry.exhausted(parcel.first_failed, now)

    def _send_at_once(self, lanes: Lanes, parcel: Parcel, changes: tuple[Change, ...], now: float) -> None:
        """With the next token."""
        part = parcel.part(changes)
        part.renewed = True
        self.accounts.metrics.delivery(self.accounts.destination, "retried", len(changes))
        lanes.park(part, now)

    def _send_again(
        self, lanes: Lanes, parcel: Parcel, changes: tuple[Change, ...], result: Result, now: float
    ) -> None:
        part = parcel.part(changes)
        if result.outcome in WRONG:
            part.first_failed = None  # while the destination is wrong, no change comes nearer to its horizon
        elif part.first_failed is None:
            part.first_failed = now
        self.accounts.metrics.delivery(self.accounts.destination, "retried", len(changes))
        delay = self.retry.delay(part.attempts, result.after, random.random())
        lanes.park(part, now + delay, firm=result.after is not None)
