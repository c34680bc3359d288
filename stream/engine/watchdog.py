"""The fence: a worker that stood still for half its session ends itself, before it acts on what is not its own."""

from __future__ import annotations

import asyncio
import threading
import time

from stream.engine.death import die

_BEAT = 0.1  # s


class Watchdog:
    """Ends the process when the loop, or the whole process, stood still for ``limit_seconds``.

    A thread looks at the loop's pulse and at its own: after a SIGSTOP both have stood still, and whichever runs first
    sees it.
    """

    def __init__(self, limit_seconds: float) -> None:
        self._limit = limit_seconds
        self._pulse = time.monotonic()
        self._stopped = threading.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to watch the running loop."""
        self._pulse = time.monotonic()
        self._task = asyncio.create_task(self._beat())
        threading.Thread(target=self._watch, name="watchdog", daemon=True).start()

    def stop(self) -> None:
        """No longer watch."""
        self._stopped.set()
        if self._task:
            self._task.cancel()

    def check(self) -> None:
        """End the process if the pulse is too old. Called before anything that others will see."""
        still = time.monotonic() - self._pulse
        if still > self._limit and not self._stopped.is_set():
            die(f"the worker stood still for {still:.1f} s, more than half its session")

    async def _beat(self) -> None:
        while True:
            self.check()
            self._pulse = time.monotonic()
            await asyncio.sleep(_BEAT)

    def _watch(self) -> None:
        while not self._stopped.wait(_BEAT):
            self.check()
