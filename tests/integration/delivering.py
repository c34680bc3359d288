"""A deliverer on real brokers and real sockets, for tests: its topics, what it is told, what it wrote."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
import sys
import uuid
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from connectors.delivery import DeliverySettings, run
from connectors.destinations import load
from connectors.metrics import NoMetrics
from schemas.deliveries import Receipt
from tests.integration.conftest import Broker
from tests.receiver import PATIENCE_SECONDS, Receiver

PARTITIONS = 4
SECRET = "whsec_" + base64.b64encode(b"an0ther-s3cret-0f-32-bytes-long!").decode()
LOOPBACK = "allow_http: true, allow_private_addresses: true"


def value(customer: str, sequence: int, segment: str = "vip", **more: Any) -> bytes:
    """A change as the stream writes it."""
    fields = {
        "id": uuid.uuid5(uuid.NAMESPACE_OID, f"{customer}/{sequence}").hex,
        "customer_id": customer,
        "segment": segment,
        "action": "entered" if sequence % 2 else "exited",
        "at": f"2026-01-02T03:{sequence // 60 % 60:02}:{sequence % 60:02}Z",
        "sequence": sequence,
    }
    return json.dumps(fields | more, separators=(",", ":")).encode()


class Metrics(NoMetrics):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.outcomes: dict[str, Counter[str]] = defaultdict(Counter)
        self.states: dict[str, list[str]] = defaultdict(list)
        self.attempts: list[float] = []
        self.latencies: list[float] = []
        self.pendings: list[int] = []
        self.lags: list[int] = []
        self.throttlings: Counter[str] = Counter()
        self._changed = asyncio.Event()

    def delivery(self, destination: str, outcome: str, count: int = 1) -> None:
        self.outcomes[destination][outcome] += count
        self._changed.set()

    def attempt(self, destination: str, seconds: float) -> None:
        self.attempts.append(seconds)

    def end_to_end(self, destination: str, seconds: float) -> None:
        self.latencies.append(seconds)

    def pending(self, destination: str, count: int) -> None:
        self.pendings.append(count)
        self._changed.set()

    def lag(self, destination: str, count: int) -> None:
        self.lags.append(count)
        self._changed.set()

    def throttled(self, destination: str, limit: str) -> None:
        self.throttlings[destination] += 1
        self._changed.set()

    def state(self, destination: str, active: bool, reason: str) -> None:
        self.states[destination].append("active" if active else reason)
        self._changed.set()

    async def until(self, holds: Callable[[], Any]) -> None:
        """Wait for something that only the deliverer can make true."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not holds():
                self._changed.clear()
                await self._changed.wait()

    def ended(self, destination: str = "crm") -> int:
        outcomes = self.outcomes[destination]
        return sum(outcomes[ending] for ending in ("delivered", "erased", "dead_lettered", "superseded", "skipped"))


async def deliverer(
    told: Mapping[str, Any], destinations: Path, *, stderr: int | None = None
) -> asyncio.subprocess.Process:
    """A deliverer in a process of its own, to be killed."""
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.integration.deliverer_process", json.dumps(told), str(destinations),
        env=os.environ | {"SECRET": SECRET}, cwd=Path(__file__).parents[2], stderr=stderr,
    )  # fmt: skip


