"""P1 and P2 where the log loses its beginning, as it does all the time."""

from __future__ import annotations

import logging
import random
from dataclasses import replace

import pytest

from stream.core.filled import filled_of, is_fill
from tests.simulation import books
from tests.simulation.inputs import START_MS, Input, event
from tests.simulation.log import EVENTS
from tests.simulation.schedule import Plan, crash_at, finish, run
from tests.simulation.worker import SETTINGS, Worker
from tests.simulation.world import Fate, Knobs, World, inside

DEFINITIONS, TICK = (("fact", b"definitions"),), (("fact", b"tick"),)


def test_what_retention_has_taken_changes_nothing() -> None:
    """Crashes, new books that are filled from what is left, and a log whose beginning goes as far as it may."""
    taken = 0
    for seed in range(150):
        plan = Plan(seed, seed, length=40, new_books=0.15, cuts=3, crash_chance=0.01, most_crashes=3, stops=1)
        result = run(replace(plan, knobs=Knobs(fetch=3, checkpoint_seconds=0.02)))
        assert not result.failures, f"{plan}: {result.failures[0]}"
        taken += result.cuts
    assert taken > 1_000


def _shortened(fate: Fate, stamps: tuple[int, ...], kept: int) -> World:
    """A log of events ``stamps`` ms after its start, of which offsets below ``kept`` go; then a book that is filled."""
    rng = random.Random(1)
    world = World(rng, 1, Knobs(checkpoint_seconds=0.01), fate)
    world.feed(0.0, Input(0, START_MS, START_MS, None, books.fact(books.FIRST), DEFINITIONS))
    for number, stamp in enumerate(stamps):
        at = START_MS + stamp
        world.feed(0.01, Input(0, at, at, b"c0", event(rng, "c0", at, f"e{number}")))
    end = START_MS + max(stamps)
    world.at(0.2, lambda: world.topics[EVENTS, 0].cut(kept))
    world.feed(0.3, Input(0, end, end, None, books.fact(books.BOOKS[1]), DEFINITIONS))
    world.feed(0.3, Input(0, end, end, None, b"{}", TICK))
    return world


def _fills(world: World) -> list[int]:
    """From which offsets windows were filled."""
    found = (filled_of(record.value) for record in world.topics[EVENTS, 0].records if is_fill(record))
    return [fact.first for fact in found if fact is not None]


def test_a_fill_claims_nothing_about_what_another_leader_stamped() -> None:
    """A leader whose clock was ahead stamped what is gone: the stamps of the next one do not tell since when."""
    ahead = SETTINGS.clock_skew // 1000 - 1_000
    world = _shortened(crash_at(), (ahead, 0, 10, 600_000), kept=2)
    with inside(world):
        world.start_worker()
        finish(world)
    assert _fills(world) == [2]
    assert not world.failures


def test_a_fill_whose_beginning_is_gone_when_it_is_met_again_says_so_and_goes_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """What retention takes between the fact and the checkpoint behind it, a replay cannot read: the worker warns."""

    def fate(number: int, worker: Worker, label: str) -> str:
        if label == "produce events: acknowledged" and worker.number == 1:
            worker.world.topics[EVENTS, 0].cut(3)
            return "crash"
        return ""

    world = _shortened(fate, (0, 10, 20, 30), kept=0)
    with inside(world):
        logging.disable(logging.NOTSET)
        world.start_worker()
        world.run(world.at_rest)
    assert _fills(world) == [0]
    assert not world.failures
    assert "what retention has removed they miss" in caplog.text
