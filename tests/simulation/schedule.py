"""One schedule: a log, workers, and what happens to them. Everything follows from a seed."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial

from stream.engine import host
from tests.simulation.inputs import make
from tests.simulation.log import EVENTS
from tests.simulation.reference import state_of
from tests.simulation.verdict import differences, expected, judge
from tests.simulation.worker import Worker
from tests.simulation.world import Fate, Knobs, Stuck, World, inside


@dataclass(frozen=True)
class Plan:
    """What a schedule consists of. ``chances`` are per I/O point."""

    seed: int
    log_seed: int
    partitions: int = 1
    workers: int = 1
    length: int = 40
    customers: int = 4
    ticks: float = 0.08
    new_books: float = 0.05
    crash_chance: float = 0.0
    fail_chance: float = 0.0
    most_crashes: int = 0
    late_share: float = 0.0
    pauses: int = 0
    stops: int = 0
    joins: int = 0
    compactions: int = 0
    create_time: bool = False
    cuts: int = 0
    watchdogs: bool = False
    knobs: Knobs = field(default_factory=Knobs)


@dataclass
class Result:
    """How a schedule ended."""

    failures: list[tuple[str, str]]
    crashes: int
    points: list[str]
    crashed_at: Counter[str]
    zombies: int
    again: int
    compared: int
    #: Offsets that retention has taken; stops that had no time to write everything.
    cuts: int
    incomplete: int


#: Virtual seconds over which a log is fed.
_SPAN = 0.4


def random_plan(seed: int) -> Plan:
    """A schedule of the random kind; the same seed is the same schedule."""
    rng = random.Random(seed)
    zombies = rng.random() < 0.45
    plan = Plan(
        seed=seed,
        log_seed=rng.randrange(400),
        partitions=rng.choice((1, 1, 2)),
        workers=rng.choice((1, 1, 2, 2, 3)),
        length=rng.choice((12, 25, 40)),
        customers=rng.choice((1, 3, 5)),
        ticks=rng.choice((0.0, 0.1)),
        new_books=rng.choice((0.0, 0.08, 0.2)),
        crash_chance=rng.choice((0.003, 0.01, 0.03)),
        fail_chance=rng.choice((0.0, 0.0, 0.01)),
        most_crashes=rng.choice((1, 2, 4, 8)),
        late_share=0.5 if zombies else 0.0,
        pauses=rng.choice((1, 2, 3)) if zombies else 0,
        stops=rng.choice((0, 0, 1, 2)),
        joins=rng.choice((0, 0, 1)),
        compactions=rng.choice((0, 1, 3)),
        knobs=Knobs(
            batch=rng.choice((1, 2, 5)),
            fetch=rng.choice((1, 3, 8, 30)),
            slice=rng.choice((1, 2, 4)),
            sweep=rng.choice((1, 2, 5)),
            in_flight=rng.choice((1, 4)),
            nearly=rng.choice((1, 5, 20)),
            prefetch=rng.choice((1, 3)),
            tick_seconds=rng.choice((0.0, 0.0, 0.2)),
            checkpoint_seconds=rng.choice((0.01, 0.04, 0.08, 0.15)),
            last_checkpoint_seconds=rng.choice((8.0, 8.0, 8.0, 8.0, 0.01)),
            slowest=rng.choice((0.002, 0.01)),
            idempotent=rng.random() < 0.5,
        ),
    )
    # Ticks alone move the time on where producers' stamps are believed only so far.
    if rng.random() < 0.2:
        plan = replace(plan, create_time=True, ticks=0.3)
    return replace(
        plan,
        cuts=rng.choice((0, 0, 1, 3)),
        watchdogs=rng.random() < 0.25,
        knobs=replace(plan.knobs, stop_seconds=rng.choice((10.0, 10.0, 0.03, 0.01))),
    )


def can_fail(label: str) -> bool:
    """Whether the point is a produce that may still go wrong."""
    return label.startswith("produce ") and not label.endswith(": acknowledged")


def chance(plan: Plan, rng: random.Random) -> Fate:
    """Crashes and failed produces at random."""
    left = plan.most_crashes

    def fate(number: int, worker: Worker, label: str) -> str:
        nonlocal left
        if left <= 0:
            return ""
        dice = rng.random()
        if dice < plan.crash_chance:
            left -= 1
            return "crash"
        if dice < plan.crash_chance + plan.fail_chance and can_fail(label):
            left -= 1
            return "fail"
        return ""

    return fate


def run(plan: Plan, fate: Fate | None = None) -> Result:
    """Run one schedule to its end and judge it. ``fate`` in place of chance: what becomes of each I/O point."""
    rng = random.Random(plan.seed)
    world = World(rng, plan.partitions, plan.knobs, fate or chance(plan, random.Random(rng.random())))
    world.late_share = plan.late_share
    world.create_time, world.watchdogs = plan.create_time, plan.watchdogs
    world.stops_joining = 0.3 if plan.pauses else 0.0
    with inside(world):
        _schedule(world, plan, rng)
        finish(world)
    return Result(
        world.failures,
        world.crashes,
        world.points,
        world.crashed_at,
        world.zombies,
        world.again,
        world.counts.compares,
        world.cuts,
        world.incomplete,
    )


def _schedule(world: World, plan: Plan, rng: random.Random) -> None:
    log = make(random.Random(plan.log_seed), plan.partitions, plan.length, plan.customers, plan.ticks, plan.new_books)
    for record, when in zip(log, sorted(rng.random() * _SPAN for _ in log), strict=True):
        world.feed(when, record)
    for _ in range(plan.workers):
        world.start_worker()

    def to_one(what: Callable[[Worker], None]) -> None:
        def happens() -> None:
            if world.workers:
                what(rng.choice(world.workers))

        world.at(rng.random() * _SPAN, happens)

    def stops(seconds: float) -> Callable[[Worker], None]:
        return lambda worker: world.pause(worker, seconds)

    for _ in range(plan.pauses):
        to_one(stops(rng.choice((0.05, 0.2, 0.4))))
    for _ in range(plan.stops):
        to_one(world.stop_worker)
    for _ in range(plan.joins):
        world.at(rng.random() * _SPAN, world.start_worker)
    zombies = plan.pauses or plan.late_share
    # `min.compaction.lag.ms` is longer than any zombie lives, and retention is longer by far.
    for _ in range(0 if zombies else plan.compactions):
        world.at(rng.random() * _SPAN * 1.5, lambda: world.compact(rng.random(), rng.random() < 0.5))
    for _ in range(0 if zombies else plan.cuts):
        world.at(rng.random() * _SPAN * 1.5, lambda: world.cut(rng.choice((0.3, 0.7, 1.0))))


def finish(world: World) -> None:
    """Let everything come to rest, stop in good order, read the state back from disk, and judge."""
    try:
        world.run(world.at_rest)
        world.calm = True  # what happens from here on is the judge's own doing
        host.LAST_CHECKPOINT_SECONDS = 8.0  # ``inside`` puts it back
        if not world.failures:
            for _ in range(2 if world.foreign else 0):
                _tick(world)  # the next checkpoint notices a zombie's state, and the one after it writes over it
            _compare_memory(world)
            while world.workers or world.restarting:
                world.run(world.at_rest)
                if world.failures:
                    return
                last = world.workers[-1]
                world.stop_worker(last, restart=False)
                world.run(partial(_is_dead, last))
        if not world.failures:
            for kind, what in judge(world):
                world.fail(kind, what)
        if not world.failures:
            world.compact(1.0, world.rng.random() < 0.5)
            world.start_worker()
            world.run(world.at_rest)
            _compare_memory(world)
    except Stuck as stuck:
        world.fail("STUCK", str(stuck))


def _is_dead(worker: Worker) -> bool:
    return worker.dead


def _tick(world: World) -> None:
    for number in range(world.partitions):
        world.tick(number)
    ends = {number: world.topics[EVENTS, number].end for number in range(world.partitions)}
    world.run(lambda: world.at_rest() and all(world.commits.get(n, 0) >= end for n, end in ends.items()))


def _compare_memory(world: World) -> None:
    for worker, partitions in world.group.members.items():
        for number in partitions:
            log = tuple(world.topics[EVENTS, number].records)
            found = state_of(worker.host._held[number].partition)
            if what := differences(found, expected(number, world.partitions, log).state):
                world.fail("STATE", f"events/{number}: {what}")


def crash_at(*numbers: int, otherwise: str = "crash") -> Fate:
    """A crash at each of these I/O points, counted from the beginning."""
    wanted = set(numbers)
    return lambda number, worker, label: otherwise if number in wanted else ""


def command(seed: int) -> str:
    """What repeats a random schedule."""
    return f"python -m tests.simulation --schedules 1 --seed {seed}"
