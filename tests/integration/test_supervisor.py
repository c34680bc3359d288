"""Laws of the supervisor, with real processes and real signals."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.receiver import PATIENCE_SECONDS

SCRIPT = """
import logging, signal, sys, time
from connectors import supervisor
from connectors.supervisor import Job, Supervisor

logging.basicConfig()
supervisor.RESTART_SECONDS = (0.1, 0.4)

def say(line):
    with open(sys.argv[1], "a") as file:
        file.write(f"{line} {time.monotonic()}\\n")

def ending(name, after=0.0):
    def main():
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        say(f"{name} started")
        signal.sigwait({signal.SIGTERM})
        time.sleep(after)
        say(f"{name} stopped")

    return main

def returning():
    say("returning started")

def failing():
    say("failing started")
    raise ZeroDivisionError

def deaf():
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    say("deaf started")
    while True:
        time.sleep(60)

raise SystemExit(Supervisor([%s], patience=1.0).run())
"""


@dataclass
class Supervised:
    """A supervisor that runs, and what its jobs said."""

    process: asyncio.subprocess.Process
    file: Path

    def said(self) -> list[tuple[str, float]]:
        """Lines and their times, seconds."""
        text = self.file.read_text() if self.file.exists() else ""
        return [(line.rpartition(" ")[0], float(line.rpartition(" ")[2])) for line in text.splitlines()]

    def times(self, line: str) -> list[float]:
        return [at for said, at in self.said() if said == line]

    async def until(self, line: str, count: int = 1) -> None:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while len(self.times(line)) < count:  # noqa: ASYNC110 - another process
                await asyncio.sleep(0.02)

    async def end(self) -> tuple[int, str]:
        """Its exit code, and what it logged."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            _, logged = await self.process.communicate()
        assert self.process.returncode is not None
        return self.process.returncode, logged.decode()


@asynccontextmanager
async def supervising(tmp_path: Path, *jobs: str) -> AsyncIterator[Supervised]:
    file = tmp_path / "said"
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", SCRIPT % ", ".join(jobs), str(file),
        cwd=Path(__file__).parents[2], stderr=asyncio.subprocess.PIPE, start_new_session=True,
    )  # fmt: skip
    try:
        yield Supervised(process, file)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()


def job(name: str, main: str, more: str = "") -> str:
    return f"Job({name!r}, {name!r}, {main}{more})"


async def test_what_fails_is_started_again_later_and_later_and_alone(tmp_path: Path) -> None:
    """Also what returns unasked. Its error is logged, and nobody else is touched."""
    jobs = (job("failing", "failing"), job("returning", "returning"), job("sound", "ending('sound')"))
    async with supervising(tmp_path, *jobs) as supervised:
        await supervised.until("failing started", 5)
        await supervised.until("returning started", 5)
        supervised.process.send_signal(signal.SIGTERM)
        _, logged = await supervised.end()
    for name in ("failing", "returning"):
        times = supervised.times(f"{name} started")
        waits = [later - earlier for earlier, later in itertools.pairwise(times)]
        assert all(wait >= least for wait, least in zip(waits, (0.1, 0.2, 0.4, 0.4), strict=False)), waits
    assert len(supervised.times("sound started")) == len(supervised.times("sound stopped")) == 1
    assert "failing failed\nTraceback" in logged and "ZeroDivisionError" in logged
    assert "the process of returning ended with code 0; it is started again in 0.1 s" in logged


async def test_who_serves_the_others_is_stopped_last(tmp_path: Path) -> None:
    """However long those take."""
    jobs = (job("metrics", "ending('metrics')", ", attends=True"), job("slow", "ending('slow', after=0.3)"))
    async with supervising(tmp_path, *jobs) as supervised:
        await supervised.until("metrics started")
        await supervised.until("slow started")
        supervised.process.send_signal(signal.SIGINT)
        assert await supervised.end() == (0, "")
    (slow,), (metrics,) = supervised.times("slow stopped"), supervised.times("metrics stopped")
    assert slow < metrics


async def test_what_does_not_stop_in_time_is_killed(tmp_path: Path) -> None:
    """And the exit code says so."""
    async with supervising(tmp_path, job("deaf", "deaf"), job("sound", "ending('sound')")) as supervised:
        await supervised.until("deaf started")
        await supervised.until("sound started")
        began = time.monotonic()
        supervised.process.send_signal(signal.SIGTERM)
        code, logged = await supervised.end()
        took = time.monotonic() - began
    assert code == 1
    assert 1.0 <= took < 10.0
    assert len(supervised.times("sound stopped")) == 1
    assert "killed, because they did not stop within 1 s: deaf" in logged


async def test_a_stop_while_something_waits_to_be_started_again_ends_at_once(tmp_path: Path) -> None:
    """Nothing is begun any more: the fourth start is followed by 0.4 s of waiting."""
    async with supervising(tmp_path, job("failing", "failing")) as supervised:
        await supervised.until("failing started", 4)
        await asyncio.sleep(0.1)  # into that
        supervised.process.send_signal(signal.SIGTERM)
        assert (await supervised.end())[0] == 0
    assert len(supervised.times("failing started")) == 4
