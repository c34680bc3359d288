"""The course of a demo: what starts when, what is sent, and when it is over."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
from aiokafka import AIOKafkaProducer

from schemas.changes import is_change
from schemas.topics import DEAD_LETTERS, EVENTS, EVENTS_REJECTED, SEGMENT_CHANGES, Topic
from stream.demo.board import Board
from stream.demo.children import Child
from stream.demo.feed import Feed
from stream.demo.judge import Evidence
from stream.demo.options import LEAD, DemoOptions, Plan
from stream.demo.receiver import Receiver
from stream.demo.stage import Stage
from stream.demo.timeline import TICK_HEADERS, TICK_VALUE, timeline
from stream.demo.topics import Record, caught_up, follow, read_all
from stream.demo.watch import Watch
from stream.demo.words import news
from stream.sources import instant

#: With ``kill``: the share of the events after which the worker is killed.
KILL_AT = 0.4


class Director:
    """Plays one demo; ``began`` is its start on the monotonic clock."""

    def __init__(self, options: DemoOptions, plan: Plan, board: Board, began: float) -> None:
        self._options, self._plan, self._board = options, plan, board
        self._watch = Watch(board, began)
        self._feed = Feed(EVENTS.name, board, plan.pace)
        self._said: set[str] = set()

    def note_delivery(self, change: dict[str, Any]) -> None:
        """The receiver got a change that is new to it."""
        board, item = self._board, news(change)
        board.delivered += 1
        board.latest.append(item)
        (board.entered if item.entered else board.exited)[item.segment] += 1
        if (seconds := self._latency(change, str(change["customer_id"]).encode())) is not None:
            board.to_receiver.add(seconds)

    def _note_change(self, record: Record) -> None:
        """A record stands on ``segment-changes``."""
        if not is_change(record.headers):
            return
        change = orjson.loads(record.value or b"{}")
        board = self._board
        self._said.add(change["id"])
        board.changes += 1
        board.by_time += change["cause"]["kind"] == "time"
        if (seconds := self._latency(change, record.key)) is not None:
            board.to_topic.add(seconds)

    def _latency(self, change: dict[str, Any], key: bytes | None) -> float | None:
        """Seconds since the event that caused a change was sent; None if time did."""
        if change["cause"]["kind"] != "event":
            return None
        return self._feed.latency(key, instant(change["at"]) or 0)

    async def play(self, stage: Stage, producer: AIOKafkaProducer, receiver: Receiver) -> Evidence:
        """Run everything to its end, and gather what the judge needs. Raises ``ChildFailed``."""
        self._board.phase = "starting worker and deliverer"
        await stage.finish("topics-create", "topics", "create")
        worker, deliverer = await stage.start_worker(), await stage.start_deliverer()
        self._watch.employ(worker, deliverer)
        tasks = [
            asyncio.create_task(self._course(stage, producer, receiver, worker, deliverer)),
            asyncio.create_task(self._watch.run(stage.worker_port, stage.deliverer_port, self._feed, receiver)),
            asyncio.create_task(
                follow(stage.address, SEGMENT_CHANGES.name, self._options.partitions, self._note_change)
            ),
        ]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                await task
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        return await self._gather(stage, receiver)

    async def _course(
        self,
        stage: Stage,
        producer: AIOKafkaProducer,
        receiver: Receiver,
        worker: Child,
        deliverer: Child,
    ) -> None:
        board, plan, options, watch = self._board, self._plan, self._options, self._watch
        await self._begin_time(stage, producer)
        await watch.until(lambda: watch.worker_says.total("partitions_held") == options.partitions)
        skew = stage.settings.core().clock_skew
        busy = timeline(plan.records, options.partitions, plan.start - LEAD, plan.until, plan.tick_interval, skew)
        killing = asyncio.create_task(self._kill(stage, worker, deliverer)) if options.kill else None
        await self._feed.run(producer, busy)
        if killing is not None:
            await killing
        board.phase = "waiting for the last change"
        await caught_up(stage.address, stage.settings.group, EVENTS.name, options.partitions)
        await watch.look()
        await watch.until(lambda: self._said <= receiver.inbox.changes.keys())

    async def _gather(self, stage: Stage, receiver: Receiver) -> Evidence:
        """Stop the product's processes, and read what they leave behind. Raises ``ChildFailed``."""
        await self._watch.stop()
        options = self._options

        async def everything(topic: Topic) -> list[Record]:
            return await read_all(stage.address, topic.name, options.partitions)

        return Evidence(
            book=self._plan.book,
            settings=stage.settings.core(),
            partitions=options.partitions,
            until=self._plan.until,
            sent=self._board.sent,
            endings=self._watch.endings(),
            read=self._watch.read(),
            killed=options.kill,
            events=await everything(EVENTS),
            changes=[record for record in await everything(SEGMENT_CHANGES) if is_change(record.headers)],
            rejected=await everything(EVENTS_REJECTED),
            dead_letters=await everything(DEAD_LETTERS),
            inbox=receiver.inbox,
            bad_signatures=receiver.bad_signatures,
        )

    async def _begin_time(self, stage: Stage, producer: AIOKafkaProducer) -> None:
        """The first tick, and right after it the book: before any event."""
        for partition in range(self._options.partitions):
            await producer.send_and_wait(
                EVENTS.name,
                TICK_VALUE,
                partition=partition,
                timestamp_ms=(self._plan.start - LEAD) // 1000,
                headers=list(TICK_HEADERS),
            )
        book = stage.directory / "segments.yaml"
        await asyncio.to_thread(book.write_text, self._plan.book, "utf-8")
        await stage.finish("segments-apply", "segments", "apply", str(book))

    async def _kill(self, stage: Stage, worker: Child, deliverer: Child) -> None:
        """kill -9 in mid stream, and another worker in its place."""
        await self._watch.until(lambda: self._board.sent >= KILL_AT * self._board.events)
        self._watch.employ(await stage.start_worker(), deliverer)
        worker.kill()
