"""A deliverer's lanes, doorkeeper and ledger in one process, killed at any await: order, loss, the final state.

Among what is asked for again are erasures that were given up: they delete nothing that was delivered since.

The ledger's store outlives the processes, as a Redis does. The platform keeps what it is told, answered or not.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import chain, repeat, takewhile
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.changes import ERASED, Change, Origin
from connectors.lanes import Lanes, Parcel
from connectors.ledger import Known, Ledger, Mark, Verdict
from connectors.ledgerstore import MemoryStore
from connectors.progress import Progress
from connectors.taking_in import Doorkeeper

LIVE, AGAIN = "changes", "again"
FATES = ("deliver", "lost", "fail", "split", "refuse")
"""What becomes of an attempt; `lost`: the platform applied it, and the answer did not arrive."""


KINDS = ("live", "erase", "replay", "resync", "erase again", "erase after all")


def at(offset: int) -> str:
    return f"2026-01-02T03:{offset // 60:02}:{offset % 60:02}Z"


@dataclass
class World:
    """What outlives a process: the topics, the commits, the ledger's store; and the platform."""

    logs: Mapping[str, Sequence[Change]]
    committed: dict[str, tuple[int, str]] = field(default_factory=lambda: {LIVE: (0, ""), AGAIN: (0, "")})
    store: MemoryStore = field(default_factory=MemoryStore)
    dead: set[str] = field(default_factory=set)
    applied: set[str] = field(default_factory=set)
    held: dict[tuple[str, str], int] = field(default_factory=dict)
    furthest: dict[str, int] = field(default_factory=lambda: defaultdict(lambda: -1))
    forgotten: dict[str, str] = field(default_factory=dict)
    deleted: set[tuple[str, str]] = field(default_factory=set)
    """Customers and segments that went with an erasure of which that was meant, and did not come again."""

    def apply(self, change: Change) -> None:
        """The law of order: of one customer nothing that is live goes back, and nothing forgotten returns."""
        customer = change.customer_id
        if change.origin == "live":
            assert change.offset >= self.furthest[customer], f"{change.id} after offset {self.furthest[customer]}"
            self.furthest[customer] = change.offset
        elif change.action != ERASED:
            assert change.at > self.forgotten.get(customer, ""), f"{change.id} of somebody who was forgotten"
        self.applied.add(change.id)
        if change.action == ERASED:
            self.forgotten[customer] = max(change.at, self.forgotten.get(customer, ""))
            gone = {place for place in self.held if place[0] == customer}
            if change.even_if_returned:
                self.deleted |= gone
            self.held = {place: sequence for place, sequence in self.held.items() if place not in gone}
        else:
            self.held[customer, change.segment] = change.sequence
            self.deleted.discard((customer, change.segment))


class Remote:
    """The store as a process has it: behind a network, before and after whose every answer it may be killed."""

    def __init__(self, process: Process) -> None:
        self._process, self._store = process, process.world.store

    async def adopt(self, committed: Mapping[int, int], ends: Mapping[int, int]) -> Mapping[int, int]:
        return await self._store.adopt(committed, ends)

    async def rebuilt(self, partition: int, deliveries: int, committed: int) -> None:
        await self._store.rebuilt(partition, deliveries, committed)

    async def look(self, wanted: Sequence[Change]) -> Sequence[Known]:
        await self._process.step()
        known = await self._store.look(wanted)
        await self._process.step()
        return known

    async def mark(self, marks: Sequence[Mark]) -> None:
        await self._process.step()
        await self._store.mark(marks)
        await self._process.step()

    async def note(self, committed: Mapping[int, int]) -> None:
        await self._store.note(committed)


@dataclass
class Plan:
    """How one process goes: killed at a step (0: never), what it reads at once, and what its attempts come to."""

    killed_at: int
    fetches: Sequence[tuple[int, int]]
    fates: Sequence[str]


