"""A fake e-mail platform: keeps every raw request, applies each ``webhook-id`` once, and fails when it is told to."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

TIMEOUT_SECONDS = 4.0
RETRY_AFTER_SECONDS = 2


@dataclass
class Mailbox:
    """One destination. ``bad`` switches its failure on and off."""

    name: str
    segments: tuple[str, ...] | None
    bad: bool = False
    requests: int = 0
    refusals: int = 0
    #: Requests that wait for their answer.
    unanswered: int = 0
    #: id -> body, of the first request that was applied.
    applied: dict[str, bytes] = field(default_factory=dict)
    order: list[tuple[str, int]] = field(default_factory=list)
    again: int = 0
    #: What must not be: other bytes under a known id, a repeat before ``Retry-After`` was over.
    broken: list[str] = field(default_factory=list)
    _not_before: dict[str, float] = field(default_factory=dict)

    def apply(self, id_: str, body: bytes) -> None:
        """Take a change in, once."""
        if (known := self.applied.get(id_)) is not None:
            self.again += 1
            if known != body:
                self.broken.append(f"{id_} came with two bodies")
            return
        self.applied[id_] = body
        change: dict[str, Any] = json.loads(body)["data"]
        if change["id"] != id_:
            self.broken.append(f"{id_} is not the id of the change in it")
        self.order.append((change["customer_id"], change["sequence"]))

    def ask_to_wait(self, id_: str) -> None:
        """It was told to come again after ``RETRY_AFTER_SECONDS``."""
        self._not_before[id_] = time.monotonic() + RETRY_AFTER_SECONDS

    def came(self, id_: str) -> None:
        """A request. Clocks of both sides agree to some milliseconds: a tenth of a second is let pass."""
        self.requests += 1
        if time.monotonic() < self._not_before.pop(id_, 0.0) - 0.1:
            self.broken.append(f"{id_} came before Retry-After was over")


Behaviour = Callable[[Mailbox, web.Request, str, bytes], Awaitable[web.Response]]


async def _well(box: Mailbox, request: web.Request, id_: str, body: bytes) -> web.Response:
    box.apply(id_, body)
    return web.Response(status=204)


async def _limited(box: Mailbox, request: web.Request, id_: str, body: bytes) -> web.Response:
    box.ask_to_wait(id_)
    return web.Response(status=429, headers={"Retry-After": str(RETRY_AFTER_SECONDS)})


async def _burst(box: Mailbox, request: web.Request, id_: str, body: bytes) -> web.Response:
    return web.Response(status=random.choice((500, 502, 503)))


async def _hangs(box: Mailbox, request: web.Request, id_: str, body: bytes) -> web.Response:
    await asyncio.sleep(5 * TIMEOUT_SECONDS)
    return web.Response(status=204)  # to nobody: not applied, and not heard


async def _resets(box: Mailbox, request: web.Request, id_: str, body: bytes) -> web.Response:
    box.apply(id_, body)
    if request.transport:
        request.transport.abort()
    return web.Response(status=204)


async def _unauthorized(box: Mailbox, request: web.Request, id_: str, body: bytes) -> web.Response:
    return web.Response(status=401)


async def _slow(box: Mailbox, request: web.Request, id_: str, body: bytes) -> web.Response:
    await asyncio.sleep(2.0)
    return await _well(box, request, id_, body)


#: Six ways to fail, in parallel; ``well`` never does.
WAYS: dict[str, Behaviour] = {
    "well": _well,
    "limited": _limited,
    "burst": _burst,
    "hangs": _hangs,
    "resets": _resets,
    "unauthorized": _unauthorized,
    "slow": _slow,
}
#: What the failing ones subscribe to: some changes a second, which a slow platform can take.
_SOME = ("keen", "young")


class Platform:
    """Listens on the loopback interface; ``boxes`` by their way of failing."""

    def __init__(self) -> None:
        self.boxes = {name: Mailbox(name, None if name == "well" else _SOME) for name in WAYS}
        self._answers = asyncio.Event()
        self._answers.set()
        self._applies_first = True
        self._runner = web.AppRunner(self._app(), access_log=None, shutdown_timeout=0.1)
        self.port = 0

    def _app(self) -> web.Application:
        app = web.Application(client_max_size=8 * 1024 * 1024)
        app.router.add_post("/{name}", self._handle)
        return app

    async def start(self) -> None:
        """Listen."""
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        """Listen no longer."""
        await self._runner.cleanup()

    def all_bad(self, bad: bool) -> None:
        """Let every destination but the first fail in its own way, or none."""
        for name, box in self.boxes.items():
            box.bad = bad and name != "well"

    def hold(self, *, applied: bool) -> None:
        """Let the one that never fails answer nothing until ``release``, after or before it has applied a request."""
        self._applies_first = applied
        self._answers.clear()

    def release(self) -> None:
        """Answer again, as far as anybody is left to hear it."""
        self._answers.set()

    def destinations(self) -> str:
        """The file that the deliverer reads. The secret is in the environment under ``MAILER_SECRET``."""
        lines = ["destinations:"]
        for name, box in self.boxes.items():
            lines += [
                f"  {name}:",
                "    platform: webhook",
                f"    url: http://127.0.0.1:{self.port}/{name}",
                "    secret: {env: MAILER_SECRET}",
                "    allow_http: true",
                "    allow_private_addresses: true",
                f"    timeout: {TIMEOUT_SECONDS}",
                "    retry_cap: 4",
            ]
            if box.segments:
                lines.append(f"    segments: [{', '.join(box.segments)}]")
        return "\n".join(lines) + "\n"

    def missing(self, changes: dict[str, dict[str, Any]]) -> dict[str, int]:
        """By destination, how many of these changes (by id) it has not applied."""
        return {
            name: sum(
                (box.segments is None or change["segment"] in box.segments) and id_ not in box.applied
                for id_, change in changes.items()
            )
            for name, box in self.boxes.items()
        }

    def out_of_order(self) -> int:
        """Applications of an older change after a newer one of the same customer, at any destination."""
        count = 0
        for box in self.boxes.values():
            last: dict[str, int] = {}
            for customer, sequence in box.order:
                count += sequence <= last.get(customer, 0)
                last[customer] = max(sequence, last.get(customer, 0))
        return count

    async def _handle(self, request: web.Request) -> web.Response:
        box = self.boxes[request.match_info["name"]]
        body = await request.read()
        id_ = request.headers["webhook-id"]
        box.came(id_)
        box.refusals += box.bad
        box.unanswered += 1
        try:
            return await (WAYS[box.name] if box.bad else self._well)(box, request, id_, body)
        finally:
            box.unanswered -= 1

    async def _well(self, box: Mailbox, request: web.Request, id_: str, body: bytes) -> web.Response:
        if box.name != "well" or self._answers.is_set():
            return await _well(box, request, id_, body)
        if not self._applies_first:
            await self._answers.wait()
            if request.transport is None or request.transport.is_closing():
                return web.Response(status=499)  # who asked is gone: it never came
        answer = await _well(box, request, id_, body)
        await self._answers.wait()
        return answer
