"""Laws of the proxy: what it does to a connection is what the row says."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from stream.embedded.process import free_ports
from tests.faults.proxy import Proxy

PATIENCE = 10.0


@asynccontextmanager
async def echoing() -> AsyncIterator[tuple[Proxy, asyncio.StreamReader, asyncio.StreamWriter]]:
    """A client that is connected to an echo by way of a proxy."""

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while chunk := await reader.read(1024):
            writer.write(chunk)
        writer.close()

    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    proxy = Proxy(free_ports(1)[0], server.sockets[0].getsockname()[1])
    await proxy.start()
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    try:
        yield proxy, reader, writer
    finally:
        writer.transport.abort()
        await proxy.stop()
        server.close()


async def said(reader: asyncio.StreamReader, count: int) -> bytes:
    async with asyncio.timeout(PATIENCE):
        return await reader.readexactly(count)


async def test_it_carries_and_delays() -> None:
    async with echoing() as (proxy, reader, writer):
        writer.write(b"one")
        assert await said(reader, 3) == b"one"
        proxy.delay = 0.15
        begun = time.monotonic()
        writer.write(b"two")
        assert await said(reader, 3) == b"two"
        assert time.monotonic() - begun >= 0.3


async def test_a_pulled_cable_closes_nothing_and_loses_nothing() -> None:
    async with echoing() as (proxy, reader, writer):
        proxy.open.clear()
        writer.write(b"one")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                await reader.read(1)
        proxy.open.set()
        assert await said(reader, 3) == b"one"


async def test_a_cut_resets_the_client_and_lets_it_come_again() -> None:
    async with echoing() as (proxy, reader, writer):
        writer.write(b"one")
        await said(reader, 3)
        proxy.cut()
        async with asyncio.timeout(PATIENCE):
            with contextlib.suppress(ConnectionResetError):
                assert await reader.read(1) == b""
        other, another = await asyncio.open_connection("127.0.0.1", proxy.port)
        another.write(b"two")
        assert await said(other, 3) == b"two"
        another.transport.abort()


async def test_swallowed_answers_are_to_what_arrived() -> None:
    async with echoing() as (proxy, reader, writer):
        proxy.swallows = True
        writer.write(b"one")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                await reader.read(1)
        proxy.swallows = False
        writer.write(b"two")
        assert await said(reader, 3) == b"two", "what was swallowed does not come back"


async def test_half_open_leaves_the_client_waiting_for_ever_and_serves_the_next() -> None:
    async with echoing() as (proxy, reader, writer):
        writer.write(b"one")
        await said(reader, 3)
        assert proxy.half_open() == 1
        writer.write(b"two")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.5):
                await reader.read(1)
        other, another = await asyncio.open_connection("127.0.0.1", proxy.port)
        another.write(b"three")
        assert await said(other, 5) == b"three"
        another.transport.abort()
