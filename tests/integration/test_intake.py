"""Laws of the intake: a group that comes to no end is not waited for without end; a backlog is read in portions."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Collection, Mapping
from functools import partial

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient

from connectors.ends import true_ends
from connectors.intake import BACKLOG, BACKLOG_SECONDS, Intake
from connectors.watchdog import ConsumerStalled, Watchdog
from stream.embedded.process import free_ports
from tests.integration.conftest import Broker
from tests.integration.delivering import Bench, value

WRITTEN = 200


async def test_partitions_that_never_come_are_noticed() -> None:
    """A coordinator that is gone says nothing at all: whoever looks on has to (aiokafka #1154)."""
    (port,) = free_ports(1)
    nowhere = f"127.0.0.1:{port}"
    forgotten: list[str] = []

    async def given_up() -> None:
        forgotten.append("all")

    async def ends(_partitions: Collection[int]) -> Mapping[int, int]:
        return {}

    intake = Intake(
        AIOKafkaConsumer(bootstrap_servers=nowhere, group_id="g"),
        AIOKafkaAdminClient(bootstrap_servers=nowhere),
        changes="changes",
        redeliveries="redeliveries",
        group="g",
        from_the_beginning=True,
        given_up=given_up,
        ends=ends,
        watchdog=Watchdog(60.0),
    )
    await intake.watch(1_000.0)
    await intake.watch(1_059.0)
    with pytest.raises(ConsumerStalled, match="no partitions since 60 s"):
        await intake.watch(1_060.0)
    await intake.on_partitions_assigned([])
    await intake.on_partitions_revoked([])
    assert forgotten == ["all"]
    with pytest.raises(ConsumerStalled):
        await intake.watch(1_061.0)


@pytest.mark.parametrize("waiting", [0, BACKLOG + 1])
async def test_who_has_enough_to_do_does_not_ask_for_every_single_change(broker: Broker, waiting: int) -> None:
    """A destination that is down leaves the broker and the processor to the others; one that is up reads at once."""
    bench = await Bench(broker).create()
    consumer = AIOKafkaConsumer(
        **broker.client,
        group_id=f"intake-{bench.tag}",
        enable_auto_commit=False,
        session_timeout_ms=6_000,
        fetch_max_wait_ms=5,  # the embedded broker waits for all of it
    )
    admin = AIOKafkaAdminClient(**broker.client)

    async def given_up() -> None: ...

    ends = partial(true_ends, broker.client, bench.settings["changes_topic"])
    intake = Intake(
        consumer,
        admin,
        changes=bench.settings["changes_topic"],
        redeliveries=bench.settings["redeliveries_topic"],
        group=f"intake-{bench.tag}",
        from_the_beginning=True,
        given_up=given_up,
        ends=ends,
        watchdog=Watchdog(60.0),
    )

    async def write_evenly() -> None:
        async with AIOKafkaProducer(**broker.client, acks="all") as producer:
            for number in range(WRITTEN):
                await producer.send(bench.settings["changes_topic"], value(f"c{number}", 1), partition=0)
                await asyncio.sleep(0.01)

    await admin.start()
    await intake.start()
    try:
        async with asyncio.timeout(30):
            while await intake.read(500) is None:
                pass
            writing = asyncio.create_task(write_evenly())
            found = reads = 0
            began = asyncio.get_running_loop().time()
            while found < WRITTEN:
                intake.press_back(Counter({(bench.settings["changes_topic"], 0): waiting}), 20_000)
                records = await intake.read(500)
                assert records is not None
                found += sum(map(len, records.values()))
                reads += bool(records)
            portions = (asyncio.get_running_loop().time() - began) / BACKLOG_SECONDS
            await writing
    finally:
        await intake.stop(5.0)
        await admin.close()
    assert (reads <= portions + 1) is bool(waiting), (reads, portions)


async def test_a_partition_ends_behind_the_last_record_of_its_last_batch(broker: Broker) -> None:
    """Whatever the broker says: a ledger that had heard of a record behind the end would be thrown away."""
    bench = await Bench(broker).create()
    topic = bench.settings["changes_topic"]
    async with AIOKafkaProducer(**broker.client, acks="all") as producer:
        batch = producer.create_batch()
        for number in range(5):
            assert batch.append(timestamp=None, key=b"c", value=value("c", number + 1)) is not None
        batch.close()
        await (await producer.send_batch(batch, topic, partition=1))
    assert await true_ends(broker.client, topic, [0, 1]) == {0: 0, 1: 5}
    assert await true_ends(broker.client, topic, []) == {}
