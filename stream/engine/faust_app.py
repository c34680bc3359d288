"""The Faust app of the worker: what of Faust is used, and how it is set."""

import asyncio
import contextlib
import logging
import signal
import socket
from collections.abc import Coroutine, Mapping, Sequence
from typing import Any

import faust
import uvloop
from faust import streams
from faust.transport.drivers import TRANSPORTS

from stream.engine.death import die
from stream.engine.delivery import Delivery, Flow, Processor
from stream.engine.offsets import Offsets
from stream.engine.partitions import PartitionHost
from stream.engine.stopping import StopBudget, end_after
from stream.engine.tables import PartitionReader, TableManager, register_tables
from stream.engine.transport import SCHEME, EngineAppT, TransportSettings

TRANSPORTS.aliases[SCHEME] = "stream.engine.transport:Transport"

log = logging.getLogger(__name__)


class BatchSchema(faust.Schema[Any, Any]):
    """Decodes nothing: a message's value is a ``Batch`` already."""

    def compile(self, app: Any, **callbacks: Any) -> Any:
        """A decoder that wraps the message."""

        async def decode(message: Any, *, propagate: bool = False) -> Any:
            return app.create_event(None, message.value, None, message)

        return decode


class EngineApp(faust.App, EngineAppT):
    """A Faust app on the batch transport. Make it by ``create_app``."""

    offsets: Offsets
    stopping: StopBudget | None = None
    #: False if the stop left something to be replayed.
    written = True

    async def _stop_consumer(self) -> None:
        """The host writes its last checkpoints before Faust takes anything down."""
        if self._consumer is not None:
            self.written = await self.delivery.shut(self._flow(), self.stopping)
        await super()._stop_consumer()

    def _flow(self) -> Flow:
        consumer: Any = self.consumer
        flow: Flow = consumer
        return flow

    def _on_rebalance_when_stopped(self) -> None:
        """Nothing: Faust would close the consumer from the wrong thread, and the stop closes it anyway."""

    def _create_directories(self) -> None:
        """None: nothing is kept on disk."""

    def _crash(self, reason: BaseException) -> None:
        """A service of Faust's failed. Faust would leave the process up, and the partitions unserved."""
        if not self.should_stop:
            die("a service of the worker failed", reason)
        super()._crash(reason)

    def gate_topics(self, processors: Mapping[str, Processor]) -> None:
        """Read further topics in the same group, and acknowledge each batch once its processor returns."""
        for topic, processor in processors.items():
            self.delivery.process(topic, processor)
            self.agent(self.topic(topic, schema=BatchSchema(), acks=True), name=f"gate-{topic}")(self._gate)

    async def _customers(self, stream: Any) -> None:
        async for event in stream.noack().events():
            await self.delivery.hand_over(event)

    async def _gate(self, stream: Any) -> None:
        async for event in stream.noack().events():
            if await self.delivery.hand_over(event):
                event.ack()


def create_app(
    host: PartitionHost,
    *,
    client: Mapping[str, Any],
    events: str,
    state_topic: str,
    reader: PartitionReader,
    partitions: int,
    window_seconds: float = 86_400.0,
    settings: TransportSettings | None = None,
    gates: Mapping[str, Processor] | None = None,
    web_port: int | None = None,
) -> EngineApp:
    """The worker's app: reads ``events`` and hands its batches to ``host``. Connects to nothing yet.

    ``client`` holds the keyword arguments of any aiokafka client: servers, TLS, SASL. ``partitions`` is the
    partition count of ``events`` and ``state_topic``. ``gates`` maps foreign topics to what processes their
    batches. The topics must exist; Faust declares none. ``web_port`` serves Faust's own pages.
    """
    if getattr(streams, "_CStreamIterator", None) is None:
        # Faust's stream iterator in pure Python acknowledges the messages that it skips.
        raise RuntimeError("faust-streaming is installed without its compiled parts: install it from a wheel")
    settings = settings or TransportSettings()
    app = EngineApp(
        settings.group,
        broker=_broker_url(client["bootstrap_servers"]),
        # Static members must come back under the same URL, or Faust's assignor refuses its cached assignment.
        canonical_url=f"http://{settings.instance_id or socket.gethostname()}:{web_port or 6066}",
        TableManager=TableManager,
        autodiscover=False,
        store="memory://",
        processing_guarantee="at_least_once",
        topic_allow_declare=False,
        topic_disable_leader=True,
        table_standby_replicas=0,
        stream_wait_empty=False,
        stream_buffer_maxsize=1024,  # Delivery bounds what is buffered, and must not be blocked by the queue
        broker_client_id=settings.client_id,
        broker_commit_interval=1.0,
        broker_session_timeout=settings.session_timeout_seconds,
        broker_heartbeat_interval=settings.heartbeat_seconds,
        broker_rebalance_timeout=settings.rebalance_timeout_seconds,
        broker_request_timeout=settings.request_timeout_seconds,
        consumer_auto_offset_reset="earliest",
        web_enabled=web_port is not None,
        web_port=web_port or 6066,
    )
    app.client, app.transport_settings, app.events = client, settings, events
    app.delivery = Delivery(host, events, prefetch=settings.prefetch_batches, drain_seconds=settings.drain_seconds)
    app.offsets = Offsets(app)
    register_tables(app, reader=reader, state_topic=state_topic, partitions=partitions, window_seconds=window_seconds)
    app.agent(app.topic(events, schema=BatchSchema(), acks=True), name="customers")(app._customers)
    app.gate_topics(gates or {})
    return app


def _broker_url(servers: str | Sequence[str]) -> str:
    """Only the scheme of it is used: it names the transport, which connects by the client's own arguments."""
    first = servers.split(",")[0] if isinstance(servers, str) else servers[0]
    return f"{SCHEME}://{first.strip()}"


async def serve(app: EngineApp, stop: asyncio.Event) -> None:
    """Run the app in this loop until ``stop`` is set, then stop it: last checkpoints, and out of the group.

    Raises what keeps it from starting. What fails later ends the process (``death.die``), and so does a stop whose
    budget did not suffice for the last checkpoints.
    """
    starting = asyncio.create_task(app.start())
    stopping = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if starting.done():
            starting.result()
        await stopping
    finally:
        stopping.cancel()
        app.stopping = StopBudget(app.transport_settings.stop_seconds)
        await app.stop()
        starting.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await starting
    if not app.written:
        seconds = app.transport_settings.stop_seconds
        die(f"the last checkpoint was not written within the {seconds:g} s of the stop, and what it lacks is replayed")


async def serve_until_signal(app: EngineApp) -> None:
    """``serve`` until SIGTERM or SIGINT, and end within ``stop_seconds`` of it, whatever happens."""
    stop = asyncio.Event()

    def asked() -> None:
        if not stop.is_set():
            end_after(app.transport_settings.stop_seconds)
            stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, asked)
    await serve(app, stop)


def run(main: Coroutine[Any, Any, None]) -> None:
    """Run a worker's main coroutine in a uvloop; the consumer thread then gets one as well."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main)
