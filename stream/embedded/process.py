"""Runs one server as a child process: in a group of its own, probed until it answers, killed at the end."""

import asyncio
import contextlib
import ctypes
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from aiokafka.client import AIOKafkaClient
from aiokafka.errors import KafkaError

Probe = Callable[[], Awaitable[bool]]
"""True once the server answers its own protocol; False or ``OSError`` while it does not yet."""

PROBE_INTERVAL_SECONDS: Final = 0.05
_PR_SET_PDEATHSIG: Final = 1


class ServerFailed(RuntimeError):
    """The server did not come up. The message says what was run and ends with the tail of its log."""


def free_ports(count: int) -> list[int]:
    """Loopback TCP ports that are free now. All are held until the last is found, so that they differ."""
    with contextlib.ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [int(each.getsockname()[1]) for each in sockets]


async def kafka_answers(address: str) -> bool:
    """Whether a broker at ``host:port`` negotiates versions and returns its metadata."""
    host, _, port = address.rpartition(":")
    # aiokafka logs an error for each refused connection, so the door is tried first.
    _, writer = await asyncio.open_connection(host, int(port))
    writer.close()
    client = AIOKafkaClient(bootstrap_servers=address, request_timeout_ms=2_000)
    try:
        await client.bootstrap()
        return bool(client.cluster.brokers())
    except KafkaError:
        return False
    finally:
        await client.close()


def tail(log: Path, lines: int = 15) -> str:
    """The last lines of a log, for an error message."""
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:]) or "(the log is empty)"


@contextlib.asynccontextmanager
async def running(
    command: Sequence[str],
    *,
    name: str,
    probe: Probe,
    directory: Path,
    environment: Mapping[str, str] | None = None,
    start_seconds: float = 30.0,
    stop_seconds: float = 5.0,
) -> AsyncIterator[int]:
    """Run a server and yield its process id once ``probe`` succeeds.

    Its log goes to ``directory/server.log``. At exit the process group gets SIGTERM, and SIGKILL after
    ``stop_seconds``. On Linux the kernel kills the server, too, if the thread that started it dies.
    Raises ``ServerFailed`` if it exits early or does not answer within ``start_seconds``.
    """
    log = directory / "server.log"
    with log.open("ab") as output:
        process = subprocess.Popen(  # noqa: ASYNC220 - a spawn takes a millisecond, and only subprocess has preexec_fn
            list(command),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=directory,
            env=None if environment is None else {**os.environ, **environment},
            start_new_session=True,
            preexec_fn=_die_with_parent if sys.platform == "linux" else None,
        )
    try:
        await _answering(process, name=name, probe=probe, log=log, seconds=start_seconds)
        yield process.pid
    finally:
        await _stop(process, stop_seconds)


@contextlib.contextmanager
def scratch(name: str) -> Iterator[Path]:
    """A directory for one server's log and data, removed at the end."""
    with tempfile.TemporaryDirectory(prefix=f"livesegments-{name}-", ignore_cleanup_errors=True) as path:
        yield Path(path)


async def _answering(process: subprocess.Popen[bytes], *, name: str, probe: Probe, log: Path, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            while True:
                if process.poll() is not None:
                    raise ServerFailed(f"{name} ended with code {process.returncode} at start:\n{tail(log)}")
                with contextlib.suppress(OSError):
                    if await probe():
                        return
                await asyncio.sleep(PROBE_INTERVAL_SECONDS)
    except TimeoutError:
        raise ServerFailed(f"{name} did not answer within {seconds:g} s:\n{tail(log)}") from None


async def _stop(process: subprocess.Popen[bytes], seconds: float) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            await asyncio.to_thread(process.wait, seconds)
            return


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
