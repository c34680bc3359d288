"""``make bench-smoke``: events per second beside a stock Faust app, reaction, start, recovery; three minutes.

    python -m tests.bench.smoke [--broker kafka|tansu] [--load uniform|skewed] [--seed N]
                                [--no-stock] [--no-reaction]

For each broker (Apache Kafka where Java and Maven are, and the embedded Tansu) and each load a log is
written, the worker measured on it, and the stock app on a load shorter in proportion. What is measured:
``throughput.py`` and ``reaction.py``. Prints tables, writes ``build/bench/smoke.json``; judges nothing.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import uvloop
from rich.console import Console

from schemas import topics
from stream.definitions import apply_definitions
from stream.embedded.kafka import available, kafka
from stream.embedded.tansu import tansu
from stream.topics import create_topics
from tests.bench import tables
from tests.bench.contestants import ROOT, Broker, BrokerKind, Worker, stock, worker
from tests.bench.load import Load, Skew, produce
from tests.bench.reaction import Reaction, react
from tests.bench.throughput import Rate, measure

CUSTOMERS = 200_000
PARTITIONS = 4
#: Of the steady part: enough for the window of ``throughput.py`` at well above the rates that are promised.
STEADY: dict[Skew, int] = {"uniform": 1_200_000, "skewed": 1_600_000}
STOCK_EVENTS = 12_000
LIVESEGMENTS, STOCK = "livesegments", "stock-faust"
RESULT = ROOT / "build/bench/smoke.json"
_RECOVERY_PATIENCE_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Row:
    """One contestant on one load of one broker."""

    broker: BrokerKind
    load: Skew
    contestant: str
    seed: int
    versions: dict[str, str]
    rate: Rate

    def told(self, beside: Row | None) -> dict[str, Any]:
        """As it stands in the file; the ratio is to the stock app's row ``beside``."""
        ratio = None if beside is None else self.rate.events_per_second / beside.rate.events_per_second
        own = {
            "broker": self.broker,
            "load": self.load,
            "contestant": self.contestant,
            "ratio_to_stock_faust": ratio,
        }
        return {**own, **asdict(self.rate), "seed": self.seed, "versions": self.versions}


@dataclass(frozen=True, slots=True)
class Recovery:
    """A worker that was stopped and started again on a log with a rest to process."""

    customers: int
    records: int
    #: The worker's own metric: from the first request to all partitions loaded.
    recovery_seconds: float
    #: From the start of the process until the partitions are loaded.
    start_to_loaded_seconds: float


@dataclass(slots=True)
class Findings:
    """Everything that was measured."""

    rows: list[Row] = field(default_factory=list)
    recovery: dict[BrokerKind, Recovery] = field(default_factory=dict)
    reaction: dict[BrokerKind, Reaction] = field(default_factory=dict)
    start_seconds: dict[BrokerKind, float] = field(default_factory=dict)

    def told(self) -> dict[str, Any]:
        """The file."""
        beside = {(row.broker, row.load): row for row in self.rows if row.contestant == STOCK}
        return {
            "rows": [row.told(beside.get((row.broker, row.load))) for row in self.rows],
            "latency": {broker: asdict(found.latency) for broker, found in self.reaction.items()},
            "exit_lateness": {broker: asdict(found.exit_lateness) for broker, found in self.reaction.items()},
            "start_seconds": self.start_seconds,
            "recovery": {broker: asdict(found) for broker, found in self.recovery.items()},
            "machine": {"cores": os.cpu_count(), "platform": platform.platform()},
        }


async def main(arguments: argparse.Namespace, console: Console) -> None:
    """Measure everything that is asked for."""
    kinds: list[BrokerKind] = [arguments.broker] if arguments.broker else ["kafka", "tansu"]
    if "kafka" in kinds and (why := available(ROOT / "build/kafka")) is not None:
        console.print(f"without Apache Kafka: {why}")
        kinds.remove("kafka")
    skews: list[Skew] = [arguments.load] if arguments.load else ["uniform", "skewed"]
    findings = Findings()
    begun = time.monotonic()
    for kind in kinds:
        with TemporaryDirectory(prefix="livesegments-bench-") as directory:
            async with _broker(kind) as broker:
                bench = Bench(broker, arguments.seed, Path(directory), findings, console, begun)
                for skew in skews:
                    await bench.compare(skew, with_stock=arguments.stock)
                if arguments.reaction:
                    await bench.react()
    told = findings.told()
    RESULT.parent.mkdir(parents=True, exist_ok=True)
    RESULT.write_text(json.dumps(told, indent=2) + "\n", "utf-8")
    tables.show(told, console)
    console.print(f"{time.monotonic() - begun:.0f} s; {RESULT.relative_to(ROOT)}")


