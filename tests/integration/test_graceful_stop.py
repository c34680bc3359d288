"""SIGTERM: the worker drains, commits and leaves, and whoever comes next has nothing to do again."""

from __future__ import annotations

import asyncio
import re
import time
import urllib.request
from collections.abc import AsyncIterator
from importlib.resources import files
from pathlib import Path

import orjson
import pytest
import pytest_asyncio
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from stream.core.config import CoreSettings
from stream.demo.children import Child
from stream.demo.shop import Shop, shop_day
from stream.embedded.process import free_ports
from stream.interpreter import Interpreter
from tests.conformance.checks import by_customer
from tests.installation import PATIENCE, Installation, installation
from tests.integration.conftest import Broker

BOOK = files("stream.demo").joinpath("segments.yaml").read_text("utf-8")
HOUR = 3_600_000_000


@pytest_asyncio.fixture(loop_scope="session")
async def here(broker: Broker, tmp_path: Path) -> AsyncIterator[Installation]:
    """An installation with two partitions, whose log is kept although the shop's day was long ago."""
    async with installation(broker.address, tmp_path, embedded=broker.kind == "tansu") as made:
        if broker.kind == "kafka":
            admin = AIOKafkaAdminClient(bootstrap_servers=broker.address)
            await admin.start()
            for_ever = {"retention.ms": "-1"}
            topic = ConfigResource(ConfigResourceType.TOPIC, f"{made.prefix}events", configs=for_ever)
            await admin.alter_configs([topic])
            await admin.close()
        yield made


async def committed(here: Installation) -> dict[int, int]:
    """What the group has committed of `events`, by partition."""
    group = f"{here.prefix}livesegments"
    async with AIOKafkaConsumer(bootstrap_servers=here.address, group_id=group, enable_auto_commit=False) as consumer:
        parts = [TopicPartition(f"{here.prefix}events", number) for number in range(here.partitions)]
        consumer.assign(parts)
        return {part.partition: await consumer.committed(part) or 0 for part in parts}


async def counter(port: int, name: str) -> float:
    """A counter of a worker, as Prometheus gets it."""

    def scrape() -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=PATIENCE) as answer:
            text: str = answer.read().decode()
            return text

    found = re.search(rf"^livesegments_{name}_total (\S+)$", await asyncio.to_thread(scrape), re.MULTILINE)
    assert found is not None, name
    return float(found[1])


async def loaded(worker: Child) -> None:
    """Wait until a worker has partitions: how long it takes to start must not decide what load it meets."""
    deadline = time.monotonic() + PATIENCE
    while b"loaded partitions" not in worker.log.read_bytes():
        worker.check()
        assert time.monotonic() < deadline, "the worker got no partitions"
        await asyncio.sleep(0.05)


async def changes_beyond(here: Installation, count: int, worker: Child) -> int:
    """Wait until more than ``count`` changes are on the topic; returns how many."""
    deadline = time.monotonic() + PATIENCE
    while (found := len(await here.changes())) <= count:
        worker.check()
        assert time.monotonic() < deadline, f"{found} changes came"
        await asyncio.sleep(0.05)
    return found


@pytest.mark.asyncio(loop_scope="session")
async def test_sigterm_under_load_leaves_nothing_to_be_replayed(here: Installation) -> None:
    """Code 0 within 10 s, everything that was said is covered by state and commit, and the successor repeats nothing.

    Checkpoints come by the stop alone: without its own there would be all the more to read back.
    """
    log = [(r.log_time, r.key, r.value) for r in shop_day(Shop(seed=7, customers=1200, hours=20))]
    interpreter = Interpreter(BOOK, CoreSettings(rate_limit=100_000))
    for at, key, value in log:
        interpreter.pipe(at, key, value)
    end = log[-1][0] + 25 * HOUR
    interpreter.advance(end)
    await here.apply(BOOK, log[0][0] - HOUR)
    first = await here.start_worker(checkpoint_seconds="3600")
    await loaded(first)
    sending = asyncio.create_task(here.send(log, pause=0.06))
    await changes_beyond(here, 150, first)
    began = time.monotonic()
    assert await first.stop() == 0
    took = time.monotonic() - began
    assert took < 10.0
    assert not sending.done(), "the stop came too late to meet any load"
    covered = {p: checkpoint.position + 1 for p, checkpoint in (await here.checkpoints()).items()}
    assert covered.keys() == set(range(here.partitions))
    assert await committed(here) == covered
    left = len(await here.changes())
    (port,) = free_ports(1)
    second = await here.start_worker(metrics_port=str(port), metrics_host="127.0.0.1")
    await changes_beyond(here, left, second)
    await sending
    await here.tick(end)
    await here.producer.flush()
    await here.all_in([second])
    assert b", 0 changes read back, " in second.log.read_bytes()
    assert await counter(port, "records_replayed") == 0
    assert await counter(port, "changes_compared") == 0
    met = [await counter(port, name) for name in ("records_read", "control_records", "records_moved")]
    assert sum(met) == len(await here.read("events")) - sum(covered.values()), met
    changes = await here.changes()
    ids = [orjson.loads(change)["id"] for change in changes]
    assert len(ids) == len(set(ids)), "a change stands twice on segment-changes"
    assert by_customer(changes) == by_customer(interpreter.changes)
    assert await second.stop() == 0
