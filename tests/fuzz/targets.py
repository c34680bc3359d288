"""What is fuzzed: how the inputs of a target are made, and what must hold of them. Input n of a seed never changes."""

from __future__ import annotations

import signal
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from types import FrameType
from typing import Any

from tests.fuzz import inputs, laws

#: CPU seconds that one input may take: of the process, so that a busy machine does not matter.
LONGEST = 1.0
#: Characters of an input that broke a law.
SHOWN = 2000


@dataclass(frozen=True)
class Target:
    """``share`` of all inputs, of a thousand. ``judge`` gives an outcome per input: a log is as many as its records."""

    name: str
    share: int
    make: Callable[[Random], Any]
    judge: Callable[[Any], list[str]]


TARGETS = {
    target.name: target
    for target in (
        Target("decode", 440, inputs.decode, laws.decoding),
        Target("core", 270, inputs.log, laws.core),
        Target("sql", 40, inputs.sql, laws.sql),
        Target("book", 20, inputs.book, laws.book),
        Target("delivery", 120, inputs.delivery, laws.delivery),
        Target("destinations", 20, inputs.destinations, laws.destinations),
        Target("settings", 20, inputs.settings, laws.settings),
        Target("foreign", 70, inputs.foreign, laws.foreign),
    )
}


@dataclass(frozen=True)
class Failure:
    """An input that broke a law, and how to see it again."""

    target: str
    seed: int
    number: int
    error: str
    place: str
    given: str

    @property
    def kind(self) -> tuple[str, str, str]:
        """What has the same cause, as far as one can tell."""
        return self.target, self.error.split(":")[0], self.place

    def __str__(self) -> str:
        return (
            f"{self.target} {self.number}: {self.error} ({self.place})\n  input: {self.given}\n"
            f"  again: python -m tests.fuzz --seed {self.seed} --only {self.target}:{self.number}"
        )


@dataclass
class Tally:
    """What the inputs of one target came to."""

    inputs: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    failures: list[Failure] = field(default_factory=list)


class TookTooLong(BaseException):
    """An input did not end in time; no Exception, so that nothing on the way takes it for its own."""


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Raises ``TookTooLong`` in what uses more CPU time. Main thread only."""

    def over(number: int, frame: FrameType | None) -> None:
        raise TookTooLong(f"more than {seconds:g} s")

    before = signal.signal(signal.SIGVTALRM, over)
    signal.setitimer(signal.ITIMER_VIRTUAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


def attempt(target: Target, seed: int, number: int, tally: Tally, through: bool = False) -> None:
    """One input. Nothing that it raises leaves this, unless it is to be let ``through``."""
    given = target.make(Random(f"{seed}/{target.name}/{number}"))
    try:
        with within(LONGEST):
            outcomes = target.judge(given)
    except (Exception, TookTooLong) as error:
        if through:
            raise
        *_, last = traceback.extract_tb(error.__traceback__)
        said, place = f"{type(error).__name__}: {str(error)[:300]}", f"{Path(last.filename).name}:{last.lineno}"
        tally.failures.append(Failure(target.name, seed, number, said, place, repr(given)[:SHOWN]))
        outcomes = ["UNCAUGHT"]
    tally.inputs += len(outcomes)
    tally.outcomes.update(outcomes)


def run(target: Target, seed: int, count: int) -> Iterator[Tally]:
    """Inputs from the first of the seed on, until there are ``count``; the tally so far after each."""
    tally, number = Tally(), 0
    while tally.inputs < count:
        attempt(target, seed, number, tally)
        number += 1
        yield tally
