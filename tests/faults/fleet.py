"""Workers as processes in slots of their own, started again when they end, as Kubernetes does."""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.faults.worker_process import TALLY

RESTART_SECONDS = 0.5
ROOT = Path(__file__).parents[2]


@dataclass
class Ended:
    """How a process ended."""

    slot: str
    code: int
    at: float  # s since the epoch
    #: Whether somebody had asked for it.
    wanted: bool


@dataclass
class Slot:
    """A place for one worker. ``arguments`` and ``environment`` are those of its process."""

    name: str
    directory: Path
    module: str
    arguments: list[str]
    environment: Mapping[str, str]
    ends: list[Ended]
    process: subprocess.Popen[bytes] | None = None
    started: float = 0.0
    _wanted: bool = False
    _keeping: asyncio.Task[None] | None = None
    _extra: dict[str, str] = field(default_factory=dict)
    #: Another place for what it says.
    output: str = ""

    @property
    def log(self) -> Path:
        """Where it writes what it says."""
        return Path(self.output) if self.output else self.directory / f"{self.name}.log"

    @property
    def armed(self) -> Path:
        """Says at which point it is to kill itself."""
        return self.directory / f"{self.name}.armed"

    @property
    def fired(self) -> Path:
        """There if it did."""
        return self.directory / f"{self.name}.fired"

    @property
    def alive(self) -> bool:
        """Whether its process runs."""
        return self.process is not None and self.process.poll() is None

    @property
    def held(self) -> set[int]:
        """The partitions of its last assignment, which it may have lost by now."""
        try:
            return {int(number) for number in (self.directory / f"{self.name}.held").read_text().split()}
        except OSError:
            return set()

    def tally(self) -> tuple[int, int]:
        """(compared, different) of all replays so far."""
        try:
            compared, different = TALLY.unpack_from((self.directory / f"{self.name}.tally").read_bytes())
        except (OSError, ValueError):
            return 0, 0
        return int(compared), int(different)

    def start(self, **extra: str) -> None:
        """Start it, with more environment, and keep it up until ``stop`` or ``remove``."""
        self._extra, self._wanted = extra, False
        self._spawn()
        self._keeping = asyncio.create_task(self._keep())

    def kill(self) -> None:
        """kill -9; it is started again."""
        self.signal(signal.SIGKILL)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to its process."""
        if self.alive:
            assert self.process is not None
            os.kill(self.process.pid, number)

    async def stop(self, seconds: float = 30.0) -> tuple[int, float]:
        """SIGTERM, and SIGKILL after ``seconds``; the exit code, and how long it took."""
        self._wanted = True
        begun = time.monotonic()
        if self._keeping is not None:
            self._keeping.cancel()
        process = self.process
        if process is None:
            return 0, 0.0
        if process.poll() is None:
            process.terminate()
        try:
            code = await asyncio.to_thread(process.wait, seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            code = await asyncio.to_thread(process.wait)
        self.ends.append(Ended(self.name, code, time.time(), True))
        self.process = None
        return code, time.monotonic() - begun

    def remove(self) -> None:
        """kill -9, and not again."""
        self._wanted = True
        if self._keeping is not None:
            self._keeping.cancel()
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None
        (self.directory / f"{self.name}.held").unlink(missing_ok=True)

    def _spawn(self) -> None:
        known = {
            "FAULTS_ARMED": str(self.armed),
            "FAULTS_FIRED": str(self.fired),
            "FAULTS_HELD": str(self.directory / f"{self.name}.held"),
            "FAULTS_TALLY": str(self.directory / f"{self.name}.tally"),
            "PYTHONPATH": str(ROOT),
        }
        (self.directory / f"{self.name}.held").unlink(missing_ok=True)
        with self.log.open("ab", buffering=0) as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", self.module, *self.arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=self.directory,
                env={**self.environment, **known, **self._extra},
                start_new_session=True,
                preexec_fn=_die_with_parent if sys.platform == "linux" else None,
            )
        self.started = time.time()

    async def _keep(self) -> None:
        while True:
            await asyncio.sleep(0.05)
            process = self.process
            if self._wanted or process is None:
                return
            if (code := process.poll()) is not None:
                self.ends.append(Ended(self.name, code, time.time(), False))
                await asyncio.sleep(RESTART_SECONDS)
                self._spawn()


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)
