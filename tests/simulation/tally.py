"""Many random schedules, counted; on several cores if wanted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, fields
from multiprocessing import get_context

from tests.simulation.schedule import random_plan, run

#: Kinds of failure by what the last line calls them.
LOST, PHANTOM, TWICE = {"LOSS", "STATE", "REFUSED"}, {"PHANTOM", "WRONG", "ORDER"}, {"TWICE"}
_CHUNK = 50


@dataclass
class Tally:
    """What some schedules came to."""

    schedules: int = 0
    crashes: int = 0
    points: int = 0
    zombies: int = 0
    again: int = 0
    compared: int = 0
    cuts: int = 0
    incomplete: int = 0
    crashed_at: Counter[str] = field(default_factory=Counter)
    failed: list[tuple[int, str, str]] = field(default_factory=list)

    def add(self, other: Tally) -> None:
        """Count what another has counted."""
        for each in fields(self):
            setattr(self, each.name, getattr(self, each.name) + getattr(other, each.name))

    def count(self, kinds: set[str]) -> int:
        """Schedules that failed in one of these ways."""
        return len({seed for seed, kind, _ in self.failed if kind in kinds})

    def __str__(self) -> str:
        said = (
            f"schedules {self.schedules}, crashes {self.crashes}, lost {self.count(LOST)}, "
            f"phantom {self.count(PHANTOM)}, twice {self.count(TWICE)}"
        )
        others = len({seed for seed, _, _ in self.failed}) - self.count(LOST | PHANTOM | TWICE)
        return said + (f", failed otherwise {others}" if others else "")


def tally(seeds: Sequence[int]) -> Tally:
    """Run the random schedules of some seeds."""
    total = Tally()
    for seed in seeds:
        result = run(random_plan(seed))
        failed = [(seed, kind, what) for kind, what in result.failures]
        total.add(
            Tally(
                1,
                result.crashes,
                len(result.points),
                result.zombies,
                result.again,
                result.compared,
                result.cuts,
                result.incomplete,
                result.crashed_at,
                failed,
            )
        )
    return total


def tallies(first: int, count: int, processes: int) -> Iterator[Tally]:
    """The same in chunks, on several cores."""
    chunks = [range(at, min(at + _CHUNK, first + count)) for at in range(first, first + count, _CHUNK)]
    if processes < 2 or len(chunks) < 2:
        yield from map(tally, chunks)
        return
    # Not forked: the collector of a child would end what threads of the parent's own belong to, a DuckDB for one.
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        yield from pool.map(tally, chunks)
