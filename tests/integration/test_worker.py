"""The worker as a process on real brokers: crashes, rebalances and strays change nothing in what is said."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
import zlib
from collections.abc import AsyncIterator
from importlib.resources import files
from pathlib import Path

import orjson
import pytest
import pytest_asyncio

from schemas.changes import Erasure
from schemas.rejections import RejectedRecord
from stream.core.config import CoreSettings
from stream.core.routing import partition_of
from stream.core.time import parse_iso
from stream.demo.children import Child
from stream.demo.shop import Shop, shop_day
from stream.interpreter import Interpreter
from tests.conformance.checks import Said, by_customer
from tests.installation import PATIENCE, Installation, installation
from tests.integration.conftest import Broker

BOOK = files("stream.demo").joinpath("segments.yaml").read_text("utf-8")
HOUR = 3_600_000_000
Log = list[tuple[int, bytes | None, bytes | None]]


@pytest_asyncio.fixture(loop_scope="session")
async def here(broker: Broker, tmp_path: Path) -> AsyncIterator[Installation]:
    """An installation with two partitions."""
    async with installation(broker.address, tmp_path, embedded=broker.kind == "tansu") as made:
        yield made


@pytest.fixture(scope="module")
def log() -> Log:
    """Some hours of the demo's shop, bots, repeats, late and broken records included; every key its customer's."""
    return [(r.log_time, r.key, r.value) for r in shop_day(Shop(seed=7, customers=1200, hours=20))]


@pytest.fixture(scope="module")
def expected(log: Log) -> Said:
    """What the in-process interpreter says of it."""
    interpreter = Interpreter(BOOK, CoreSettings(rate_limit=100_000))
    for at, key, value in log:
        interpreter.pipe(at, key, value)
    interpreter.advance(end_of(log))
    return by_customer(interpreter.changes)


def end_of(log: Log) -> int:
    return log[-1][0] + 25 * HOUR


async def all_left(here: Installation, minimum: int, *workers: Child) -> None:
    """Wait until at least ``minimum`` changes are on the topic."""
    deadline = time.monotonic() + PATIENCE
    while len(await here.changes()) < minimum:
        assert time.monotonic() < deadline, f"{len(await here.changes())} changes came, fewer than {minimum}"
        for worker in workers:
            worker.check()
        await asyncio.sleep(0.1)


@pytest.mark.asyncio(loop_scope="session")
async def test_killed_workers_leave_the_same_changes_and_none_twice(
    here: Installation, log: Log, expected: Said
) -> None:
    """P1 and P3: kill -9 in mid-stream, again while the replay catches up, and the topic reads as if nothing was.

    That the last worker lives shows the comparison of decision 0005: a difference would have ended it with code 70.
    """
    await here.apply(BOOK, log[0][0] - HOUR)
    first = await here.start_worker()
    await reading(here)
    sending = asyncio.create_task(here.send(log, pause=0.06))
    await all_left(here, 150, first)
    first.kill()
    assert not sending.done(), "the kill came too late to hit anything"
    left = len(await here.changes())
    second = await here.start_worker(checkpoint_seconds="3600")
    await all_left(here, left + 20, second)
    second.kill()
    third = await here.start_worker()
    await sending
    await here.tick(end_of(log))
    await here.producer.flush()
    await here.all_in([third])
    changes = await here.changes()
    ids = [orjson.loads(change)["id"] for change in changes]
    assert len(ids) == len(set(ids)), "a change stands twice on segment-changes"
    assert by_customer(changes) == expected
    assert await third.stop() == 0


@pytest.mark.asyncio(loop_scope="session")
async def test_an_erasure_among_the_changes_is_read_over(here: Installation) -> None:
    """By the recovery of a worker, which compares what had left; and to `explain` nothing is known from before it."""
    await here.apply("segments: {viewer: {sql: view_count >= 1}, buyer: {sql: order_count >= 1}}", START)
    first = await here.start_worker(checkpoint_seconds="3600")
    await here.send((START + HOUR, who, an_event(who, "product_view")) for who in (b"ann", b"bob"))
    await all_left(here, 2, first)
    await erase(here, "ann")
    await here.send((START + 2 * HOUR, who, an_event(who, "purchase")) for who in (b"ann", b"bob"))
    await all_left(here, 4, first)
    first.kill()
    second = await here.start_worker()
    await here.all_in([second])
    said = {
        who: [change["segment"] for change in changes] for who, changes in by_customer(await here.changes()).items()
    }
    assert said == {"ann": ["viewer", "buyer"], "bob": ["viewer", "buyer"]}, "as without a crash"
    known = {who: await last_changes(here, who) for who in ("ann", "bob")}
    assert known == {"ann": {"viewer": None, "buyer": 2}, "bob": {"viewer": 1, "buyer": 2}}
    assert await second.stop() == 0


START = parse_iso("2026-03-02T10:00:00Z")


def an_event(customer: bytes, kind: str) -> bytes:
    return orjson.dumps({"customer_id": customer.decode(), "event_type": kind, "product_id": "p", "order_id": "o"})


async def erase(here: Installation, customer: str) -> None:
    """Append an erasure to the customer's partition, behind what stands there."""
    asked = Erasure.model_validate(
        {"id": "e" * 32, "customer_id": customer, "at": "2026-03-02T11:30:00Z", "profile": {}}
    )
    await here.producer.send_and_wait(
        f"{here.prefix}segment-changes",
        asked.model_dump_json().encode(),
        key=customer.encode(),
        partition=partition_of(customer, here.partitions),
        headers=[("fact", b"erasure")],
    )


