"""The world of a simulation: virtual time, the broker, the group, and the fate of every I/O point."""

from __future__ import annotations

import asyncio
import logging
import random
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from heapq import heappop, heappush
from operator import attrgetter
from typing import Any, NoReturn

import msgspec

from stream.core import partition as core_partition
from stream.core import state as core_state
from stream.core.filled import gaps, is_fill
from stream.core.state import Checkpoint
from stream.engine import delivery, fills, held, host, recovery, watchdog
from tests.simulation.client import Injected, SimReading
from tests.simulation.inputs import START_MS, Input
from tests.simulation.log import (
    CHANGES,
    CREATE_TIME,
    DEAD,
    EVENTS,
    LOG_APPEND_TIME,
    REJECTED,
    STATE,
    TopicPartition,
    Topics,
)
from tests.simulation.worker import SESSION, Counts, Killed, Worker

#: Virtual seconds after which a run must have come to rest.
LIMIT = 120.0
JOIN = 0.15
#: How often a worker looks at its own pulse, where it does.
BEAT = 0.01
FENCED = "fenced by its watchdog"
#: How far (ms) the clocks of producers are off, where their stamps count; the last is no time at all.
_CLOCKS = (0, 0, 0, 0, -700, 900, 3_000, 60_000, 3_600_000, -86_400_000, 2**62)
_WORKERS_CLOCKS = (0, 0, -400, 300)


@dataclass(frozen=True)
class Knobs:
    """Sizes that are thousands in the engine and have to be small for a small log; seconds are virtual."""

    batch: int = 2  # records of one produce
    fetch: int = 8  # records of one fetch, at most
    slice: int = 1  # customers between two pauses of a checkpoint
    sweep: int = 1
    in_flight: int = 2
    nearly: int = 5
    prefetch: int = 2
    tick_seconds: float = 0.0
    checkpoint_seconds: float = 0.05
    last_checkpoint_seconds: float = 8.0
    stop_seconds: float = 10.0
    slowest: float = 0.004  # s, of one request
    idempotent: bool = True  # the producer of state


class Stuck(Exception):
    """The run does not come to its end."""


@dataclass
class Group:
    """The coordinator of the consumer group."""

    world: World
    members: dict[Worker, set[int]] = field(default_factory=dict)
    generation: int = 0
    waiting: dict[Worker, None] = field(default_factory=dict)  # in an order that a seed repeats
    joining: bool = False
    round: int = 0

    def join(self, worker: Worker) -> None:
        """A worker wants partitions."""
        if not worker.dead:
            worker.behind = False
            self.members[worker] = set()
            self._rebalance(worker)

    def remove(self, worker: Worker) -> None:
        """A worker left, or its session is over."""
        if worker in self.members:
            del self.members[worker]
            self.waiting.pop(worker, None)
            self._rebalance(None)

    def joined(self, worker: Worker) -> None:
        """A worker has given up what it held."""
        if worker.dead:
            return
        if worker not in self.members:
            self.join(worker)
        else:
            if self.world.rng.random() < self.world.stops_joining:
                self.world.pause(worker, 0.3)  # the others may go on without it before it hears of its share
            self.waiting.pop(worker, None)
            self._assign_if_all_are_here()

    def commit(self, worker: Worker, offsets: Mapping[int, int]) -> bool:
        """Take a commit; False from whoever is no member of this generation or does not hold the partition."""
        if worker.generation != self.generation or not offsets.keys() <= self.members.get(worker, set()):
            return False
        for partition, offset in offsets.items():
            self.world.committed(partition, offset)
        return True

    def _rebalance(self, newcomer: Worker | None) -> None:
        if not self.joining:
            self.joining = True
            self.round += 1
            this = self.round
            self.waiting = {worker: None for worker in self.members if worker is not newcomer}
            for worker in list(self.waiting):
                self._tell(worker)
            self.world.at(self.world.now + JOIN, lambda: self._expire(this))
        self._assign_if_all_are_here()

    def _tell(self, worker: Worker) -> None:
        # Heartbeats say it; a stopped process hears nothing.
        this = self.round

        def heard() -> None:
            if self.joining and self.round == this and worker in self.waiting and not worker.loop.paused:
                worker.revoke()

        self.world.at(self.world.now + self.world.latency(), heard)

    def _expire(self, this: int) -> None:
        if self.joining and self.round == this:
            for worker in list(self.waiting):
                del self.members[worker]
                worker.behind = True
                self.world.zombies += 1
                if not worker.loop.paused:
                    self.world.learns(worker)
            self.waiting = {}
            self._assign_if_all_are_here()

    def _assign_if_all_are_here(self) -> None:
        if not self.joining or self.waiting:
            return
        self.joining = False
        self.generation += 1
        workers = sorted(self.members, key=lambda worker: worker.number)
        self.world.rng.shuffle(workers)
        for worker in workers:
            self.members[worker] = set()
        for partition in range(self.world.partitions):
            if workers:
                self.members[workers[partition % len(workers)]].add(partition)
        for worker in workers:
            worker.assign(set(self.members[worker]), self.generation)


