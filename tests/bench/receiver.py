"""A receiver of webhooks for the bench, as little in the way as it can be: ``python -m tests.bench.receiver PORT``.

What the first part of the path says happens to a request: ``/ok`` is answered at once, ``/hang`` never,
``/500``, ``/429`` and ``/401`` with that status, ``/reset`` by a closed connection. ``GET /stats`` tells what
arrived at ``/ok``.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import cast

import uvloop

_STATUS = {b"/500": b"500 Internal Server Error", b"/429": b"429 Too Many Requests", b"/401": b"401 Unauthorized"}
_SAMPLE_SECONDS = 0.02


class Stats:
    """What arrived. Times are Unix seconds."""

    def __init__(self) -> None:
        self.requests = 0
        self.changes = 0
        #: ``[time, changes]``, at most one per ``_SAMPLE_SECONDS``: the rate in any part of the run.
        self.samples: list[tuple[float, int]] = []
        #: For changes whose evidence says when they were written.
        self.latencies: list[float] = []

    def note(self, body: bytes) -> None:
        """A request is here."""
        now = time.time()
        self.requests += 1
        self.changes += body.count(b'"sequence":')
        if not self.samples or now - self.samples[-1][0] >= _SAMPLE_SECONDS:
            self.samples.append((now, self.changes))
        place = body.find(b'"written_at":')
        if place >= 0:
            self.latencies.append(now - float(body[place + 13 : body.index(b"}", place)]))

    def told(self) -> bytes:
        """As JSON, and the last sample with it."""
        samples = [*self.samples, (time.time(), self.changes)]
        return json.dumps(
            {
                "requests": self.requests,
                "changes": self.changes,
                "samples": samples,
                "latencies": self.latencies,
            }
        ).encode()


class Connection(asyncio.Protocol):
    """HTTP/1.1 with ``content-length``, requests one after the other: what an HTTP client of today sends."""

    def __init__(self, stats: Stats) -> None:
        self._stats = stats
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's are none by type

    def data_received(self, data: bytes) -> None:
        self._received += data
        while True:
            end = self._received.find(b"\r\n\r\n")
            if end < 0:
                return
            head = self._received[:end]
            lower = head.lower()
            place = lower.find(b"\r\ncontent-length:")
            length = int(lower[place + 17 :].split(b"\r\n", 1)[0]) if place >= 0 else 0
            if len(self._received) < end + 4 + length:
                return
            body = self._received[end + 4 : end + 4 + length]
            self._received = self._received[end + 4 + length :]
            self._answer(head.split(b" ", 2)[1], body)

    def _answer(self, path: bytes, body: bytes) -> None:
        if path.startswith(b"/ok"):
            self._stats.note(body)
            self._transport.write(b"HTTP/1.1 204 No Content\r\n\r\n")
        elif path.startswith(b"/stats"):
            told = self._stats.told()
            self._transport.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(told), told))
        elif path.startswith(b"/reset"):
            self._transport.abort()
        elif not path.startswith(b"/hang"):
            self._transport.write(b"HTTP/1.1 %b\r\ncontent-length: 0\r\n\r\n" % _STATUS[path[:4]])


async def main(port: int) -> None:
    """Listen until the process ends."""
    stats = Stats()
    server = await asyncio.get_running_loop().create_server(lambda: Connection(stats), "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main(int(sys.argv[1])))
