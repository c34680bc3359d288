"""Laws of rates, on a real Redis: what is published is kept to by all replicas together, and what answers say."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections import deque
from collections.abc import AsyncIterator
from itertools import pairwise

import pytest
import pytest_asyncio
import redis.asyncio
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.limiter import Limiter
from connectors.rates import Grant, Meter, Window, take
from connectors.ratestore import Limits, MemoryRates, Rates, RedisRates
from stream.embedded.process import free_ports
from stream.embedded.redis import redis_server
from tests.integration.conftest import Broker
from tests.integration.delivering import Bench, Metrics, options, value
from tests.receiver import Answer, Received, receiving


@pytest.fixture
async def bench(broker: Broker) -> Bench:
    return await Bench(broker).create()


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def shared() -> AsyncIterator[str]:
    async with redis_server() as url:
        yield url


def most_in(seconds: float, times: list[float]) -> int:
    """The largest number in any span of that length."""
    most, within = 0, deque[float]()
    for at in sorted(times):
        within.append(at)
        while at - within[0] >= seconds:
            within.popleft()
        most = max(most, len(within))
    return most


windows = st.lists(
    st.builds(Window, st.integers(1, 20), st.sampled_from([0.5, 1.0, 7.0, 86_400.0])), min_size=0, max_size=2
)
steps = st.lists(
    st.tuples(
        st.floats(0, 3).map(lambda pause: round(pause, 3)),
        st.one_of(
            st.tuples(st.just("take"), st.integers(1, 30)),
            st.tuples(st.just("hold"), st.floats(0, 5).map(lambda seconds: round(seconds, 3))),
            st.tuples(st.just("throttle"), st.integers(0, 50)),
        ),
    ),
    max_size=40,
)


@settings(max_examples=60, deadline=None)
@given(declared=st.lists(windows, min_size=1, max_size=2), steps=steps)
def test_redis_says_what_the_arithmetic_says(
    shared: str, declared: list[list[Window]], steps: list[tuple[float, tuple[str, float]]]
) -> None:
    """The script and the pure code grant the same, step by step."""

    async def run() -> None:
        client = redis.asyncio.from_url(shared)
        rates, names = RedisRates(client, f"{uuid.uuid4().hex}:"), [str(n) for n in range(len(declared))]
        meters = [Meter(at=-1e18) for _ in declared]
        now = 1_700_000_000.0
        for pause, (what, argument) in steps:
            now = round(now + pause, 3)
            if what == "hold":
                meters[0].hold = max(meters[0].hold, now + argument)
                await rates.hold(names[0], argument, now=now)
            elif what == "throttle":
                meters[0].throttle(declared[0], argument, now)
                await rates.throttle(names[0], declared[0], argument, now=now)
            else:
                limits = list(zip(names, declared, strict=True))
                ours, theirs = (
                    take(meters, declared, int(argument), now),
                    await rates.take(limits, int(argument), now=now),
                )
                assert (ours.granted, ours.limited) == (theirs.granted, theirs.limited)
                assert ours.wait == pytest.approx(theirs.wait, abs=1e-5)
                assert ours.share == pytest.approx(theirs.share, abs=1e-6)
        await client.aclose()

    asyncio.run(run())


async def test_two_replicas_together_keep_to_an_account_s_rate(bench: Bench, shared: str) -> None:
    """In any second; and use it."""
    await bench.write([value(f"c{n}", 1) for n in range(120)])
    first, second = Metrics(), Metrics()
    async with receiving() as receiver:
        destination = options(receiver, "requests_per_second: 20")
        async with (
            bench.delivering(metrics=first, changed={"redis_url": shared}, crm=destination),
            bench.delivering(metrics=second, changed={"redis_url": shared}, crm=destination),
        ):
            await receiver.until(lambda: len({one.id for one in receiver.received}) == 120)
    times = [one.at for one in receiver.received]
    # A fiftieth of a second is what a permit may lie unused at most (`connectors.limiter`), and the network may add.
    assert most_in(0.9, times) <= 21
    assert second.outcomes["crm"]["delivered"] > 0 and first.outcomes["crm"]["delivered"] > 0
    assert max(times) - min(times) < 9.0


@pytest.mark.parametrize("with_redis", [True, False])
async def test_a_retry_after_holds_every_destination_of_the_account(
    bench: Bench, shared: str, with_redis: bool
) -> None:
    """Two destinations at one address are one account: what one was told counts for the other, and for no third."""
    told: list[float] = []

    def busy(received: Received) -> Answer:
        if not told and metrics.ended("one") == metrics.ended("two") == 1:
            told.append(received.at)
            return Answer(429, {"retry-after": "1.5"})
        return Answer()

    metrics = Metrics()
    async with (
        receiving(busy) as receiver,
        receiving() as other,
        bench.delivering(
            metrics=metrics,
            changed={"redis_url": shared} if with_redis else {},
            one=options(receiver, "concurrency: 1"),
            two=options(receiver, "concurrency: 1"),
            three=options(other),
        ),
    ):
        await bench.write([value("first", 1)])
        await metrics.until(lambda: metrics.ended("one") == metrics.ended("two") == metrics.ended("three") == 1)
        await bench.write([value(f"c{n}", 1) for n in range(30)])
        await metrics.until(lambda: metrics.ended("one") == metrics.ended("two") == metrics.ended("three") == 31)
    # Leave that was given before may be used for a quarter of a second.
    meanwhile = [at for at in (one.at - told[0] for one in receiver.received) if 0.3 < at < 1.45]
    assert meanwhile == []
    assert max(one.at for one in other.received) - told[0] < 1.0
    assert set(metrics.states["one"]) == set(metrics.states["two"]) == {"active"}


async def test_the_last_request_of_a_window_is_known_as_the_last(bench: Bench, shared: str) -> None:
    """A platform that says how much remains never has to say 429."""
    window: deque[float] = deque()

    def counting(received: Received) -> Answer:
        if window and received.at - window[0] >= 0.5:
            window.clear()
        window.append(received.at)
        if len(window) > 10:
            return Answer(429)
        left = 0.5 - (received.at - window[0]) + 0.001  # rounded up: the header has milliseconds
        return Answer(200, {"x-ratelimit-remaining": str(10 - len(window)), "x-ratelimit-reset": f"{left:.3f}"})

    await bench.write([value(f"c{n}", 1) for n in range(60)])
    metrics = Metrics()
    async with (
        receiving(counting) as receiver,
        bench.delivering(metrics=metrics, changed={"redis_url": shared}, crm=options(receiver, "concurrency: 1")),
    ):
        await metrics.until(lambda: metrics.ended() == 60)
    assert metrics.throttlings["crm"] == 0
    assert len(receiver.received) == 60


async def test_a_plain_429_lowers_the_rate_until_it_fits(bench: Bench, shared: str) -> None:
    """No header, no published rate: after the first refusals nearly everything is taken, and nothing is lost."""
    recent: deque[float] = deque()

    def limited(received: Received) -> Answer:
        while recent and received.at - recent[0] >= 1.0:
            recent.popleft()
        if len(recent) >= 50:
            return Answer(429)
        recent.append(received.at)
        return Answer()

    await bench.write([value(f"c{n}", 1) for n in range(400)])
    metrics = Metrics()
    async with (
        receiving(limited) as receiver,
        bench.delivering(
            metrics=metrics, changed={"redis_url": shared}, crm=options(receiver, "retry_base: 0.2", "retry_cap: 0.5")
        ),
    ):
        await metrics.until(lambda: metrics.ended() == 400)
    refused = len(receiver.received) - len(receiver.accepted)
    settled = receiver.received[len(receiver.received) // 2 :]
    taken = {id(one) for one in receiver.accepted}
    assert 0 < metrics.throttlings["crm"] <= refused
    assert sum(id(one) not in taken for one in settled) < len(settled) / 5
    assert metrics.states["crm"] == ["active"]  # a throttling is no failure
    assert metrics.outcomes["crm"]["delivered"] == 400


@contextlib.asynccontextmanager
async def limiter(rates: Rates, *windows: Window, per_second: float | None = None) -> AsyncIterator[Limiter]:
    made = Limiter(rates, uuid.uuid4().hex, {"": windows} if windows else {}, per_second, wake=lambda: None)
    try:
        yield made
    finally:
        await made.close()


async def times(made: Limiter, count: int) -> list[float]:
    """When each of so many requests may leave."""
    loop = asyncio.get_running_loop()

    async def one() -> float:
        await made.acquire("")
        return loop.time()

    return sorted(await asyncio.gather(*(one() for _ in range(count))))


@pytest.mark.parametrize("with_redis", [True, False])
async def test_those_who_wait_get_their_permits_in_time(shared: str, with_redis: bool) -> None:
    """All of a window at once, and the next as soon as it has passed."""
    client = redis.asyncio.from_url(shared)
    rates = RedisRates(client, f"{uuid.uuid4().hex}:") if with_redis else MemoryRates()
    async with limiter(rates, Window(10, 0.5), Window(25, 60.0)) as made:
        left = await times(made, 25)
        assert most_in(0.5, left) <= 10
        assert left[24] - left[0] < 1.5
        waiting = asyncio.create_task(made.acquire(""))
        done, _ = await asyncio.wait([waiting], timeout=0.7)
        assert not done
        waiting.cancel()
    async with limiter(rates, per_second=0.5) as made:
        left = await times(made, 2)
        assert 2.0 <= left[1] - left[0] < 2.6
    await client.aclose()


async def test_the_time_for_which_a_limit_holds_is_told_and_once_for_all_who_wait() -> None:
    """Nothing for what it permits at once; then as long as it took, not as long times as many."""
    told: list[tuple[str, float]] = []
    loop = asyncio.get_running_loop()
    made = Limiter(
        *(MemoryRates(), "account", {"contacts": [Window(10, 0.5)]}, None),
        wake=lambda: None,
        waited=lambda limit, seconds: told.append((limit, seconds)),
    )
    await asyncio.gather(*(made.acquire("contacts") for _ in range(10)))
    assert told == []
    began = loop.time()
    await asyncio.gather(*(made.acquire("contacts") for _ in range(20)))
    held = loop.time() - began
    assert {limit for limit, _ in told} == {"contacts"}
    assert 0.9 * held < sum(seconds for _, seconds in told) <= held
    told.clear()
    made.hold("contacts", 0.3)
    async with asyncio.timeout(10.0):
        while not made.ready("contacts"):  # as parcels wait: nobody is in `acquire`
            made.want("contacts", 1)
            await asyncio.sleep(0.01)
    assert sum(seconds for _, seconds in told) > 0.25
    await made.close()


async def test_what_was_granted_before_a_pause_was_asked_for_is_not_used_in_it() -> None:
    """The store's yes and the platform's answer cross on the way: the answer is the newer."""
    taken, on = asyncio.Event(), asyncio.Event()

    class Slow(MemoryRates):
        async def take(self, limits: Limits, want: int) -> Grant:
            grant = await super().take(limits, want)
            taken.set()
            await on.wait()
            return grant

    loop = asyncio.get_running_loop()
    async with limiter(Slow()) as made:
        made.want("", 5)
        await asyncio.wait_for(taken.wait(), 5.0)
        made.hold("", 0.5)
        held = loop.time()
        on.set()
        async with asyncio.timeout(10.0):
            await made.acquire("")
        assert loop.time() - held >= 0.45


async def test_a_redis_that_comes_back_goes_on_granting() -> None:
    """What waits meanwhile waits."""
    (port,) = free_ports(1)
    client = redis.asyncio.from_url(f"redis://127.0.0.1:{port}/0", socket_connect_timeout=0.5)
    async with limiter(RedisRates(client), Window(5, 60.0)) as made:
        waiting = asyncio.create_task(made.acquire(""))
        done, _ = await asyncio.wait([waiting], timeout=0.3)
        assert not done
        async with redis_server(port=port):
            await asyncio.wait_for(waiting, 10.0)
    await client.aclose()


async def test_leave_without_a_rate_costs_no_round_trips(shared: str) -> None:
    """Asked for a few times a second, however many requests leave; and a hold is met by all within that time."""
    client = redis.asyncio.from_url(shared)
    prefix = f"{uuid.uuid4().hex}:"
    calls: list[float] = []

    class Counting(RedisRates):
        async def take(self, *arguments: object, **named: object) -> object:  # type: ignore[override]
            calls.append(asyncio.get_running_loop().time())
            return await super().take(*arguments, **named)  # type: ignore[arg-type]

    loop = asyncio.get_running_loop()
    first = Limiter(Counting(client, prefix), "account", {}, None, wake=lambda: None)  # type: ignore[arg-type]
    second = Limiter(RedisRates(client, prefix), "account", {}, None, wake=lambda: None)
    began = loop.time()
    sent = [began]
    held = 0.0
    while not held or sent[-1] - held < 1.0:
        await first.acquire("")
        sent.append(loop.time())
        if not held and sent[-1] - began > 0.6:
            second.hold("", 1.0)
            held = sent[-1]
        await asyncio.sleep(0)
    longest, at = max((later - earlier, earlier) for earlier, later in pairwise(sent))
    assert longest > 0.7 and at - held < 0.3
    assert len(calls) < 12 < len(sent) / 10
    for made in (first, second):
        await made.close()
    await client.aclose()
