"""One worker process: the engine's own host, delivery, recovery and fills on a loop that the world moves."""

from __future__ import annotations

import math
from collections.abc import Coroutine
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, NoReturn, cast

from stream.core.config import CoreSettings
from stream.engine.delivery import Delivery
from stream.engine.fills import Fills
from stream.engine.host import Host
from stream.engine.stopping import StopBudget
from stream.engine.topics import TopicNames
from stream.engine.watchdog import Watchdog
from tests.simulation.client import Injected, SimFlow, SimOffsets, SimRecovery, SimWrites
from tests.simulation.log import EVENTS
from tests.simulation.loop import Loop

if TYPE_CHECKING:
    from tests.simulation.world import World

#: Virtual seconds after which the group takes a silent worker for dead.
SESSION = 0.10
#: Limits small enough that a log of a few dozen records meets them.
SETTINGS = CoreSettings(rate_limit=8, dedup_horizon=2 * 3_600_000_000)


class Killed(BaseException):
    """Where the process would have ended."""


class Counts:
    """Stands in for the worker's metrics; a simulation wants two of them."""

    def __init__(self) -> None:
        self.compares = self.differences = 0

    def compared(self) -> None:
        self.compares += 1

    def difference(self) -> None:
        self.differences += 1

    def __getattr__(self, name: str) -> Any:
        return _nothing


def _nothing(*args: Any, **kwargs: Any) -> None:
    pass


class Worker:
    """A process. ``late`` lets requests that were in its sockets arrive after its death."""

    def __init__(self, world: World, number: int) -> None:
        self.world, self.number = world, number
        self.loop = Loop(world, self)
        self.late = False
        self.revoking = False  # from the group's word on until the host has given up
        self.behind = False  # the group went on without us, and we do not know it yet
        self.generation = -1
        self.unheard: tuple[set[int], int] | None = None
        client = {"worker": self}
        self.watchdog = Watchdog(SESSION / 2 if world.watchdogs else math.inf)
        self.writes, self.state_writes = SimWrites(self, "changes"), SimWrites(self, "state")
        self.host = Host(
            recovery=SimRecovery(self),
            writes=cast(Any, self.writes),
            state_writes=cast(Any, self.state_writes),
            topics=TopicNames.with_prefix(""),
            metrics=cast(Any, world.counts),
            core=SETTINGS,
            partitions=world.partitions,
            tick_seconds=world.knobs.tick_seconds,
            checkpoint_seconds=world.knobs.checkpoint_seconds,
            watchdog=self.watchdog,
            fills=Fills(client, EVENTS),
        )
        self.host.offsets = cast(Any, SimOffsets(self))
        self.delivery = Delivery(self.host, EVENTS, prefetch=world.knobs.prefetch, drain_seconds=30.0)
        self.flow = SimFlow(self)
        self.loop.spawn(self._agent())
        if world.watchdogs:
            self.loop.spawn(self.watchdog._beat())

    @property
    def dead(self) -> bool:
        """Whether the process has ended."""
        return self.loop.dead

    async def io(self, label: str) -> None:
        """Wait as long as the network takes; the process may end before and after."""
        world = self.world
        if world.point(self, label) == "crash":
            await self.loop.create_future()
        future = self.loop.create_future()
        world.at(world.now + world.latency(), lambda: None if future.done() else future.set_result(None))
        await future

    async def _agent(self) -> None:
        while True:
            batch = await self.flow.next()
            await self.delivery.hand_over(cast(Any, SimpleNamespace(value=batch)))

    def die(self, reason: str, error: BaseException | None = None) -> NoReturn:
        """The engine's ``die``: an end that a fault or a slow broker explains is a crash, any other a defect."""
        if not self.dead:
            if not isinstance(error, Injected | TimeoutError):
                self.world.fail("DIED", f"{reason}: {type(error).__name__}: {error}")
            self.world.crash(self, f"died: {reason}")
        raise Killed(reason)

    # -- what the group says --------------------------------------------------------------------------------------

    def revoke(self) -> None:
        """Give up everything; the group hears of it when that is done."""
        if not self.revoking:
            self.revoking = True
            self.loop.spawn(self._revoke())

    async def _revoke(self) -> None:
        await self.delivery.shut(cast(Any, self.flow))
        self.revoking = False
        self.world.group.joined(self)

    def assign(self, partitions: set[int], generation: int) -> None:
        """Take over ``partitions``, unless nobody is there to ask for them: the group's answer then waits."""
        self.unheard = None
        if self.loop.paused:
            self.unheard = partitions, generation
            return
        self.generation = generation
        self.loop.spawn(self._load(partitions, generation))

    async def _load(self, partitions: set[int], generation: int) -> None:
        if generation == self.generation and not self.revoking:
            self.delivery.load(cast(Any, self.flow), partitions, generation)

    def leave(self) -> Coroutine[Any, Any, None]:
        """A graceful stop."""
        return self._leave()

    async def _leave(self) -> None:
        seconds = 10.0 if self.world.calm else self.world.knobs.stop_seconds
        complete = await self.delivery.shut(cast(Any, self.flow), StopBudget(seconds))
        if self.writes.on_their_way:
            self.world.fail("LEFT", f"{self.writes.on_their_way} writes of changes were on their way")
        self.world.left(self, complete)
