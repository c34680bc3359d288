"""``python -m tests.simulation --schedules N --seed S``: random schedules, from seed S on."""

from __future__ import annotations

import argparse
import sys
import time

from rich.console import Console

from tests.simulation.schedule import command
from tests.simulation.tally import Tally, tallies
from tests.simulation.world import FENCED

#: Failed schedules that are told of, one failure of each.
_SHOWN = 20


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
