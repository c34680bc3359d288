"""The rows of the matrix: what is done to a contestant, one fault after the other, while the load goes on."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial

from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete

from stream.core.routing import partition_of
from tests.faults import crafted
from tests.faults.contestants import CHECKPOINT_SECONDS, PARTITIONS, SESSION_SECONDS
from tests.faults.disk import full, mounted
from tests.faults.fleet import Slot
from tests.faults.rig import Rig
from tests.faults.stock_rules import RATE_LIMIT, RATE_SECONDS
from tests.faults.waiting import until
from tests.faults.watch import everything
from tests.faults.worker_process import POINTS

#: After this a producer takes a request for lost, as the worker sets it.
REQUEST_SECONDS = 30.0
#: A topic's settings with which the cleaner comes as soon as it looks (every 2 s, see ``broker``).
CLEAN_AT_ONCE = {
    "segment_ms": "100",
    "min_cleanable_dirty_ratio": "0.001",
    "min_compaction_lag_ms": "0",
    "max_compaction_lag_ms": "1000",
}
CLEANER_SECONDS = 40.0

Run = Callable[[Rig], Awaitable[None]]


@dataclass(frozen=True)
class Row:
    """One row. ``stock`` says why it makes no sense for the stock app; empty where it does."""

    title: str
    run: Run
    stock: str = ""


async def _kill_one(rig: Rig) -> None:
    for _ in rig.times(4, 2):
        victim = rig.rng.choice(rig.base)

        async def kill(victim: Slot = victim) -> None:
            victim.kill()

        await rig.strike(f"kill -9 of {victim.name}", kill, rig.base)


async def _kill_all(rig: Rig) -> None:
    async def kill() -> None:
        for slot in rig.base:
            slot.kill()

    await rig.strike("kill -9 of all workers", kill, rig.base)


async def _kill_at_points(rig: Rig) -> None:
    for point in POINTS:
        if point == "in_replay" and not rig.contestant.ours:
            continue
        await rig.strike(
            f"kill -9 {point.replace('_', ' ')}", partial(_at_point, rig, point), rig.base, from_its_end=True
        )


async def _at_point(rig: Rig, point: str) -> bool:
    victim = rig.rng.choice(rig.base)
    times = 1 if point.startswith("in_") else rig.rng.randint(1, 3)
    # Who reads back what a dead worker had is not ours to choose.
    armed = rig.base if point in ("in_recovery", "in_replay") else [victim]
    for slot in armed:
        slot.fired.unlink(missing_ok=True)
        slot.armed.write_text(f"{point}:{times}")
    if point in ("in_recovery", "in_replay"):
        victim.kill()
    spare = rig.slots[2]
    if point == "in_revoke":
        spare.start()
    try:
        return await until(lambda: any(slot.fired.exists() for slot in armed), 25.0)
    finally:
        for slot in armed:
            slot.armed.unlink(missing_ok=True)
        if point == "in_revoke":
            await rig.stop(spare)


async def _rolling(rig: Rig) -> None:
    three = rig.slots[:3]
    three[2].start()
    await rig.assigned(three)
    compared = rig.tally()[0]
    for slot in three:

        async def restart(slot: Slot = slot) -> None:
            await rig.stop(slot)
            slot.start()

        await rig.strike(f"SIGTERM and start of {slot.name}", restart, three)
    await rig.stop(three[2])
    rig.note(f"{rig.tally()[0] - compared} changes read back")
    await rig.served(time.time())


async def _storm(rig: Rig) -> None:
    await rig.contestant.second_book(rig.broker.address)
    spare = rig.slots[2]

    async def storm() -> None:
        for number in range(5):
            spare.start()
            await asyncio.sleep(rig.rng.uniform(2.5, 4.5))
            if number % 2:
                spare.remove()
            else:
                await rig.stop(spare)

    await rig.strike("a third worker comes and goes five times", storm, rig.base, from_its_end=True)


async def _stand_still(rig: Rig) -> None:
    for _ in rig.times(2, 1):
        victim = rig.rng.choice(rig.base)

        async def stand_still(victim: Slot = victim) -> None:
            victim.signal(signal.SIGSTOP)
            await asyncio.sleep(2 * SESSION_SECONDS)
            victim.signal(signal.SIGCONT)

        await rig.strike(f"SIGSTOP of {victim.name} for two sessions", stand_still, rig.base)


async def _broker(rig: Rig) -> None:
    async def restart() -> None:
        await rig.broker.stop()
        await asyncio.sleep(3.0)
        await rig.broker.start()

    async def kill() -> None:
        await rig.broker.kill()
        await asyncio.sleep(rig.rng.uniform(0.5, 3.0))
        await rig.broker.start()

    await rig.strike("broker SIGTERM, started after 3 s", restart, rig.base, from_its_end=True)
    for _ in rig.times(2, 1):
        await rig.strike("broker kill -9", kill, rig.base, from_its_end=True)


async def _network(rig: Rig) -> None:
    for what, seconds in (("shorter than the session", 3.0), ("longer than the session", 2 * SESSION_SECONDS)):
        number = rig.rng.randrange(2)

        async def cut(number: int = number, seconds: float = seconds) -> None:
            rig.proxies[number].open.clear()
            await asyncio.sleep(seconds)
            rig.proxies[number].open.set()

        await rig.strike(f"network of {rig.slots[number].name} cut {what}", cut, rig.base)

    async def reset() -> bool:
        number = rig.rng.randrange(2)
        there = rig.proxies[number].connections
        rig.proxies[number].cut()
        return there > 0

    async def half_open() -> bool:
        return rig.proxies[rig.rng.randrange(2)].half_open() > 0

    async def swallow() -> None:
        proxy = rig.proxies[rig.rng.randrange(2)]
        proxy.swallows = True
        await asyncio.sleep(rig.rng.uniform(0.5, 2.0))
        proxy.cut()
        proxy.swallows = False

    await rig.strike("connections reset", reset, rig.base)
    await rig.strike("acknowledgements lost, then reset", swallow, rig.base, from_its_end=True)
    await rig.strike("half-open connections", half_open, rig.base)
    # What was sent into nothing times out after 30 s, and is sent again: by then it is a zombie's.
    await asyncio.sleep(REQUEST_SECONDS)


async def _slow(rig: Rig) -> None:
    victim = rig.rng.choice(rig.base)

    async def slow() -> float:
        for proxy in rig.proxies:
            proxy.delay = 0.3
        try:
            await asyncio.sleep(5.0)
            victim.kill()
            killed = time.time()
            await asyncio.sleep(5.0)
            return killed
        finally:
            for proxy in rig.proxies:
                proxy.delay = 0.0

    await rig.strike(f"+300 ms each way, kill -9 of {victim.name} inside", slow, rig.base)

    async def stop_slowly() -> None:
        for proxy in rig.proxies:
            proxy.delay = 0.3
        try:
            await asyncio.sleep(5.0)
            await rig.stop(victim)
        finally:
            for proxy in rig.proxies:
                proxy.delay = 0.0
        victim.start()

    await rig.strike(f"+300 ms each way, SIGTERM of {victim.name} inside", stop_slowly, rig.base, from_its_end=True)


async def _disk(rig: Rig) -> None:
    """A worker writes nothing but its log; the broker's disk is what everything stands on."""
    victim, place = rig.slots[0], rig.directory / "full"
    with mounted(place, 16) as there, full(place) if there else contextlib.nullcontext():
        if there:
            (place / "worker.log").touch()

        async def fill() -> bool:
            await rig.stop(victim)
            victim.output = str(place / "worker.log") if there else "/dev/full"
            victim.start(TMPDIR=str(place), STOCK_DATADIR=str(place / "data"))
            working = await rig.assigned()
            if not working:
                rig.note("no worker comes up on it")
            victim.kill()
            return working

        what = "on a full tmpfs" if there else "that writes to /dev/full"
        await rig.strike(f"a worker {what}, kill -9 there", fill, rig.base, from_its_end=True)
        victim.output = ""
        await rig.stop(victim)
        victim.start()
    if not rig.broker.own_disk:
        rig.note("the broker's disk needs root")
        return

    async def fill_brokers() -> bool:
        with full(rig.broker.data):
            died = await until(lambda: not rig.broker.alive, 15.0)
            await rig.broker.kill()
        await rig.broker.start()
        return died

    await rig.strike("the broker's disk is full, and it dies", fill_brokers, rig.base, from_its_end=True)


