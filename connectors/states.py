"""How destinations stand, on the topic `destination-states`: what is ordered, and what this replica sees.

Under a destination's name stands the order in force for all replicas; under `<name>/<replica>` what a replica sees
(`schemas.deliveries.DestinationState`). The last record of a key counts.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import msgspec
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaError

from connectors.records import iso
from connectors.settings import DeliverySettings

logger = logging.getLogger(__name__)

StateName = Literal["active", "broken", "paused", "disabled", "waiting"]

READ_SECONDS = 1.0
RETRY_SECONDS = 1.0
STALL_READS = 30
"""Reads without a record after which the end of the topic is asked for, and a consumer that missed it replaced."""


@dataclass(frozen=True, slots=True)
class Order:
    """What is in force for all replicas."""

    state: Literal["active", "paused", "disabled"] = "active"
    reason: str = ""


NO_ORDER = Order()


class _Record(msgspec.Struct):
    destination: str
    state: str
    reason: str = ""


_decoder = msgspec.json.Decoder(_Record)


class Board:
    """One per process. `start` returns once every order that stands is known."""

    def __init__(self, producer: AIOKafkaProducer, settings: DeliverySettings) -> None:
        self._producer = producer
        self._settings = settings
        self._place = TopicPartition(settings.destination_states_topic, 0)
        self._orders: dict[str, Order] = {}
        self._listeners: dict[str, Callable[[Order], None]] = {}
        self._said: dict[str, dict[str, str]] = {}  # by destination, to be repeated
        self._unwritten: dict[str, dict[str, str] | None] = {}
        self._to_write = asyncio.Event()
        self._position = 0
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Raises KafkaError."""
        consumer = await self._consumer()
        end = (await consumer.end_offsets([self._place]))[self._place]
        while self._position < end:
            await self._read(consumer)
        self._tasks = [asyncio.create_task(self._follow(consumer)), asyncio.create_task(self._write())]

    async def stop(self) -> None:
        """Say that this replica sees nothing any more."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._unwritten.update({self._own_key(name): None for name in self._said})
        with contextlib.suppress(KafkaError, TimeoutError):  # after some minutes everybody takes it for gone anyway
            async with asyncio.timeout(RETRY_SECONDS):
                await self._write_all()

    def order(self, destination: str, listener: Callable[[Order], None]) -> Order:
        """The order in force; `listener` is called with each that follows."""
        self._listeners[destination] = listener
        return self._orders.get(destination, NO_ORDER)

    def say(self, destination: str, state: StateName, reason: str, since: float) -> None:
        """What this replica sees, since when (Unix seconds)."""
        self._said[destination] = self._record(destination, state, reason, since)
        self._put(self._own_key(destination), self._said[destination])

    def disable(self, destination: str, reason: str) -> None:
        """Nothing is sent by any replica, also after a restart, until an operator enables the destination again."""
        self._put(destination, self._record(destination, "disabled", reason, time.time()))

    def _record(self, destination: str, state: StateName, reason: str, since: float) -> dict[str, str]:
        return {
            "destination": destination,
            "state": state,
            "reason": reason,
            "since": iso(since),
            "by": "deliverer",
            "replica": self._settings.replica,
        }

    def _own_key(self, destination: str) -> str:
        return f"{destination}/{self._settings.replica}"

    # Writing.

    def _put(self, key: str, record: dict[str, str] | None) -> None:
        self._unwritten[key] = record
        self._to_write.set()

    async def _write(self) -> None:
        """Write what is said, and repeat it now and then."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._settings.state_interval):
                    await self._to_write.wait()
            self._to_write.clear()
            if not self._unwritten:
                self._unwritten.update({self._own_key(name): record for name, record in self._said.items()})
            try:
                await self._write_all()
            except KafkaError as error:
                logger.warning("the state of destinations cannot be written: %s", type(error).__name__)
                await asyncio.sleep(RETRY_SECONDS)
                self._to_write.set()

    async def _write_all(self) -> None:
        while self._unwritten:
            key, record = next(iter(self._unwritten.items()))
            value = None if record is None else msgspec.json.encode({**record, "at": iso(time.time())})
            await self._producer.send_and_wait(self._place.topic, value, key=key.encode(), partition=0)
            if self._unwritten.get(key) is record:
                del self._unwritten[key]

    # Reading.

    async def _consumer(self) -> AIOKafkaConsumer:
        consumer = AIOKafkaConsumer(
            **self._settings.kafka, enable_auto_commit=False, fetch_max_wait_ms=round(READ_SECONDS * 500)
        )
        await consumer.start()
        consumer.assign([self._place])
        beginning = (await consumer.beginning_offsets([self._place]))[self._place]
        self._position = max(self._position, beginning)
        consumer.seek(self._place, self._position)
        return consumer

    async def _follow(self, consumer: AIOKafkaConsumer) -> None:
        quiet = 0
        try:
            while True:
                try:
                    quiet = 0 if await self._read(consumer) else quiet + 1
                    if quiet >= STALL_READS:
                        quiet = 0
                        end = (await consumer.end_offsets([self._place]))[self._place]
                        if end > self._position:  # aiokafka #1154, after a broker's restart
                            await consumer.stop()
                            consumer = await self._consumer()
                except KafkaError as error:
                    logger.warning("the orders for destinations cannot be read: %s", type(error).__name__)
                    await asyncio.sleep(RETRY_SECONDS)
        finally:
            await consumer.stop()

    async def _read(self, consumer: AIOKafkaConsumer) -> bool:
        records = await consumer.getmany(timeout_ms=round(READ_SECONDS * 1000))
        for record in records.get(self._place, []):
            self._heed(record.key, record.value)
        self._position = await consumer.position(self._place)
        return bool(records)

    def _heed(self, key: bytes | None, value: bytes | None) -> None:
        name = (key or b"").decode("utf-8", "replace")
        if not name or "/" in name:
            return
        order = _order(value)
        if order != self._orders.get(name, NO_ORDER):
            self._orders[name] = order
            if listener := self._listeners.get(name):
                listener(order)


def _order(value: bytes | None) -> Order:
    """Nothing, and what is no order, is none."""
    if value is None:
        return NO_ORDER
    try:
        record = _decoder.decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return NO_ORDER
    match record.state:
        case "paused" | "disabled" as state:
            return Order(state, record.reason)
        case _:
            return NO_ORDER
