"""Everything that one contestant's matrix runs on: broker, doors, workers, load, eyes, and for ours the deliverer."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import random
import shutil
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from stream.embedded.kafka import CACHE
from stream.embedded.process import free_ports, scratch
from tests.faults.broker import Broker
from tests.faults.contestants import PARTITIONS, Contestant
from tests.faults.disk import mounted
from tests.faults.fleet import ROOT, Ended, Slot
from tests.faults.load import Load, Sender
from tests.faults.mailer import Platform
from tests.faults.proxy import Proxy
from tests.faults.waiting import until
from tests.faults.watch import Watch

SLOTS = 6
BROKER_MEGABYTES = 1500
#: How long (s) a partition may take to be served again before it counts as stuck.
STUCK_SECONDS = 60.0
#: Where the logs of all processes are kept after a run.
LOGS = ROOT / "build/faults/logs"
SECRET = "whsec_" + base64.b64encode(b"not a secret of anybody anywhere").decode()

Say = Callable[[str], None]


@dataclass
class Fault:
    """One fault, and what came of it. Times in seconds since the epoch; ``recovery`` in seconds, None for never."""

    row: str
    what: str
    at: float = 0.0
    in_flight: int = 0
    hit: bool = False
    recovery: float | None = None


@dataclass
class Rig:
    """See ``rig``."""

    contestant: Contestant
    seed: int
    directory: Path
    broker: Broker
    proxies: list[Proxy]
    slots: list[Slot]
    sender: Sender
    watch: Watch
    platform: Platform
    deliverer: Slot
    say: Say
    ends: list[Ended]
    rng: random.Random = field(init=False)
    faults: list[Fault] = field(default_factory=list)
    #: (row, when it began in ms since the epoch)
    rows: list[tuple[str, int]] = field(default_factory=list)
    notes: dict[str, list[str]] = field(default_factory=dict)
    #: Seconds of each graceful stop, and its exit code.
    stops: list[tuple[str, float, int]] = field(default_factory=list)
    rescues: int = 0

    def __post_init__(self) -> None:
        self.rng = random.Random(f"faults {self.seed}")

    def times(self, ours: int, stock: int) -> range:
        """How often a fault is repeated: the stock app takes several times as long to heal."""
        return range(ours if self.contestant.ours else stock)

    @property
    def base(self) -> list[Slot]:
        """The two workers that are there all the time."""
        return self.slots[:2]

    def begin(self, row: str) -> None:
        """What happens from now on belongs to ``row``."""
        self.rows.append((row, time.time_ns() // 1_000_000))

    def note(self, text: str) -> None:
        """Something to stand in the table beside the row."""
        self.notes.setdefault(self.rows[-1][0], []).append(text)

    async def calm(self, least: float = 1.0, most: float = 2.0) -> None:
        """Let the load run for a while: the distance between two faults, and the moment of the next."""
        await asyncio.sleep(self.rng.uniform(least, most))

    async def strike(
        self,
        what: str,
        action: Callable[[], Awaitable[object]],
        target: Sequence[Slot] = (),
        *,
        from_its_end: bool = False,
    ) -> Fault:
        """Do something bad, and wait until every partition is served again.

        It counts only if work remained: those whom it hits (``target``) held partitions, the load goes on, and records
        were not covered by a commit. An action that returns False did not come about either. Recovery is measured from
        the begin of the action, from its end, or from the moment that it returns (s since the epoch). A contestant that
        is stuck is rescued: all workers are killed.
        """
        working = not target or await self.assigned(target)
        await self.calm()
        fault = Fault(self.rows[-1][0], what, time.time(), self.watch.in_flight())
        self.faults.append(fault)
        done = await action()
        if isinstance(done, float):
            fault.at = done
        elif from_its_end:
            fault.at, fault.in_flight = time.time(), self.watch.in_flight()
        fault.hit = working and done is not False and fault.in_flight > 0
        fault.recovery = await self.served(fault.at)
        took = "stuck" if fault.recovery is None else f"{fault.recovery:.1f} s"
        self.say(f"{fault.row} {what}: {took}{'' if fault.hit else ' (did not hit)'}")
        if fault.recovery is None:
            self.rescues += 1
            for slot in self.slots:
                if slot.alive:
                    slot.kill()
            await self.served(time.time())
        return fault

    async def served(self, moment: float, patience: float = STUCK_SECONDS) -> float | None:
        """Seconds from ``moment`` until in every partition a beat sent after it had its change; None if never."""

        def all_served() -> bool:
            self.sender.check()
            return len(self.watch.served_since(moment)) == PARTITIONS

        if not await until(all_served, patience):
            return None
        return max(self.watch.served_since(moment).values()) - moment

    async def covered(self, patience: float) -> float | None:
        """Seconds until all that stands in the log now is covered by a commit; None if it takes longer."""
        begun = time.monotonic()
        await asyncio.sleep(0.5)  # the sampler's own pace
        ends = dict(self.watch.ends)
        if await until(lambda: all(self.watch.committed.get(p, 0) >= end for p, end in ends.items()), patience):
            return time.monotonic() - begun
        return None

    async def assigned(self, slots: Sequence[Slot] = ()) -> bool:
        """Wait until these workers (the two, if none) hold all partitions between them, each some; False if never."""

        def all_held() -> bool:
            held = [slot.held for slot in slots or self.base]
            return all(held) and sum(map(len, held)) == len(set().union(*held)) == PARTITIONS

        return await until(all_held, STUCK_SECONDS)

    def tally(self) -> tuple[int, int]:
        """(compared, different) of all replays of all workers so far."""
        each = [slot.tally() for slot in self.slots]
        return sum(t[0] for t in each), sum(t[1] for t in each)

    async def stop(self, slot: Slot) -> None:
        """A graceful stop, noted."""
        held = slot.held
        code, seconds = await slot.stop()
        if held:  # one that was still starting has nothing to write down
            self.stops.append((self.rows[-1][0], seconds, code))

    async def configure(self, topic: str, **more: str) -> None:
        """Set a topic's configuration: what it was created with, and ``more``."""
        admin = AIOKafkaAdminClient(bootstrap_servers=self.broker.address)
        await admin.start()
        try:
            said = self.contestant.configuration(topic) | {
                name.replace("_", "."): value for name, value in more.items()
            }
            await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, said)])
        finally:
            await admin.close()


