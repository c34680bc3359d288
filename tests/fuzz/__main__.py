"""``python -m tests.fuzz --inputs N --seed S``: throws that many inputs at everything that reads from outside."""

# ruff: noqa: T201 - a command prints

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter

from tests.fuzz.targets import TARGETS, Tally, attempt, run


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--inputs", type=int, default=200_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--target", choices=TARGETS, action="append", help="only this; may be given more than once")
    parser.add_argument("--only", metavar="TARGET:NUMBER", help="one input of the seed, with the whole traceback")
    asked = parser.parse_args()
    if asked.only:
        return _again(asked.seed, asked.only)
    chosen = [TARGETS[name] for name in asked.target or TARGETS]
    shares = sum(target.share for target in chosen)
    tallies: dict[str, Tally] = {}
    begun, shown = time.monotonic(), 0.0
    for target in chosen:
        for tally in run(target, asked.seed, -(-asked.inputs * target.share // shares)):
            tallies[target.name] = tally
            if time.monotonic() - shown > 1:
                shown, done = time.monotonic(), sum(each.inputs for each in tallies.values())
                rate = done / (shown - begun)
                print(
                    f"\r{done} of {asked.inputs}, {rate:.0f}/s, {target.name}        ",
                    end="",
                    file=sys.stderr,
                    flush=True,
                )
    print(file=sys.stderr)
    return _report(tallies)


def _report(tallies: dict[str, Tally]) -> int:
    """The first failure of each kind, the table, and the last line."""
    failures = [failure for tally in tallies.values() for failure in tally.failures]
    kinds = Counter(failure.kind for failure in failures)
    for failure in {failure.kind: failure for failure in reversed(failures)}.values():
        print(failure, f"\n  so often: {kinds[failure.kind]}\n")
    print(f"{'target':<13} {'inputs':>8}  outcomes")
    for name, tally in tallies.items():
        outcomes = ", ".join(f"{outcome} {count}" for outcome, count in tally.outcomes.most_common())
        print(f"{name:<13} {tally.inputs:>8}  {outcomes}")
    print(f"inputs {sum(tally.inputs for tally in tallies.values())}, uncaught {len(failures)}")
    return 1 if failures else 0


def _again(seed: int, only: str) -> int:
    name, _, number = only.partition(":")
    tally = Tally()
    attempt(TARGETS[name], seed, int(number), tally, through=True)
    return _report({name: tally})


if __name__ == "__main__":
    sys.exit(main())
