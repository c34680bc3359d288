"""When a failed delivery is tried again: exponential backoff with full jitter, and `Retry-After`.

Full jitter (a uniform draw between zero and the backoff) spreads the retries of many customers best, and
makes the first one quick. Sources: RFC 9110 §10.2.3 for the header; fractions and epoch seconds are what
platforms send besides.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime

EPOCH_LOOKS_LIKE = 1_000_000_000.0
"""A number of seconds this large is an instant, not a delay."""


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """All in seconds."""

    base: float = 1.0
    cap: float = 300.0
    retry_after_cap: float = 3600.0
    """A longer `Retry-After` is cut to this: a wrong header must not park a customer for a year."""
    horizon: float = 86_400.0
    """Retries go on at least this long after the first failure; then the change is dead-lettered."""

    def delay(self, attempts: int, after: float | None, draw: float) -> float:
        """Seconds until the next attempt, after `attempts` (≥ 1) failed ones; `draw` is uniform in [0, 1).

        Never less than what the platform asked for (`after`, up to its cap).
        """
        backoff = draw * min(self.cap, self.base * 2.0 ** min(attempts - 1, 32))
        if after is None:
            return backoff
        return max(backoff, min(after, self.retry_after_cap))

    def exhausted(self, first_failed: float, now: float) -> bool:
        return now - first_failed >= self.horizon


def wait_asked(headers: Mapping[str, str], now: float) -> float | None:
    """Seconds that a response asks us to wait, by whichever header its platform has; None if it says nothing.

    `headers` have names in lower case. `X-RateLimit-Reset` counts only where nothing remains: elsewhere it is
    the end of a window that still has room.
    """
    for name in ("retry-after", "x-ratelimit-retry-after"):
        wait = retry_after(headers.get(name), now)
        if wait is not None:
            return wait
    return _window_ends(headers, now, unsaid="0")


def nothing_remains(headers: Mapping[str, str], now: float) -> float | None:
    """Seconds until a rate has room again, where a response that was no throttling says that it was the last for now;
    None if it says nothing of the kind. `headers` have names in lower case.

    Understands `RateLimit-*` and `X-RateLimit-*` in the shapes of `retry_after`, HubSpot's interval, and the fields
    `r` and `t` of the IETF's draft (`RateLimit: "default";r=0;t=30`).
    """
    wait = _window_ends(headers, now, unsaid="")
    if wait is not None:
        return wait
    if headers.get("x-hubspot-ratelimit-remaining", "").strip() == "0":
        interval = retry_after(headers.get("x-hubspot-ratelimit-interval-milliseconds"), now)
        if interval is not None:
            return interval / 1000
    draft = headers.get("ratelimit")
    if draft is not None:
        said = dict(field.strip().partition("=")[::2] for field in draft.split(";"))
        if said.get("r") == "0":
            return retry_after(said.get("t"), now)
    return None


def _window_ends(headers: Mapping[str, str], now: float, *, unsaid: str) -> float | None:
    """Seconds to the reset of a window of which nothing remains, or `unsaid` where a response does not say."""
    for prefix in ("ratelimit", "x-ratelimit"):
        if headers.get(f"{prefix}-remaining", unsaid).strip() == "0":
            wait = retry_after(headers.get(f"{prefix}-reset"), now)
            if wait is not None:
                return wait
    return None


def retry_after(value: str | None, now: float) -> float | None:
    """Seconds to wait from `now` (Unix seconds) by a `Retry-After` header, or None where it says nothing
    readable.

    Understands seconds (whole or fractional), an HTTP date, and epoch seconds. Never negative.
    """
    if value is None:
        return None
    text = value.strip()
    try:
        seconds = float(text)
    except ValueError:
        return _until_date(text, now)
    if not math.isfinite(seconds):
        return None
    if seconds >= EPOCH_LOOKS_LIKE:
        seconds -= now
    return max(0.0, seconds)


def _until_date(text: str, now: float) -> float | None:
    try:
        instant = parsedate_to_datetime(text)
        if instant.tzinfo is None:
            instant = instant.replace(tzinfo=UTC)
        return max(0.0, instant.timestamp() - now)
    except (ValueError, OverflowError):  # no date, or one that no calendar has
        return None