async def _oversize(rig: Rig) -> None:
    topic = rig.contestant.changes

    async def refuse() -> float:
        await rig.configure(topic, max_message_bytes="150")
        refused = time.time()
        await asyncio.sleep(4.0)
        await rig.configure(topic)
        return refused

    await rig.strike("the broker refuses every change as too large for 4 s", refuse, rig.base)
    if not rig.contestant.ours:
        return  # it keeps of a cart what it needs

    async def craft() -> None:
        producer = AIOKafkaProducer(bootstrap_servers=rig.broker.address, max_request_size=2 * 1024 * 1024)
        async with producer:
            for name in (crafted.CARTS, crafted.LONG, crafted.TALKER):
                partition, pause = partition_of(name, PARTITIONS), RATE_SECONDS / RATE_LIMIT
                for event in crafted.events(name):
                    value = crafted.value(name, event, time.time_ns() // 1_000_000)
                    await producer.send_and_wait(rig.contestant.events, value, key=name.encode(), partition=partition)
                    await asyncio.sleep(1.5 * pause)  # or it would count as a bot
        await asyncio.sleep(2 * CHECKPOINT_SECONDS)  # its record has to be written

    await rig.strike("customers whose events go to every limit", craft, rig.base, from_its_end=True)
    for topic in (*rig.contestant.state, rig.contestant.changes):
        parts = await everything(rig.broker.address, topic, PARTITIONS)
        largest = max(len(record.value or b"") for part in parts for record in part)
        rig.note(f"the largest record of {topic.removeprefix(rig.contestant.prefix)} has {largest:,} bytes")


async def _tail(rig: Rig) -> None:
    servers = rig.broker.address
    key = b"cnobody" if rig.contestant.ours else b'"nobody"'

    async def compacted() -> bool:
        for slot in rig.base:
            await rig.stop(slot)
        cleaned = await _clean(rig, partial(_tail_marker, rig, key))
        rig.note(f"the cleaner took {cleaned:,} records of the changelog")
        await _tail_marker(rig, key)
        if rig.contestant.ours:  # for which state is a cache; the stock app has nothing else
            await _forget(rig, {TopicPartition(rig.contestant.state[0], rig.rng.randrange(PARTITIONS))})
            rig.note("one partition of the changelog emptied as well")
        for slot in rig.base:
            slot.start()
        return cleaned > 0

    fault = await rig.strike("start on a changelog whose tail is gone", compacted, rig.base, from_its_end=True)
    if fault.recovery is None:  # it waits for a record that will never be: one more, and the other rows can go on
        async with AIOKafkaProducer(bootstrap_servers=servers) as producer:
            for topic in rig.contestant.state:
                for partition in range(PARTITIONS):
                    await producer.send_and_wait(topic, None, key=key, partition=partition)
        rig.note("a record by hand, or it would have waited for ever")
        await rig.served(time.time())


async def _tail_marker(rig: Rig, key: bytes) -> None:
    """A commit marker takes the last offset, and no reader is ever given it: as after a compaction of the tail."""
    transactional = f"{rig.contestant.prefix}tail"
    producer = AIOKafkaProducer(bootstrap_servers=rig.broker.address, transactional_id=transactional)
    async with producer, producer.transaction():
        for topic in rig.contestant.state:
            for partition in range(PARTITIONS):
                await producer.send_and_wait(topic, None, key=key, partition=partition)


async def _clean(rig: Rig, write: Callable[[], Awaitable[None]]) -> int:
    """Let the broker's cleaner go over the changelogs; how many records it took out, 0 if none of the customers'.

    It takes closed segments, once a record is older than ``min.compaction.lag.ms``: an hour with ours, because of
    owners that stand still. Here everybody has left in good order, so the row need not wait for it.
    """
    servers, topics = rig.broker.address, rig.contestant.state

    async def offsets(topic: str) -> set[tuple[int, int]]:
        parts = await everything(servers, topic, PARTITIONS)
        return {(number, record.offset) for number, part in enumerate(parts) for record in part}

    for topic in topics:
        await rig.configure(topic, **CLEAN_AT_ONCE)
    await asyncio.sleep(0.2)  # the age at which a segment is closed
    await write()
    before = {topic: await offsets(topic) for topic in topics}
    deadline = time.monotonic() + CLEANER_SECONDS
    while True:
        gone = [len(there - await offsets(topic)) for topic, there in before.items()]
        if gone[0] or time.monotonic() > deadline:  # in the others each record may have a key of its own
            break
        await asyncio.sleep(1.0)
    for topic in topics:
        await rig.configure(topic)
    return sum(gone) if gone[0] else 0


async def _forget(rig: Rig, partitions: set[TopicPartition]) -> None:
    """Delete all records of these partitions, which a topic that is only compacted does not allow."""
    (topic,) = {tp.topic for tp in partitions}
    await rig.configure(topic, cleanup_policy="compact,delete")
    admin = AIOKafkaAdminClient(bootstrap_servers=rig.broker.address)
    await admin.start()
    try:
        await admin.delete_records({tp: RecordsToDelete(before_offset=-1) for tp in partitions})
    finally:
        await admin.close()
    await rig.configure(topic)


async def _spare(rig: Rig) -> None:
    """More workers than partitions: the one that has none waits longer than a poll may take, then is all there is."""
    slots = rig.slots[: PARTITIONS + 1]
    extra = {} if rig.contestant.ours else {"STOCK_MAX_POLL_SECONDS": "10"}
    if extra:
        rig.note("its max.poll.interval set to 10 s, or the row would take 17 minutes")
        for slot in rig.base:
            await rig.stop(slot)
    for slot in slots:
        if not slot.alive:
            slot.start(**extra)
    await rig.served(time.time())
    await _one_idle(slots)
    await asyncio.sleep(13.0)

    async def kill_the_others() -> bool:
        idle = [slot for slot in slots if not slot.held]
        for slot in slots:
            if slot.held:
                slot.remove()
        return len(idle) == 1

    await rig.strike("kill -9 of all but the idle spare", kill_the_others)
    for slot in rig.base:
        if not slot.alive:
            slot.start()
    await rig.served(time.time())
    for slot in slots[2:]:
        if slot.alive:
            await rig.stop(slot)
    await rig.served(time.time())


async def _one_idle(slots: list[Slot]) -> None:
    """Wait until each but one holds a partition."""
    await until(lambda: sorted(len(slot.held) for slot in slots) == [0, *[1] * PARTITIONS], 30.0)


async def _cold(rig: Rig) -> None:
    """Everything stopped, all state gone: one worker from nothing. For ours: all that ever left is compared."""
    for slot in rig.slots:
        if slot.alive:
            await rig.stop(slot)
    if rig.contestant.ours:
        await _forget(rig, {TopicPartition(rig.contestant.state[0], p) for p in range(PARTITIONS)})
    compared = rig.tally()[0]

    async def start() -> None:
        rig.slots[5].start()

    await rig.strike("cold start of one worker from " + ("nothing" if rig.contestant.ours else "its changelog"), start)
    if rig.contestant.ours:
        rig.note(f"{rig.tally()[0] - compared:,} changes of the whole log compared")


NO_DELIVERER = "it has no deliverer"
ROWS: dict[str, Row] = {
    "B1": Row("kill -9 of one worker", _kill_one),
    "B2": Row("kill -9 at named points", _kill_at_points),
    "B3": Row("kill -9 of all workers", _kill_all),
    "B4": Row("rolling restart of three", _rolling),
    "B5": Row("storm of rebalances, new book", _storm),
    "B6": Row("a worker stands still", _stand_still),
    "B7": Row("broker stopped, killed", _broker),
    "B8": Row("network cut, half open", _network),
    "B9": Row("slow broker, kill inside", _slow),
    "B12": Row("full disk", _disk),
    "B13": Row("changes refused by the broker", _oversize),
    "B14": Row("changelog without its tail", _tail),
    "B15": Row("idle spare takes over", _spare),
    "B16": Row("cold start, state gone", _cold),
}
#: The row that the stock app begins however late it is.
LAST = "B16"
#: In the background of all others.
BESIDE = {"B10": "deliverer kill -9", "B11": "webhook fails in six ways"}
