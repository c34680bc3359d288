"""Hypothesis drives the world: it finds the shortest story where a schedule would find any."""

from __future__ import annotations

import random

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from tests.simulation import books
from tests.simulation.inputs import POISON, START_MS, Input, event
from tests.simulation.schedule import finish
from tests.simulation.worker import Worker
from tests.simulation.world import Knobs, World, inside


class Story(RuleBasedStateMachine):
    """One partition; whatever happens, in the end the log has been heard and nothing else was said."""

    def __init__(self) -> None:
        super().__init__()
        self.at = START_MS
        self.count = 0
        self.crash_next = ""

    @initialize(seed=st.integers(0, 2**32), workers=st.integers(1, 3))
    def begin(self, seed: int, workers: int) -> None:
        self.rng = random.Random(seed)
        self.world = World(self.rng, 1, Knobs(fetch=3, batch=2), self.fate)
        self.world.late_share = 0.3
        self.inside = inside(self.world)
        self.inside.__enter__()
        self.send(books.fact(books.FIRST), b"definitions")
        for _ in range(workers):
            self.world.start_worker()

    def fate(self, number: int, worker: Worker, label: str) -> str:
        if self.crash_next and self.crash_next in label:
            self.crash_next = ""
            return "crash"
        return ""

    def send(self, value: bytes | None, kind: bytes | None = None) -> None:
        self.count += 1
        headers = (("fact", kind),) if kind else ()
        self.world.feed(self.world.now, Input(0, self.at, self.at, None, value, headers))

    @rule(minutes=st.sampled_from((0, 0, 1, 6, 35, 130)))
    def time_passes(self, minutes: int) -> None:
        self.at += minutes * 60_000
        self.send(b"{}", b"tick")

    @rule(name=st.sampled_from(("c0", "c1")), again=st.booleans())
    def something_happens(self, name: str, again: bool) -> None:
        value = event(self.rng, name, self.at, f"e{self.count}")
        for _ in range(2 if again else 1):
            self.send(value)

    @rule(value=st.sampled_from(POISON))
    def poison(self, value: bytes | None) -> None:
        self.send(value)

    @rule(book=st.sampled_from(books.BOOKS))
    def a_new_book(self, book: dict[str, object]) -> None:
        self.send(books.fact(book), b"definitions")

    @rule(milliseconds=st.sampled_from((1, 5, 20, 100)))
    def the_workers_go_on(self, milliseconds: int) -> None:
        end = self.world.now + milliseconds / 1000
        self.world.at(end, lambda: None)
        self.world.run(lambda: self.world.now >= end)
        assert not self.world.failures, self.world.failures

    @rule(
        where=st.sampled_from(("produce segment-changes: not", "produce state", "checkpoint: before", "commit", "read"))
    )
    def a_crash_is_near(self, where: str) -> None:
        self.crash_next = where

    @rule(seconds=st.sampled_from((0.03, 0.3)), number=st.integers(0, 2))
    def a_worker_stands_still(self, seconds: float, number: int) -> None:
        if self.world.workers:
            self.world.pause(self.world.workers[number % len(self.world.workers)], seconds)

    @rule(number=st.integers(0, 2))
    def a_worker_is_restarted(self, number: int) -> None:
        if self.world.workers:
            self.world.stop_worker(self.world.workers[number % len(self.world.workers)])

    def teardown(self) -> None:
        if not hasattr(self, "world"):
            return
        try:
            finish(self.world)
            assert not self.world.failures, self.world.failures
        finally:
            self.inside.__exit__(None, None, None)


Story.TestCase.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
TestStory = Story.TestCase