class Process:
    """Composes the parts as the deliverer does."""

    def __init__(self, world: World, plan: Plan, *, coalesce: bool, batch_size: int, concurrency: int) -> None:
        self.world = world
        self._plan = plan
        self._concurrency = concurrency
        self._fates = chain(plan.fates, repeat("deliver"))
        self._steps = 0
        self._over = asyncio.Event()
        self._broken: BaseException | None = None
        self._lanes = Lanes(batch_size=batch_size, coalesce=coalesce)
        self._ledger = Ledger(Remote(self), self._rebuild, changed=lambda: None)
        self._doorkeeper = Doorkeeper(self._ledger)
        self._progress = {topic: Progress(*mark) for topic, mark in world.committed.items()}
        self._next = {topic: offset for topic, (offset, _) in world.committed.items()}
        self._unfinished = sum(len(log) - self._next[topic] for topic, log in world.logs.items())
        self._tasks: set[asyncio.Task[None]] = set()
        self._flying = 0
        self._now = 0.0

    async def run(self) -> bool:
        """True if it came to the end of everything, False if it was killed. Raises what breaks a law."""
        await self._ledger.adopt({0: self.world.committed[LIVE][0]}, {0: len(self.world.logs[LIVE])})
        self._spawn(self._read())
        self._spawn(self._commit())
        async with asyncio.timeout(20):
            await self._over.wait()
        mine = asyncio.current_task()
        others = [task for task in asyncio.all_tasks() if task is not mine]
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        if self._broken is not None:
            raise self._broken
        return not self._unfinished

    async def step(self) -> None:
        """Where the process may be killed: then nothing of it goes on."""
        self._steps += 1
        if self._steps == self._plan.killed_at:
            self._over.set()
        if self._over.is_set():
            await asyncio.Event().wait()
        await asyncio.sleep(0)

    async def _rebuild(self, starts: Mapping[int, int], committed: Mapping[int, int]) -> None:
        for partition in starts:
            await self.world.store.rebuilt(partition, 0, 0)

    def _spawn(self, work: object) -> None:
        task: asyncio.Task[None] = asyncio.get_running_loop().create_task(work)  # type: ignore[arg-type]
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            self._broken = self._broken or task.exception()
            self._over.set()

    async def _read(self) -> None:
        for live, again in chain(self._plan.fetches, repeat((3, 1))):
            await self.step()
            changes = [*self._fetch(LIVE, live), *self._fetch(AGAIN, again)]
            verdicts = await self._doorkeeper.verdicts(changes)
            for change, verdict in zip(changes, verdicts, strict=True):
                if self._doorkeeper.admit(change, verdict) is Verdict.SEND:
                    self._lanes.add(change, self._now)
                else:
                    self._account(change)
            self._end_superseded()
            self._pump()

    def _fetch(self, topic: str, count: int) -> list[Change]:
        start = self._next[topic]
        read = list(takewhile(self._is_written, self.world.logs[topic][start : start + count]))
        self._next[topic] += len(read)
        fresh = [change for change in read if self._progress[topic].read(change.offset)]
        for change in [one for one in fresh if self._is_of_no_dead_letter(one)]:
            self._progress[topic].finish(change.offset)
            fresh.remove(change)
        self._unfinished -= len(read) - len(fresh)
        self._look_whether_all_ended()
        return fresh

    def _is_written(self, one: Change) -> bool:
        """Nobody asks for an erasure again before it has ended."""
        if not self._is_of_no_dead_letter(one):
            return True
        offset = next(live.offset for live in self.world.logs[LIVE] if live.id == one.id)
        return offset < self._progress[LIVE].first_unfinished()

    def _is_of_no_dead_letter(self, one: Change) -> bool:
        return one.topic == AGAIN and one.action == ERASED and one.id not in self.world.dead

    async def _commit(self) -> None:
        while True:
            await self.step()
            await self.step()
            marks = {topic: progress.mark() for topic, progress in self._progress.items()}
            await self.step()
            self.world.committed = marks
            await self.step()
            self._lanes.committed({0: marks[LIVE][0]})

    def _pump(self) -> None:
        self._now += 1.0
        while self._flying < self._concurrency and (parcel := self._lanes.take(self._now)) is not None:
            self._flying += 1
            self._spawn(self._attempt(parcel))
        self._end_superseded()

    async def _attempt(self, parcel: Parcel) -> None:
        await self.step()
        if parcel.untold:
            await self._ledger.begin(parcel.to_tell())
            parcel.untold = frozenset()
        fate = next(self._fates)
        if fate == "refuse" and any(one.action == ERASED and one.id in self.world.applied for one in parcel.changes):
            fate = "fail"  # who has forgotten somebody does not refuse to
        await self.step()
        if fate in ("deliver", "lost"):
            for change in parcel.changes:
                self.world.apply(change)
        await self.step()
        match fate:
            case "deliver":
                for change in parcel.changes:
                    self._ledger.mark(change, partial(self._finish, change, sent=True))
            case "refuse":
                for change in parcel.changes:
                    self.world.dead.add(change.id)
                    await self.step()
                    self._finish(change, sent=False)
            case "split" if len(parcel.changes) > 1:
                self._lanes.split(parcel, parcel.changes, self._now)
            case _:
                self._lanes.park(parcel.part(parcel.changes), self._now)
        self._flying -= 1
        self._pump()

    def _finish(self, change: Change, *, sent: bool) -> None:
        self._lanes.finish(change, sent=sent)
        self._ended_for_good(change)
        self._end_superseded()
        self._pump()

    def _end_superseded(self) -> None:
        for change in self._lanes.superseded():
            self._ended_for_good(change)

    def _ended_for_good(self, change: Change) -> None:
        self._doorkeeper.ended(change)
        self._account(change)

    def _account(self, change: Change) -> None:
        self._progress[change.topic].finish(change.offset)
        self._unfinished -= 1
        self._look_whether_all_ended()

    def _look_whether_all_ended(self) -> None:
        if not self._unfinished and all(self._next[topic] == len(log) for topic, log in self.world.logs.items()):
            self._over.set()


