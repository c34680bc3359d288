"""A TCP proxy on the loopback interface that can behave as bad networks do."""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from typing import Final

from tests.faults.waiting import until

_CHUNK: Final = 64 * 1024


class _Pipe:
    """One connection: two directions, each through a queue of (due, bytes)."""

    def __init__(
        self,
        proxy: Proxy,
        client: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        server: tuple[asyncio.StreamReader, asyncio.StreamWriter],
    ) -> None:
        self._proxy, self._client, self._server = proxy, client, server
        #: The far side is gone, and nobody tells the near one: what it sends is lost.
        self.half_open = False

    async def run(self) -> None:
        """Until either side ends."""
        ways = [
            asyncio.create_task(self._carry(self._client[0], self._server[1], answers=False)),
            asyncio.create_task(self._carry(self._server[0], self._client[1], answers=True)),
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            if self.half_open:  # until the client has had enough
                await until(lambda: self._client[0].at_eof() or self._client[1].is_closing(), math.inf)
        finally:
            for way in ways:
                way.cancel()
            for way in ways:
                with contextlib.suppress(asyncio.CancelledError, OSError):
                    await way
            self.abort()

    async def _carry(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, *, answers: bool) -> None:
        waiting: asyncio.Queue[tuple[float, bytes] | None] = asyncio.Queue()
        reading = asyncio.create_task(self._read(source, waiting))
        try:
            while (item := await waiting.get()) is not None:
                due, chunk = item
                if (early := due - time.monotonic()) > 0:
                    await asyncio.sleep(early)
                await self._proxy.open.wait()
                if not self.half_open and not (answers and self._proxy.swallows):
                    sink.write(chunk)
                    await sink.drain()
        except OSError:
            return  # the sink was reset; so is the source, in `run`
        finally:
            reading.cancel()

    async def _read(self, source: asyncio.StreamReader, into: asyncio.Queue[tuple[float, bytes] | None]) -> None:
        with contextlib.suppress(OSError):
            while chunk := await source.read(_CHUNK):
                into.put_nowait((time.monotonic() + self._proxy.delay, chunk))
        into.put_nowait(None)  # a reset is the same end

    def abort(self) -> None:
        """Reset both sides."""
        for _, writer in (self._client, self._server):
            writer.transport.abort()

    def lose_server(self) -> None:
        """Drop the far side without a word to the near one."""
        self.half_open = True
        self._server[1].transport.abort()


class Proxy:
    """Listens on ``port`` and carries to ``target`` (a port), until told otherwise.

    ``delay`` (seconds) holds every chunk up, in each direction. While ``open`` is not set, nothing is carried and no
    connection is refused or closed: a cable that was pulled. What waited is carried when it is plugged in again.
    """

    def __init__(self, port: int, target: int) -> None:
        self.port, self.target = port, target
        self.delay = 0.0
        #: What the server answers is lost: what the client asked for is done, and it is never told.
        self.swallows = False
        self.open = asyncio.Event()
        self.open.set()
        self._pipes: set[_Pipe] = set()
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Listen."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port)

    async def stop(self) -> None:
        """Listen no longer, and reset all connections."""
        if self._server:
            self._server.close()
        self.cut()
        for task in list(self._tasks):
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    @property
    def connections(self) -> int:
        """How many are carried."""
        return len(self._pipes)

    def cut(self) -> None:
        """Reset every connection; new ones are let in."""
        for pipe in list(self._pipes):
            pipe.abort()

    def half_open(self) -> int:
        """Leave every client with a connection to nowhere; returns how many. New connections work."""
        for pipe in self._pipes:
            pipe.lose_server()
        return len(self._pipes)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await self.open.wait()
            try:
                server = await asyncio.open_connection("127.0.0.1", self.target)
            except OSError:
                writer.transport.abort()  # as a broker that is down refuses
                return
            pipe = _Pipe(self, (reader, writer), server)
            self._pipes.add(pipe)
            try:
                await pipe.run()
            finally:
                self._pipes.discard(pipe)
        except asyncio.CancelledError:
            writer.transport.abort()
        finally:
            self._tasks.discard(task)
