"""One run with everything at once: six destinations, five of them bad, and a deliverer that is killed."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import signal
import sys
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from aiohttp import web
from aiokafka import AIOKafkaProducer

from stream.embedded.redis import redis_server
from tests.integration.conftest import Broker
from tests.integration.delivering import Bench, deliverer, options, value

CUSTOMERS, SEGMENTS = 500, 4
FILLED, PACED, PACED_PER_SECOND = 8_000, 500, 250
KILLS = (0.25, 0.5, 0.75)
PATIENCE_SECONDS = 120.0
NAMES = ("healthy", "hangs", "fails", "busy", "locked", "resets")

Truth = Mapping[tuple[str, str], int]


@dataclass
class Place:
    """A destination's other end: it keeps what it was told, as a platform does."""

    name: str
    held: dict[tuple[str, str], int] = field(default_factory=dict)
    """The sequence number of the state that it has, by customer and segment."""
    newest: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    """The newest sequence number that was applied, answered or not, by customer."""
    ids: set[str] = field(default_factory=set)
    repeats: int = 0
    out_of_order: list[tuple[str, int, int, str]] = field(default_factory=list)
    """Customer, what was applied before, what came after it, and from which process."""
    latencies: list[float] = field(default_factory=list)

    def apply(self, body: bytes, process: str) -> None:
        """Nothing older of a customer may come after anything that was applied, by whatever process, even where
        nobody heard that it was.
        """
        data = json.loads(body)["data"]
        now = time.time()
        for change in data if isinstance(data, list) else [data]:
            customer, sequence = change["customer_id"], change["sequence"]
            if sequence < self.newest[customer]:
                self.out_of_order.append((customer, self.newest[customer], sequence, process))
            self.newest[customer] = max(self.newest[customer], sequence)
            self.held[customer, change["segment"]] = sequence
            self.repeats += change["id"] in self.ids
            self.ids.add(change["id"])
            if "written_at" in change:
                self.latencies.append(now - change["written_at"])


