"""Notices a consumer that has something to read and no longer reads (aiokafka #1154, after a broker's
restart).
"""

from __future__ import annotations

import logging
from collections.abc import Mapping

from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaError

from connectors.progress import Progress

logger = logging.getLogger(__name__)


class ConsumerStalled(Exception):
    """There are records, and the consumer does not move."""


class Watchdog:
    def __init__(self, limit: float) -> None:
        self._limit = limit
        self._moved: dict[int, tuple[int, float]] = {}  # partition -> position, and since when it stands there
        self._next = 0.0

    async def look(self, consumer: AIOKafkaConsumer, progress: Mapping[int, Progress], now: float) -> None:
        """Raises ConsumerStalled. Asks the broker only about partitions that stood still for the limit."""
        paused = {partition.partition for partition in consumer.paused()}
        self._moved = {
            number: before
            if (before := self._moved.get(number)) and before[0] == state.position and number not in paused
            else (state.position, now)
            for number, state in progress.items()
        }
        still = [tp for tp in consumer.assignment() if self._since(tp.partition, now) >= self._limit]
        if not still:
            return
        try:
            ends = await consumer.end_offsets(still)
        except KafkaError as error:
            logger.warning("no answer about the end of the topic: %s", type(error).__name__)
            return
        for partition in still:
            if ends[partition] > progress[partition.partition].position:
                raise ConsumerStalled(f"partition {partition.partition} was not read for {self._limit:g} s")
            self._moved[partition.partition] = (progress[partition.partition].position, now)

    def _since(self, partition: int, now: float) -> float:
        return now - self._moved[partition][1] if partition in self._moved else 0.0
