"""The calls that changes cost at a platform, minute by minute, against what it takes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import NamedTuple

from stream.backtest.limits import Platform, platforms

MINUTE = 60
HOUR = 3_600
DAY = 86_400

#: (segment, entered) -> minute since the epoch -> changes.
Changes = Mapping[tuple[str, bool], Mapping[int, int]]


class Calls(NamedTuple):
    """What a backtest's changes cost at ``platform``, if everything of a minute goes out together.

    ``busiest`` is the hour (in hours since the epoch) with the most calls; ``mean`` the calls of an average hour.
    ``per_hour`` is what the platform takes in an hour at most, None if it publishes no number. ``share`` is the part of
    a limit that the busiest hour, or day, would take; ``wait`` the minutes that the last change would be late at worst.
    """

    platform: Platform
    total: int
    mean: float
    busiest: int
    most: int
    per_hour: float | None
    share: float | None
    wait: float | None


def calls(changes: Changes, hours: float) -> list[Calls]:
    """Every platform's cost of ``changes``, which happened within so many hours."""
    return [cost(platform, changes, hours) for platform in platforms()]


def cost(platform: Platform, changes: Changes, hours: float) -> Calls:
    """One platform's."""
    minutes = _minutes(platform, changes)
    by_hour = _sums(minutes, HOUR)
    busiest = max(by_hour, key=lambda hour: (by_hour[hour], -hour), default=0)
    most, total = by_hour.get(busiest, 0), sum(minutes.values())
    per_hour = min((count * HOUR / seconds for count, seconds in platform.limits), default=None)
    share = wait = None
    if platform.limits:
        share = max(_share(minutes, count, seconds) for count, seconds in platform.limits)
        rates = [count * MINUTE / seconds for count, seconds in platform.limits if seconds <= HOUR]
        wait = _wait(minutes, min(rates)) if rates else 0.0
    return Calls(platform, total, total / max(hours, 1.0), busiest, most, per_hour, share, wait)


def _minutes(platform: Platform, changes: Changes) -> dict[int, int]:
    """Calls by minute: a call holds so many people, of what may share one."""
    together: dict[object, Counter[int]] = {}
    for (segment, entered), counts in changes.items():
        kind: object = None
        if platform.shared != "all":
            kind = (segment, entered) if platform.shared == "direction" else segment
        together.setdefault(kind, Counter()).update(counts)
    minutes: Counter[int] = Counter()
    for counts in together.values():
        for minute, people in counts.items():
            minutes[minute] += -(-people // platform.people)
    return dict(sorted(minutes.items()))


def _sums(minutes: Mapping[int, int], seconds: int) -> dict[int, int]:
    found: Counter[int] = Counter()
    for minute, count in minutes.items():
        found[minute * MINUTE // seconds] += count
    return found


def _share(minutes: Mapping[int, int], count: int, seconds: int) -> float:
    """The part of a limit that is used in the fullest day, of a daily one, else in the fullest hour."""
    width = max(seconds, HOUR)
    return max(_sums(minutes, width).values(), default=0) / (count * width / seconds)


def _wait(minutes: Mapping[int, int], rate: float) -> float:
    """How late (minutes) the last call leaves at worst, if ``rate`` of them leave in a minute."""
    waiting = latest = 0.0
    before = 0
    for minute, count in minutes.items():
        waiting = max(0.0, waiting - rate * (minute - before)) + count
        before = minute
        latest = max(latest, waiting / rate - 1)
    return latest
