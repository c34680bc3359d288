"""The product's own commands as children of the demo: started, watched, killed, and never left behind."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from stream.embedded.process import tail

STOP_SECONDS = 15.0
_PR_SET_PDEATHSIG = 1


class ChildFailed(RuntimeError):
    """A command did not do what it was started for; the message ends with the end of its log."""


class Child:
    """One ``livesegments`` command in a process of its own, its output in ``log``."""

    def __init__(self, name: str, arguments: list[str], environment: Mapping[str, str], log: Path) -> None:
        self.name, self.log = name, log
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "stream", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=dict(environment),
                # A group of its own: Ctrl-C reaches the demo alone, which then stops everything in order.
                start_new_session=True,
                preexec_fn=_die_with_parent if sys.platform == "linux" else None,
            )

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    @property
    def code(self) -> int | None:
        """The exit code, None while it runs."""
        return self._process.poll()

    def check(self) -> None:
        """Raises ``ChildFailed`` if it has ended."""
        if self.code is not None:
            raise self.failed(f"ended with code {self.code}")

    def failed(self, what: str) -> ChildFailed:
        """The error to raise for it, with the end of its log."""
        return ChildFailed(f"{self.name} {what}:\n{tail(self.log)}")

    def kill(self) -> None:
        """kill -9, and wait until it is gone."""
        self._process.kill()
        self._process.wait()

    async def wait(self, seconds: float) -> int:
        """Wait for it to end by itself and return its exit code. Raises ``ChildFailed`` if it does not."""
        try:
            return await asyncio.to_thread(self._process.wait, seconds)
        except subprocess.TimeoutExpired:
            raise self.failed(f"did not end within {seconds:g} s") from None

    async def stop(self, seconds: float = STOP_SECONDS) -> int:
        """SIGTERM, SIGKILL after ``seconds``; returns the exit code (negative if it had to be killed)."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            if self.code is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(self._process.pid, number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                return await asyncio.to_thread(self._process.wait, seconds)
        raise self.failed("cannot be killed")


@asynccontextmanager
async def running(
    name: str, arguments: list[str], environment: Mapping[str, str], directory: Path
) -> AsyncIterator[Child]:
    """Run a command until the end of the block; whatever happens in the block, it is gone after it."""
    child = Child(name, arguments, environment, directory / f"{name}.log")
    try:
        yield child
    finally:
        try:
            await child.stop()
        except asyncio.CancelledError:
            child.kill()
            raise


async def finish(name: str, arguments: list[str], environment: Mapping[str, str], directory: Path) -> None:
    """Run a command to its end. Raises ``ChildFailed`` unless it exits with 0."""
    async with running(name, arguments, environment, directory) as child:
        code = await child.wait(60.0)
        if code != 0:
            raise child.failed(f"({' '.join(arguments)}) ended with code {code}")


def _die_with_parent() -> None:
    """Linux: the kernel kills the child if the demo dies, even by kill -9."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
