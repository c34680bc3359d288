"""Reading a topic as it stands: forwards and backwards it is the same, however the slices are cut."""

from __future__ import annotations

from uuid import uuid4

import pytest
from aiokafka import AIOKafkaProducer

from stream.engine.reading import Reading
from tests.integration.conftest import Broker
from tests.integration.recording import create_topics


@pytest.mark.asyncio(loop_scope="session")
@pytest.mark.parametrize("step", [1, 7, 1000])
async def test_backwards_is_forwards_turned_round(broker: Broker, step: int) -> None:
    """Records come in batches, and no slice ends where a batch does."""
    topic = f"t{uuid4().hex[:8]}"
    await create_topics(broker, topic, partitions=1)
    wanted = [str(number).encode() for number in range(25)]
    async with AIOKafkaProducer(**broker.client, linger_ms=0) as producer:
        for first in range(0, len(wanted), 5):
            batch = producer.create_batch()
            for value in wanted[first : first + 5]:
                batch.append(key=None, value=value, timestamp=None)
            await (await producer.send_batch(batch, topic, partition=0))
    async with Reading.of(broker.client) as reading:
        start, end = await reading.span(topic, 0)
        forwards = [r.value async for some in reading.records(topic, 0, start, end) for r in some]
        assert forwards == wanted
        slices = [[r.value for r in some] async for some in reading.backwards(topic, 0, step)]
        assert [value for some in reversed(slices) for value in some] == wanted
        assert [r.value async for some in reading.records(topic, 0, 3, end) for r in some] == wanted[3:]


@pytest.mark.asyncio(loop_scope="session")
async def test_an_empty_topic_is_read_at_once(broker: Broker) -> None:
    topic = f"t{uuid4().hex[:8]}"
    await create_topics(broker, topic, partitions=1)
    async with Reading.of(broker.client) as reading:
        assert [some async for some in reading.records(topic, 0, *await reading.span(topic, 0))] == []
        assert [some async for some in reading.backwards(topic, 0)] == []
