"""The deliverer: its settings, its metrics at one port, a process per destination."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from prometheus_client import CollectorRegistry, start_http_server

from connectors.bulkheads import Bulkheads, Names, prepare
from connectors.delivery import DeliverySettings
from connectors.destinations import Destinations
from connectors.metrics import DeliveryMetrics
from connectors.supervisor import Job
from schemas import topics
from stream.deliveries import group_prefix
from stream.metrics import PrometheusDeliveryMetrics
from stream.settings import Settings
from stream.snapshots import Family, Gathered, Slot, listening, reporting, serve, taken

#: Bytes of metrics that a destination may have; it has some 8,000.
_METRICS_BYTES = 128 * 1024


def delivery_settings(settings: Settings) -> DeliverySettings:
    """What the connectors are told."""
    prefix = settings.topic_prefix
    return DeliverySettings(
        kafka=settings.kafka(),
        changes_topic=topics.name(topics.SEGMENT_CHANGES, prefix),
        dead_letters_topic=topics.name(topics.DEAD_LETTERS, prefix),
        deliveries_topic=topics.name(topics.DELIVERIES, prefix),
        redeliveries_topic=topics.name(topics.REDELIVERIES, prefix),
        destination_states_topic=topics.name(topics.DESTINATION_STATES, prefix),
        redis_url=settings.redis_url.get_secret_value() if settings.redis_url is not None else None,
        group_prefix=group_prefix(settings),
        session_timeout=settings.session_timeout_seconds,
        heartbeat_interval=settings.session_timeout_seconds / 5,
        fetch_wait_ms=settings.fetch_wait_ms,
        rebalance_timeout=settings.rebalance_timeout_seconds,
    )


def run_deliverer(settings: Settings, destinations: Destinations) -> int:
    """Deliver until SIGTERM or SIGINT; returns the exit code.

    Raises ``DestinationsUnusable``, ``KafkaError``, or ``OSError`` where the metrics cannot be served.
    """
    bulkheads = prepare(delivery_settings(settings), destinations)
    if len(bulkheads.names) > 1:
        door = listening(settings.metrics_host, settings.metrics_port) if settings.metrics_port else None
        return _supervise(bulkheads, door)
    registry = CollectorRegistry()
    if settings.metrics_port:
        start_http_server(settings.metrics_port, addr=settings.metrics_host, registry=registry)

    @asynccontextmanager
    async def session() -> AsyncIterator[DeliveryMetrics]:
        yield PrometheusDeliveryMetrics(registry)

    bulkheads.run_here(session)
    return 0


def _supervise(bulkheads: Bulkheads, door: socket.socket | None) -> int:
    cells = {names: _Cell(names, door) for names in bulkheads.names}
    attendants = []
    if door is not None:
        by_slot = {cell.slot: cell for cell in cells.values()}
        gathered = Gathered(list(by_slot), lambda slot, reason: by_slot[slot].absent(reason))
        attendants.append(Job("the metrics", "metrics", main=lambda: serve(door, gathered), attends=True))
    return bulkheads.supervise(
        session=lambda names: cells[names].session,
        died=lambda names: cells[names].slot.died(),
        attendants=attendants,
    )


class _Cell:
    """The metrics of one process."""

    def __init__(self, names: Names, door: socket.socket | None) -> None:
        self._names, self._door = names, door
        self.slot = Slot(_METRICS_BYTES * len(names))

    @asynccontextmanager
    async def session(self) -> AsyncIterator[DeliveryMetrics]:
        """In the process."""
        if self._door is not None:
            self._door.close()  # here only: another process answers there
        registry = CollectorRegistry()
        metrics = PrometheusDeliveryMetrics(registry)
        if self.slot.dead:
            self._stopped(metrics, "restarting")
        async with reporting(self.slot, registry):
            yield metrics

    def absent(self, reason: str) -> list[Family]:
        """The gauges while there is no process that could say them."""
        registry = CollectorRegistry()
        self._stopped(PrometheusDeliveryMetrics(registry), reason)
        return [family for family in taken(registry) if family.kind == "gauge"]

    def _stopped(self, metrics: DeliveryMetrics, reason: str) -> None:
        for name in self._names:
            metrics.state(name, False, reason)
