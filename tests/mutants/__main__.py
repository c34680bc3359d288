"""``python -m tests.mutants``: plants every bug in turn and says which check of the simulator caught it."""

from __future__ import annotations

import argparse
import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

from rich.console import Console

from tests.mutants.catalogue import MUTANTS
from tests.mutants.hunt import Caught, hunt


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    parser.add_argument("--schedules", type=int, default=20_000, help="at most, for each bug")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--only", default="", help="bugs whose name has this in it")
    asked = parser.parse_args()
    names = [mutant.name for mutant in MUTANTS if asked.only in mutant.name]
    out = Console(soft_wrap=True, highlight=False, markup=False)
    caught = 0
    with ProcessPoolExecutor(asked.processes, mp_context=get_context("spawn")) as pool:
        for name, found in zip(names, pool.map(hunt, names, [asked.schedules] * len(names)), strict=True):
            out.print(f"{name}:\n  {_said(found, asked.schedules)}")
            caught += found is not None
    out.print(f"caught {caught} of {len(names)}")
    return 0 if caught == len(names) else 1


def _said(found: Caught | None, schedules: int) -> str:
    if found is None:
        return f"NOT CAUGHT in {schedules} schedules"
    return f"{found.kind} after {found.schedules} schedules (seed {found.seed}): {found.what[:160]}"


if __name__ == "__main__":
    sys.exit(main())