def written(facts: Sequence[tuple[str, str, str, int]]) -> Mapping[str, Sequence[Change]]:
    """The topics: live changes numbered per customer, anew after an erasure, and what is asked for again of them."""
    logs: dict[str, list[Change]] = {LIVE: [], AGAIN: []}
    sequences: dict[str, int] = defaultdict(int)
    for kind, customer, segment, chosen in facts:
        offset = len(logs[LIVE])
        if kind == "erase":
            sequences[customer] = 0
            fields = (f"{customer}-erased@{offset}", customer, "", ERASED, at(offset), 0)
            logs[LIVE].append(Change(*fields, b"", 0, offset, topic=LIVE))
        elif kind == "live":
            sequences[customer] += 1
            sequence = sequences[customer]
            fields = (f"{customer}-{sequence}{segment}@{offset}", customer, segment, "entered", at(offset), sequence)
            logs[LIVE].append(Change(*fields, b"", 0, offset, topic=LIVE))
        elif kind.startswith("erase"):
            erasures = [one for one in logs[LIVE] if one.action == ERASED]
            if erasures:
                of, place = erasures[chosen % len(erasures)], len(logs[AGAIN])
                meant = kind == "erase after all"
                logs[AGAIN].append(replace(of, offset=place, origin="replay", topic=AGAIN, even_if_returned=meant))
        elif changes := [one for one in logs[LIVE] if one.action != ERASED]:
            of = changes[chosen % len(changes)]
            place, origin = len(logs[AGAIN]), _origin(kind)
            fields = (f"{of.id}-{kind}{place}", of.customer_id, of.segment, "entered", of.at, of.sequence)
            logs[AGAIN].append(Change(*fields, b"", 0, place, origin=origin, topic=AGAIN))
    return logs


def _origin(kind: str) -> Origin:
    return "resync" if kind == "resync" else "replay"


