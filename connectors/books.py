"""Writing down what has ended, and committing what is written: the end of every change at a destination."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from connectors.changes import Change
from connectors.intake import Intake
from connectors.ledger import Ledger
from connectors.outbox import Outbox


class Books:
    """`finish` is called for a change that was given up, once its dead letter is written: until then its customer
    waits, else a crash could lose the letter behind something newer that was delivered. `committed` is called with the
    offsets of `segment-changes` that were, by partition.
    """

    def __init__(
        self,
        outbox: Outbox,
        ledger: Ledger,
        finish: Callable[[Change, bool], None],
        committed: Callable[[Mapping[int, int]], None],
    ) -> None:
        self._outbox = outbox
        self._ledger = ledger
        self._finish = finish
        self._committed = committed
        self._buried: list[Change] = []
        self._urgent = asyncio.Event()  # somebody waits for what is to be written
        self._writing = asyncio.Lock()
        self._begun: set[asyncio.Task[None]] = set()

    def bury(self, change: Change) -> None:
        """Its dead letter is in the outbox."""
        self._buried.append(change)
        self._urgent.set()

    def forget(self) -> None:
        """The partitions are taken away."""
        self._buried.clear()

    async def keep(self, intake: Intake, interval: float, then: Callable[[], None], limit: float) -> None:
        """Write and commit every `interval` seconds, and call `then`; write sooner where somebody waits for it.

        Raises TimeoutError where a broker keeps us waiting for longer than `limit` seconds.
        """
        loop = asyncio.get_running_loop()
        due = loop.time() + interval
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(due):
                    await self._urgent.wait()
            if loop.time() < due:
                await self._whole(self._write_locked(), limit)
                continue
            due = loop.time() + interval
            await self._whole(self.flush(intake), limit)
            then()

    async def flush(self, intake: Intake) -> None:
        """Write receipts and dead letters, then commit what they cover."""
        async with self._writing:
            if self._buried:
                await self._write()
            marks = intake.marks()
            await self._outbox.write()
            # Noted first: where the ledger says less than the commit, it has lost something.
            offsets = intake.live(marks)
            if await self._ledger.note(offsets):
                await intake.commit(marks)
                self._committed(offsets)

    async def close(self) -> None:
        """Abandon what is being written."""
        for task in self._begun:
            task.cancel()
        await asyncio.gather(*self._begun, return_exceptions=True)

    async def _write_locked(self) -> None:
        async with self._writing:
            await self._write()

    async def _write(self) -> None:
        self._urgent.clear()
        buried, self._buried = self._buried, []
        try:
            await self._outbox.write()
        except BaseException:
            self._buried[:0] = buried
            raise
        for change in buried:
            self._finish(change, False)

    async def _whole(self, writing: Coroutine[Any, Any, None], limit: float) -> None:
        """Not broken off by a stop, which would write twice what is on its way; whoever flushes next waits for it."""
        task = asyncio.create_task(writing)
        self._begun.add(task)
        task.add_done_callback(self._begun.discard)
        async with asyncio.timeout(limit):
            await asyncio.shield(task)