@asynccontextmanager
async def _broker(kind: BrokerKind) -> AsyncIterator[Broker]:
    runs: AbstractAsyncContextManager[str] = kafka(cache=ROOT / "build/kafka") if kind == "kafka" else tansu()
    async with runs as address:
        yield Broker(kind, address, PARTITIONS)


@dataclass(frozen=True, slots=True)
class Bench:
    """The measurements on one broker."""

    broker: Broker
    seed: int
    directory: Path
    findings: Findings
    console: Console
    begun: float

    async def compare(self, skew: Skew, *, with_stock: bool) -> None:
        """Both contestants, each on a log of its own."""
        load = Load(skew, CUSTOMERS, STEADY[skew], self.seed)
        prefix = f"{skew}-"
        await self._write(prefix, load, with_definitions=True)
        warm = load.warm(self.broker.partitions)
        async with worker(self.broker, prefix, self.directory) as contestant:
            self._found(skew, LIVESEGMENTS, await measure(contestant, warm, load.events))
        if skew == "uniform" and not self.findings.recovery:  # on one broker: three minutes are short
            async with worker(self.broker, prefix, self.directory) as contestant:
                await self._recover(contestant)
        if with_stock:
            prefix = f"{skew}-stock-"
            short = load.shortened(STOCK_EVENTS)
            warm = short.warm(self.broker.partitions)
            await self._write(prefix, short, with_definitions=False)  # its rules are in its code
            async with stock(self.broker, prefix, self.directory) as beside:
                self._found(skew, STOCK, await measure(beside, warm, short.events))

    async def react(self) -> None:
        """Latency, and lateness of what time alone causes."""
        found = await react(self.broker, _book(), self.seed, self.directory)
        self.findings.reaction[self.broker.kind] = found
        self._say(f"changes at {found.events_per_second:,.0f} events/s")

    async def _write(self, prefix: str, load: Load, *, with_definitions: bool) -> None:
        begun = time.monotonic()
        settings = self.broker.settings(prefix)
        await create_topics(settings)
        if with_definitions:
            await apply_definitions(settings, _book())
        events = topics.name(topics.EVENTS, prefix)
        await produce(settings.kafka(), events, self.broker.partitions, load, idempotence=self.broker.idempotence)
        self._say(f"{prefix[:-1]}: {load.events:,} events written in {time.monotonic() - begun:.1f} s")

    def _found(self, skew: Skew, name: str, rate: Rate) -> None:
        versions = {"broker": self.broker.version, "python": platform.python_version()}
        packages = ("livesegments", "aiokafka", "msgspec") if name == LIVESEGMENTS else ("faust-streaming", "aiokafka")
        versions |= {package: version(package) for package in packages}
        self.findings.rows.append(Row(self.broker.kind, skew, name, self.seed, versions, rate))
        if name == LIVESEGMENTS:
            self.findings.start_seconds.setdefault(self.broker.kind, rate.start_seconds)
        self._say(f"{skew}: {name} {rate.events_per_second:,.0f} events/s (load average {rate.load_average:.1f})")

    async def _recover(self, contestant: Worker) -> None:
        until = time.monotonic() + _RECOVERY_PATIENCE_SECONDS
        while not (found := await contestant.metrics()).total("recovery_records_total"):
            if time.monotonic() > until:
                raise contestant.process.failed(f"recovered nothing within {_RECOVERY_PATIENCE_SECONDS:g} s")
            await asyncio.sleep(0.05)
        self.findings.recovery[self.broker.kind] = Recovery(
            customers=found.total("customers"),
            records=found.total("recovery_records_total"),
            recovery_seconds=found.samples["recovery_seconds", ()],
            start_to_loaded_seconds=time.monotonic() - contestant.process.started,
        )
        self._say("recovered")

    def _say(self, what: str) -> None:
        elapsed = time.monotonic() - self.begun
        self.console.print(f"{elapsed:4.0f} s  {self.broker.kind} {what}", highlight=False)


def _book() -> str:
    return Path(__file__).with_name("segments.yaml").read_text("utf-8")


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.smoke", description=__doc__)
    parser.add_argument("--broker", choices=("kafka", "tansu"), help="only this broker")
    parser.add_argument("--load", choices=("uniform", "skewed"), help="only this load")
    parser.add_argument("--seed", type=int, default=2026, help="seed of the loads (default %(default)s)")
    parser.add_argument("--no-stock", dest="stock", action="store_false", help="without the stock app")
    parser.add_argument("--no-reaction", dest="reaction", action="store_false", help="without latency and lateness")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main(parse(), Console()))
