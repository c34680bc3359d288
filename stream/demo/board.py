"""What the demo knows at a moment: the numbers that the view shows and the summary is made of."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field
from typing import NamedTuple

#: Latencies that a percentile on the screen is taken from: the latest ones.
WINDOW = 2000
#: Changes that are kept for the screen.
LATEST = 40


class News(NamedTuple):
    """A change for the screen: its instant (µs of the shop's time) and what happened, in words."""

    at: int
    entered: bool
    segment: str
    text: str
    by_time: bool


class Latency:
    """Seconds from one place to another: all of them for the summary, the latest for the screen."""

    def __init__(self) -> None:
        self.all: list[float] = []
        self._latest: deque[float] = deque(maxlen=WINDOW)

    def add(self, seconds: float) -> None:
        """Note one."""
        self.all.append(seconds)
        self._latest.append(seconds)

    def recent(self, share: float) -> float | None:
        """The percentile ``share`` (0..1) of the latest, None before the first."""
        return percentile(list(self._latest), share)

    def overall(self, share: float) -> float | None:
        """The percentile ``share`` (0..1) of all."""
        return percentile(self.all, share)


@dataclass(slots=True)
class Board:
    """The numbers. Instants are µs of the shop's time, unless they are called seconds."""

    title: str
    start: int
    until: int
    events: int
    segments: tuple[str, ...] = ()
    phase: str = "starting"
    now: int = 0
    seconds: float = 0.0  # since the demo began
    sent: int = 0
    ticks: int = 0
    read: int = 0
    #: Events that lay in another partition than their customer's, and were moved.
    moved: int = 0
    #: Events that the worker reads per second, lately.
    rate: float = 0.0
    endings: Counter[tuple[str, str]] = field(default_factory=Counter)
    changes: int = 0
    entered: Counter[str] = field(default_factory=Counter)
    exited: Counter[str] = field(default_factory=Counter)
    by_time: int = 0
    delivered: int = 0
    retried: int = 0
    #: What the deliverer's metrics say: outcome -> changes.
    outcomes: Counter[str] = field(default_factory=Counter)
    sizes: dict[str, int] = field(default_factory=dict)
    peaks: dict[str, int] = field(default_factory=dict)
    latest: deque[News] = field(default_factory=lambda: deque(maxlen=LATEST))
    #: From the producer's send to the change on ``segment-changes``, and to its arrival at the receiver.
    to_topic: Latency = field(default_factory=Latency)
    to_receiver: Latency = field(default_factory=Latency)

    @property
    def progress(self) -> float:
        """How much of the shop's time has passed, 0..1."""
        return min(1.0, max(0.0, (self.now - self.start) / max(1, self.until - self.start)))

    def total(self, ending: str) -> int:
        """Events that came to this ending."""
        return sum(count for (name, _), count in self.endings.items() if name == ending)

    def reasons(self, ending: str) -> list[tuple[str, int]]:
        """The reasons of an ending, the most frequent first."""
        found = [(reason, count) for (name, reason), count in self.endings.items() if name == ending]
        return sorted(found, key=lambda each: (-each[1], each[0]))

    def note_sizes(self, sizes: dict[str, int]) -> None:
        """Take over the sizes of the segments, and remember the largest."""
        self.sizes = sizes
        for name, size in sizes.items():
            self.peaks[name] = max(size, self.peaks.get(name, 0))


def percentile(values: list[float], share: float) -> float | None:
    """The nearest-rank percentile ``share`` (0..1); None of nothing."""
    if not values:
        return None
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
