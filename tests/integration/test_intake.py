"""Laws of the intake: a group that comes to no end is not waited for without end."""

from __future__ import annotations

import pytest
from aiokafka import AIOKafkaConsumer
from aiokafka.admin import AIOKafkaAdminClient

from connectors.intake import Intake
from connectors.watchdog import ConsumerStalled, Watchdog
from stream.embedded.process import free_ports


async def test_partitions_that_never_come_are_noticed() -> None:
    """A coordinator that is gone says nothing at all: whoever looks on has to (aiokafka #1154)."""
    (port,) = free_ports(1)
    nowhere = f"127.0.0.1:{port}"
    forgotten: list[str] = []

    async def given_up() -> None:
        forgotten.append("all")

    intake = Intake(
        AIOKafkaConsumer(bootstrap_servers=nowhere, group_id="g"),
        AIOKafkaAdminClient(bootstrap_servers=nowhere),
        changes="changes",
        redeliveries="redeliveries",
        group="g",
        from_the_beginning=True,
        given_up=given_up,
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