async def last_changes(here: Installation, customer: str) -> dict[str, int | None]:
    """By segment, the number of the last change that `explain` knows of."""
    command = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "stream", "explain", customer, "--json"),
        env=here.environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await command.communicate()
    assert command.returncode == 0, err.decode()
    return {
        each["segment"]: each["last_change"] and each["last_change"]["sequence"]
        for each in orjson.loads(out)["segments"]
    }


@pytest.mark.asyncio(loop_scope="session")
async def test_workers_that_come_and_go_change_nothing(here: Installation, log: Log, expected: Said) -> None:
    """P1: a second worker takes partitions over in mid-stream and gives them back, all by graceful stops."""
    await here.apply(BOOK, log[0][0] - HOUR)
    first = await here.start_worker()
    await reading(here)
    sending = asyncio.create_task(here.send(log, pause=0.06))
    await all_left(here, 100, first)
    second = await here.start_worker()
    deadline = time.monotonic() + PATIENCE
    while b"loaded partitions" not in second.log.read_bytes():
        assert time.monotonic() < deadline, "the second worker got nothing"
        await asyncio.sleep(0.1)
    left = len(await here.changes())
    await all_left(here, left + 30, first, second)
    began = time.monotonic()
    assert await first.stop() == 0
    assert time.monotonic() - began < 10
    await sending
    await here.tick(end_of(log))
    await here.producer.flush()
    await here.all_in([second])
    changes = await here.changes()
    ids = [orjson.loads(change)["id"] for change in changes]
    assert len(ids) == len(set(ids)), "a change stands twice on segment-changes"
    assert by_customer(changes) == expected


