"""A circuit breaker: whether an endpoint fails so often that it is better left alone for a while. Pure.

Model: Convoy's (at least 10 requests in the window, of which 70 % failed; then one probe at a time), with
shorter openings, since changes are to arrive within seconds of an endpoint's recovery.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class BreakerPolicy:
    """Times in seconds."""

    window: float = 30.0
    requests: int = 10
    ratio: float = 0.7
    open_base: float = 1.0
    open_cap: float = 60.0


class Breaker:
    """Counts attempts over a sliding window of buckets. Time is an argument (seconds, monotonic)."""

    BUCKETS = 10

    def __init__(self, policy: BreakerPolicy) -> None:
        self.policy = policy
        self._buckets: deque[list[float]] = deque()  # [start, attempts, failures], the newest last

    def record(self, ok: bool, now: float) -> bool:
        """Count an attempt; True if the endpoint is now to be left alone."""
        width = self.policy.window / self.BUCKETS
        if not self._buckets or now - self._buckets[-1][0] >= width:
            self._buckets.append([now, 0, 0])
            while now - self._buckets[0][0] >= self.policy.window:
                self._buckets.popleft()
        bucket = self._buckets[-1]
        bucket[1] += 1
        if ok:
            return False
        bucket[2] += 1
        attempts = sum(bucket[1] for bucket in self._buckets)
        failures = sum(bucket[2] for bucket in self._buckets)
        return attempts >= self.policy.requests and failures >= attempts * self.policy.ratio

    def forget(self) -> None:
        self._buckets.clear()
