"""A process that delivers: one consumer group and one `Deliverer` for each of its destinations. `connectors.bulkheads`
starts a process for each.

await run(DeliverySettings(kafka={"bootstrap_servers": "localhost:9092"}), destinations, metrics)
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import redis.asyncio
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.coordinator.assignors.range import RangePartitionAssignor

from connectors.accounts import Accounts
from connectors.deliverer import Deliverer
from connectors.destinations import Destinations
from connectors.ends import true_ends
from connectors.intake import Intake
from connectors.ledger import Store
from connectors.ledgerstore import MemoryStore, RedisStore
from connectors.metrics import DeliveryMetrics
from connectors.options import Options
from connectors.outbox import Outbox
from connectors.platforms import Connector, discover
from connectors.ratestore import MemoryRates, Rates, RedisRates
from connectors.rebuild import rebuild
from connectors.secrets import SecretMissing
from connectors.settings import DeliverySettings
from connectors.states import Board
from connectors.supervisor import RESTART_SECONDS
from connectors.watchdog import Watchdog

__all__ = ["DeliverySettings", "DestinationsUnusable", "check", "connect", "deliver", "run"]

logger = logging.getLogger(__name__)

REDIS_SECONDS = 3.0
"""For a connection to Redis, and for each answer."""


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

    Tunes the garbage collector of this process. Raises DestinationsUnusable, or a KafkaError if no broker can be
    reached at the start.
    """
    connectors = connect(destinations, environ, settings.user_agent)
    say_what_is_shared(settings)
    await deliver(settings, destinations, connectors, metrics, stop or stop_on_signals())


async def deliver(
    settings: DeliverySettings,
    destinations: Destinations,
    connectors: Mapping[str, Connector],
    metrics: DeliveryMetrics,
    stop: asyncio.Event,
) -> None:
    """`run` with the connectors given: one for each destination, by its name."""
    # Destinations that are down hold tens of thousands of changes: a full collection over them stops everybody for 100
    # to 350 ms. What a change leaves behind has no cycles.
    gc.set_threshold(100_000, 50, 1_000)
    producer = AIOKafkaProducer(**settings.kafka, acks="all", compression_type="lz4")
    admin = AIOKafkaAdminClient(**settings.kafka)
    client = _redis(settings)
    try:
        await producer.start()
        await admin.start()
        await _check_topics(settings, admin)
        board = Board(producer, settings)
        await board.start()
        try:
            shared = _Shared(settings, producer, admin, client, board, metrics)
            async with asyncio.TaskGroup() as group:
                for name, connector in connectors.items():
                    line = _Line(name, destinations.by_name[name], connector, shared)
                    group.create_task(line.run(stop), name=f"deliver-{name}")
                await stop.wait()
        finally:
            await board.stop()
    finally:
        await producer.stop()
        await admin.close()
        if client is not None:
            await client.aclose()


async def check(settings: DeliverySettings) -> None:
    """Raises DestinationsUnusable if topics are missing, or a KafkaError if no broker can be reached."""
    admin = AIOKafkaAdminClient(**settings.kafka)
    await admin.start()
    try:
        await _check_topics(settings, admin)
    finally:
        await admin.close()


def say_what_is_shared(settings: DeliverySettings) -> None:
    """Once per start: warn of what holds for one deliverer only."""
    if settings.redis_url is None:
        logger.warning(
            "no Redis: what was delivered is read from %s at each start, and rates are kept to by this deliverer "
            "alone; run one replica",
            settings.deliveries_topic,
        )


def _redis(settings: DeliverySettings) -> redis.asyncio.Redis | None:
    if settings.redis_url is None:
        return None
    return redis.asyncio.from_url(
        settings.redis_url, socket_timeout=REDIS_SECONDS, socket_connect_timeout=REDIS_SECONDS
    )


async def _check_topics(settings: DeliverySettings, admin: AIOKafkaAdminClient) -> None:
    needed = {
        settings.changes_topic,
        settings.dead_letters_topic,
        settings.deliveries_topic,
        settings.redeliveries_topic,
        settings.destination_states_topic,
    }
    missing = sorted(needed.difference(await admin.list_topics()))
    if missing:
        raise DestinationsUnusable(
            f"topics do not exist: {', '.join(missing)} (`livesegments topics create` makes them)"
        )