@pytest.mark.asyncio(loop_scope="session")
async def test_a_producer_that_partitions_by_crc32_loses_nothing(here: Installation, log: Log, expected: Said) -> None:
    """librdkafka's default puts half of the customers into wrong partitions: each event is moved once, then applied."""
    start = log[0][0]
    await here.apply(BOOK, start - HOUR)
    worker = await here.start_worker()
    await here.tick(start)
    astray = 0
    for number in range(40):
        name = f"customer-{number}"
        value = orjson.dumps(
            {"customer_id": name, "event_type": "purchase", "price": 10_000, "timestamp": start // 1000}
        )
        partition = zlib.crc32(name.encode()) % here.partitions
        astray += partition != partition_of(name, here.partitions)
        await here.producer.send(
            f"{here.prefix}events", value, key=name.encode(), partition=partition, timestamp_ms=start // 1000
        )
    await here.producer.flush()
    assert astray > 5
    await all_left(here, 40, worker)
    await here.all_in([worker])
    said = by_customer(await here.changes())
    assert len(said) == 40
    for record in await here.read("segment-changes"):
        assert record.partition == partition_of(record.key.decode(), here.partitions)
    moved = [r for r in await here.read("events") if ("moved", b"1") in r.headers]
    assert len(moved) == astray
    assert all(dict(r.headers)["origin"].decode().startswith(f"{here.prefix}events/") for r in moved)


@pytest.mark.asyncio(loop_scope="session")
async def test_refused_records_are_kept_with_their_reason_and_bytes(here: Installation, log: Log) -> None:
    """P4: what is refused can be judged again from what is kept."""
    start = log[0][0]
    await here.apply(BOOK, start - HOUR)
    worker = await here.start_worker()
    bot = orjson.dumps({"customer_id": "b", "event_type": "product_view", "user_agent": "Googlebot/2.1"})
    broken = b'{"customer_id": \xff'
    large = orjson.dumps({"customer_id": "l", "event_type": "x", "properties": {"p": "y" * 900_000}})
    await here.send([(start, b"b", bot), (start, b"b", broken), (start, b"b", None), (start, b"l", large)])
    await here.all_in([worker])
    rejected = {r["reason"]: r for r in map(orjson.loads, [r.value for r in await here.read("events-rejected")])}
    dead = {r["reason"]: r for r in map(orjson.loads, [r.value for r in await here.read("dead-letters")])}
    assert rejected.keys() == {"bot_user_agent", "too_large"}
    assert dead.keys() == {"not_utf8", "tombstone"}
    assert RejectedRecord.model_validate(rejected["bot_user_agent"]).original == bot
    assert RejectedRecord.model_validate(rejected["too_large"]).original == large
    assert RejectedRecord.model_validate(dead["not_utf8"]).original == broken
    assert RejectedRecord.model_validate(dead["tombstone"]).original is None


@pytest.mark.asyncio(loop_scope="session")
async def test_an_idle_customer_leaves_by_the_workers_own_ticks(here: Installation) -> None:
    """P2: with no event at all the exit comes, at its exact instant, by the time that a worker writes into the log."""
    book = """
segments:
  just_looked:
    sql: EXISTS (SELECT 1 FROM events WHERE event_type = 'product_view' AND event_time >= now() - INTERVAL '2 seconds')
"""
    now = time.time_ns() // 1000
    await here.apply(book, now)
    worker = await here.start_worker(tick_seconds="0.5")
    await reading(here)
    seen = time.time_ns() // 1_000_000
    view = orjson.dumps({"customer_id": "c", "event_type": "product_view", "timestamp": seen})
    await here.producer.send_and_wait(f"{here.prefix}events", view, key=b"c", partition=partition_of("c", 2))
    await all_left(here, 2, worker)
    entered, left = by_customer(await here.changes())["c"]
    assert (entered["action"], entered["cause"]["kind"]) == ("entered", "event")
    assert (left["action"], left["cause"]) == ("exited", {"kind": "time"})
    assert parse_iso(left["at"]) == seen * 1000 + 2_000_000 + 1


@pytest.mark.asyncio(loop_scope="session")
async def test_a_worker_that_stood_still_ends_itself_before_it_acts(here: Installation, log: Log) -> None:
    """Its partitions may be another's by now: after more than half a session it does not go on, and exits with 70."""
    await here.apply(BOOK, log[0][0] - HOUR)
    worker = await here.start_worker()
    await reading(here)
    os.kill(worker.pid, signal.SIGSTOP)
    await asyncio.sleep(float(here.environment["LIVESEGMENTS_SESSION_TIMEOUT_SECONDS"]) * 0.75)  # the fault itself
    os.kill(worker.pid, signal.SIGCONT)
    assert await worker.wait(5.0) == 70
    assert b"stood still" in worker.log.read_bytes()


async def reading(here: Installation) -> None:
    """Wait until a worker reads: its first checkpoint."""
    deadline = time.monotonic() + PATIENCE
    while not await here.checkpoints():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.1)
