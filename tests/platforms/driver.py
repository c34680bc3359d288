"""Delivers to a platform's server as the deliverer would: over real sockets, to an end."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from connectors.changes import Change
from connectors.conversation import converse
from connectors.exchange import Answer, Request, Response, Steps
from connectors.options import Options
from connectors.platforms import Connector, Platform
from connectors.platforms import discover as platforms
from connectors.results import Outcome, Result
from connectors.sender import Sender
from tests.platforms.changes import NOW
from tests.platforms.servers import PlatformServer

ROUNDS = 12
AGENT = "livesegments/test"


class Driver:
    """One destination. `now` is the time that the connector is told; waits that it asks for are not waited."""

    def __init__(self, connector: Connector, options: Options, sender: Sender) -> None:
        self.connector = connector
        self.options = options
        self.now = NOW
        self.sent: list[Request] = []
        """Every request of its own, those for tokens included."""
        self.sender = sender

    async def prepare(self) -> Result | None:
        steps = self.connector.prepare(self.now)
        return None if steps is None else (await self._carry(steps, 1))[0]

    async def deliver(self, changes: Sequence[Change]) -> Sequence[Result]:
        """One attempt of one parcel; what `prepare` makes of it where that fails."""
        prepared = await self.prepare()
        if prepared is not None and prepared.outcome is not Outcome.DELIVERED:
            return [prepared] * len(changes)
        return await self._carry(self.connector.deliver(changes, self.now), len(changes))

    async def erase(self, customers: Sequence[Change]) -> Sequence[Result]:
        prepared = await self.prepare()
        assert prepared is None or prepared.outcome is Outcome.DELIVERED
        return await self._carry(self.connector.erase(customers, self.now), len(customers))

    async def ping(self) -> int:
        """The status of the platform's answer to a ping."""
        prepared = await self.prepare()
        if prepared is not None and prepared.outcome is not Outcome.DELIVERED:
            return prepared.status or 0
        request = self.connector.ping(self.now)
        assert request is not None
        self.sent.append(request)
        return (await self.sender.send(request)).status

    async def settle(self, changes: Sequence[Change]) -> list[Result]:
        """Deliver until every change has an end: parcels by group, what may heal again, what is to be split in
        halves. RETRY with `after` other than 0, PAUSE, DISABLE and REFUSED are ends.
        """
        ends: dict[str, Result] = {}
        parcels = self.parcels(changes)
        for _ in range(ROUNDS):
            if not parcels:
                return [ends[change.id] for change in changes]
            waiting: list[list[Change]] = []
            for parcel in parcels:
                results = await self.deliver(parcel)
                again: list[Change] = []
                for change, result in zip(parcel, results, strict=True):
                    if result.outcome is Outcome.RENEW or (result.outcome is Outcome.RETRY and result.after == 0):
                        again.append(change)
                    elif result.outcome is not Outcome.SPLIT:
                        ends[change.id] = result
                split = [c for c, r in zip(parcel, results, strict=True) if r.outcome is Outcome.SPLIT]
                assert len(split) != 1 or len(parcel) > 1, "a change that is alone cannot be split"
                half = (len(split) + 1) // 2
                waiting += [part for part in (again, split[:half], split[half:]) if part]
            parcels = waiting
        raise AssertionError(f"no end after {ROUNDS} rounds")

    def parcels(self, changes: Sequence[Change]) -> list[list[Change]]:
        """By group, of at most the batch size, one change of a customer in each, in order."""
        parcels: list[tuple[str, list[Change]]] = []
        for change in changes:
            group = self.connector.group(change)
            for of, parcel in reversed(parcels):
                if any(other.customer_id == change.customer_id for other in parcel):
                    parcels.append((group, [change]))
                    break
                if of == group and len(parcel) < self.options.batch_size:
                    parcel.append(change)
                    break
            else:
                parcels.append((group, [change]))
        return [parcel for _, parcel in parcels]

    async def _carry(self, steps: Steps, items: int) -> Sequence[Result]:
        async def send(request: Request) -> Response:
            self.sent.append(request)
            return await self.sender.send(request)

        return await converse(_hurried(steps), send, items)


def _hurried(steps: Steps) -> Steps:
    """The conversation without the waits between its requests."""
    answers: Sequence[Answer] | None = None
    while True:
        try:
            requests = next(steps) if answers is None else steps.send(answers)
        except StopIteration as end:
            results: Sequence[Result] = end.value
            return results
        answers = yield [replace(request, wait=0.0) for request in requests]


@contextlib.asynccontextmanager
async def driving(
    server: PlatformServer, environ: Mapping[str, str] | None = None, **more: Any
) -> AsyncIterator[Driver]:
    """A destination at the server; `more` goes over the server's options."""
    platform: Platform = platforms()[server.platform]
    local = {"allow_http": True, "allow_private_addresses": True, "timeout": 10.0}
    options = platform.Config.model_validate({**server.options(), **local, **more})
    connector = platform.connect(options, server.environ if environ is None else environ, AGENT)
    async with Sender(options) as sender:
        yield Driver(connector, options, sender)
