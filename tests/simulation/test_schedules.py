"""P1 and P3: no crash, at whatever point and however often, changes what a log says."""

from __future__ import annotations

import os
import random
import re
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from schemas.changes import ERASURE
from schemas.facts import FACT_HEADER
from stream.core.routing import partition_of
from tests.simulation.inputs import START_MS, Input
from tests.simulation.log import CHANGES, EVENTS
from tests.simulation.schedule import Plan, can_fail, command, crash_at, run
from tests.simulation.tally import Tally, tallies
from tests.simulation.worker import Worker
from tests.simulation.world import FENCED, Fate, Knobs, World, inside

#: A small log with poison, a new book that is filled from the log, and a rolling restart.
SMALL = Plan(seed=3, log_seed=64, length=18, customers=2, new_books=0.2, stops=1, knobs=Knobs(batch=1, fetch=3))
RANDOM = 5_000


def _points(plan: Plan) -> list[str]:
    result = run(plan, crash_at())
    assert not result.failures
    return result.points


def _all_good(plan: Plan, *numbers: int, otherwise: str = "crash") -> Counter[str]:
    result = run(plan, crash_at(*numbers, otherwise=otherwise))
    assert not result.failures, f"{otherwise} at points {numbers} of {plan}: {result.failures[0]}"
    return result.crashed_at


def test_the_small_log_meets_every_kind_of_point() -> None:
    """What the exhaustive tests go through: the laws below are about these."""
    assert {
        "produce segment-changes: before",
        "produce segment-changes: not acknowledged",
        "produce segment-changes: acknowledged",
        "produce state: before",
        "produce state checkpoint: before",
        "produce state checkpoint: not acknowledged",
        "produce state checkpoint: acknowledged",
        "produce events: not acknowledged",  # a fill's fact
        "produce dead-letters: before",
        "commit: before",
        "commit: acknowledged",
        "fetch events",
        "read state",
    } <= set(_points(SMALL))


@pytest.mark.parametrize("workers", [1, 2])
def test_a_crash_at_any_single_point_changes_nothing(workers: int) -> None:
    """kill -9 at every I/O point of a small log, one after the other."""
    plan = replace(SMALL, workers=workers)
    crashed: Counter[str] = Counter()
    for number in range(len(_points(plan))):
        crashed += _all_good(plan, number)
    assert crashed["fetch events"] and crashed["commit: before"]


def test_a_produce_that_fails_at_any_single_point_changes_nothing() -> None:
    """Not sent, or sent and the acknowledgement lost: the worker must not go on as if it had been said."""
    for number, label in enumerate(_points(SMALL)):
        if can_fail(label):
            _all_good(SMALL, number, otherwise="fail")


def test_a_second_crash_in_the_recovery_from_the_first_changes_nothing() -> None:
    """Whatever the first recovery had read, and while its replay catches up."""
    crashed: Counter[str] = Counter()
    for first in range(5, len(_points(SMALL)), 4):
        for second in range(first + 1, first + 40):
            crashed += _all_good(SMALL, first, second)
    assert crashed["in a second recovery"] and crashed["while a replay catches up"]


def test_an_erasure_among_the_changes_is_read_over() -> None:
    """By the recovery from a crash at whatever point behind it."""
    crashed = 0
    for number in range(10, len(_points(SMALL)), 3):
        crash = crash_at(number)
        written: list[int] = []

        def fate(at: int, worker: Worker, label: str, crash: Fate = crash, written: list[int] = written) -> str:
            if label == "produce segment-changes: acknowledged" and not written:
                erasure = [(b"c0", b'{"customer_id":"c0"}')]
                written.append(at)
                worker.world.topics[CHANGES, 0].append(START_MS, erasure, [(FACT_HEADER, ERASURE.encode())])
            return crash(at, worker, label)

        result = run(SMALL, fate)
        assert not result.failures, f"crash at {number}: {result.failures[0]}"
        crashed += result.crashed_at.total() > 0 and written[0] < number
    assert crashed > 10


def test_a_simulation_does_not_end_while_a_moved_record_is_on_its_way() -> None:
    """It comes into the log once more, and somebody has to read it: an end before that would judge what nobody read."""
    right = partition_of("c0", 2)
    world = World(random.Random(1), 2, Knobs(slowest=0.5), crash_at())
    with inside(world):
        view = b'{"customer_id": "c0", "event_type": "product_view"}'
        world.feed(0.0, Input(1 - right, START_MS, START_MS, b"c0", view))
        world.start_worker()
        world.run(world.at_rest)
        assert [record.value for record in world.topics[EVENTS, right].records] == [view]


def test_loading_and_filling_show_that_they_go_on() -> None:
    """A worker whose partitions stand still is ended, unless what it does for them meanwhile moves."""
    loaded: set[int] = set()
    filled: set[int] = set()

    def fate(number: int, worker: Worker, label: str) -> str:
        read, prepared = worker.host.progress(0)
        if label.startswith("read ") and worker.delivery.epoch < 0:
            loaded.add(read)
        elif prepared >= 0:
            filled.add(prepared)
        return "crash" if number == 80 else ""

    assert not run(replace(SMALL, log_seed=64, knobs=Knobs(batch=1, fetch=1, nearly=20)), fate).failures
    assert len(loaded) > 2
    assert len(filled) > 2


@pytest.mark.timeout(600)
def test_random_schedules_lose_nothing_and_say_nothing_twice() -> None:
    """Crashes, failing produces, pauses, rolling restarts, hasty stops, compaction, retention and new books at once."""
    total = Tally()
    for part in tallies(1, RANDOM, min(2, os.cpu_count() or 1)):
        total.add(part)
    assert not total.failed, "\n".join(
        f"{kind}: {what}\n  again: {command(seed)}" for seed, kind, what in total.failed[:5]
    )
    assert total.schedules == RANDOM
    assert total.crashes > RANDOM
    assert total.compared > RANDOM, "read-back had something to compare"
    assert total.again, "zombies said something again"
    assert total.cuts > RANDOM, "retention had something to take"
    assert total.incomplete > 50, "stops had no time for everything"
    assert {
        "between changes and state",
        "in the middle of a checkpoint",
        "before a checkpoint's last record",
        "in a second recovery",
        "while a replay catches up",
        FENCED,
    } <= set(total.crashed_at)


def test_the_command_counts_on_several_cores() -> None:
    """What `make simulate` runs."""
    asked = [sys.executable, "-m", "tests.simulation", "--schedules", "100", "--seed", "9001", "--processes", "2"]
    ran = subprocess.run(asked, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stderr) == (0, "")
    said = re.fullmatch(r"schedules 100, crashes (\d+), lost 0, phantom 0, twice 0", ran.stdout.splitlines()[-1])
    assert said, ran.stdout
    assert int(said[1]) > 100
