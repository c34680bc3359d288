"""``python -m tests.simulation --schedules N --seed S``: random schedules, from seed S on."""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, fields
from multiprocessing import get_context

from rich.console import Console

from tests.simulation.schedule import command, random_plan, run
from tests.simulation.world import FENCED

#: Kinds of failure by what the last line calls them.
LOST, PHANTOM, TWICE = {"LOSS", "STATE", "REFUSED"}, {"PHANTOM", "WRONG", "ORDER"}, {"TWICE"}
_CHUNK = 50
#: Failed schedules that are told of, one failure of each.
_SHOWN = 20


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


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--schedules", type=int, default=1_000)
    parser.add_argument("--seed", type=int, default=1, help="of the first schedule; the others count up from it")
    parser.add_argument("--processes", type=int, default=2)
    asked = parser.parse_args()
    out = Console(soft_wrap=True, highlight=False, markup=False)
    progress = Console(stderr=True, highlight=False, markup=False)
    begun = time.monotonic()
    total = Tally()
    shown = 0
    for part in tallies(asked.seed, asked.schedules, asked.processes):
        total.add(part)
        for seed, kind, what in {seed: (seed, kind, what) for seed, kind, what in reversed(part.failed)}.values():
            shown += 1
            if shown <= _SHOWN:
                out.print(f"seed {seed}: {kind}: {what[:1000]}\n  again: {command(seed)}")
        if progress.is_terminal:
            rate = total.schedules / (time.monotonic() - begun)
            progress.print(f"{total.schedules} of {asked.schedules}, {rate:.0f}/s ", end="\r")
    out.print(
        f"{time.monotonic() - begun:.0f} s; I/O points {total.points}; changes compared at read-back "
        f"{total.compared}; sent again by zombies, the same bytes {total.again}; "
        f"offsets taken by retention {total.cuts}; "
        f"ended by the watchdog {total.crashed_at[FENCED]}; stops without time for everything {total.incomplete}"
    )
    out.print(str(total))
    return 1 if total.failed else 0


if __name__ == "__main__":
    sys.exit(main())
