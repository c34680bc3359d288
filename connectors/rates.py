"""Rates as platforms publish them, and the arithmetic of keeping to them. Pure.

A window is counted in twentieths, and what is partly in it counts as a whole: so no span of its length, wherever the
platform begins it, holds more than is allowed, at the price of a twentieth of the throughput.

An answer that says "too fast" and not for how long halves the rate; it then recovers by a sixtieth of the published
rate each second (additive increase, multiplicative decrease, as TCP does). Where no rate is published, the one at which
it happened is learned, and forgotten again at its double.

`connectors.ratestore` says the same in Lua, for Redis; a test holds the two equal.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

BUCKETS = 20
STEP = 1 / 60
"""Recovered share of the published rate, per second."""
LEAST_SHARE = 1 / 64
COOLDOWN = 1.0
"""Seconds in which further throttlings are the answers to what was on its way already."""


@dataclass(frozen=True, slots=True)
class Window:
    """At most `requests` in any `seconds`."""

    requests: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Grant:
    """What may be sent now."""

    granted: int
    wait: float
    """Seconds after which more may be granted; 0 where everything was."""
    limited: bool
    """False where no window applies and nothing is held: anything may be sent."""
    share: float
    """The smallest share of a published rate that is in use."""


@dataclass(slots=True)
class Meter:
    """What was granted of one limit."""

    hold: float = 0.0
    share: float = 1.0
    at: float = -math.inf
    """When `share` was last lowered."""
    learned: float = 0.0
    """Requests per second, where no window is published and there was a throttling."""
    marks: list[list[tuple[int, int]]] = field(default_factory=list)
    """By window: twentieths in order, and what was granted in them."""

    def current_share(self, now: float) -> float:
        return min(2.0 if self.learned else 1.0, self.share + max(0.0, now - self.at) * STEP)

    def settle(self, declared: Sequence[Window], now: float) -> Sequence[Window]:
        """The windows that apply at `now`; forgets what was learned once it has recovered."""
        if self.learned and (declared or self.current_share(now) >= 2.0):
            self.learned, self.share = 0.0, 1.0
        windows = declared or ([Window(max(1, math.floor(self.learned)), 1.0)] if self.learned else [])
        if len(self.marks) != len(windows):
            self.marks = [[] for _ in windows]
        return windows

    def room(self, windows: Sequence[Window], now: float) -> tuple[int | None, float]:
        """How much may be granted (None: anything), and how long to wait where that is nothing."""
        share = self.current_share(now)
        room: int | None = None
        wait = 0.0
        if self.hold > now:
            room, wait = 0, self.hold - now
        for number, window in enumerate(windows):
            width = window.seconds / BUCKETS
            oldest = math.floor(now / width) - BUCKETS
            marks = self.marks[number] = [mark for mark in self.marks[number] if mark[0] >= oldest]
            allowed = max(1, math.floor(window.requests * share))
            used = sum(count for _, count in marks)
            room = min(allowed - used, allowed if room is None else room)
            for bucket, count in marks if used >= allowed else ():
                used -= count
                if used < allowed:
                    wait = max(wait, (bucket + BUCKETS + 1) * width - now)
                    break
        return room, wait

    def count(self, windows: Sequence[Window], granted: int, now: float) -> None:
        for number, window in enumerate(windows):
            bucket = math.floor(now / (window.seconds / BUCKETS))
            marks = self.marks[number]
            if marks and marks[-1][0] == bucket:
                marks[-1] = bucket, marks[-1][1] + granted
            else:
                marks.append((bucket, granted))

    def throttle(self, declared: Sequence[Window], measured: float, now: float) -> None:
        """An answer said "too fast"; `measured` is the rate at which that happened, requests per second."""
        if now - self.at < COOLDOWN:
            return
        self.settle(declared, now)
        share = self.current_share(now)
        if not declared and not self.learned:
            self.learned = max(1.0, measured)
        self.share, self.at = max(LEAST_SHARE, share / 2), now


def take(meters: Sequence[Meter], declared: Sequence[Sequence[Window]], want: int, now: float) -> Grant:
    """Grant up to `want` requests that count against all of the meters."""
    windows = [meter.settle(each, now) for meter, each in zip(meters, declared, strict=True)]
    rooms = [meter.room(each, now) for meter, each in zip(meters, windows, strict=True)]
    known = [room for room, _ in rooms if room is not None]
    granted = max(0, min([want, *known]))
    if granted:
        for meter, each in zip(meters, windows, strict=True):
            meter.count(each, granted, now)
    wait = max((wait for _, wait in rooms), default=0.0) if granted == 0 else 0.0
    share = min((meter.current_share(now) for meter in meters), default=1.0)
    return Grant(granted, wait, bool(known), min(1.0, share))