@dataclass
class Bench:
    """Topics of their own for a test, and the settings of a deliverer for them."""

    broker: Broker
    tag: str = field(default_factory=lambda: uuid.uuid4().hex[:8])

    @property
    def settings(self) -> dict[str, Any]:
        return {
            "kafka": self.broker.client,
            "changes_topic": f"changes-{self.tag}",
            "dead_letters_topic": f"dead-{self.tag}",
            "deliveries_topic": f"deliveries-{self.tag}",
            "redeliveries_topic": f"redeliveries-{self.tag}",
            "destination_states_topic": f"states-{self.tag}",
            "group_prefix": f"deliver-{self.tag}-",
            "commit_interval": 0.2,
            # The embedded broker waits for this long before a restarted member may have its partitions.
            "session_timeout": 1.2 if self.broker.kind == "tansu" else self.broker.session_seconds,
            "heartbeat_interval": 0.3,
            "rebalance_timeout": 10.0,
            "handover_grace": 1.0,
        }

    async def create(self) -> Bench:
        admin = AIOKafkaAdminClient(**self.broker.client)
        await admin.start()
        try:
            kinds = ("changes", "dead_letters", "deliveries", "redeliveries")
            names = [self.settings[f"{kind}_topic"] for kind in kinds]
            states = NewTopic(self.settings["destination_states_topic"], 1, 1)
            await admin.create_topics([*(NewTopic(name, PARTITIONS, 1) for name in names), states])
        finally:
            await admin.close()
        return self

    async def write(self, changes: Sequence[bytes]) -> None:
        """Append changes, each to its customer's partition."""
        async with AIOKafkaProducer(**self.broker.client, acks="all", linger_ms=5) as producer:
            topic = self.settings["changes_topic"]
            sent = [
                await producer.send(topic, change, key=json.loads(change)["customer_id"].encode()) for change in changes
            ]
            await asyncio.gather(*sent)

    async def write_erasure(self, customer: str, at: str = "2026-01-02T04:00:00Z") -> bytes:
        """Append an erasure to its customer's partition."""
        fields = {"id": uuid.uuid4().hex, "customer_id": customer, "at": at, "profile": {"email": "ann@example.com"}}
        written = json.dumps(fields).encode()
        await self._append("changes", written, customer, headers=[("fact", b"erasure")])
        return written

    async def redeliver(
        self, change: bytes, origin: str = "replay", destination: str = "crm", *, fact: str | None = None
    ) -> None:
        """Ask for a change again, or for what its fact says that it is."""
        fields = {"destination": destination, "origin": origin, "change": json.loads(change)}
        if fact is not None:
            fields["fact"] = fact
        await self._append("redeliveries", json.dumps(fields).encode(), fields["change"]["customer_id"])

    async def order(self, state: str, destination: str = "crm") -> None:
        """What an operator says."""
        now = "2026-01-02T03:04:05Z"
        fields = {
            "destination": destination,
            "state": state,
            "since": now,
            "at": now,
            "by": "operator",
            "replica": "ann",
        }
        await self._append("destination_states", json.dumps(fields).encode(), destination)

    async def _append(self, kind: str, record: bytes, key: str, headers: Sequence[tuple[str, bytes]] = ()) -> None:
        async with AIOKafkaProducer(**self.broker.client, acks="all") as producer:
            await producer.send_and_wait(self.settings[f"{kind}_topic"], record, key=key.encode(), headers=headers)

    async def receipts(self) -> list[Receipt]:
        """What is on `deliveries`."""
        return [Receipt.model_validate_json(written) for written in await self.read("deliveries")]

    async def read(self, kind: str) -> list[bytes]:
        """Every value on a topic."""
        return [record.value for record in await self._records(kind)]

    async def keyed(self, kind: str) -> list[tuple[str, bytes | None]]:
        """Every key and value on a topic."""
        return [(record.key.decode(), record.value) for record in await self._records(kind)]

    async def _records(self, kind: str) -> list[ConsumerRecord]:
        topic = self.settings[f"{kind}_topic"]
        async with (
            asyncio.timeout(PATIENCE_SECONDS),
            AIOKafkaConsumer(**self.broker.client, auto_offset_reset="earliest") as consumer,
        ):
            count = 1 if kind == "destination_states" else PARTITIONS
            partitions = [TopicPartition(topic, number) for number in range(count)]
            consumer.assign(partitions)
            ends = await consumer.end_offsets(partitions)
            found: list[ConsumerRecord] = []
            while len(found) < sum(ends.values()):
                for records in (await consumer.getmany(timeout_ms=500)).values():
                    found += records
            return found

    async def committed(self, name: str = "crm") -> int:
        """The sum of a destination's committed offsets: the changes that it is done with, if all are."""
        group = f"deliver-{self.tag}-{name}"
        async with AIOKafkaConsumer(**self.broker.client, group_id=group, enable_auto_commit=False) as consumer:
            partitions = [TopicPartition(self.settings["changes_topic"], n) for n in range(PARTITIONS)]
            consumer.assign(partitions)
            return sum([await consumer.committed(partition) or 0 for partition in partitions])

    async def begun(self, name: str = "crm") -> None:
        """Wait until a destination has committed where it stands."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not await self.committed(name):  # noqa: ASYNC110 - only the broker knows
                await asyncio.sleep(0.05)

    @contextlib.asynccontextmanager
    async def delivering(
        self, *, metrics: Metrics, changed: Mapping[str, Any] | None = None, **urls: str
    ) -> AsyncIterator[None]:
        """A deliverer in this loop; `urls` are a destination's URL and its further options, by its name."""
        text = "destinations:\n" + "".join(f"  {name}: {{{options}}}\n" for name, options in urls.items())
        stop = asyncio.Event()
        settings = DeliverySettings(**self.settings | dict(changed or {}))
        running = asyncio.create_task(run(settings, load(text), metrics, stop=stop, environ={"SECRET": SECRET}))
        try:
            yield
        finally:
            stop.set()
            await running


def options(receiver: Receiver | str, *more: str) -> str:
    url = receiver if isinstance(receiver, str) else receiver.url
    return ", ".join(["platform: webhook", f"url: '{url}'", "secret: {env: SECRET}", LOOPBACK, *more])
