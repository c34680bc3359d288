"""One attempt to deliver a parcel: word to the ledger first, where it has to hear of the parcel, then a token, then the
platform's conversation, each request when its limit permits. What the answers say about rates is heeded at once, for
all replicas.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

from connectors.changes import Change
from connectors.conversation import converse
from connectors.exchange import Request, Response
from connectors.lanes import ERASE, Parcel
from connectors.limiter import Limiter
from connectors.metrics import DeliveryMetrics
from connectors.platforms import Connector
from connectors.results import Outcome, Result
from connectors.retry import RetryPolicy, nothing_remains, wait_asked
from connectors.sender import Sender

HELD_STATUSES = frozenset({429, 503})
"""Their `Retry-After` speaks of the whole service (RFC 6585 §4, RFC 9110 §15.6.4), that of others of the
request.
"""


def is_throttled(result: Result) -> bool:
    """Does a result say "too fast"?"""
    return result.outcome is Outcome.RETRY and (result.throttled or result.status == 429)


class _Permit:
    """What `may` took for a parcel's first request."""

    __slots__ = ("name",)

    def __init__(self, name: str | None) -> None:
        self.name = name


class Attempts:
    """Of one destination. `begin` is awaited before changes leave of which the ledger has to hear."""

    def __init__(
        self,
        name: str,
        connector: Connector,
        sender: Sender,
        limiter: Limiter,
        retry: RetryPolicy,
        metrics: DeliveryMetrics,
        begin: Callable[[Sequence[Change]], Awaitable[None]],
    ) -> None:
        self._name = name
        self._connector = connector
        self._sender = sender
        self._limiter = limiter
        self._retry = retry
        self._metrics = metrics
        self._tell = begin
        self._preparing = asyncio.Lock()
        # What a group's conversation begins with; learned from its first, which waits for its permits on the way.
        self._first: dict[str, str] = {}
        self._only = next(iter(connector.limits), "") if len(connector.limits) < 2 else None

    def limit_of(self, group: str) -> str | None:
        """Which limit the first request of a parcel counts against; None: not yet known."""
        return self._first.get(group, self._only)

    async def deliver(self, parcel: Parcel, permit: str | None) -> Sequence[Result]:
        """One result per change. `permit` is the limit for which a permit was taken for the parcel."""
        held = _Permit(permit)
        items = len(parcel.changes)
        try:
            # Also where no token is to be had: an erasure that is given up for that has to be known all the same.
            if parcel.untold:
                await self._tell(parcel.to_tell())
                parcel.untold = frozenset()
            failed = await self._prepare()
            if failed is not None:
                return [failed] * items
            begin = self._connector.erase if parcel.group == ERASE else self._connector.deliver
            steps = begin(parcel.changes, time.time())
            first = True

            async def send(request: Request) -> Response:
                nonlocal first
                if first:
                    first = False
                    self._first[parcel.group] = request.limit
                return await self._send(request, held)

            results = await converse(steps, send, items)
        finally:
            if held.name is not None:
                self._limiter.give_back(held.name)
        self._heed_results(results)
        return [self._refuse_again(result) if parcel.renewed else result for result in results]

    def _refuse_again(self, result: Result) -> Result:
        """A token that is not taken although it is new: the credentials are wrong."""
        return replace(result, outcome=Outcome.PAUSE) if result.outcome is Outcome.RENEW else result

    async def _prepare(self) -> Result | None:
        """Have what must be had first; the result if that failed."""
        if self._connector.prepare(time.time()) is None:
            return None
        async with self._preparing:
            steps = self._connector.prepare(time.time())
            if steps is None:  # somebody else has it by now
                return None
            (result,) = await converse(steps, lambda request: self._send(request, _Permit(None)), 1)
        if result.outcome is Outcome.DELIVERED:
            return None
        self._heed_results([result])
        return replace(result, request=None)  # it bears the credentials, and none of the changes

    async def _send(self, request: Request, held: _Permit) -> Response:
        if held.name == request.limit:
            held.name = None
        else:
            await self._limiter.acquire(request.limit)
        self._limiter.sent()
        response = await self._sender.send(request)
        self._heed_response(request, response)
        return response

    def _heed_response(self, request: Request, response: Response) -> None:
        now = time.time()
        if response.status in HELD_STATUSES:
            wait = wait_asked(response.headers, now)
        else:
            wait = nothing_remains(response.headers, now)
        if wait is not None:
            self._limiter.hold(request.limit, min(wait, self._retry.retry_after_cap))
        elif response.status == 429:
            self._slow_down(request.limit)

    def _heed_results(self, results: Sequence[Result]) -> None:
        """What only the platform knows to read: a throttling that is no 429."""
        said = [(r.request.limit, r.after) for r in results if r.throttled and r.status != 429 and r.request]
        for limit in {limit for limit, _ in said}:
            waits = [after for name, after in said if name == limit and after]
            if waits:
                self._limiter.hold(limit, min(max(waits), self._retry.retry_after_cap))
            else:
                self._slow_down(limit)

    def _slow_down(self, limit: str) -> None:
        self._metrics.throttled(self._name, limit)
        self._limiter.throttled(limit)
