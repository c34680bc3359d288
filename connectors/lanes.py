"""Which changes may leave next: one lane per customer, one change of a customer on its way at a time. Pure.

A lane's first change waits to be packed into a parcel, is on its way, or waits in a parcel to be sent
again; the others stand behind it. So a customer in retry holds up nobody else, and no later change of
theirs overtakes.
"""

from __future__ import annotations

import heapq
from collections import Counter, deque
from itertools import count

from connectors.changes import Change

NEVER = float("inf")


class Parcel:
    """Changes of different customers that leave together. A retry has the same id and the same bytes."""

    __slots__ = ("attempts", "changes", "firm", "first_failed")

    def __init__(self, changes: tuple[Change, ...], attempts: int = 0, first_failed: float | None = None) -> None:
        self.changes = changes
        self.attempts = attempts
        self.first_failed = first_failed
        self.firm = False
        """Its time was set by the platform: not brought forward when the destination recovers."""


class Lanes:
    """Times are seconds of a monotonic clock."""

    def __init__(self, *, batch_size: int = 1, batch_bytes: int = 1_000_000, batch_wait: float = 0.0) -> None:
        self._batch_size = batch_size
        self._batch_bytes = batch_bytes
        self._batch_wait = batch_wait if batch_size > 1 else 0.0
        self._behind: dict[str, deque[tuple[float, Change]] | None] = {}  # every customer with a lane
        self._heads: deque[Change] = deque()
        self._leave_at = NEVER  # when the heads leave even if they fill no parcel
        self._again: list[tuple[float, int, Parcel]] = []
        self._tickets = count()
        self.pending: Counter[int] = Counter()
        """Unfinished changes by partition."""
        self.total = 0
        """Unfinished changes."""

    def add(self, change: Change, now: float) -> None:
        """Take in a change; it stands behind its customer's earlier ones."""
        self.pending[change.partition] += 1
        self.total += 1
        customer = change.customer_id
        if customer not in self._behind:
            self._behind[customer] = None
            self._head(change, now)
            return
        behind = self._behind[customer]
        if behind is None:
            behind = self._behind[customer] = deque()
        behind.append((now, change))

    def take(self, now: float, *, fresh_first: bool = False) -> Parcel | None:
        """The parcel that leaves now: one that is due again, else one packed from the lanes' first changes.

        `fresh_first` turns this round, for probes: what failed before may be what is wrong.
        """
        fresh = bool(self._heads) and (len(self._heads) >= self._batch_size or now >= self._leave_at)
        if self._again and self._again[0][0] <= now and not (fresh and fresh_first):
            return heapq.heappop(self._again)[2]
        return self._pack(now) if fresh else None

    def _pack(self, now: float) -> Parcel:
        changes = [self._heads.popleft()]
        size = len(changes[0].raw)
        while self._heads and len(changes) < self._batch_size:
            size += len(self._heads[0].raw)
            if size > self._batch_bytes:
                break
            changes.append(self._heads.popleft())
        self._leave_at = now + self._batch_wait if self._heads else NEVER
        return Parcel(tuple(changes))

    def next_due(self) -> float:
        """When `take` gives a parcel by time alone; NEVER if it does not."""
        if len(self._heads) >= self._batch_size:
            return float("-inf")
        again = self._again[0][0] if self._again else NEVER
        return min(again, self._leave_at if self._heads else NEVER)

    def finish(self, change: Change) -> None:
        """A change has ended, one way or the other: the next of its customer steps forward."""
        self.pending[change.partition] -= 1
        self.total -= 1
        behind = self._behind[change.customer_id]
        if behind:
            since, following = behind.popleft()
            self._head(following, since)
        else:
            del self._behind[change.customer_id]

    def park(self, parcel: Parcel, due: float, *, firm: bool = False) -> None:
        """Keep a parcel to be sent again at `due`; its customers wait."""
        parcel.firm = firm
        heapq.heappush(self._again, (due, next(self._tickets), parcel))

    def split(self, parcel: Parcel, changes: tuple[Change, ...], now: float) -> None:
        """Send apart the halves of what was refused as a whole: one bad of n costs 2·log2(n) requests."""
        middle = len(changes) // 2
        for half in (changes[:middle], changes[middle:]):
            self.park(Parcel(half, parcel.attempts, parcel.first_failed), now)

    def release(self, now: float) -> None:
        """The destination recovered: what waits by our own choice is due at once."""
        self._again = [(due if parcel.firm else min(due, now), n, parcel) for due, n, parcel in self._again]
        heapq.heapify(self._again)

    def _head(self, change: Change, since: float) -> None:
        self._heads.append(change)
        self._leave_at = min(self._leave_at, since + self._batch_wait)
