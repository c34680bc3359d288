"""Where partitions end, found out by reading."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition

PATIENCE_SECONDS = 30.0


async def true_ends(kafka: Mapping[str, Any], topic: str, partitions: Collection[int]) -> dict[int, int]:
    """One past the last record of each partition, by reading its last batch.

    The embedded broker, asked for the end, says one past the *first* record of that batch. Where the ledger had heard
    of a record behind it, that would look like a topic that began again. Raises KafkaError, or TimeoutError where the
    broker does not answer for half a minute.
    """
    places = [TopicPartition(topic, partition) for partition in partitions]
    if not places:
        return {}
    async with (
        asyncio.timeout(PATIENCE_SECONDS),
        AIOKafkaConsumer(**kafka, enable_auto_commit=False, auto_offset_reset="earliest") as consumer,
    ):
        ends: dict[TopicPartition, int] = await consumer.end_offsets(places)
        beginnings = await consumer.beginning_offsets(places)
        said = {place: end for place, end in ends.items() if end > beginnings[place]}
        consumer.assign(list(said))
        for place, end in said.items():
            consumer.seek(place, end - 1)
        while left := [place for place, end in said.items() if await consumer.position(place) < end]:
            for place, records in (await consumer.getmany(*left, timeout_ms=200)).items():
                ends[place] = max(ends[place], records[-1].offset + 1)
    return {place.partition: end for place, end in ends.items()}
