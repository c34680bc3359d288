"""New windows of a book are filled from the log by real workers, and crashes change nothing in what is said."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import orjson
import pytest
import pytest_asyncio

from stream.core.config import CoreSettings
from stream.core.time import parse_iso
from stream.demo.children import Child
from stream.interpreter import InMemoryRecord, Interpreter
from tests.conformance.checks import Said, by_customer
from tests.installation import PATIENCE, Installation, installation
from tests.integration.conftest import Broker

MINUTE = 60_000_000
START = parse_iso("2026-03-02T10:00:00Z")
OLD = """
segments:
  buyer: {sql: order_count >= 1}
"""
NEW = """
segments:
  buyer: {sql: order_count >= 1}
  keen:
    sql: >-
      (SELECT count(*) FROM events WHERE event_type = 'product_view' AND event_time >= now() - INTERVAL '2 hours') >= 10
"""
CUSTOMERS = 60


@pytest_asyncio.fixture(loop_scope="session")
async def here(broker: Broker, tmp_path: Path) -> AsyncIterator[Installation]:
    """An installation with two partitions."""
    async with installation(broker.address, tmp_path, embedded=broker.kind == "tansu") as made:
        yield made


def views(first: int, last: int) -> list[tuple[int, bytes | None, bytes | None]]:
    """In each minute of a span every customer looks at something, one in seven twice over with the same id."""
    lines: list[tuple[int, bytes | None, bytes | None]] = []
    for minute in range(first, last):
        for number in range(CUSTOMERS):
            at = START + minute * MINUTE + number * 1000
            event = {
                "event_id": f"{number}-{minute - (minute % 7 == 0)}",
                "customer_id": f"c{number}",
                "event_type": "product_view",
                "timestamp": at // 1000,
            }
            lines.append((at, f"c{number}".encode(), orjson.dumps(event)))
    return lines


async def filled(here: Installation, *workers: Child) -> None:
    """Wait until the log of every partition says that windows were filled."""
    deadline = time.monotonic() + PATIENCE
    while True:
        found = {r.partition for r in await here.read("events") if ("fact", b"filled") in r.headers}
        if len(found) == here.partitions:
            return
        assert time.monotonic() < deadline, f"of {here.partitions} partitions {found} were filled"
        for worker in workers:
            worker.check()
        await asyncio.sleep(0.1)


async def interpreted(here: Installation) -> Said:
    """What the in-process interpreter says of what stands in the topic, fills included, partition by partition."""
    said: list[bytes] = []
    logs: dict[int, list[InMemoryRecord]] = {}
    for r in await here.read("events"):
        record = InMemoryRecord(r.offset, r.timestamp, r.key, r.value, r.headers, r.timestamp_type)
        logs.setdefault(r.partition, []).append(record)
    for records in logs.values():
        interpreter = Interpreter("segments: {}", CoreSettings(rate_limit=100_000), keeps_log=True)
        interpreter.feed(records)
        said += interpreter.changes
    return by_customer(said)


@pytest.mark.asyncio(loop_scope="session")
async def test_a_new_window_is_filled_from_the_log_and_a_killed_worker_says_the_same(here: Installation) -> None:
    """The first worker dies before a checkpoint holds the fill: the next one reads the log for it once more."""
    await here.apply(OLD, START - MINUTE)
    first = await here.start_worker(checkpoint_seconds="3600")
    await here.send(views(0, 12))
    await here.apply(NEW, START + 12 * MINUTE)
    await here.send(views(12, 14))
    await filled(here, first)
    deadline = time.monotonic() + PATIENCE
    while len(await here.changes()) < CUSTOMERS:  # with twelve views each from before the book
        assert time.monotonic() < deadline
        first.check()
        await asyncio.sleep(0.1)
    first.kill()
    second = await here.start_worker()
    await here.send(views(14, 20))
    await here.tick(START + 200 * MINUTE)
    await here.producer.flush()
    await here.all_in([second])
    changes = await here.changes()
    ids = [orjson.loads(change)["id"] for change in changes]
    assert len(ids) == len(set(ids)), "a change stands twice on segment-changes"
    assert by_customer(changes) == await interpreted(here)
    entered = [c for c in map(orjson.loads, changes) if (c["segment"], c["action"]) == ("keen", "entered")]
    assert len(entered) == CUSTOMERS
    assert {c["cause"]["kind"] for c in entered} == {"definition"}, "by the fill, not by ten new views"
    assert not any("complete_since" in c for c in entered), "the log reaches back to its beginning"
    assert await second.stop() == 0
