"""Adds up segment changes: entries, exits, sizes, stays, who flaps, and who is in two segments at once.

Changes may come from several partitions, each in the order of its own log. Whatever is said here depends only on the
instant of each change and on the order of each customer's own changes, so that the order of partitions is no matter.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from stream.core.changes import Change

MINUTE = 60_000_000


@dataclass(frozen=True, slots=True)
class Flapping:
    """What counts as flapping: entering one segment ``times`` times within ``within`` µs."""

    times: int = 3
    within: int = 24 * 60 * MINUTE


@dataclass(slots=True)
class Sum:
    """One segment's sums. ``stays`` are how long (s) those who left had been in."""

    entries: int = 0
    exits: int = 0
    by_time: int = 0
    customers: set[str] = field(default_factory=set)
    stays: list[int] = field(default_factory=list)
    #: Customer -> the times that they entered, of those who flap.
    flapping: dict[str, int] = field(default_factory=dict)
    #: µs that customers were in it, added up; and, by other segment, in both.
    time: int = 0
    together: Counter[str] = field(default_factory=Counter)


class Tally:
    """Takes in changes, and at the end the instant up to which they go."""

    def __init__(self, flapping: Flapping) -> None:
        self.flapping = flapping
        self.sums: defaultdict[str, Sum] = defaultdict(Sum)
        #: (segment, entered) -> minute since the epoch -> changes.
        self.minutes: defaultdict[tuple[str, bool], Counter[int]] = defaultdict(Counter)
        self._in: dict[str, dict[str, int]] = {}  # customer -> segment -> since when (µs)
        self._entered: dict[tuple[str, str], list[int]] = {}

    def add(self, changes: Iterable[Change]) -> None:
        """Take in changes; those of one customer in their order."""
        for change in changes:
            name, customer, at = change.segment, change.customer_id, change.at
            entered = change.action == "entered"
            self.minutes[name, entered][at // MINUTE] += 1
            sum_ = self.sums[name]
            if entered:
                sum_.entries += 1
                sum_.customers.add(customer)
                self._in.setdefault(customer, {})[name] = at
                self._note_entry(sum_, name, customer, at)
            else:
                sum_.exits += 1
                sum_.by_time += change.cause == "time"
                since = self._leave(customer, name, at)
                sum_.stays.append((at - since) // 1_000_000)

    def end(self, at: int) -> None:
        """Count the time of those who are still in, up to ``at`` (µs)."""
        for customer, segments in list(self._in.items()):
            for name in list(segments):
                self._leave(customer, name, at)

    def _note_entry(self, sum_: Sum, name: str, customer: str, at: int) -> None:
        entered = self._entered.setdefault((name, customer), [])
        entered.append(at)
        if customer in sum_.flapping:
            sum_.flapping[customer] += 1
            return
        if len(entered) >= self.flapping.times and at - entered[-self.flapping.times] <= self.flapping.within:
            sum_.flapping[customer] = len(entered)

    def _leave(self, customer: str, name: str, at: int) -> int:
        """The customer is no longer in: count the time, alone and with the other segments. Gives since when."""
        segments = self._in[customer]
        since = segments.pop(name)
        self.sums[name].time += at - since
        for other, others_since in segments.items():
            both = at - max(since, others_since)
            if both > 0:
                self.sums[name].together[other] += both
                self.sums[other].together[name] += both
        if not segments:
            del self._in[customer]
        return since
