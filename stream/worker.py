"""The worker: the Faust app with the partition host inside, its metrics, and its end."""

from __future__ import annotations

import gc

from prometheus_client import CollectorRegistry, start_http_server

from stream.engine.delivery import Processor
from stream.engine.faust_app import create_app, run, serve_until_signal
from stream.engine.fills import Fills
from stream.engine.gate import ForeignTopic, gate
from stream.engine.host import Host
from stream.engine.recovery import Recovery
from stream.engine.standstill import Standstill
from stream.engine.topics import TopicNames
from stream.engine.transport import TransportSettings
from stream.engine.watchdog import Watchdog
from stream.engine.writes import Writes
from stream.metrics import Metrics
from stream.settings import Settings


def tune_garbage_collection() -> None:
    """Collect rarely: the records hold no cycles, and a full pass over a million of them stops the stream."""
    gc.set_threshold(100_000, 50, 1_000)


def _gates(settings: Settings, topics: TopicNames, writes: Writes, metrics: Metrics) -> dict[str, Processor]:
    """What processes the batches of each foreign topic. ``ValueError`` for a mapping that cannot give an event."""
    gates = {}
    for name, said in settings.foreign_topics.items():
        foreign = ForeignTopic(name, said.event_type, said.fields, said.event_types)
        gates[name] = gate(
            foreign,
            sender=writes,
            names=topics,
            partitions=settings.partitions,
            count=metrics.gate,
        )
    return gates


async def _work(settings: Settings, metrics: Metrics) -> None:
    client = settings.kafka()
    topics = TopicNames.with_prefix(settings.topic_prefix)
    watchdog = Watchdog(settings.session_timeout_seconds / 2)
    compression = None if settings.kafka_compression == "none" else settings.kafka_compression
    writes, state_writes = (
        Writes(client, idempotence=settings.kafka_idempotence, compression=compression) for _ in range(2)
    )
    host = Host(
        recovery=Recovery(client, topics.events, topics.state, topics.changes),
        writes=writes,
        state_writes=state_writes,
        topics=topics,
        metrics=metrics,
        core=settings.core(),
        partitions=settings.partitions,
        tick_seconds=settings.tick_seconds,
        checkpoint_seconds=settings.checkpoint_seconds,
        watchdog=watchdog,
        fills=Fills(client, topics.events),
    )
    app = create_app(
        host,
        client=client,
        events=topics.events,
        state_topic=topics.state,
        reader=host,
        partitions=settings.partitions,
        window_seconds=settings.dedup_hours * 3600,
        settings=TransportSettings(
            group=settings.topic_prefix + settings.group,
            instance_id=settings.instance_id,
            fetch_max_wait_ms=settings.fetch_wait_ms,
            session_timeout_seconds=settings.session_timeout_seconds,
            heartbeat_seconds=settings.session_timeout_seconds / 5,
            rebalance_timeout_seconds=settings.rebalance_timeout_seconds,
        ),
        gates=_gates(settings, topics, writes, metrics),
    )
    host.offsets = app.offsets
    standstill = Standstill(app, settings.stall_seconds, host.progress)
    await writes.start()
    try:
        await state_writes.start()
        watchdog.start()
        standstill.start()
        await serve_until_signal(app)
    finally:
        standstill.stop()
        watchdog.stop()
        await state_writes.stop()
        await writes.stop()


def run_worker(settings: Settings) -> None:
    """Run the main job until SIGTERM or SIGINT. Raises what keeps it from starting."""
    tune_garbage_collection()
    registry = CollectorRegistry()
    metrics = Metrics(registry)
    if settings.metrics_port:
        start_http_server(settings.metrics_port, addr=settings.metrics_host, registry=registry)

    run(_work(settings, metrics))
