"""The proof against DuckDB for as long as one likes: ``python -m tests.prove --minutes 10``.

Each round is a number of generated books and logs from a seed of its own, so that any round can be repeated alone.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections.abc import Sequence

from tests.property.oracle_duckdb import Oracle
from tests.property.oracle_rounds import focus_of, round_of
from tests.property.oracle_run import Difference, Tally

#: Books of one round.
BOOKS = 20
#: Seconds between two lines of progress.
PULSE = 5.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run rounds until the time is over; 1 if one of them found a difference."""
    parser = argparse.ArgumentParser(prog="python -m tests.prove", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0, help="how long (10)")
    parser.add_argument("--rounds", type=int, default=0, help="how many rounds of 20 books; 0 (default): by the time")
    parser.add_argument("--seed", type=int, default=None, help="seed of the first round (random)")
    options = parser.parse_args(arguments)
    first = random.SystemRandom().randrange(10**9) if options.seed is None else options.seed
    show(f"seed {first}")
    oracle, tally = Oracle(), Tally()
    begin = said = time.monotonic()
    number = 0
    while number < options.rounds if options.rounds else time.monotonic() < begin + options.minutes * 60:
        seed = first + number
        try:
            round_of(seed, BOOKS, oracle, tally)
        except Difference as difference:
            show(f"\n{difference}\n\nfound around {focus_of(seed)}; repeat it:")
            show(f"  python -m tests.prove --rounds 1 --seed {seed}")
            show(f"compared {tally.compared:,}, differences 1")
            return 1
        number += 1
        if time.monotonic() > said + PULSE:
            said = time.monotonic()
            show(progress(said - begin, number, tally))
    show("refused by the compiler, and why:")
    for reason, times in tally.refused.most_common(15):
        show(f"  {times:6,}  {reason}")
    for reason, times in tally.failed.most_common(5):
        show(f"  {times:6,}  DuckDB: {reason}")
    show(f"compared {tally.compared:,}, differences 0")
    return 0


def progress(seconds: float, rounds: int, tally: Tally) -> str:
    """One line: how far it is."""
    return (
        f"{seconds:6.0f} s  {rounds:,} rounds, {tally.cases:,} books, {tally.segments:,} segments"
        f" ({tally.share_refused:.1%} more refused), {tally.announced:,} instants announced,"
        f" {tally.compared:,} compared"
    )


def show(text: str) -> None:
    """A line of progress, at once."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