def judge(world: World, *, coalesce: bool) -> None:
    """Nothing is lost, and every state is the truth, but for what is in the dead letters."""
    log = world.logs[LIVE]
    later: dict[tuple[str, str], Change] = {}
    erased: set[str] = set()
    overtaken: dict[tuple[str, str], str] = defaultdict(str)
    for one in world.logs[AGAIN]:
        if one.id in world.applied:
            overtaken[one.customer_id, one.segment] = max(overtaken[one.customer_id, one.segment], one.at)
    for change in reversed(log):
        customer, place = change.customer_id, (change.customer_id, change.segment)
        if change.id in world.applied | world.dead or customer in erased or change.at <= overtaken[place]:
            pass
        elif change.action == ERASED or not coalesce:
            raise AssertionError(f"{change.id} is lost")
        else:
            assert place in later, f"{change.id} is lost"
        if change.action == ERASED:
            erased.add(customer)
        elif customer not in erased:
            later.setdefault(place, change)
    for place, newest in later.items():
        if newest.id not in world.dead and place not in world.deleted:
            assert world.held.get(place) == newest.sequence, f"{newest.id} is not what the platform has"


def outlive(
    facts: Sequence[tuple[str, str, str, int]],
    plans: Sequence[Plan],
    *,
    coalesce: bool,
    batch_size: int,
    concurrency: int,
) -> None:
    """One process after the other, the last of which nobody kills."""
    world = World(written(facts))

    async def run() -> None:
        for plan in (*plans, Plan(0, (), ())):
            process = Process(world, plan, coalesce=coalesce, batch_size=batch_size, concurrency=concurrency)
            if await process.run():
                return

    asyncio.run(run())
    judge(world, coalesce=coalesce)


facts = st.lists(
    st.tuples(
        st.sampled_from(["live"] * 8 + ["erase", "replay", "resync", "erase again", "erase after all"]),
        st.sampled_from("ab"),
        st.sampled_from("xyz"),
        st.integers(0, 100),
    ),
    min_size=1,
    max_size=24,
)
plans = st.lists(
    st.builds(
        Plan,
        killed_at=st.integers(1, 120),
        fetches=st.lists(st.tuples(st.integers(0, 6), st.integers(0, 2)), max_size=8),
        fates=st.lists(st.sampled_from(FATES), max_size=12),
    ),
    max_size=4,
)


@settings(max_examples=300, deadline=None)
@given(facts, plans, st.booleans(), st.integers(1, 3), st.integers(1, 3))
def test_whatever_is_killed_no_customer_s_state_goes_back_and_nothing_is_lost(
    facts: list[tuple[str, str, str, int]], plans: list[Plan], coalesce: bool, batch_size: int, concurrency: int
) -> None:
    """Whatever of it was answered; batches, failures, refusals, erasures and redeliveries included."""
    outlive(facts, plans, coalesce=coalesce, batch_size=batch_size, concurrency=concurrency)


@pytest.mark.parametrize("block", range(4))
def test_in_long_schedules_of_few_customers_the_same_holds(block: int) -> None:
    """Where much happens to one customer: what generated examples seldom come to. Another thousand per block."""
    for seed in range(1_000 * block, 1_000 * (block + 1)):
        draw = Random(seed)
        kinds = (8, *(draw.choice(counts) for counts in ((0, 1, 3), (0, 1), (0, 1), (0, 2), (0, 0, 1))))
        customers, segments = draw.choice(("a", "a", "ab")), draw.choice(("x", "xy", "xyz"))
        facts = [
            (kind, draw.choice(customers), draw.choice(segments), draw.randrange(100))
            for kind in draw.choices(KINDS, kinds, k=draw.randint(3, 22))
        ]
        ends = (draw.choice((1, 3)), draw.choice((0, 1, 4)), draw.choice((0, 1)), draw.choice((0, 1)))
        fates = (*ends, draw.choice((0, 1, 2)) + kinds[4])  # what was refused can be asked for again
        plans = [
            Plan(
                draw.randint(2, draw.choice((40, 120))),
                [(draw.choice((0, 0, 1, 2, 5)), draw.choice((0, 0, 1))) for _ in range(draw.randint(0, 25))],
                draw.choices(FATES, fates, k=draw.randint(0, 14)),
            )
            for _ in range(draw.randint(1, 5))
        ]
        coalesce, batch_size, concurrency = draw.random() < 0.75, draw.randint(1, 3), draw.randint(1, 3)
        try:
            outlive(facts, plans, coalesce=coalesce, batch_size=batch_size, concurrency=concurrency)
        except AssertionError as error:
            raise AssertionError(f"seed {seed}: {error}") from error
