"""Laws of the sender, on real sockets: limits hold, and every failure is a word without secrets."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from connectors.exchange import RESPONSE_CAP, AddressRefused, Request, Response, Unreachable
from connectors.options import Options
from connectors.sender import REASONS, Sender
from tests.receiver import Answer, Received, receiving

SECRET = "T0PS3CRET"


def options(**changed: Any) -> Options:
    defaults = {"platform": "webhook", "allow_http": True, "allow_private_addresses": True}
    return Options.model_validate(defaults | changed)


async def post(url: str, body: bytes = b"{}", **changed: Any) -> Response:
    async with Sender(options(**changed)) as sender:
        return await sender.send(Request("POST", url, {"content-type": "application/json"}, body))


Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@contextlib.asynccontextmanager
async def raw(serve: Serve) -> AsyncIterator[str]:
    """A server that speaks as badly as the test wants."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        await serve(reader, writer)
        writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    try:
        host, port = server.sockets[0].getsockname()
        yield f"http://{host}:{port}/{SECRET}"
    finally:
        server.close()


async def reason(url: str, **changed: Any) -> str:
    """Why there was no response; nothing of the request is in the exception, nor in what caused it."""
    with pytest.raises(Unreachable) as caught:
        await post(url, **changed)
    error: BaseException | None = caught.value
    assert error is not None and error.__suppress_context__ and error.__cause__ is None
    assert SECRET not in f"{error!r} {error}"
    assert caught.value.reason in REASONS
    return caught.value.reason


async def test_a_request_arrives_as_it_was_built() -> None:
    """Its headers, its bytes, and nothing that would change either."""
    async with receiving() as receiver:
        response = await post(receiver.url, b'{"a":  1}')
    (received,) = receiver.received
    assert (response.status, received.body) == (204, b'{"a":  1}')
    assert set(received.headers) == {"host", "content-type", "content-length"}


async def test_a_connection_is_kept() -> None:
    """A TLS handshake per change would be most of the cost."""
    async with receiving() as receiver, Sender(options()) as sender:
        for _ in range(3):
            await sender.send(Request("POST", receiver.url, {}, b"{}"))
    assert len({received.peer for received in receiver.received}) == 1


@pytest.mark.parametrize("method", ["PUT", "DELETE", "GET"])
async def test_one_attempt_is_one_request(method: str) -> None:
    """Also where a kept connection breaks under a request that may be repeated: that is not the client's to say."""
    requests = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal requests
        requests += 1
        writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
        await reader.readuntil(b"\r\n\r\n")  # the second request of the connection: no answer
        requests += 1

    async with raw(serve) as url, Sender(options()) as sender:
        assert (await sender.send(Request(method, url, {}, b""))).status == 204
        with pytest.raises(Unreachable, match="disconnected"):
            await sender.send(Request(method, url, {}, b""))
    assert requests == 2


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_not_followed(status: int) -> None:
    """It could lead where the destination may not."""
    async with receiving() as elsewhere, receiving() as receiver:
        receiver.behaviour = lambda _: Answer(status, {"location": elsewhere.url})
        assert (await post(receiver.url)).status == status
    assert elsewhere.received == []


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_response_is_read_up_to_the_cap(chunked: bool) -> None:
    """Whether or not it says how long it is."""
    sent = b"x" * (RESPONSE_CAP * 20)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        length = b"transfer-encoding: chunked" if chunked else b"content-length: %d" % len(sent)
        writer.write(b"HTTP/1.1 400 No\r\n%b\r\n\r\n" % length)
        with contextlib.suppress(ConnectionError):
            for _ in range(20):
                part = sent[:RESPONSE_CAP]
                writer.write(b"%x\r\n%b\r\n" % (len(part), part) if chunked else part)
                await writer.drain()

    async with raw(serve) as url:
        response = await post(url)
    assert (response.status, response.body) == (400, sent[:RESPONSE_CAP])


async def test_a_compressed_response_is_not_unpacked() -> None:
    """A small answer could be a large one."""
    async with receiving(lambda _: Answer(400, {"content-encoding": "gzip"}, b"\x1f\x8b not gzip")) as receiver:
        assert (await post(receiver.url)).body == b"\x1f\x8b not gzip"


async def test_a_slow_response_ends_in_time() -> None:
    """The limit is on the whole request, however the receiver drips."""

    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n")
            for _ in range(1000):
                writer.write(b"x")
                await writer.drain()
                await asyncio.sleep(0.02)

    async def never(received: Received) -> Answer:
        await asyncio.Event().wait()
        return Answer()

    async with raw(drip) as url:
        assert await reason(url, timeout=0.2) == "timeout"
    async with receiving(never) as receiver:
        assert await reason(receiver.url, timeout=0.2) == "timeout"


async def test_failures_of_the_network_are_told_apart() -> None:
    """Each by a word; the cause, which may hold the URL, is not passed on."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        nobody = f"http://127.0.0.1:{unused.getsockname()[1]}/{SECRET}"
        assert await reason(nobody) == "connect"
    assert await reason(f"http://nowhere.invalid/{SECRET}") == "dns"

    async def hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    async def stop_short(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\nx")

    async def babble(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"\x00\x01 SSH-2.0-OpenSSH\r\n\r\n")

    for serve, expected in ((hang_up, "disconnected"), (stop_short, "disconnected"), (babble, "protocol")):
        async with raw(serve) as url:
            assert await reason(url) == expected
    async with receiving() as receiver:
        assert await reason(receiver.url.replace("http:", "https:")) == "tls"


@pytest.mark.parametrize(
    ("host", "changed"),
    [
        ("127.0.0.1", {"allow_private_addresses": False}),
        ("localhost", {"allow_private_addresses": False}),
        ("127.0.0.1", {"allow_http": False}),
    ],
)
async def test_only_permitted_addresses_are_connected_to(host: str, changed: dict[str, Any]) -> None:
    """Literal or resolved, and only by HTTPS unless allowed."""
    async with receiving() as receiver:
        with pytest.raises(AddressRefused) as caught:
            await post(receiver.url.replace("127.0.0.1", host), **changed)
    assert receiver.received == []
    assert SECRET not in str(caught.value)


async def test_cookies_are_not_kept() -> None:
    """A delivery depends on no earlier one."""
    async with (
        receiving(lambda _: Answer(200, {"set-cookie": "session=1; Path=/"})) as receiver,
        Sender(options()) as sender,
    ):
        for _ in range(2):
            await sender.send(Request("POST", receiver.url.replace("127.0.0.1", "localhost"), {}, b"{}"))
    assert "cookie" not in receiver.received[1].headers
