"""The gate on real brokers: foreign records in, events out, nothing acknowledged before it is written."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import AsyncIterator

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.structs import ConsumerRecord

from schemas.events import Event
from schemas.rejections import RejectedRecord
from stream.core.routing import partition_of
from stream.engine.gate import ForeignTopic, gate
from stream.engine.topics import TopicNames
from stream.engine.writes import Writes
from tests.integration.conftest import Broker
from tests.integration.recording import (
    PARTITIONS,
    Names,
    RecordingHost,
    append,
    committed,
    create_topics,
    fresh,
    worker,
)


@pytest.fixture
async def writes(broker: Broker) -> AsyncIterator[Writes]:
    writes = Writes(broker.client, idempotence=broker.kind != "tansu")
    await writes.start()
    yield writes
    await writes.stop()


async def everything(broker: Broker, topic: str) -> list[ConsumerRecord]:
    """All records of a topic."""
    async with AIOKafkaConsumer(**broker.client, enable_auto_commit=False) as consumer:
        partitions = [TopicPartition(topic, number) for number in range(PARTITIONS)]
        consumer.assign(partitions)
        await consumer.seek_to_beginning()
        ends = await consumer.end_offsets(partitions)
        records: list[ConsumerRecord] = []
        while len(records) < sum(ends.values()):
            for batch in (await consumer.getmany(timeout_ms=1_000)).values():
                records += batch
    return records


async def test_foreign_records_become_events_once(broker: Broker, writes: Writes) -> None:
    """Each foreign record becomes an event under its customer's key, with its origin, or a refusal.

    Its offset is committed, so that the next worker does not read it again.
    """
    names: Names = await fresh(broker)
    foreign = names.events.replace("events", "orders")
    topics = TopicNames(names.events, f"{foreign}-rejected", "unused", names.state, f"{foreign}-dead")
    await create_topics(broker, foreign, topics.rejected, topics.dead_letters)
    spec = ForeignTopic(foreign, "purchase", {"buyer": "customer_id", "sum": "price"})
    counted: Counter[tuple[str, str, str]] = Counter()

    def count(topic: str, ending: str, reason: str) -> None:
        counted[topic, ending, reason] += 1

    process = gate(spec, sender=writes, names=topics, partitions=PARTITIONS, count=count)
    good = [json.dumps({"buyer": f"c{n}", "sum": n}).encode() for n in range(100)]
    await append(broker, foreign, {2: 34, 0: 34, 1: 34}, [b"nonsense", b'{"sum": 1}', *good])

    host = RecordingHost()
    async with worker(broker, names, host, gates={foreign: process}):
        await host.until(lambda: sum(map(len, host.journal.values())) == 100)
    assert await committed(broker, names.group, foreign) == {0: 34, 1: 34, 2: 34}
    again = RecordingHost({p: list(offsets) for p, offsets in host.journal.items()})
    await append(broker, foreign, {3: 1}, [json.dumps({"buyer": "last"}).encode()])
    async with worker(broker, names, again, gates={foreign: process}):
        await again.until(lambda: again.count("batch"))

    events = await everything(broker, names.events)
    assert len(events) == 101
    for record in events:
        event = Event.model_validate_json(record.value)
        assert record.key == event.customer_id.encode()
        assert record.partition == partition_of(event.customer_id, PARTITIONS)
        assert event.event_type == "purchase"
    origins = {dict(record.headers)["origin"].decode() for record in events}
    assert len(origins) == 101
    assert f"{foreign}/0/0" in origins and f"{foreign}/3/0" in origins

    (rejected,) = await everything(broker, topics.rejected)
    refusal = RejectedRecord.model_validate_json(rejected.value)
    assert (refusal.reason, refusal.topic, refusal.original) == (
        "missing_customer_id",
        foreign,
        b'{"sum": 1}',
    )
    (dead,) = await everything(broker, topics.dead_letters)
    letter = RejectedRecord.model_validate_json(dead.value)
    assert (letter.reason, letter.original) == ("not_json", b"nonsense")
    assert counted == {
        (foreign, "passed", ""): 101,
        (foreign, "rejected", "missing_customer_id"): 1,
        (foreign, "dead_lettered", "not_json"): 1,
    }