#: (number of the point, worker, label) -> "" | "crash" | "fail"
Fate = Callable[[int, Worker, str], str]


class World:
    """Everything outside of the workers. ``run`` moves time on."""

    def __init__(self, rng: random.Random, partitions: int, knobs: Knobs, fate: Fate) -> None:
        self.rng, self.partitions, self.knobs, self.fate = rng, partitions, knobs, fate
        self.now = 0.0
        self.topics = Topics()
        self.group = Group(self)
        self.counts = Counts()
        self.workers: list[Worker] = []
        self.failures: list[tuple[str, str]] = []
        self.points: list[str] = []
        self.crashes = 0
        self.crashed_at: Counter[str] = Counter()
        self.again = 0  # changes that are on the topic more than once
        self.calm = False  # no more fates: what happens now is the judge's own doing
        self.foreign: set[tuple[str, int, int]] = set()  # topic, partition and offset of what no owner wrote
        self.cuts = 0  # offsets that retention has taken
        self.watchdogs = False  # whether workers that stood still for half a session end themselves
        self.incomplete = 0  # stops whose time was over before everything was written
        self.zombies = 0  # requests and workers that went on after a take-over
        self.unfed = 0
        self.for_events = 0  # requests of workers on their way into the log, of the dead too
        self.restarting = 0
        self.late_share = 0.0  # of the deaths, those after which requests still arrive
        self.create_time = False  # topics keep the stamps of who sends: the broker does not know LogAppendTime
        self.stops_joining = 0.0  # of the workers that gave up their share, those that then stand still
        self._recovering = False  # whether the last crash was in a recovery
        self._started = 0
        self._ever: list[Worker] = []
        self._sequence = 0
        self._agenda: list[tuple[float, int, Callable[[], object]]] = []
        self._arrivals: list[asyncio.Future[None]] = []
        self._log_ms = self._ceiling_ms = START_MS
        self.commits: dict[int, int] = {}

    # -- time -----------------------------------------------------------------------------------------------------

    def at(self, when: float, what: Callable[[], object]) -> None:
        """Let ``what`` happen at ``when`` (virtual s)."""
        self._sequence += 1
        heappush(self._agenda, (when, self._sequence, what))

    def latency(self) -> float:
        """How long (virtual s) a request takes."""
        return 0.0002 + self.rng.random() * self.knobs.slowest

    def run(self, until: Callable[[], bool]) -> None:
        """Go on until ``until``. Raises ``Stuck``."""
        steps = 0
        while True:
            steps += 1
            if self.failures or (steps % 16 == 0 and until()):
                return
            busy = [worker.loop for worker in self.workers if worker.loop.busy]
            for loop in busy:
                loop.run_ready()
                if loop.errors and not isinstance(loop.errors[0], Injected):
                    self.fail("ERROR", repr(loop.errors[0]))
            if busy:
                self.now += 1e-6
                while self._agenda and self._agenda[0][0] <= self.now:
                    heappop(self._agenda)[2]()
                continue
            if not self._agenda:
                if until():
                    return
                raise Stuck("nothing is left to happen")
            when, _, what = heappop(self._agenda)
            if when > LIMIT:
                raise Stuck(f"no rest after {LIMIT:g} s")
            self.now = max(self.now, when)
            what()

    def fail(self, kind: str, what: str) -> None:
        """Something that must not be."""
        self.failures.append((kind, what))

    # -- the broker -----------------------------------------------------------------------------------------------

    def feed(self, when: float, record: Input) -> None:
        """A producer sends ``record`` at ``when`` (virtual s)."""
        self.unfed += 1

        def arrive() -> None:
            self.unfed -= 1
            self._log_ms = max(self._log_ms, record.timestamp)
            self._ceiling_ms = record.next_timestamp
            part = self.topics[EVENTS, record.partition]
            stamp = record.timestamp
            if self.create_time and self._has_ticked(part) and not record.headers:
                stamp += self.rng.choice(_CLOCKS)
            part.append(stamp, [(record.key, record.value)], record.headers, self._timestamp_type)
            self._arrived()

        self.at(when, arrive)

    @staticmethod
    def _has_ticked(part: TopicPartition) -> bool:
        """Before its first tick a log has nothing to measure a producer's clock by: it is believed."""
        return any(header == ("fact", b"tick") for record in part.records for header in record.headers)

    @property
    def _timestamp_type(self) -> int:
        return CREATE_TIME if self.create_time else LOG_APPEND_TIME

    def append(
        self,
        worker: Worker,
        topic: str,
        partition: int,
        records: Sequence[tuple[bytes | None, bytes | None]],
        headers: Sequence[tuple[str, bytes]],
    ) -> int:
        """A worker's batch reaches the log."""
        if worker.dead or partition not in self.group.members.get(worker, ()):
            # No longer the owner: a crash had it in its sockets, or it could not wait for the end.
            self.zombies += 1
            self.foreign |= {(topic, partition, self.topics[topic, partition].end + n) for n in range(len(records))}
        if topic == EVENTS:
            # Somewhere between what was sent last and what will be next.
            self._log_ms += self.rng.choice((0, 1, max(0, self._ceiling_ms - self._log_ms) // 3))
        stamp = self._log_ms
        if topic == EVENTS and self.create_time:
            stamp += self.rng.choice(_WORKERS_CLOCKS)
        offset = self.topics[topic, partition].append(stamp, records, headers, self._timestamp_type)
        if topic == EVENTS:
            self._arrived()
        return offset

    def tick(self, partition: int) -> None:
        """Time is told at once, by nobody in particular."""
        part = self.topics[EVENTS, partition]
        part.append(self._log_ms, [(None, b"{}")], [("fact", b"tick")], self._timestamp_type)
        self._arrived()

    async def arrival(self, worker: Worker) -> None:
        """Wait until something new is in the log."""
        future = worker.loop.create_future()
        self._arrivals.append(future)
        await future

    def _arrived(self) -> None:
        waiting, self._arrivals = self._arrivals, []
        for future in waiting:
            if not future.done():
                future.set_result(None)

    def committed(self, partition: int, offset: int) -> None:
        """Nothing may be committed that the state on disk does not cover."""
        checkpoint = self._checkpoint(partition)
        covered = -1 if checkpoint is None else checkpoint.position
        if offset > covered + 1:
            self.fail("COMMIT", f"events/{partition}: {offset} is committed, but state covers only {covered + 1}")
        self.commits[partition] = offset

    def _checkpoint(self, partition: int) -> Checkpoint | None:
        """The one that a recovery would go by."""
        found = (
            msgspec.msgpack.decode(record.value, type=Checkpoint)
            for record in self.topics[STATE, partition].records
            if record.key == b"p" and record.value is not None
        )
        return max(found, key=attrgetter("position"), default=None)

    # -- fates ----------------------------------------------------------------------------------------------------

    def point(self, worker: Worker, label: str) -> str:
        """A worker comes to an I/O point: what becomes of it. A crash has happened when this returns."""
        if worker.dead or self.calm:
            return ""
        self.points.append(label)
        fate = self.fate(len(self.points) - 1, worker, label)
        if fate == "crash":
            self.crash(worker, label)
        return fate if fate != "fail" or label.startswith("produce ") else ""

    def crash(self, worker: Worker, where: str) -> None:
        """kill -9, and a new process after a while."""
        if worker.dead:
            return
        self.crashes += 1
        self.crashed_at[where] += 1
        for situation in self._situations(worker, where):
            self.crashed_at[situation] += 1
        worker.late = self.rng.random() < self.late_share
        self._gone(worker)
        self.at(self.now + SESSION, lambda: self.group.remove(worker))
        self._restart()

    def _situations(self, worker: Worker, where: str) -> Iterator[str]:
        """What a crash comes in the middle of."""
        recovering = worker.delivery.epoch < 0 and where.startswith(("read ", "ask "))
        if recovering and self._recovering:
            yield "in a second recovery"
        self._recovering = recovering
        for held_ in worker.host._held.values():
            cp = held_._checkpointer
            if held_._left:
                yield "while a replay catches up"
            if cp.active:
                if where == "produce state checkpoint: before":
                    yield "before a checkpoint's last record"
                elif where.startswith("produce state: "):
                    yield "in the middle of a checkpoint"
                elif where.startswith("produce segment-changes: "):
                    yield "between changes and state"

    def left(self, worker: Worker, complete: bool) -> None:
        """A worker has stopped in good order; not ``complete``: without what it had no time to write."""
        self.incomplete += not complete
        if worker.state_writes.on_their_way:
            worker.late = self.rng.random() < self.late_share
        self._gone(worker)
        self.group.remove(worker)

    def _gone(self, worker: Worker) -> None:
        worker.loop.kill()
        self.workers = [other for other in self.workers if other is not worker]

    def _restart(self) -> None:
        self.restarting += 1

        def start() -> None:
            self.restarting -= 1
            self.start_worker()

        self.at(self.now + self.rng.choice((0.01, 0.05, 0.2)), start)

    def start_worker(self) -> Worker:
        """A new process."""
        self._started += 1
        worker = Worker(self, self._started)
        self.workers.append(worker)
        self._ever.append(worker)
        self.at(self.now + self.latency(), lambda: self.group.join(worker))
        return worker

    def stop_worker(self, worker: Worker, restart: bool = True) -> None:
        """SIGTERM."""
        if not worker.dead and not worker.loop.paused and not worker.revoking and not self.group.joining:
            worker.loop.spawn(worker.leave())
            if restart:
                self._restart()

    def pause(self, worker: Worker, seconds: float) -> None:
        """SIGSTOP, and SIGCONT after ``seconds``: longer than the session, and others have taken over."""
        if worker.dead or worker.loop.paused:
            return
        worker.loop.paused = True

        def over() -> None:
            if worker.loop.paused and worker in self.group.members:
                worker.behind = True
                self.zombies += 1
                self.group.remove(worker)

        def go_on() -> None:
            worker.loop.paused = False
            if self.watchdogs and self.rng.random() < 0.5:  # its thread runs first
                worker.loop.call_soon(worker.watchdog.check)
            if worker.behind:
                self.learns(worker)
            elif self.group.joining and worker in self.group.waiting:
                self.group._tell(worker)
            elif worker.unheard is not None and worker.unheard[1] == self.group.generation:
                worker.assign(*worker.unheard)

        if seconds > SESSION:
            self.at(self.now + SESSION, over)
        self.at(self.now + seconds, go_on)

    def learns(self, worker: Worker) -> None:
        """A worker that was left behind hears of it after a while, and ends or joins again."""

        def hears() -> None:
            if worker.dead or not worker.behind:
                return
            if worker.loop.paused:
                self.at(self.now + 0.05, hears)
                return
            worker.behind = False
            if self.rng.random() < 0.5:
                self.crash(worker, "fenced")
            else:
                worker.revoke()

        self.at(self.now + self.rng.random() * 0.1, hears)

    def compact(self, until_share: float, tombstones: bool) -> None:
        """The broker's cleaner goes over the changelog, up to its last part."""
        for partition in range(self.partitions):
            part = self.topics[STATE, partition]
            part.compact(int(part.end * until_share), tombstones)

    def cut(self, share: float) -> None:
        """The brokers' retention takes the oldest records, as far as it may: what the state on disk covers.

        Not while windows are filled from the log, from the reading up to the checkpoint behind the fact: a replay that
        finds less says less.
        """
        for partition in range(self.partitions):
            covered = self._checkpoint(partition)
            if covered is not None and not self._filling(partition, covered.position):
                for topic, until in ((EVENTS, covered.position + 1), (CHANGES, covered.changes)):
                    part = self.topics[topic, partition]
                    self.cuts += part.cut(part.beginning + int((until - part.beginning) * share))
            for topic in (REJECTED, DEAD):  # which no worker reads
                self.topics[topic, partition].cut(self.topics[topic, partition].end)

    def _filling(self, partition: int, covered: int) -> bool:
        log = self.topics[EVENTS, partition].read(covered + 1, self.topics[EVENTS, partition].end)
        # Before a new book has been met, nobody reads for it.
        return any(is_fill(record) for record in log) or any(
            self._unfilled(worker.host._held[partition]) for worker in self.workers if partition in worker.host._held
        )

    @staticmethod
    def _unfilled(one: held.Held) -> bool:
        edition = one.partition.membership.edition
        return edition is not None and one._filled != edition.number and bool(gaps(edition, one.partition.log_time))

    def bury(self) -> None:
        """The end of the simulation."""
        self.calm = True
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # of tasks that died before their first step
            while self._ever:
                self._ever.pop().loop.bury()

    # -- rest -----------------------------------------------------------------------------------------------------

    def at_rest(self) -> bool:
        """Everything is fed and processed, and nobody is about to say anything."""
        if self.unfed or self.for_events or self.restarting or self.group.joining or not self.group.members:
            return False
        if any(w.loop.paused or w.behind or w.revoking for w in self.workers):
            return False
        for worker, partitions in self.group.members.items():
            holds = worker.host._held
            if worker.dead or worker.delivery.epoch < 0 or not worker.flow.idle or holds.keys() != partitions:
                return False
            for number, one in holds.items():
                behind = one.partition.position + 1 != self.topics[EVENTS, number].end
                if (
                    behind
                    or self._unfilled(one)
                    or one.partition.membership.sweeping
                    or one._left
                    or one._lock.locked()
                ):
                    return False
        return True


class _Time:
    """Virtual time for the modules that would look at a clock."""

    def __init__(self, world: World) -> None:
        self._world = world

    def monotonic(self) -> float:
        return self._world.now

    perf_counter = time = monotonic


def _die(reason: str, error: BaseException | None = None) -> NoReturn:
    loop: Any = asyncio._get_running_loop()
    if loop is not None:
        loop.owner.die(reason, error)
    raise Killed(reason)


def _fenced(reason: str) -> NoReturn:
    """The watchdog's ``die``: that it comes is the fault's doing."""
    loop: Any = asyncio.get_running_loop()
    loop.owner.world.crash(loop.owner, FENCED)
    raise Killed(reason)


class _NoCollector:
    @staticmethod
    def freeze() -> None:
        """A process of thousands of simulations must not keep them all."""


_book_of: Any = lru_cache(maxsize=64)(core_partition.book_of)


@contextmanager
def inside(world: World) -> Iterator[None]:
    """The engine's modules as they are in this world: its time, its ends of processes, its small sizes."""
    knobs = world.knobs
    clock = _Time(world)
    changes: list[tuple[Any, str, Any]] = [
        *((module, "time", clock) for module in (held, host, recovery, fills, watchdog)),
        (host, "die", _die),
        (delivery, "die", _die),
        (watchdog, "die", _fenced),
        (watchdog, "_BEAT", BEAT),
        (host, "gc", _NoCollector),
        (host, "LAST_CHECKPOINT_SECONDS", knobs.last_checkpoint_seconds),
        (held, "SLICE", knobs.slice),
        (held, "SWEEP", knobs.sweep),
        (held, "IN_FLIGHT", knobs.in_flight),
        (held, "NEARLY", knobs.nearly),
        (fills, "Reading", SimReading),
        (core_partition, "book_of", _book_of),
        (core_state, "book_of", _book_of),
    ]
    before = [(module, name, getattr(module, name)) for module, name, _ in changes]
    for module, name, value in changes:
        setattr(module, name, value)
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        world.bury()
        logging.disable(logging.NOTSET)
        for module, name, value in before:
            setattr(module, name, value)
