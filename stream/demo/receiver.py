"""A stand-in for an e-mail platform: takes in signed segment changes, and is as moody as the real ones.

It checks every signature with code of its own. A small, seeded share of the messages is refused at first (503
or 429 with ``Retry-After``), or answered with an error although it was taken in, so that it comes again.
"""

from __future__ import annotations

import base64
import hmac
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from hashlib import blake2b, sha256
from typing import Any

from aiohttp import web

from stream.demo.inbox import Inbox

#: Seconds by which a sender's clock may differ, as the Standard Webhooks specification has it.
TOLERANCE_SECONDS = 300
RETRY_AFTER_SECONDS = "1"
PATH = "/hook"

OnChange = Callable[[dict[str, Any]], None]


class BadSignature(Exception):
    """A request is not what our sender signed; the message says which check failed."""


def verify(secret: str, headers: Mapping[str, str], body: bytes, now: float) -> str:
    """Check a request by Standard Webhooks (``v1``: HMAC-SHA256 over id, time and body) and return its id.

    ``secret`` is ``whsec_`` and base64, ``now`` seconds since the epoch. Raises ``BadSignature``.
    """
    message_id, stated = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    if not message_id or not (stated.isascii() and stated.isdecimal()):
        raise BadSignature("no usable webhook-id and webhook-timestamp")
    if abs(now - int(stated)) > TOLERANCE_SECONDS:
        raise BadSignature("webhook-timestamp is too far from now")
    key = base64.b64decode(secret.removeprefix("whsec_"))
    signed = f"{message_id}.{stated}.".encode() + body
    expected = b"v1," + base64.b64encode(hmac.new(key, signed, sha256).digest())
    offered = headers.get("webhook-signature", "").encode().split(b" ")
    if not any(hmac.compare_digest(expected, each) for each in offered):
        raise BadSignature("no signature matches")
    return message_id


class Receiver:
    """Answers the requests of one sender. ``failures`` is the share of messages whose first attempt fails."""

    def __init__(self, secret: str, seed: int, failures: float, on_change: OnChange) -> None:
        self._secret, self._seed, self._failures, self._on_change = secret, seed, failures, on_change
        self._attempts: Counter[str] = Counter()
        self.inbox = Inbox()
        self.answers: Counter[int] = Counter()
        self.bad_signatures: list[str] = []

    def answer(self, headers: Mapping[str, str], body: bytes, now: float) -> tuple[int, dict[str, str]]:
        """Status and headers for one request; ``now`` in seconds since the epoch."""
        try:
            message_id = verify(self._secret, headers, body, now)
        except BadSignature as error:
            self.bad_signatures.append(str(error))
            return 401, {}
        self._attempts[message_id] += 1
        mood = self._mood(message_id) if self._attempts[message_id] == 1 else ""
        if mood == "busy":
            return 429, {"Retry-After": RETRY_AFTER_SECONDS}
        if mood == "down":
            return 503, {}
        try:
            fresh = self.inbox.take(message_id, body)
        except ValueError:
            return 400, {}
        for change in fresh:
            self._on_change(change)
        # "forgetful": taken in, and the answer says otherwise; the repeat has to be known by its id.
        return (503 if mood == "forgetful" else 204), {}

    def _mood(self, message_id: str) -> str:
        """How the first attempt of a message is met; a function of the seed and the id alone."""
        draw = blake2b(f"{self._seed} {message_id}".encode(), digest_size=8).digest()
        share = int.from_bytes(draw) / 2**64
        if share >= self._failures:
            return ""
        # Few are "busy": a 429 holds up everything else, and the demo has to end.
        return "busy" if draw[-1] < 16 else ("down", "forgetful")[draw[-1] % 2]

    async def handle(self, request: web.Request) -> web.Response:
        """aiohttp's side of ``answer``."""
        status, headers = self.answer(request.headers, await request.read(), time.time())
        self.answers[status] += 1
        return web.Response(status=status, headers=headers)


@asynccontextmanager
async def listening(receiver: Receiver) -> AsyncIterator[str]:
    """Serve on a free loopback port and yield the URL to post to."""
    app = web.Application(client_max_size=64 * 1024 * 1024)
    app.router.add_post(PATH, receiver.handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        yield f"http://{host}:{port}{PATH}"
    finally:
        await runner.cleanup()
