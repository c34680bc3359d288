"""Notices a consumer that has something to read and no longer reads (aiokafka #1154, after a broker's
restart).
"""

from __future__ import annotations

import logging
from collections.abc import Mapping

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from connectors.progress import Progress

logger = logging.getLogger(__name__)


class ConsumerStalled(Exception):
    """There are records, and the consumer does not move."""


class Watchdog:
    def __init__(self, limit: float) -> None:
        self.limit = limit
        self._moved: dict[TopicPartition, tuple[int, float]] = {}  # position, and since when it stands there
        self._next = 0.0

    async def look(self, consumer: AIOKafkaConsumer, progress: Mapping[TopicPartition, Progress], now: float) -> None:
        """Raises ConsumerStalled. Asks the broker only about partitions that stood still for the limit."""
        paused = consumer.paused()
        self._moved = {
            place: before
            if (before := self._moved.get(place)) and before[0] == state.position and place not in paused
            else (state.position, now)
            for place, state in progress.items()
        }
        still = [place for place in consumer.assignment() if self._since(place, now) >= self.limit]
        if not still:
            return
        try:
            ends = await consumer.end_offsets(still)
        except KafkaError as error:
            logger.warning("no answer about the end of the topic: %s", type(error).__name__)
            return
        for place in still:
            if place not in progress:  # given up while the broker was asked
                continue
            if ends[place] > progress[place].position:
                raise ConsumerStalled(f"{place.topic}, partition {place.partition} was not read for {self.limit:g} s")
            self._moved[place] = (progress[place].position, now)

    def _since(self, place: TopicPartition, now: float) -> float:
        return now - self._moved[place][1] if place in self._moved else 0.0
