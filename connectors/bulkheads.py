"""Delivery with one process per destination, so that none can delay another, or take it along when it fails.

raise SystemExit(prepare(settings, destinations).supervise(sessions))
"""

from __future__ import annotations

import asyncio
import os
from collections import defaultdict
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from functools import partial

import uvloop

from connectors.delivery import (
    DeliverySettings,
    DestinationsUnusable,
    check,
    connect,
    deliver,
    say_what_is_shared,
    stop_on_signals,
)
from connectors.destinations import Destinations
from connectors.metrics import DeliveryMetrics
from connectors.platforms import Connector
from connectors.supervisor import Job, Supervisor

LEAVING_SECONDS = 10.0
"""What a process may take to stop beyond the grace of requests in flight: to commit, and to leave its group."""

Names = tuple[str, ...]
Session = Callable[[], AbstractAsyncContextManager[DeliveryMetrics]]
"""What a process counts with, for as long as it delivers. Called in its event loop."""


@dataclass(frozen=True)
class Bulkheads:
    """Destinations that are ready to be sent to. Made by `prepare`."""

    settings: DeliverySettings
    destinations: Destinations
    connectors: Mapping[str, Connector] = field(repr=False)

    @property
    def names(self) -> list[Names]:
        """The destinations by process: each its own; but without Redis those that share an account's rates share the
        memory in which these are counted, too.
        """
        if self.settings.redis_url is not None:
            return [(name,) for name in self.connectors]
        by_account: dict[str, list[str]] = defaultdict(list)
        for name, connector in self.connectors.items():
            by_account[connector.account or name].append(name)
        return [tuple(names) for names in by_account.values()]

    def run_here(self, session: Session) -> None:
        """All of them in this process, until SIGTERM or SIGINT. Raises DestinationsUnusable or a KafkaError."""
        self._deliver(tuple(self.connectors), session)

    def supervise(
        self,
        session: Callable[[Names], Session],
        died: Callable[[Names], None] = lambda _names: None,
        attendants: Sequence[Job] = (),
    ) -> int:
        """A process for each, until SIGTERM or SIGINT; returns the exit code.

        Call it where no event loop runs and no other thread is. `session` is called before the first process begins,
        `died` when one has ended unasked. `attendants` run beside them and are stopped after them.
        """
        jobs = [
            Job(
                f"destination {', '.join(names)}",
                names[0],
                main=partial(self._deliver, names, session(names)),
                died=partial(died, names),
            )
            for names in self.names
        ]
        patience = self.settings.stop_grace + LEAVING_SECONDS
        return Supervisor([*jobs, *attendants], patience=patience).run()

    def _deliver(self, names: Names, session: Session) -> None:
        mine = {name: self.connectors[name] for name in names}

        async def delivering() -> None:
            stop = stop_on_signals()
            async with session() as metrics:
                await deliver(self.settings, self.destinations, mine, metrics, stop)

        run_in_loop(delivering())


def prepare(
    settings: DeliverySettings, destinations: Destinations, environ: Mapping[str, str] = os.environ
) -> Bulkheads:
    """Find all that is wrong before anything starts. Raises DestinationsUnusable, or a KafkaError if no broker can be
    reached.
    """
    errors: list[str] = []
    connectors: Mapping[str, Connector] = {}
    try:
        connectors = connect(destinations, environ, settings.user_agent)
    except DestinationsUnusable as error:
        errors.append(str(error))
    try:
        asyncio.run(check(settings))
    except DestinationsUnusable as error:
        errors.append(str(error))
    if errors:
        raise DestinationsUnusable("\n".join(errors))
    say_what_is_shared(settings)
    return Bulkheads(settings, destinations, connectors)


def run_in_loop(main: Coroutine[object, object, None]) -> None:
    """As `asyncio.run`, in a uvloop."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main)