@asynccontextmanager
async def rig(contestant: Contestant, seed: int, rate: float, say: Say) -> AsyncIterator[Rig]:
    """A broker of its own with topics and a load that runs; workers are not started yet."""
    with scratch(f"faults-{contestant.name}") as directory, contextlib.ExitStack() as held:
        advertised = free_ports(SLOTS)
        broker = Broker(directory, ROOT / CACHE, advertised)
        broker.own_disk = held.enter_context(mounted(broker.data, BROKER_MEGABYTES))
        proxies = [Proxy(port, door) for port, door in zip(advertised, broker.doors, strict=True)]
        ends: list[Ended] = []
        faults = {
            "FAULTS_EVENTS": contestant.events,
            "FAULTS_CHANGES": contestant.changes,
            "FAULTS_STATE": ",".join(contestant.state),
        }
        slots = [
            Slot(
                f"worker-{number}",
                directory,
                "tests.faults.worker_process",
                contestant.arguments,
                contestant.environment(f"127.0.0.1:{port}") | faults | {"STOCK_DATADIR": str(directory / f"s{number}")},
                ends,
            )
            for number, port in enumerate(advertised)
        ]
        platform = Platform()
        delivering = contestant.environment(broker.address) | {
            "LIVESEGMENTS_DESTINATIONS": str(directory / "destinations.yaml"),
            "MAILER_SECRET": SECRET,
        }
        deliverer = Slot("deliverer", directory, "stream", ["deliver"], delivering, ends)
        load = Load(seed, PARTITIONS, rate, astray=contestant.ours)
        sender = Sender(load, contestant.events, broker.address)
        watch = Watch(broker.address, contestant.group, contestant.events, contestant.changes, PARTITIONS)
        made = Rig(contestant, seed, directory, broker, proxies, slots, sender, watch, platform, deliverer, say, ends)
        async with contextlib.AsyncExitStack() as stack:
            for proxy in proxies:  # before anybody else has the port
                await proxy.start()
                stack.push_async_callback(proxy.stop)
            await asyncio.to_thread(broker.format)
            stack.push_async_callback(broker.stop)
            await broker.start()
            await contestant.prepare(broker.address)
            if contestant.ours:
                await platform.start()
                stack.push_async_callback(platform.stop)
                (directory / "destinations.yaml").write_text(platform.destinations(), "utf-8")
            for slot in (*slots, deliverer):
                stack.callback(slot.remove)
            watch.start(sender.beats)
            stack.push_async_callback(watch.stop)
            try:
                yield made
            finally:
                await asyncio.to_thread(_keep_logs, directory, LOGS / contestant.name)


def _keep_logs(directory: Path, kept: Path) -> None:
    shutil.rmtree(kept, ignore_errors=True)
    kept.mkdir(parents=True)
    for log in directory.glob("*.log"):
        shutil.copy(log, kept)
