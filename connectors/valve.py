"""Whether a destination is sent to. Pure: time is an argument, in seconds of a monotonic clock.

- active: everything may leave;
- broken: too many attempts failed, one probe after a growing time decides;
- paused: the platform says that the destination itself is wrong (a key, a permission, an address). One
  probe at growing intervals, so that it resumes by itself once the cause is mended.

A hold (`Retry-After` of a 429 or 503) delays an active destination and needs no probe.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from connectors.breaker import Breaker, BreakerPolicy


class State(StrEnum):
    ACTIVE = "active"
    BROKEN = "broken"
    PAUSED = "paused"


@dataclass(frozen=True, slots=True)
class PausePolicy:
    """Seconds between the probes of a paused destination: doubled each time up to the cap."""

    base: float = 1.0
    cap: float = 300.0


class Valve:
    def __init__(self, breaker: BreakerPolicy | None = None, pause: PausePolicy | None = None) -> None:
        self.state = State.ACTIVE
        self.reason = ""
        self._breaker = Breaker(breaker or BreakerPolicy())
        self._pause = pause or PausePolicy()
        self._closings = 0  # in a row, without a success between
        self._until = float("-inf")
        self._probing = False

    def permits(self, now: float) -> bool:
        """May a parcel leave now?"""
        return now >= self._until and not self._probing

    def next_at(self) -> float | None:
        """When it will permit again by time alone; None while the answer to a probe is awaited."""
        return None if self._probing else self._until

    def sending(self) -> bool:
        """A parcel leaves. True if it is the probe of a destination that is not active."""
        self._probing = self.state is not State.ACTIVE
        return self._probing

    def succeeded(self, probe: bool, now: float) -> bool:
        """The platform answered and took the request for what it is. True if this made the destination
        active again.

        What was sent before the destination was paused proves nothing about it: only a probe does.
        """
        self._breaker.record(True, now)
        if not probe:
            return False
        self._probing = False
        self._breaker.forget()
        self.state, self.reason, self._closings, self._until = State.ACTIVE, "", 0, now
        return True

    def failed(self, probe: bool, now: float) -> None:
        """An attempt failed in a way that may heal by itself."""
        if probe:
            self._probing = False
            self._close(self.state, self.reason, now)
        elif self._breaker.record(False, now) and self.state is State.ACTIVE:
            self._close(State.BROKEN, "breaker_open", now)

    def pause(self, reason: str, probe: bool, now: float) -> None:
        """The platform says that the destination itself is wrong."""
        if probe:
            self._probing = False
        if probe or self.state is not State.PAUSED:
            if self.state is not State.PAUSED:
                self._closings = 0
            self._close(State.PAUSED, reason, now)

    def hold(self, until: float) -> None:
        """The platform asks the whole destination to wait."""
        self._until = max(self._until, until)

    def abandon(self, probe: bool) -> None:
        """A parcel was taken back without an answer."""
        if probe:
            self._probing = False

    def _close(self, state: State, reason: str, now: float) -> None:
        base, cap = (
            (self._pause.base, self._pause.cap)
            if state is State.PAUSED
            else (self._breaker.policy.open_base, self._breaker.policy.open_cap)
        )
        self.state, self.reason = state, reason
        self._until = max(self._until, now + min(cap, base * 2.0 ** min(self._closings, 32)))
        self._closings += 1
