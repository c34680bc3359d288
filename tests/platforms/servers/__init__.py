"""Servers that behave like the platforms: authentication, limits, partial failures, and the state that results.

One module per platform, named like the platform's own module, with one subclass of `PlatformServer`. They
listen on the loopback interface; `discover` finds them.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import pkgutil
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, ClassVar, Self

from aiohttp import web

from connectors.rates import Window


@dataclass(frozen=True)
class Recorded:
    """A request that came."""

    method: str
    path: str
    """With the query, as it was on the wire."""
    headers: Mapping[str, str]
    """Names in lower case."""
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True)
class Fault:
    """What happens to a request instead of, or after, what should."""

    kind: str
    """`none`, `status`, `hang`, `reset` (before anything is applied), `lost` (applied, and then no answer) or
    `garbage` (applied, and the answer's body is not what it should be).
    """
    status: int = 500
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


PASS = Fault("none")
HANG = Fault("hang")
RESET = Fault("reset")
LOST = Fault("lost")
GARBAGE = Fault("garbage", body=b"<html>sorry")


def garbage(body: bytes) -> Fault:
    return Fault("garbage", body=body)


def status(code: int, body: Any = b"", **headers: str) -> Fault:
    """An answer of that status; underscores in header names stand for hyphens."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Fault("status", code, {name.replace("_", "-"): value for name, value in headers.items()}, raw)


class PlatformServer:
    """What all of them share. A subclass says `platform`, `environ`, `options`, `routes`, and keeps the state.

    An async context manager: `url` is where it listens while it is open.
    """

    platform: ClassVar[str]
    """The name of the module of `connectors.platforms`."""
    environ: ClassVar[Mapping[str, str]]
    """The right credentials, under the names that `options` refers to."""
    segments: ClassVar[Sequence[str]] = ("vip", "cart")
    """The segments that `options` gives targets."""
    max_items: ClassVar[int]
    """Most changes that one parcel may hold with `options()`: its batch size."""
    tokens_at: ClassVar[str] = ""
    """Path of the token endpoint, where there is one: scripted faults and quotas leave it alone."""
    anonymous: ClassVar[Mapping[str, Any] | None] = {"identity": {"email": "email", "external_id": None}}
    """Options under which a customer without an e-mail address has no identity; None where everybody has one."""
    silent: ClassVar[bool] = False
    """Whether a 2xx means that it is done, whatever its body says."""
    creates: ClassVar[bool] = False
    """Whether customers whom it does not know yet are written by other requests than those whom it knows."""
    pings: ClassVar[bool] = True
    erases: ClassVar[bool] = True
    """Whether the platform has a request that shows the credentials, and one that deletes a customer."""

    def __init__(self) -> None:
        self.url = ""
        self.requests: list[Recorded] = []
        self.refused: set[str] = set()
        """Customers whose items the platform refuses (by customer id); the others of a batch are good."""
        self.erased: set[str] = set()
        """Customers that were deleted (by customer id)."""
        self.quota: Sequence[Window] = ()
        """Requests that it takes; beyond them it answers `throttle`."""
        self._faults: deque[tuple[str, Fault]] = deque()
        self._taken: dict[Window, tuple[float, int]] = {}

    # What a platform's server has of its own.

    def options(self) -> dict[str, Any]:
        """A destination's options as `destinations.yaml` would have them, for this server: batches of
        `max_items`, targets for `segments`.
        """
        raise NotImplementedError

    def routes(self) -> Iterable[web.AbstractRouteDef]:
        raise NotImplementedError

    def authorized(self, request: web.Request, body: bytes) -> bool:
        """Whether the request has the right credentials (the token endpoint is not asked)."""
        raise NotImplementedError

    def members(self, segment: str) -> set[str]:
        """The customers (ids, see `customer_of`) that the platform now holds as being in the segment."""
        raise NotImplementedError

    @property
    def wrong(self) -> Mapping[str, str]:
        """Credentials that look right and are not."""
        return {
            name: value[: len(value) // 2]
            + ("B" if value[len(value) // 2] == "A" else "A")
            + value[len(value) // 2 + 1 :]
            for name, value in self.environ.items()
        }

    def unauthorized(self) -> web.Response:
        """How it answers wrong credentials."""
        return web.json_response({"message": "unauthorized"}, status=401)

    def throttle(self, wait: float) -> web.Response:
        """How it answers a request beyond its limits, `wait` seconds before the window ends."""
        raise NotImplementedError

    throttle_tells: ClassVar[bool] = True
    """Whether `throttle` says how long to wait."""

    def revoke(self) -> None:
        """Access tokens given so far are no longer taken. Nothing where there are none."""

    # What scripts it.

    def fail(self, *faults: Fault, at: str = "") -> None:
        """The next requests meet these, in this order; only requests whose path contains `at`."""
        self._faults.extend((at, fault) for fault in faults)

    def sent(self, at: str = "") -> list[Recorded]:
        """The requests so far whose path contains `at`, without those for tokens."""
        return [
            request
            for request in self.requests
            if at in request.path and not (self.tokens_at and request.path.startswith(self.tokens_at))
        ]

    # Its life.

    async def __aenter__(self) -> Self:
        app = web.Application(client_max_size=64 * 1024 * 1024, middlewares=[self._serve])
        app.add_routes(self.routes())
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        host, port = self._runner.addresses[0][:2]
        self.url = f"http://{host}:{port}"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    @property
    def _serve(self) -> Any:
        @web.middleware
        async def serve(request: web.Request, handler: Callable[[web.Request], Any]) -> web.StreamResponse:
            body = await request.read()  # aiohttp keeps it, so that handlers can read it again
            headers = {name.lower(): value for name, value in request.headers.items()}
            self.requests.append(Recorded(request.method, request.raw_path, headers, body))
            if self.tokens_at and request.path == self.tokens_at:
                answer: web.StreamResponse = await handler(request)
                return answer
            fault = self._fault(request)
            if fault is not None and fault.kind == "status":
                return web.Response(status=fault.status, headers=dict(fault.headers), body=fault.body)
            if fault is not None and fault.kind == "hang":
                await asyncio.sleep(3600)
            if fault is not None and fault.kind == "reset":
                return _cut(request)
            if not self.authorized(request, body):
                return self.unauthorized()
            wait = self._over_quota()
            if wait is not None:
                return self.throttle(wait)
            answer = await handler(request)
            if fault is not None and fault.kind == "lost":
                return _cut(request)
            if fault is not None and fault.kind == "garbage":
                return web.Response(status=answer.status, body=fault.body, content_type="text/html")
            return answer

        return serve

    def _fault(self, request: web.Request) -> Fault | None:
        if not self._faults or self._faults[0][0] not in request.raw_path:
            return None
        return self._faults.popleft()[1]

    def _over_quota(self) -> float | None:
        """Seconds until a full window ends, None if the request fits into all (and is counted)."""
        now = asyncio.get_running_loop().time()
        for window in self.quota:
            start, taken = self._taken.get(window, (now, 0))
            if now - start >= window.seconds:
                start, taken = now, 0
            if taken >= window.requests:
                return start + window.seconds - now
            self._taken[window] = (start, taken + 1)
        return None


def _cut(request: web.Request) -> web.Response:
    if request.transport is not None:
        request.transport.abort()
    return web.Response()


def customer_of(identifier: str) -> str:
    """The customer id behind an identifier: tests give the customer `c1` the e-mail address `c1@example.com`."""
    return identifier.removesuffix("@example.com")


@cache
def discover() -> Mapping[str, type[PlatformServer]]:
    """The servers by their platforms' names."""
    found = {}
    for module in pkgutil.iter_modules(__path__):
        loaded = importlib.import_module(f"{__name__}.{module.name}")
        (found[module.name],) = (
            value
            for value in vars(loaded).values()
            if isinstance(value, type) and issubclass(value, PlatformServer) and value is not PlatformServer
        )
    return found
