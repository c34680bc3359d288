"""The deliverer process: one consumer group and one `Deliverer` per destination, so that none delays another.

await run(DeliverySettings(kafka={"bootstrap_servers": "localhost:9092"}), destinations, metrics)
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import Mapping
from dataclasses import dataclass

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient

from connectors.accounts import Accounts
from connectors.deliverer import Deliverer
from connectors.destinations import Destinations
from connectors.intake import Intake
from connectors.metrics import DeliveryMetrics
from connectors.options import Options
from connectors.outbox import Outbox
from connectors.platforms import Connector, discover
from connectors.secrets import SecretMissing
from connectors.settings import DeliverySettings
from connectors.watchdog import Watchdog

__all__ = ["DeliverySettings", "DestinationsUnusable", "connect", "deliver", "run"]

logger = logging.getLogger(__name__)

RESTART_SECONDS = (1.0, 60.0)
"""A destination whose deliverer failed is started again after the first, doubled up to the second."""


class DestinationsUnusable(Exception):
    """Delivery cannot begin: secrets or topics are missing, or unusable. One line each, without secrets."""


def connect(destinations: Destinations, environ: Mapping[str, str], user_agent: str) -> dict[str, Connector]:
    """Read every destination's secrets. Raises DestinationsUnusable with all that is wrong."""
    connectors: dict[str, Connector] = {}
    errors: list[str] = []
    for name, options in destinations.by_name.items():
        try:
            connectors[name] = discover()[options.platform].connect(options, environ, user_agent)
        except (SecretMissing, ValueError) as error:
            errors.append(f"destination {name}: {error}")
    if errors:
        raise DestinationsUnusable("\n".join(errors))
    return connectors


async def run(
    settings: DeliverySettings,
    destinations: Destinations,
    metrics: DeliveryMetrics,
    *,
    stop: asyncio.Event | None = None,
    environ: Mapping[str, str] = os.environ,
) -> None:
    """Deliver until `stop` is set; without one, until SIGTERM or SIGINT. Returns after a graceful stop.

    Raises DestinationsUnusable, or a KafkaError if no broker can be reached at the start.
    """
    connectors = connect(destinations, environ, settings.user_agent)
    await deliver(settings, destinations, connectors, metrics, stop or _stop_on_signals())


async def deliver(
    settings: DeliverySettings,
    destinations: Destinations,
    connectors: Mapping[str, Connector],
    metrics: DeliveryMetrics,
    stop: asyncio.Event,
) -> None:
    """`run` with the connectors given: one for each destination, by its name."""
    producer = AIOKafkaProducer(**settings.kafka, acks="all", compression_type="lz4")
    admin = AIOKafkaAdminClient(**settings.kafka)
    try:
        await producer.start()
        await admin.start()
        await _check_topics(settings, admin)
        async with asyncio.TaskGroup() as group:
            for name, connector in connectors.items():
                options = destinations.by_name[name]
                line = _Line(name, options, connector, settings, producer, admin, metrics)
                group.create_task(line.run(stop), name=f"deliver-{name}")
            await stop.wait()
    finally:
        await producer.stop()
        await admin.close()


async def _check_topics(settings: DeliverySettings, admin: AIOKafkaAdminClient) -> None:
    needed = {settings.changes_topic, settings.dead_letters_topic, settings.deliveries_topic}
    missing = sorted(needed.difference(await admin.list_topics()))
    if missing:
        raise DestinationsUnusable(
            f"topics do not exist: {', '.join(missing)} (`livesegments topics create` makes them)"
        )


def _stop_on_signals() -> asyncio.Event:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    return stop


@dataclass(frozen=True)
class _Line:
    """Keeps one destination's deliverer going: when it fails, others do not notice and nothing is lost."""

    name: str
    options: Options
    connector: Connector
    settings: DeliverySettings
    producer: AIOKafkaProducer
    admin: AIOKafkaAdminClient
    metrics: DeliveryMetrics

    async def run(self, stop: asyncio.Event) -> None:
        """Start the deliverer again whenever it fails, from its last commit, until `stop`."""
        loop = asyncio.get_running_loop()
        delay, longest = RESTART_SECONDS
        while not stop.is_set():
            started = loop.time()
            try:
                await self._deliver(stop)
                return
            except Exception:
                logger.exception("destination %s (%s) failed", self.name, self.connector.endpoint)
            self.metrics.state(self.name, False, "restarting")
            if loop.time() - started > longest:
                delay = RESTART_SECONDS[0]
            try:
                async with asyncio.timeout(delay):
                    await stop.wait()
            except TimeoutError:
                delay = min(delay * 2, longest)

    async def _deliver(self, stop: asyncio.Event) -> None:
        settings = self.settings
        accounts = Accounts(
            self.name,
            settings.changes_topic,
            settings.deliveries_topic,
            settings.dead_letters_topic,
            self.connector.hidden,
            Outbox(self.producer),
            self.metrics,
        )
        deliverer = Deliverer(self.options, self.connector, settings, accounts)
        group = settings.group_prefix + self.name
        intake = Intake(
            self._consumer(group),
            self.admin,
            topic=settings.changes_topic,
            group=group,
            from_the_beginning=self.options.start == "earliest",
            given_up=deliverer.give_up,
            watchdog=Watchdog(settings.stall_limit),
        )
        await deliverer.run(intake, stop)

    def _consumer(self, group: str) -> AIOKafkaConsumer:
        return AIOKafkaConsumer(
            **self.settings.kafka,
            group_id=group,
            enable_auto_commit=False,
            auto_offset_reset="earliest",  # only where the committed offset is gone from the topic
            session_timeout_ms=round(self.settings.session_timeout * 1000),
            heartbeat_interval_ms=round(self.settings.heartbeat_interval * 1000),
            rebalance_timeout_ms=round(self.settings.rebalance_timeout * 1000),
            fetch_max_wait_ms=self.settings.fetch_wait_ms,
            max_poll_interval_ms=2**31 - 1,  # a paused consumer must stay in its group (aiokafka #1187)
        )
