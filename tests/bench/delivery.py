"""``make bench-delivery``: changes per second from ``segment-changes`` to a webhook, beside a bare httpx loop.

    python -m tests.bench.delivery [--broker kafka|tansu] [--no-redis] [--only throughput|bulkhead] [--rounds N]

One deliverer sends to a receiver on the loopback interface: signed, in order per customer, through
the ledger, receipts written. The floor is a loop of httpx that posts the same bodies and does nothing else.
Then the bulkhead: how late a healthy destination's changes are at 500 changes/s, alone and beside five
that hang, fail, refuse, are busy, or reset the connection; ``--rounds`` repeats both by turns, and the
medians are compared. Prints tables, writes ``build/bench/delivery.json`` when all was measured; judges nothing.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import contextlib
import json
import os
import platform
import sys
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import aiohttp
import uvloop
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from rich import box
from rich.console import Console
from rich.table import Table

from schemas import topics
from stream.embedded.kafka import available, kafka
from stream.embedded.process import free_ports, running
from stream.embedded.redis import redis_server
from stream.embedded.tansu import tansu
from tests.bench.contestants import ROOT, BrokerKind

RESULT = ROOT / "build/bench/delivery.json"
PARTITIONS = 4
CONCURRENCY = 64
BATCH = 100
UNBATCHED_CHANGES, BATCHED_CHANGES = 40_000, 400_000
CUSTOMERS = 100_000
FLOOR_SECONDS = 8.0
PACED_PER_SECOND, PACED_SECONDS, SETTLING_SECONDS = 500, 12.0, 3.0
ALONE = "nobody"
BAD = ("hang", "500", "429", "401", "reset")
_SECRET = "whsec_" + base64.b64encode(b"a-key-of-thirty-two-bytes-for-it").decode()
_PATIENCE_SECONDS = 120.0


def change(customer: int, sequence: int, written_at: float | None = None) -> bytes:
    """A change as the stream writes it, about 700 bytes."""
    evidence: dict[str, Any] = {"cart_value": 49.9, "cart_updated_at": "2026-01-02T03:00:00Z"}
    if written_at is not None:
        evidence["written_at"] = written_at  # the last one: the receiver reads it up to the brace
    fields = {
        "id": f"{customer:016x}{sequence:016x}",
        "customer_id": f"customer-{customer}",
        "segment": "abandoned_cart",
        "action": "entered" if sequence % 2 else "exited",
        "at": "2026-01-02T03:04:05Z",
        "sequence": sequence,
        "definition_version": "0123456789abcdef",
        "cause": {"kind": "time"},
        "evidence": evidence,
        "profile": {
            "last_viewed_product": "sku-1234", "recent_view_category": "Electronics", "cart_value": 49.9,
            "cart_items": 2, "last_order_at": None, "order_count": 0, "total_spent": 0.0, "email": "ann@example.com",
        },
        "code": "2",
    }  # fmt: skip
    return json.dumps(fields, separators=(",", ":")).encode()


@dataclass(frozen=True, slots=True)
class Rate:
    """One contestant. The rate is of the middle eight tenths of its changes."""

    contestant: str
    batch: int
    changes_per_second: float
    requests_per_second: float
    changes: int


@dataclass(frozen=True, slots=True)
class Lateness:
    """Seconds from just before a change is written to its receipt at the healthy destination."""

    beside: str
    p50: float
    p99: float
    load: float
    """The machine's, over the minute before: who else was busy."""


