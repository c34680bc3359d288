"""Apache Kafka that can be stopped, killed and started again on its data, with a door for each client."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path

from stream.embedded import kafka as embedded
from stream.embedded.process import free_ports, kafka_answers, running

#: What the matrix needs beyond the tests' broker: clocks of the broker's own, and a log that cleans itself quickly.
_MORE = """log.message.timestamp.type=LogAppendTime
log.cleaner.backoff.ms=2000
log.retention.check.interval.ms=60000
"""


class Broker:
    """One node. Every client of ``doors`` has a listener of its own, which is advertised under another address.

    A proxy listens there: so each client can be cut off by itself. ``address`` is the door that is never shut.
    """

    def __init__(self, directory: Path, cache: Path, advertised: Sequence[int]) -> None:
        self.directory = directory
        self._classpath = f"{embedded._fetch(cache, embedded.VERSION).resolve()}/*"
        port, controller, *self.doors = free_ports(2 + len(advertised))
        self.address = f"127.0.0.1:{port}"
        self._properties = directory / "server.properties"
        self._stack = AsyncExitStack()
        self._pid = 0
        self.data = directory / "data"
        #: Whether ``data`` is a file system of its own.
        self.own_disk = False
        text = embedded.PROPERTIES.format(port=port, controller=controller, data=self.data) + _MORE
        for number, (door, said) in enumerate(zip(self.doors, advertised, strict=True)):
            text = text.replace("\nadvertised.listeners=", f",DOOR{number}://127.0.0.1:{door}\nadvertised.listeners=")
            text = text.replace("\ninter.broker", f",DOOR{number}://127.0.0.1:{said}\ninter.broker")
            text = text.replace("CONTROLLER:PLAINTEXT", f"CONTROLLER:PLAINTEXT,DOOR{number}:PLAINTEXT")
        self._properties.write_text(text)

    def format(self) -> None:
        """Make its storage; blocks for a second."""
        embedded._format(self._classpath, self._properties)

    async def start(self) -> None:
        """Start it on what its disk holds, and wait until it answers. Raises ``ServerFailed``."""
        heap = f"-Xmx{embedded.HEAP}"
        self._pid = await self._stack.enter_async_context(
            running(
                ["java", heap, "-XX:+UseSerialGC", "-cp", self._classpath, "kafka.Kafka", str(self._properties)],
                name="Apache Kafka",
                probe=lambda: kafka_answers(self.address),
                directory=self.directory,
                start_seconds=90.0,
                stop_seconds=20.0,
            )
        )

    async def stop(self) -> None:
        """SIGTERM, and wait."""
        await self._stack.aclose()
        self._stack = AsyncExitStack()

    async def kill(self) -> None:
        """kill -9, and wait."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._pid, signal.SIGKILL)
        await self.stop()

    @property
    def alive(self) -> bool:
        """Whether its process runs; one that ended and waits for its parent does not."""
        try:
            return os.waitid(os.P_PID, self._pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None
        except ChildProcessError:
            return False
