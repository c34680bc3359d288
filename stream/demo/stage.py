"""Everything that the demo runs on: broker, receiver, the product's processes, and their environment."""

from __future__ import annotations

import json
import os
import secrets
from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from aiokafka import AIOKafkaProducer

from stream.demo.children import Child, finish, running
from stream.demo.receiver import Receiver, listening
from stream.embedded.process import free_ports
from stream.embedded.tansu import FETCH_MAX_WAIT_MS, SESSION_TIMEOUT_SECONDS, tansu
from stream.settings import Settings

SECRET_VARIABLE = "DEMO_WEBHOOK_SECRET"
CHECKPOINT_SECONDS = 2.0
PREFIX = "LIVESEGMENTS_"


@dataclass(slots=True)
class Stage:
    """What runs. ``start`` and ``finish`` put the product's commands on it."""

    address: str
    directory: Path
    environment: dict[str, str]
    worker_port: int
    deliverer_port: int
    settings: Settings
    _stack: AsyncExitStack

    async def start_worker(self) -> Child:
        """A worker; it is stopped with the stage at the latest."""
        return await self._start("worker", ["worker"], self.worker_port)

    async def start_deliverer(self) -> Child:
        """A deliverer; it is stopped with the stage at the latest."""
        arguments = ["deliver", "--destinations", str(self.directory / "destinations.yaml")]
        return await self._start("deliverer", arguments, self.deliverer_port)

    async def finish(self, name: str, *arguments: str) -> None:
        """Run a command to its end. Raises ``ChildFailed``."""
        await finish(name, list(arguments), self.environment, self.directory)

    async def _start(self, name: str, arguments: list[str], port: int) -> Child:
        environment = self.environment | {f"{PREFIX}METRICS_PORT": str(port)}
        return await self._stack.enter_async_context(running(name, arguments, environment, self.directory))


@asynccontextmanager
async def stage(receiver: Receiver, secret: str, partitions: int) -> AsyncIterator[Stage]:
    """Start the broker and the receiver; at the end of the block nothing of it is left."""
    async with AsyncExitStack() as stack:
        directory = Path(stack.enter_context(TemporaryDirectory(prefix="livesegments-demo-")))
        address = await stack.enter_async_context(tansu())
        url = await stack.enter_async_context(listening(receiver))
        destination = {
            "platform": "webhook",
            "url": url,
            "secret": {"env": SECRET_VARIABLE},
            "coalesce": False,  # the demo counts every change
            "allow_http": True,
            "allow_private_addresses": True,
        }
        # JSON is YAML.
        content = json.dumps({"destinations": {"demo": destination}})
        (directory / "destinations.yaml").write_text(content, "utf-8")
        said = {
            "kafka_bootstrap_servers": address,
            "kafka_idempotence": "false",
            "partitions": str(partitions),
            "tick_seconds": "0",  # the demo's producer is the clock
            "checkpoint_seconds": str(CHECKPOINT_SECONDS),
            "session_timeout_seconds": str(SESSION_TIMEOUT_SECONDS),
            "rebalance_timeout_seconds": str(SESSION_TIMEOUT_SECONDS),
            "fetch_wait_ms": str(FETCH_MAX_WAIT_MS),
            "metrics_host": "127.0.0.1",
            "log_level": "WARNING",
        }
        # Settings of the caller's own are not for the demo.
        environment = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
        environment |= {PREFIX + name.upper(): value for name, value in said.items()}
        environment[SECRET_VARIABLE] = secret
        ports = free_ports(2)
        settings = Settings.model_validate(said)
        yield Stage(address, directory, environment, ports[0], ports[1], settings, stack)


@asynccontextmanager
async def producing(address: str) -> AsyncIterator[AIOKafkaProducer]:
    """A producer that waits for every acknowledgement."""
    producer = AIOKafkaProducer(
        bootstrap_servers=address, acks="all", linger_ms=2, enable_idempotence=False, max_batch_size=64 * 1024
    )
    await producer.start()
    try:
        yield producer
    finally:
        await producer.stop()


def new_secret() -> str:
    """A secret for signatures, as the Standard Webhooks specification has it."""
    return "whsec_" + b64encode(secrets.token_bytes(32)).decode()
