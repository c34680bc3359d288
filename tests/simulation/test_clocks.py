"""Where a broker keeps the stamps of who sends, the wrong clock of a producer changes nothing but its own records."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace

import msgspec
import orjson

from tests.simulation import books
from tests.simulation.asking import decided
from tests.simulation.inputs import START_MS, Input
from tests.simulation.log import CHANGES, EVENTS
from tests.simulation.schedule import command, crash_at, finish, random_plan, run
from tests.simulation.world import Knobs, World, inside

MINUTE = 60_000


def added(name: str, minute: int, clock: int = 0) -> Input:
    """Something is put into a cart at ``minute``, by a producer whose clock says ``clock`` minutes more."""
    at = START_MS + minute * MINUTE
    value = {"customer_id": name, "event_type": "add_to_cart", "product_id": "A", "price": 1, "event_id": f"{minute}"}
    stamp = at + clock * MINUTE
    return Input(0, stamp, stamp, None, msgspec.json.encode({**value, "timestamp": stamp - MINUTE}))


def fact(kind: bytes, minute: int, value: bytes = b"{}") -> Input:
    at = START_MS + minute * MINUTE
    return Input(0, at, at, None, value, (("fact", kind),))


def test_a_fill_does_not_begin_with_a_producers_clock() -> None:
    """But with a tick: what a clock two hours ahead has dated into the future, log and fill refuse both."""
    log = [
        fact(b"definitions", 0, books.fact(books.FIRST)),
        fact(b"tick", 0),
        added("ahead", 1, clock=119),
        added("ahead", 2, clock=119),
        fact(b"tick", 60),
        fact(b"tick", 70),
        added("right", 70),
        added("right", 71),
        fact(b"tick", 105),
        fact(b"definitions", 105, books.fact(books.BOOKS[1])),
    ]
    world = World(random.Random(1), 1, Knobs(), crash_at())
    world.create_time = True
    with inside(world):
        for number, record in enumerate(log):
            world.feed(number * 0.01, record)
        world.start_worker()
        finish(world)
    assert not world.failures
    stored = world.topics[EVENTS, 0].records
    (filled,) = [orjson.loads(r.value or b"") for r in stored if dict(r.headers).get("fact") == b"filled"]
    assert filled["first"] == 4, "the tick after what was two hours ahead"
    assert (START_MS + 60 * MINUTE) * 1000 <= filled["since"] < (START_MS + 61 * MINUTE) * 1000
    said = [decided(record.value or b"") for record in world.topics[CHANGES, 0].records]
    assert [(s.customer, s.action) for s in said if s.segment == "busy"] == [("right", "entered")]


def test_random_schedules_over_producers_clocks() -> None:
    """Stamps a day behind, an hour ahead, beyond every calendar; crashes, fills and moves as in the other schedules."""
    met: Counter[str] = Counter()
    for seed in range(360):
        result = run(replace(random_plan(seed), create_time=True, ticks=0.3))
        assert not result.failures, f"{result.failures[0]}\n  nearly: {command(seed)}"
        met["crashes"] += result.crashes
        met["compared"] += result.compared
    assert met["crashes"] > 300 and met["compared"] > 300
