"""What a worker keeps over a rebalance, when it stands still at the worst moment."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from tests.simulation import books
from tests.simulation.inputs import START_MS, Input, event
from tests.simulation.schedule import Plan, finish, run
from tests.simulation.worker import Worker
from tests.simulation.world import Fate, Knobs, World, inside

#: The points of ``Host.revoked``, in their order: ends are read, then one commit says that they were ours.
GIVING_UP = ("ask for the end of segment-changes,state", "commit: before", "commit: acknowledged")


def stand_still(where: str, met: Counter[str]) -> Fate:
    """SIGSTOP beyond the session, the first time that a worker comes to ``where`` while it gives its partitions up."""

    def fate(number: int, worker: Worker, label: str) -> str:
        if worker.revoking and label == where and not met[where]:
            met[where] += 1
            worker.world.pause(worker, 0.3)
        return ""

    return fate


@pytest.mark.parametrize("where", GIVING_UP)
def test_a_worker_that_stands_still_while_it_gives_up_keeps_nothing_that_another_has_moved_on(where: str) -> None:
    """Others hold the partition meanwhile and say what is next; when it comes back, nothing of it is said again."""
    met: Counter[str] = Counter()
    zombies = 0
    for seed in range(150):
        plan = Plan(seed, seed, workers=2, joins=1, length=40, new_books=0.0, pauses=1, knobs=Knobs(fetch=3))
        here: Counter[str] = Counter()
        result = run(plan, stand_still(where, here))
        assert not result.failures, f"{plan}: {result.failures[0]}"
        met += here
        zombies += result.zombies
    assert met[where] > 50 and zombies > 50


class _Impatient(World):
    """A stop waits for the batch in progress for less than reading the whole log takes."""

    def start_worker(self) -> Worker:
        worker = super().start_worker()
        worker.delivery._drain_seconds = 0.5
        return worker


def test_a_stop_does_not_wait_until_the_whole_log_is_read_again() -> None:
    """Another worker's ``filled`` fact is met, and what it fills has to be read within a batch: a stop ends that, and
    the successor begins the batch anew."""
    stopped: list[int] = []
    most = 0

    def fate(number: int, worker: Worker, label: str) -> str:
        nonlocal most
        _, prepared = worker.host.progress(0)
        if prepared > 20 and not stopped:
            stopped.append(prepared)
            worker.world.stop_worker(worker)
        most = max(most, prepared)
        # Whoever wrote the fact is gone before its state has heard of it.
        return "crash" if label == "produce events: not acknowledged" and worker.number == 1 else ""

    rng = random.Random(1)
    world = _Impatient(rng, 1, Knobs(fetch=1, slowest=0.05, checkpoint_seconds=0.5, nearly=10_000), fate)
    with inside(world):
        values = [event(rng, "c0", START_MS + number, f"e{number}") for number in range(250)]
        facts = [(books.fact(books.FIRST), b"definitions"), (b"{}", b"tick")]
        for value, kind in facts:
            world.feed(0.0, Input(0, START_MS, START_MS, None, value, (("fact", kind),)))
        for value in values:
            world.feed(0.0, Input(0, START_MS, START_MS, None, value))
        world.feed(0.0, Input(0, START_MS, START_MS, None, books.fact(books.BOOKS[1]), (("fact", b"definitions"),)))
        world.start_worker()
        finish(world)
    assert not world.failures
    assert stopped and most > 200, "the whole log was read in the end"
