"""Keeps looking at the demo's processes: are they alive, and what do their metrics say?"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable

import aiohttp

from stream.demo.board import Board
from stream.demo.children import Child
from stream.demo.feed import IN_FLIGHT, Feed
from stream.demo.receiver import Receiver
from stream.demo.scrape import Scrape, scrape

SECONDS = 0.4


class Watch:
    """Puts what it sees on the board, and wakes who waits for something to be so."""

    def __init__(self, board: Board, began: float) -> None:
        self._board, self._began = board, began
        self._looked = asyncio.Condition()
        self._looks = 0
        self._before = Scrape({})  # what a worker that was killed had counted when it was last asked
        self._worker: Child | None = None
        self._deliverer: Child | None = None
        self.worker_says = Scrape({})
        self.deliverer_says = Scrape({})

    def employ(self, worker: Child, deliverer: Child) -> None:
        """Look at these processes from now on."""
        if self._worker is not None and self._worker is not worker:
            self._before, self.worker_says = self.worker_says, Scrape({})
        self._worker, self._deliverer = worker, deliverer

    async def until(self, holds: Callable[[], bool]) -> None:
        """Wait until something is so; asked after every look."""
        async with self._looked:
            await self._looked.wait_for(holds)

    async def look(self) -> None:
        """Wait for the end of a look that begins from now on."""
        seen = self._looks
        await self.until(lambda: self._looks > seen + 1)

    async def stop(self) -> None:
        """Stop both processes in good order. Raises ``ChildFailed`` if one does not end well."""
        for child in (self._worker, self._deliverer):
            if child is not None and (code := await child.stop()) != 0:
                raise child.failed(f"did not stop in good order, but with code {code}")

    async def run(self, worker_port: int, deliverer_port: int, feed: Feed, receiver: Receiver) -> None:
        """Look again and again. Raises ``ChildFailed`` if a process has ended."""
        timeout = aiohttp.ClientTimeout(total=5.0)
        async with aiohttp.ClientSession(timeout=timeout) as session:
            read, then = 0, time.monotonic()
            while True:
                worker = self._worker
                for child in (worker, self._deliverer):
                    if child is not None:
                        child.check()
                says = await scrape(session, worker_port)
                if says is not None and worker is self._worker:
                    self.worker_says = says
                self.deliverer_says = await scrape(session, deliverer_port) or self.deliverer_says
                self._note(receiver)
                now = time.monotonic()
                rate = max(0, self._board.read - read) / (now - then)
                self._board.rate = 0.5 * self._board.rate + 0.5 * rate
                read, then = self._board.read, now
                (feed.room.set if self._board.sent - read < IN_FLIGHT else feed.room.clear)()
                self._looks += 1
                async with self._looked:
                    self._looked.notify_all()
                await asyncio.sleep(SECONDS)

    def _note(self, receiver: Receiver) -> None:
        board = self._board
        board.seconds = time.monotonic() - self._began
        board.endings = _endings(self._before) + self.endings()
        board.read = self._before.total("records_read_total") + self.read()
        board.moved = sum(says.total("records_moved_total") for says in (self._before, self.worker_says))
        outcomes = self.deliverer_says.by("deliveries_total", "outcome")
        board.outcomes = Counter({outcome: count for (outcome,), count in outcomes.items()})
        board.note_sizes({name: len(members) for name, members in receiver.inbox.members.items()})
        board.retried = receiver.answers[503] + receiver.answers[429]

    def endings(self) -> Counter[tuple[str, str]]:
        """(ending, reason) -> events of the worker that runs now."""
        return _endings(self.worker_says)

    def read(self) -> int:
        """Events read by the worker that runs now."""
        return self.worker_says.total("records_read_total")


def _endings(says: Scrape) -> Counter[tuple[str, str]]:
    counts = says.by("records_total", "ending", "reason")
    return Counter({(ending, reason): count for (ending, reason), count in counts.items()})