@dataclass(slots=True)
class Bench:
    """The measurements on one broker."""

    kind: BrokerKind
    address: str
    redis: str | None
    console: Console
    rates: list[Rate] = field(default_factory=list)
    lateness: list[Lateness] = field(default_factory=list)

    async def throughput(self, batch: int, changes: int, *, with_redis: bool) -> None:
        """One deliverer on a topic that was filled before."""
        tag = f"batch-{batch}-{'redis' if with_redis else 'memory'}-"
        await self._create(tag)
        each = max(1, changes // CUSTOMERS)
        values = (change(number % CUSTOMERS, number // CUSTOMERS + 1) for number in range(changes))
        await self._fill(tag, values)
        async with receiver() as base:
            destinations = _destinations({"ok": base}, batch)
            async with self._deliverer(tag, destinations, with_redis=with_redis):
                told = await _until(base, changes)
        name = "livesegments" + ("" if with_redis else ", ledger in memory")
        self._found(_rate(name, batch, told), f"{changes:,} changes, up to {each} of a customer")

    async def floor(self, batch: int) -> None:
        """The bare loop."""
        async with receiver() as base:
            arguments = [sys.executable, "-m", "tests.bench.httpx_loop", f"{base}/ok", str(batch), str(FLOOR_SECONDS)]
            process = await asyncio.create_subprocess_exec(*arguments, cwd=ROOT)
            if await process.wait():
                raise RuntimeError("the httpx loop failed")
            told = await _stats(base)
        self._found(_rate("bare httpx loop", batch, told), "the same bodies")

    async def bulkhead(self, bad: Sequence[str]) -> None:
        """How late the healthy destination's changes are."""
        tag = f"beside-{len(bad)}-{len(self.lateness)}-"
        await self._create(tag)
        async with receiver() as base:
            destinations = _destinations(dict.fromkeys(("ok", *bad), base), 1)
            async with self._deliverer(tag, destinations, with_redis=self.redis is not None):
                await self._fill(tag, [change(CUSTOMERS, 1)])
                await _until(base, 1)  # it has its partitions
                written = await self._paced(tag)
                told = await _until(base, 1 + written)
        latencies = sorted(told["latencies"][round(SETTLING_SECONDS * PACED_PER_SECOND) :])
        last = len(latencies) - 1
        beside = ", ".join(bad) or ALONE
        found = Lateness(beside, latencies[last // 2], latencies[round(last * 0.99)], os.getloadavg()[0])
        self.lateness.append(found)
        self.console.print(
            f"beside {beside}: p50 {found.p50 * 1000:.1f} ms, p99 {found.p99 * 1000:.1f} ms (load {found.load:.1f})",
            highlight=False,
        )

    def _found(self, rate: Rate, of: str) -> None:
        self.rates.append(rate)
        self.console.print(
            f"{rate.contestant}, batches of {rate.batch}: {rate.changes_per_second:,.0f} changes/s ({of})",
            highlight=False,
        )

    async def _create(self, tag: str) -> None:
        admin = AIOKafkaAdminClient(bootstrap_servers=self.address)
        await admin.start()
        try:
            await admin.create_topics(
                [NewTopic(topics.name(topic, tag), topics.partitions(topic, PARTITIONS), 1) for topic in topics.TOPICS]
            )
        finally:
            await admin.close()

    async def _fill(self, tag: str, values: Any) -> None:
        topic = topics.name(topics.SEGMENT_CHANGES, tag)
        async with AIOKafkaProducer(
            bootstrap_servers=self.address, acks="all", linger_ms=20, max_batch_size=512_000, compression_type="lz4"
        ) as producer:
            for value in values:
                await producer.send(topic, value, key=_key(value))
            await producer.flush()

    async def _paced(self, tag: str) -> int:
        """Write at an even pace, with no linger; the number that was written."""
        topic = topics.name(topics.SEGMENT_CHANGES, tag)
        async with AIOKafkaProducer(bootstrap_servers=self.address, acks="all", linger_ms=0) as producer:
            begun, written = time.monotonic(), 0
            while (passed := time.monotonic() - begun) < PACED_SECONDS:
                while written < passed * PACED_PER_SECOND:
                    value = change(written, 1, time.time())
                    await producer.send(topic, value, key=_key(value))
                    written += 1
                await asyncio.sleep(0.001)
            await producer.flush()
        return written

    @contextlib.asynccontextmanager
    async def _deliverer(self, tag: str, destinations: str, *, with_redis: bool) -> AsyncIterator[None]:
        with TemporaryDirectory(prefix="livesegments-bench-") as directory:
            path = Path(directory) / "destinations.yaml"
            path.write_text(destinations, "utf-8")
            port = free_ports(1)[0]
            environ = {
                "PYTHONPATH": str(ROOT),
                "BENCH_SECRET": _SECRET,
                "LIVESEGMENTS_KAFKA_BOOTSTRAP_SERVERS": self.address,
                "LIVESEGMENTS_KAFKA_IDEMPOTENCE": str(self.kind == "kafka"),
                "LIVESEGMENTS_TOPIC_PREFIX": tag,
                "LIVESEGMENTS_PARTITIONS": str(PARTITIONS),
                "LIVESEGMENTS_DESTINATIONS": str(path),
                "LIVESEGMENTS_METRICS_HOST": "127.0.0.1",
                "LIVESEGMENTS_METRICS_PORT": str(port),
                "LIVESEGMENTS_LOG_LEVEL": "ERROR",
            }
            if with_redis and self.redis is not None:
                environ["LIVESEGMENTS_REDIS_URL"] = self.redis
            command = [sys.executable, "-m", "stream", "deliver"]
            async with running(
                command,
                name="the deliverer",
                probe=lambda: _answers(f"http://127.0.0.1:{port}/metrics"),
                directory=Path(directory),
                start_seconds=20.0,
                environment=environ,
            ):
                yield


def _destinations(places: dict[str, str], batch: int) -> str:
    lines = ["destinations:"]
    for name, base in places.items():
        lines += [
            f"  {'d' + name if name[0].isdigit() else name}:",
            "    platform: webhook",
            f"    url: {base}/{name}",
            "    secret: {env: BENCH_SECRET}",
            "    allow_http: true",
            "    allow_private_addresses: true",
            f"    batch_size: {batch}",
            f"    concurrency: {CONCURRENCY}",
        ]
    return "\n".join(lines)


def _key(value: bytes) -> bytes:
    place = value.index(b'"customer_id":"') + 15
    return value[place : value.index(b'"', place)]


@contextlib.asynccontextmanager
async def receiver() -> AsyncIterator[str]:
    """A receiver in a process of its own; yields its base URL."""
    port = free_ports(1)[0]
    base = f"http://127.0.0.1:{port}"
    with TemporaryDirectory(prefix="livesegments-bench-") as directory:
        async with running(
            [sys.executable, "-m", "tests.bench.receiver", str(port)],
            name="the receiver",
            probe=lambda: _answers(f"{base}/stats"),
            directory=Path(directory),
            environment={"PYTHONPATH": str(ROOT)},
            start_seconds=10.0,
        ):
            yield base


async def _answers(url: str) -> bool:
    try:
        async with aiohttp.ClientSession() as session, session.get(url) as response:
            return response.status == 200
    except aiohttp.ClientError:
        return False


async def _stats(base: str) -> dict[str, Any]:
    async with aiohttp.ClientSession() as session, session.get(f"{base}/stats") as response:
        told: dict[str, Any] = json.loads(await response.read())
        return told


async def _until(base: str, changes: int) -> dict[str, Any]:
    """What arrived, when everything has. Raises TimeoutError."""
    async with asyncio.timeout(_PATIENCE_SECONDS):
        while (told := await _stats(base))["changes"] < changes:  # noqa: ASYNC110 - another process
            await asyncio.sleep(1.0)
    return told


def _rate(contestant: str, batch: int, told: dict[str, Any]) -> Rate:
    """Of the middle eight tenths: neither the start nor the last, half-filled batches."""
    total = told["changes"]
    middle = [(at, count) for at, count in told["samples"] if 0.1 * total <= count <= 0.9 * total]
    (first, before), (last, after) = middle[0], middle[-1]
    rate = (after - before) / (last - first)
    return Rate(contestant, batch, rate, rate * told["requests"] / total, total)


async def main(arguments: argparse.Namespace, console: Console) -> None:
    """Measure everything."""
    kind: BrokerKind = arguments.broker or ("kafka" if available(ROOT / "build/kafka") is None else "tansu")
    async with contextlib.AsyncExitStack() as stack:
        address = await stack.enter_async_context(kafka(cache=ROOT / "build/kafka") if kind == "kafka" else tansu())
        redis = await stack.enter_async_context(redis_server()) if arguments.redis else None
        bench = Bench(kind, address, redis, console)
        if arguments.only != "bulkhead":
            for batch, changes in ((1, UNBATCHED_CHANGES), (BATCH, BATCHED_CHANGES)):
                if redis is not None:
                    await bench.throughput(batch, changes, with_redis=True)
                await bench.throughput(batch, changes, with_redis=False)
                await bench.floor(batch)
        if arguments.only != "throughput":
            for _ in range(arguments.rounds):
                await bench.bulkhead(())
                await bench.bulkhead(BAD)
    told = _told(bench)
    show(told, console)
    if arguments.only is None:
        RESULT.parent.mkdir(parents=True, exist_ok=True)
        RESULT.write_text(json.dumps(told, indent=2) + "\n", "utf-8")
        console.print(str(RESULT.relative_to(ROOT)))


def _told(bench: Bench) -> dict[str, Any]:
    floors = {rate.batch: rate.changes_per_second for rate in bench.rates if rate.contestant == "bare httpx loop"}
    by_beside: dict[str, list[Lateness]] = defaultdict(list)
    for each in bench.lateness:
        by_beside[each.beside].append(each)
    p99 = {beside: median(each.p99 for each in found) for beside, found in by_beside.items()}
    return {
        "broker": bench.kind,
        "rates": [
            {
                "contestant": rate.contestant,
                "batch": rate.batch,
                "changes_per_second": rate.changes_per_second,
                "requests_per_second": rate.requests_per_second,
                "ratio_to_httpx": rate.changes_per_second / floors[rate.batch],
                "changes": rate.changes,
            }
            for rate in bench.rates
        ],
        "bulkhead": [
            {
                "beside": beside,
                "p50": median(each.p50 for each in found),
                "p99": p99[beside],
                "ratio_to_alone": p99[beside] / p99[ALONE],
                "p99_of_each": [each.p99 for each in found],
            }
            for beside, found in by_beside.items()
        ],
        "versions": {name: version(name) for name in ("livesegments", "aiohttp", "httpx", "redis")}
        | {"python": platform.python_version()},
        "machine": {"cores": os.cpu_count(), "platform": platform.platform()},
    }


def show(told: dict[str, Any], console: Console) -> None:
    """Print what ``delivery.json`` holds."""
    rates = Table(title="to a webhook on the loopback interface", title_justify="left", box=box.SIMPLE_HEAD)
    for name in ("contestant", "batch", "changes/s", "requests/s", "x httpx"):
        rates.add_column(name, justify="left" if name == "contestant" else "right", no_wrap=True)
    for row in told["rates"]:
        rates.add_row(
            row["contestant"],
            str(row["batch"]),
            f"{row['changes_per_second']:,.0f}",
            f"{row['requests_per_second']:,.0f}",
            f"{row['ratio_to_httpx']:.2f}",
        )
    if told["rates"]:
        console.print(rates)
    lateness = Table(title="a healthy destination, in ms", title_justify="left", box=box.SIMPLE_HEAD)
    for name in ("beside", "p50", "p99", "p99 x alone"):
        lateness.add_column(name, justify="left" if name == "beside" else "right", no_wrap=True)
    for row in told["bulkhead"]:
        milliseconds = [f"{row[name] * 1000:.1f}" for name in ("p50", "p99")]
        lateness.add_row(row["beside"], *milliseconds, f"{row['ratio_to_alone']:.2f}")
    if told["bulkhead"]:
        console.print(lateness)


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.delivery", description=__doc__)
    parser.add_argument("--broker", choices=("kafka", "tansu"), help="default: kafka where it can run")
    parser.add_argument("--no-redis", dest="redis", action="store_false", help="only with the ledger in memory")
    parser.add_argument("--only", choices=("throughput", "bulkhead"), help="default: both")
    parser.add_argument("--rounds", type=int, default=1, help="of the bulkhead, alone and beside the five")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main(parse(), Console()))
