"""A destination's permits: whether a request may be sent now, by the rates of its account.

Permits are fetched for everything that waits, one fetch at a time for each limit, so that a fast destination does not
cost a round trip per request. Where no rate applies, a fetch gives leave for a while: so that a hold which another
replica was told of is met soon.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Callable, Coroutine, Mapping, Sequence

from redis.exceptions import RedisError

from connectors.rates import BUCKETS, Grant, Window
from connectors.ratestore import Limits, Rates

LEAVE_SECONDS = 0.25
LONGEST_WAIT = 5.0
"""Seconds after which a limit is asked about again, however long it says to wait."""
WHOLE_ACCOUNT = "*"
"""The name of the limit that `requests_per_second` makes; no platform's."""


class _Gate:
    __slots__ = (
        "closed",
        "expires",
        "fetching",
        "leave_until",
        "limits",
        "name",
        "permits",
        "validity",
        "waiting",
        "want",
    )

    def __init__(self, name: str, limits: Limits) -> None:
        self.name, self.limits = name, limits
        seconds = [window.seconds for _, windows in limits for window in windows]
        self.validity = min(seconds, default=1.0) / BUCKETS
        self.permits = 0
        self.expires = 0.0
        self.leave_until = 0.0
        self.closed = 0
        """How often the platform asked for a pause."""
        self.want = 0
        self.waiting: deque[asyncio.Future[None]] = deque()
        self.fetching: asyncio.Task[None] | None = None


class Limiter:
    """For one destination; within one event loop. `wake` is called when `ready` may say yes again.

    `waited` is told the seconds in which requests were ready to leave and a limit did not permit any; however many they
    are, the time counts once.
    """

    def __init__(
        self,
        rates: Rates,
        account: str,
        limits: Mapping[str, Sequence[Window]],
        requests_per_second: float | None,
        *,
        wake: Callable[[], None],
        told: Callable[[str, float], None] = lambda _name, _share: None,
        waited: Callable[[str, float], None] = lambda _name, _seconds: None,
        lost: Callable[[str], None] = lambda _error: None,
    ) -> None:
        self._rates = rates
        self._account = account
        self._limits = limits
        self._whole = [] if requests_per_second is None else [_per_second(requests_per_second)]
        self._wake = wake
        self._told = told
        self._waited = waited
        self._lost = lost
        self._gates: dict[str, _Gate] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._sent = [0, 0, 0]  # the second, and what was sent in it and in the one before

    def ready(self, name: str) -> bool:
        """Take a permit for a request against the limit `name`, if there is one."""
        gate = self._gate(name)
        now = _now()
        if now < gate.leave_until:
            return True
        if gate.permits and now < gate.expires and not gate.waiting:
            gate.permits -= 1
            return True
        gate.permits = 0
        return False

    def want(self, name: str, count: int) -> None:
        """So many permits would be taken now."""
        gate = self._gate(name)
        gate.want = max(gate.want, count)
        self._fetch(gate)

    async def acquire(self, name: str) -> None:
        """Wait for a permit."""
        if self.ready(name):
            return
        gate = self._gate(name)
        permit = asyncio.get_running_loop().create_future()
        gate.waiting.append(permit)
        self._fetch(gate)
        await permit

    def give_back(self, name: str) -> None:
        """A permit was not used."""
        gate = self._gate(name)
        if _now() < gate.expires:
            gate.permits += 1

    def sent(self) -> None:
        """A request leaves: for the measured rate."""
        second = int(_now())
        if second != self._sent[0]:
            self._sent = [second, 0, self._sent[1] if second == self._sent[0] + 1 else 0]
        self._sent[1] += 1

    def hold(self, name: str, seconds: float) -> None:
        """The platform asks for a pause of this limit."""
        self._close(self._gate(name))
        self._tell(self._rates.hold(self._key(name), seconds), name)

    def throttled(self, name: str) -> None:
        """The platform says "too fast", and not for how long."""
        self._close(self._gate(name))
        measured = max(self._sent[1], self._sent[2])
        self._tell(self._rates.throttle(self._key(name), self._limits.get(name, ()), measured), name)

    async def close(self) -> None:
        tasks = {*self._tasks, *(gate.fetching for gate in self._gates.values() if gate.fetching)}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _gate(self, name: str) -> _Gate:
        gate = self._gates.get(name)
        if gate is None:
            limits = [(self._key(name), self._limits.get(name, ()))]
            if self._whole:
                limits.append((self._key(WHOLE_ACCOUNT), self._whole))
            gate = self._gates[name] = _Gate(name, limits)
        return gate

    def _key(self, name: str) -> str:
        return f"{{{self._account}}}:{name}"

    def _close(self, gate: _Gate) -> None:
        gate.leave_until, gate.permits = 0.0, 0
        gate.closed += 1

    def _tell(self, telling: Coroutine[object, object, None], name: str) -> None:
        async def tell() -> None:
            try:
                await telling
            except RedisError as error:  # the next answer of the platform says it again
                self._lost(type(error).__name__)
            self._wake()

        # What is asked for meanwhile waits until the store was told.
        task = asyncio.get_running_loop().create_task(tell(), name=f"limit-{name}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _fetch(self, gate: _Gate) -> None:
        if gate.fetching is None:
            gate.fetching = asyncio.get_running_loop().create_task(self._keep_fetching(gate))

    async def _keep_fetching(self, gate: _Gate) -> None:
        try:
            while gate.want or gate.waiting:
                if self._tasks:
                    await asyncio.wait(set(self._tasks))
                want, gate.want = gate.want, 0
                closed = gate.closed
                grant = await self._ask(gate, want + len(gate.waiting))
                if gate.closed != closed:  # granted before the platform asked for a pause: no longer true
                    gate.want = max(gate.want, want)
                    continue
                rest = self._hand_out(gate, grant)
                if not grant.limited or rest:
                    self._wake()
                elif gate.waiting or want:
                    gate.want = max(gate.want, want)
                    began = _now()
                    await asyncio.sleep(min(max(grant.wait, 0.001), LONGEST_WAIT))
                    self._waited(gate.name, _now() - began)
        finally:
            gate.fetching = None

    async def _ask(self, gate: _Gate, want: int) -> Grant:
        while True:
            try:
                grant = await self._rates.take(gate.limits, want)
            except RedisError as error:
                self._lost(type(error).__name__)
                await asyncio.sleep(1.0)
            else:
                self._told(gate.name, grant.share)
                return grant

    def _hand_out(self, gate: _Gate, grant: Grant) -> int:
        """Give permits to who waits; what is left is for `ready`."""
        left = math.inf if not grant.limited else grant.granted
        while gate.waiting and left > 0:
            permit = gate.waiting.popleft()
            if not permit.done():
                permit.set_result(None)
                left -= 1
        if not grant.limited:
            gate.leave_until = _now() + LEAVE_SECONDS
            return 0
        gate.permits, gate.expires = int(left), _now() + gate.validity
        return gate.permits


def _per_second(requests: float) -> Window:
    return Window(math.floor(requests), 1.0) if requests >= 1 else Window(1, 1 / requests)


def _now() -> float:
    return asyncio.get_running_loop().time()
