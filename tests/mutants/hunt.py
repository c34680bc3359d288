"""Looks for the first schedule that notices a planted bug."""

from __future__ import annotations

from typing import NamedTuple

from tests.mutants.catalogue import MUTANTS
from tests.mutants.planting import planted
from tests.simulation import verdict, world
from tests.simulation.schedule import random_plan, run

#: A bug of the protocol runs; these say that an edit no longer fits the code around it.
_NO_BUGS = ("NameError", "UnboundLocalError", "TypeError", "AttributeError")


class Caught(NamedTuple):
    """Which check failed, and in which schedule."""

    kind: str
    what: str
    seed: int
    schedules: int


def hunt(name: str, schedules: int) -> Caught | None:
    """Run random schedules against the bug ``name`` until one fails; None if none of them does."""
    (mutant,) = (mutant for mutant in MUTANTS if mutant.name == name)
    forget()
    try:
        with planted(mutant):
            for seed in range(1, schedules + 1):
                try:
                    failures = run(random_plan(seed)).failures
                except Exception as error:
                    failures = [("RAISED", repr(error))]
                if any(error in failures[0][1] for error in _NO_BUGS if failures):
                    raise AssertionError(f"{name!r} is no bug, but broken code: {failures[0][1]}")
                if failures:
                    return Caught(*failures[0], seed, seed)
    finally:
        forget()
    return None


def forget() -> None:
    """What the core has said under another bug is of no use."""
    verdict.expected.cache_clear()
    world._book_of.cache_clear()
