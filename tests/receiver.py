"""A receiver of webhooks on the loopback interface: keeps what it got, and answers as the test says."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

PATH = "/hooks/T0PS3CRETPATH"
PATIENCE_SECONDS = 30.0


@dataclass(frozen=True)
class Answer:
    status: int = 204
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass(frozen=True)
class Received:
    """One request."""

    headers: Mapping[str, str]
    body: bytes
    at: float
    """Seconds of the event loop's clock."""
    peer: tuple[str, int] = ("", 0)
    """The sender's end of the connection."""

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    @property
    def changes(self) -> list[dict[str, Any]]:
        data = json.loads(self.body)["data"]
        return data if isinstance(data, list) else [data]


Behaviour = Callable[[Received], Answer | Awaitable[Answer]]


def accept(_: Received) -> Answer:
    return Answer()


class Receiver:
    """`url` is where it listens; `behaviour` may be exchanged while it runs."""

    def __init__(self, behaviour: Behaviour = accept) -> None:
        self.url = ""
        self.behaviour = behaviour
        self.received: list[Received] = []
        self.accepted: list[Received] = []
        """Those that were answered with 2xx, in the order in which they were taken."""
        self._changed = asyncio.Condition()

    async def handle(self, request: web.Request) -> web.Response:
        headers = {name.lower(): value for name, value in request.headers.items()}
        peer = request.transport.get_extra_info("peername") if request.transport else ("", 0)
        received = Received(headers, await request.read(), asyncio.get_running_loop().time(), peer)
        self.received.append(received)
        await self._notify()
        answer = self.behaviour(received)
        if not isinstance(answer, Answer):
            answer = await answer
        if answer.status < 300:
            self.accepted.append(received)
            await self._notify()
        return web.Response(status=answer.status, headers=answer.headers, body=answer.body)

    async def _notify(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    async def until(self, holds: Callable[[], Any]) -> None:
        """Wait for something that only a request can make true."""
        async with asyncio.timeout(PATIENCE_SECONDS), self._changed:
            await self._changed.wait_for(holds)

    def bodies(self) -> dict[str, set[bytes]]:
        """The bodies that came under each id: one, if repeats are alike."""
        found: dict[str, set[bytes]] = defaultdict(set)
        for received in self.received:
            found[received.id].add(received.body)
        return found


def sequences(received: Iterable[Received]) -> dict[str, list[int]]:
    """Each customer's sequence numbers in the order of their first arrival."""
    found: dict[str, list[int]] = defaultdict(list)
    seen: set[str] = set()
    for request in received:
        for change in request.changes:
            if change["id"] not in seen:
                seen.add(change["id"])
                found[change["customer_id"]].append(change["sequence"])
    return dict(found)


@contextlib.asynccontextmanager
async def receiving(behaviour: Behaviour = accept, port: int = 0) -> AsyncIterator[Receiver]:
    """Listen while the block runs."""
    receiver = Receiver(behaviour)
    app = web.Application(client_max_size=64 * 1024 * 1024)
    app.router.add_post(PATH, receiver.handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", port)
        await site.start()
        host, bound = runner.addresses[0][:2]
        receiver.url = f"http://{host}:{bound}{PATH}"
        yield receiver
    finally:
        await runner.cleanup()