def stop_on_signals() -> asyncio.Event:
    """Set by SIGTERM or SIGINT."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    return stop


class _Shared:
    """What all destinations of this process use."""

    def __init__(
        self,
        settings: DeliverySettings,
        producer: AIOKafkaProducer,
        admin: AIOKafkaAdminClient,
        client: redis.asyncio.Redis | None,
        board: Board,
        metrics: DeliveryMetrics,
    ) -> None:
        self.settings, self.producer, self.admin = settings, producer, admin
        self.board, self.metrics = board, metrics
        self._redis = client
        self.rates: Rates = MemoryRates() if client is None else RedisRates(client)

    def store(self, group: str) -> Store:
        """The ledger's, of the destination with that consumer group."""
        return MemoryStore() if self._redis is None else RedisStore(self._redis, group, self.settings.ledger_ttl)


@dataclass(frozen=True)
class _Line:
    """Keeps one destination's deliverer going: when it fails, others do not notice and nothing is lost."""

    name: str
    options: Options
    connector: Connector
    shared: _Shared

    async def run(self, stop: asyncio.Event) -> None:
        """Start the deliverer again whenever it fails, from its last commit, until `stop`."""
        loop = asyncio.get_running_loop()
        delay, longest = RESTART_SECONDS
        store = self.shared.store(self._group)
        while not stop.is_set():
            started = loop.time()
            try:
                await self._deliver(store, stop)
                return
            except Exception:
                logger.exception("destination %s (%s) failed", self.name, self.connector.endpoint)
            self.shared.metrics.state(self.name, False, "restarting")
            self.shared.board.say(self.name, "waiting", "restarting", time.time())
            if loop.time() - started > longest:
                delay = RESTART_SECONDS[0]
            try:
                async with asyncio.timeout(delay):
                    await stop.wait()
            except TimeoutError:
                delay = min(delay * 2, longest)

    @property
    def _group(self) -> str:
        return self.shared.settings.group_prefix + self.name

    async def _deliver(self, store: Store, stop: asyncio.Event) -> None:
        settings = self.shared.settings
        outbox = Outbox(self.shared.producer)
        accounts = Accounts(
            self.name,
            settings.deliveries_topic,
            settings.dead_letters_topic,
            self.connector,
            outbox,
            self.shared.metrics,
        )

        async def rebuilt(starts: Mapping[int, int], committed: Mapping[int, int]) -> None:
            await outbox.write()  # what is about to be said there is known, too
            await rebuild(settings.kafka, settings.deliveries_topic, self.name, store, starts, committed)

        deliverer = Deliverer(
            self.options,
            settings,
            accounts,
            board=self.shared.board,
            rates=self.shared.rates,
            store=store,
            rebuild=rebuilt,
        )
        intake = Intake(
            self._consumer(),
            self.shared.admin,
            changes=settings.changes_topic,
            redeliveries=settings.redeliveries_topic,
            group=self._group,
            from_the_beginning=self.options.start == "earliest",
            given_up=deliverer.give_up,
            ends=partial(true_ends, settings.kafka, settings.changes_topic),
            watchdog=Watchdog(settings.stall_limit),
        )
        await deliverer.run(intake, stop)

    def _consumer(self) -> AIOKafkaConsumer:
        settings = self.shared.settings
        return AIOKafkaConsumer(
            **settings.kafka,
            group_id=self._group,
            enable_auto_commit=False,
            auto_offset_reset="earliest",  # only where the committed offset is gone from the topic
            # A customer's live changes and redeliveries meet in one process's lanes: both topics have the same
            # partitions, and this gives a member the same numbers of each. Only one strategy: aiokafka (0.14) joins
            # once for each, every time with another list, and members of a group would disturb each other for ever.
            partition_assignment_strategy=(RangePartitionAssignor,),
            session_timeout_ms=round(settings.session_timeout * 1000),
            heartbeat_interval_ms=round(settings.heartbeat_interval * 1000),
            rebalance_timeout_ms=round(settings.rebalance_timeout * 1000),
            fetch_max_wait_ms=settings.fetch_wait_ms,
            max_poll_interval_ms=2**31 - 1,  # a paused consumer must stay in its group (aiokafka #1187)
        )
