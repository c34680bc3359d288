"""The demo's producer: sends the timeline into the log, at the time-lapse's pace, no faster than is read."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from aiokafka import AIOKafkaProducer

from stream.demo.board import Board
from stream.demo.timeline import TICK_HEADERS, Sending

#: Events that may be on their way to the worker; more, and the producer waits.
IN_FLIGHT = 20_000
_BREATH = 16  # sendings between two looks at the clock


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast the shop's time goes: its busy and its quiet part, in seconds of ours; 0 is flat out."""

    busy_until: int  # µs
    busy_seconds: float
    quiet_seconds: float

    def due(self, board: Board) -> float:
        """Seconds after the start of the feed at which the board's ``now`` is due."""
        busy = max(1, self.busy_until - board.start)
        quiet = max(1, board.until - self.busy_until)
        if board.now <= self.busy_until:
            return self.busy_seconds * max(0, board.now - board.start) / busy
        return self.busy_seconds + self.quiet_seconds * (board.now - self.busy_until) / quiet


class Feed:
    """Sends, and remembers when each event was sent, by key and time: that is how latency is measured."""

    def __init__(self, topic: str, board: Board, pace: Pace) -> None:
        self._topic, self._board, self._pace = topic, board, pace
        self._failure: BaseException | None = None
        self.sent_at: dict[tuple[bytes | None, int], float] = {}
        #: Set while the worker may be given more.
        self.room = asyncio.Event()
        self.room.set()

    async def run(self, producer: AIOKafkaProducer, sendings: Iterable[Sending]) -> None:
        """Send everything and wait until the broker has it. Raises what a send failed with."""
        began, board = time.monotonic(), self._board
        for nth, sending in enumerate(sendings):
            if nth % _BREATH == 0:
                await self._breathe(began)
            await self._send(producer, sending)
            board.now = max(board.now, sending.time_ms * 1000)
        await producer.flush()
        self._check()

    async def _breathe(self, began: float) -> None:
        quiet = self._board.now > self._pace.busy_until
        self._board.phase = "nobody acts, time passes" if quiet else "customers act"
        ahead = self._pace.due(self._board) - (time.monotonic() - began)
        await asyncio.sleep(max(0.0, ahead))
        await self.room.wait()
        self._check()

    async def _send(self, producer: AIOKafkaProducer, sending: Sending) -> None:
        if sending.tick:
            self._board.ticks += 1
        else:
            self._board.sent += 1
            self.sent_at[sending.key, sending.time_ms] = time.monotonic()
        acknowledged = await producer.send(
            self._topic,
            value=sending.value,
            key=sending.key,
            partition=sending.partition,
            timestamp_ms=sending.time_ms,
            headers=list(TICK_HEADERS) if sending.tick else None,
        )
        acknowledged.add_done_callback(self._note)

    def _note(self, acknowledged: asyncio.Future[Any]) -> None:
        if not acknowledged.cancelled() and self._failure is None:
            self._failure = acknowledged.exception()

    def _check(self) -> None:
        if self._failure is not None:
            raise self._failure

    def latency(self, key: bytes | None, at: int) -> float | None:
        """Seconds since the event of this key and log time (µs) was sent, None if there is none."""
        sent = self.sent_at.get((key, at // 1000))
        return None if sent is None else time.monotonic() - sent