class Places:
    """All six at one server; `bad` until it is said otherwise."""

    def __init__(self) -> None:
        self.by_name = {name: Place(name) for name in NAMES}
        self.bad = True
        self.url = ""
        self._draw = random.Random(7)
        self._changed = asyncio.Condition()

    async def handle(self, request: web.Request) -> web.Response:
        place = self.by_name[request.match_info["name"]]
        body = await request.read()
        if self.bad and place.name != "healthy":
            answer = await self._badly(place, request, body)
            if answer is not None:
                return answer
        place.apply(body, request.headers["user-agent"])
        await self._tell()
        return web.Response(status=204)

    async def _badly(self, place: Place, request: web.Request, body: bytes) -> web.Response | None:
        match place.name:
            case "hangs":
                await asyncio.sleep(3_600)
            case "fails":
                return web.Response(status=500)
            case "busy" if self._draw.random() < 0.7:
                return web.Response(status=429, headers={"retry-after": "1"} if self._draw.random() < 0.3 else {})
            case "locked":
                return web.Response(status=401)
            case "resets" if self._draw.random() < 0.5:
                place.apply(body, request.headers["user-agent"])
                assert request.transport is not None
                request.transport.abort()
        return None

    async def _tell(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    async def until(self, holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE_SECONDS), self._changed:
            await self._changed.wait_for(holds)


@contextlib.asynccontextmanager
async def serving() -> AsyncIterator[Places]:
    places = Places()
    app = web.Application(client_max_size=64 * 1024 * 1024)
    app.router.add_post("/{name}", places.handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0][:2]
        places.url = f"http://{host}:{port}"
        yield places
    finally:
        await runner.cleanup()


class Log:
    """What is written to `segment-changes`, and so the truth."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self._draw = random.Random(11)
        self._sequence: dict[str, int] = defaultdict(int)
        self.truth: dict[tuple[str, str], int] = {}
        self.written = 0

    def _next(self, **more: float) -> bytes:
        customer, segment = f"c{self._draw.randrange(CUSTOMERS)}", f"s{self._draw.randrange(SEGMENTS)}"
        self._sequence[customer] += 1
        self.written += 1
        self.truth[customer, segment] = self._sequence[customer]
        return value(customer, self._sequence[customer], segment, **more)

    async def fill(self, count: int) -> None:
        await self._bench.write([self._next() for _ in range(count)])

    async def pace(self, count: int) -> None:
        """Write evenly."""
        topic, loop = self._bench.settings["changes_topic"], asyncio.get_running_loop()
        async with AIOKafkaProducer(**self._bench.broker.client, acks="all") as producer:
            began = loop.time()
            for number in range(count):
                await asyncio.sleep(max(0.0, began + number / PACED_PER_SECOND - loop.time()))
                change = self._next(written_at=time.time())
                await producer.send(topic, change, key=json.loads(change)["customer_id"].encode())
            await producer.flush()


@dataclass
class Process:
    """The deliverer, which can be killed."""

    settings: dict[str, object]
    destinations: Path
    running: asyncio.subprocess.Process | None = None
    started: int = 0

    async def start(self) -> None:
        self.started += 1
        told = self.settings | {"user_agent": f"process/{self.started}"}
        self.running = await deliverer(told, self.destinations, stderr=asyncio.subprocess.DEVNULL)

    async def stop(self, number: signal.Signals) -> int:
        assert self.running is not None
        with contextlib.suppress(ProcessLookupError):
            self.running.send_signal(number)
        return await self.running.wait()


def written(url: str, names: tuple[str, ...]) -> str:
    """The destinations file: the healthy one gets every change, one by one; the others the states, in batches."""
    quick = ("retry_base: 0.1", "retry_cap: 0.5", "timeout: 2")
    batched = (*quick, "coalesce: true", "batch_size: 20", "batch_wait: 0.05")
    lines = [f"  {name}: {{{options(f'{url}/{name}', *(quick if name == 'healthy' else batched))}}}" for name in names]
    return "destinations:\n" + "\n".join(lines) + "\n"


def p99(latencies: list[float]) -> float:
    return sorted(latencies)[round(0.99 * (len(latencies) - 1))]


async def lateness(log: Log, place: Place, places: Places) -> float:
    """Of changes that are written evenly, in seconds."""
    place.latencies.clear()
    before = len(place.ids)
    await log.pace(PACED)
    await places.until(lambda: len(place.ids) == before + PACED)
    return p99(place.latencies)


@pytest.mark.timeout(400)
async def test_six_destinations_five_of_them_bad_and_a_deliverer_that_is_killed(
    broker: Broker, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Afterwards every destination has the truth, each customer's changes came in order, and nothing is lost.

    Two seconds of writing evenly, alone and beside the five, give the latencies that are printed.
    """
    bench = await Bench(broker).create()
    alone = await Bench(broker).create()
    log = Log(bench)
    path = tmp_path / "destinations.yaml"
    async with redis_server() as redis, serving() as places:
        healthy = places.by_name["healthy"]
        path.write_text(written(places.url, ("healthy",)))
        quiet = Process(alone.settings | {"redis_url": redis}, path)
        await quiet.start()
        by_itself = Log(alone)
        await by_itself.fill(100)
        await places.until(lambda: len(healthy.ids) == 100)
        p99_alone = await lateness(by_itself, healthy, places)
        await quiet.stop(signal.SIGTERM)
        places.by_name["healthy"] = healthy = Place("healthy")

        path.write_text(written(places.url, NAMES))
        # Small fetches: what a killed process had made needless is looked at before what made it so.
        deliverer = Process(bench.settings | {"redis_url": redis, "fetch_records": 50}, path)
        await deliverer.start()
        filling = asyncio.create_task(log.fill(FILLED))
        for share in KILLS:
            await places.until(lambda: len(healthy.ids) >= share * FILLED)  # noqa: B023
            await deliverer.stop(signal.SIGKILL)
            await deliverer.start()
        await filling
        await places.until(lambda: len(healthy.ids) == FILLED)
        p99_beside = await lateness(log, healthy, places)
        assert not places.by_name["hangs"].ids and not places.by_name["locked"].ids
        places.bad = False
        # What is left of the ten thousand: while all recover.
        await log.fill(10_000 - log.written)
        truth = log.truth
        await places.until(lambda: all(place.held == truth for place in places.by_name.values()))
        assert await deliverer.stop(signal.SIGTERM) == 0

    assert len(healthy.ids) == log.written == 10_000
    assert {place.name: place.out_of_order for place in places.by_name.values()} == {name: [] for name in NAMES}
    assert await bench.read("dead_letters") == []
    endings: dict[str, set[str]] = defaultdict(set)
    for receipt in await bench.receipts():
        assert receipt.status in ("delivered", "superseded")
        endings[receipt.destination].add(receipt.id)
    assert {name: len(ids) for name, ids in endings.items()} == dict.fromkeys(NAMES, 10_000)
    assert [await bench.committed(name) for name in NAMES] == [10_000] * len(NAMES)
    repeats = {place.name: place.repeats for place in places.by_name.values()}
    with capsys.disabled():
        sys.stdout.write(
            f"\np99 of the healthy one: {p99_alone * 1000:.1f} ms alone, {p99_beside * 1000:.1f} ms beside five bad "
            f"ones ({p99_beside / p99_alone:.2f} x); sent twice: {repeats}\n"
        )
