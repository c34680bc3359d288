"""P3, P4: what the broker does not take is an end of the process, and never something to commit past."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from pathlib import Path

import orjson
import pytest
import pytest_asyncio
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from stream.core.routing import partition_of
from tests.installation import PATIENCE, Installation, installation
from tests.integration.conftest import Broker


@pytest_asyncio.fixture(loop_scope="session")
async def here(broker: Broker, tmp_path: Path) -> AsyncIterator[Installation]:
    """An installation with two partitions."""
    async with installation(broker.address, tmp_path, embedded=broker.kind == "tansu") as made:
        yield made


async def most_bytes(here: Installation, topic: str, limit: int) -> None:
    """Let the broker refuse larger records of a topic from now on."""
    admin = AIOKafkaAdminClient(bootstrap_servers=here.address)
    await admin.start()
    try:
        name = f"{here.prefix}{topic}"
        changed = ConfigResource(ConfigResourceType.TOPIC, name, configs={"max.message.bytes": str(limit)})
        await admin.alter_configs([changed])
    finally:
        await admin.close()


async def committed(here: Installation, partition: int) -> int:
    """What the group has committed of a partition of `events`."""
    group = f"{here.prefix}livesegments"
    async with AIOKafkaConsumer(bootstrap_servers=here.address, group_id=group, enable_auto_commit=False) as consumer:
        part = TopicPartition(f"{here.prefix}events", partition)
        consumer.assign([part])
        return await consumer.committed(part) or 0


def event(name: str, agent: str) -> tuple[int, bytes, bytes]:
    now = time.time_ns() // 1_000_000
    value = {"customer_id": name, "event_type": "product_view", "timestamp": now, "user_agent": agent}
    return now * 1000, name.encode(), orjson.dumps(value)


@pytest.mark.asyncio(loop_scope="session")
async def test_a_refused_write_ends_the_worker_and_is_never_committed_past(broker: Broker, here: Installation) -> None:
    """However often it is started, neither state nor offset goes beyond the record; and when the broker takes it, it
    is there."""
    if broker.kind == "tansu":
        pytest.skip("the embedded broker knows no limit of a topic; the simulator fails every produce on its log")
    await most_bytes(here, "events-rejected", 1_000)
    await here.send([event("good", "Mozilla/5.0"), event("good", "Googlebot/2.1 " + "x" * 4_000)])
    (bot,) = [record for record in await here.read("events") if b"Googlebot" in (record.value or b"")]
    assert bot.partition == partition_of("good", here.partitions)
    for _ in range(2):
        worker = await here.start_worker()
        assert await worker.wait(PATIENCE) == 70
        assert b"MessageSizeTooLargeError" in worker.log.read_bytes()
        checkpoint = (await here.checkpoints()).get(bot.partition)
        assert checkpoint is None or checkpoint.position < bot.offset
        assert await committed(here, bot.partition) <= bot.offset
        assert await here.read("events-rejected") == []
    await most_bytes(here, "events-rejected", 1_000_000)
    worker = await here.start_worker()
    await here.send([event("good", "Mozilla/6.0")])
    await here.all_in([worker])
    (rejected,) = [orjson.loads(record.value) for record in await here.read("events-rejected")]
    assert (rejected["offset"], rejected["reason"]) == (bot.offset, "bot_user_agent")
    assert await worker.stop() == 0
    assert await committed(here, bot.partition) > bot.offset
