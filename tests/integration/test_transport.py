"""The transport on real brokers: what the partition host may rely on."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import sys
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from stream.engine.offsets import NotOwner
from tests.integration.conftest import Broker
from tests.integration.recording import (
    PARTITIONS,
    PATIENCE_SECONDS,
    Journal,
    Names,
    RecordingHost,
    append,
    committed,
    fresh,
    worker,
)

EACH = dict.fromkeys(range(PARTITIONS), 500)


def assert_batches_lie_between_assignments(host: RecordingHost) -> None:
    """After ``revoked`` and until ``loaded`` there is no batch, and then only of what is held."""
    held: frozenset[int] = frozenset()
    for call in host.calls:
        match call.what:
            case "loaded":
                held = call.partitions
            case "revoked":
                held = frozenset()
            case "batch":
                assert call.partitions <= held, host.calls


def assert_whole(journal: Journal, ends: dict[int, int]) -> None:
    """Every offset once, in order."""
    assert journal == {p: list(range(end)) for p, end in ends.items()}


async def test_every_record_arrives_once_and_in_order(broker: Broker) -> None:
    """Every record of every partition reaches the host once and in order, waiting ones and new ones."""
    names, host = await fresh(broker), RecordingHost()
    await append(broker, names.events, EACH)
    async with worker(broker, names, host, max_batch_records=64):
        for _ in range(3):
            await append(broker, names.events, EACH)
        await host.until(lambda: sum(map(len, host.journal.values())) >= 4 * 500 * PARTITIONS)
    assert_whole(host.journal, dict.fromkeys(range(PARTITIONS), 2_000))
    # The last of its record batches comes whole, and the producer's have 500 at most.
    assert all(1 <= len(call.offsets) < 64 + 500 for call in host.calls if call.what == "batch")
    assert [call.what for call in host.calls if call.what != "batch"] == ["assigned", "loaded", "revoked"]
    assert_batches_lie_between_assignments(host)


async def test_reading_begins_where_the_host_says(broker: Broker) -> None:
    """The host's answer decides where reading begins, whatever the group has committed."""
    names = await fresh(broker)
    await append(broker, names.events, EACH)
    first = RecordingHost()
    async with worker(broker, names, first) as app:
        await first.until(lambda: first.count("batch"))
        await app.offsets.commit(dict.fromkeys(range(PARTITIONS), 450))
    host = RecordingHost(start={0: 0, 1: 7, 2: 499, 3: 500})
    async with worker(broker, names, host) as app:
        await host.until(lambda: host.next(0) == host.next(1) == host.next(2) == 500)
        assert {p: app.offsets.position(p) for p in range(PARTITIONS)} == dict.fromkeys(range(PARTITIONS), 500)
        assert app.offsets.lag() == dict.fromkeys(range(PARTITIONS), 0)
    assert host.journal == {0: list(range(500)), 1: list(range(7, 500)), 2: [499]}


async def test_partitions_change_hands_without_loss_or_repetition(broker: Broker) -> None:
    """A second worker takes its share and gives it back; no record is lost, repeated or out of turn."""
    names, journal = await fresh(broker), Journal()
    one, two = RecordingHost(journal), RecordingHost(journal)
    total = 0

    async def feed() -> None:
        nonlocal total
        while True:
            await append(broker, names.events, dict.fromkeys(range(PARTITIONS), 50))
            total += 50

    async with worker(broker, names, one):
        await one.until(lambda: one.held == frozenset(range(PARTITIONS)))
        feeding = asyncio.create_task(feed())
        async with worker(broker, names, two):
            await two.until(lambda: two.held and two.count("batch") > 3)
            await one.until(lambda: len(one.held) == 2)
            assert one.held | two.held == frozenset(range(PARTITIONS))
            batches = one.count("batch")
            await one.until(lambda: one.count("batch") > batches + 3)
        await one.until(lambda: len(one.held) == PARTITIONS)
        feeding.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await feeding
        # The cancelled append may have left some records behind: the journal, not the feed, knows the ends.
        await one.until(lambda: all(one.next(p) >= total for p in range(PARTITIONS)))
    for offsets in journal.values():
        assert offsets == list(range(len(offsets)))
    for host in (one, two):
        assert_batches_lie_between_assignments(host)
        kinds = [call.what for call in host.calls if call.what in ("assigned", "revoked")]
        assert kinds == ["assigned", "revoked"] * (len(kinds) // 2)


async def test_a_worker_keeps_what_it_can_over_a_rebalance(broker: Broker) -> None:
    """The assignment is sticky: of its partitions a worker gives away no more than the newcomer's share."""
    names, one, two = await fresh(broker), RecordingHost(), RecordingHost()
    async with worker(broker, names, one):
        await one.until(lambda: len(one.held) == PARTITIONS)
        async with worker(broker, names, two):
            await two.until(lambda: two.held)
            await one.until(lambda: len(one.held) == 2)
            kept = one.held
        await one.until(lambda: len(one.held) == PARTITIONS)
    assert kept.isdisjoint(next(c.partitions for c in two.calls if c.what == "loaded"))


async def test_loading_outlasts_the_session(broker: Broker) -> None:
    """Heartbeats go on while the host loads: it may take longer than the session lasts."""
    names, host = await fresh(broker), RecordingHost()
    await append(broker, names.events, EACH)

    async def long() -> None:
        await asyncio.sleep(broker.session_seconds * 1.5)

    host.while_loading = long
    async with worker(broker, names, host) as app:
        await host.until(lambda: host.count("batch"))
        health = app.offsets.health()
        assert time.monotonic() - health.heartbeat_at < broker.session_seconds
        assert not health.rebalancing
        await app.offsets.commit({0: 1})
    assert [call.what for call in host.calls if call.what != "batch"] == ["assigned", "loaded", "revoked"]


async def test_a_rebalance_while_loading_cancels_the_loading(broker: Broker) -> None:
    """If the group changes while the host loads, loading is cancelled, and ``revoked`` follows."""
    names, one, two = await fresh(broker), RecordingHost(), RecordingHost()
    await append(broker, names.events, EACH)
    one.while_loading = asyncio.Event().wait  # never returns
    async with worker(broker, names, one):
        await one.until(lambda: one.count("assigned"))
        async with worker(broker, names, two):
            await one.until(lambda: one.count("cancelled"))
            one.while_loading = None
            await two.until(lambda: two.count("batch"))
            await one.until(lambda: one.count("batch"))
    expected = ["assigned", "cancelled", "revoked", "assigned", "loaded"]
    assert [call.what for call in one.calls if call.what != "batch"][:5] == expected
    assert one.calls[2].partitions == frozenset(range(PARTITIONS))
    assert_batches_lie_between_assignments(one)


async def test_the_batch_in_progress_is_finished_before_partitions_are_given_up(broker: Broker) -> None:
    """The host hears ``revoked`` only when its last batch has returned."""
    names, host = await fresh(broker), RecordingHost()
    await append(broker, names.events, EACH)
    reached, released = asyncio.Event(), asyncio.Event()

    async def hold() -> None:
        reached.set()
        await released.wait()

    host.while_processing = hold
    async with worker(broker, names, host):
        await reached.wait()
        asyncio.get_running_loop().call_later(0.5, released.set)
    assert [call.what for call in host.calls] == ["assigned", "loaded", "batch", "revoked"]


async def test_commit_commits_exactly(broker: Broker) -> None:
    """Only what is committed through ``Offsets`` is committed, not even at the stop anything else."""
    names, host = await fresh(broker), RecordingHost()
    await append(broker, names.events, EACH)
    async with worker(broker, names, host) as app:
        await host.until(lambda: all(host.next(p) == 500 for p in range(PARTITIONS)))
        await app.offsets.commit({0: 5, 2: 499})
        assert await committed(broker, names.group, names.events) == {0: 5, 2: 499}
        await app.consumer.commit()  # Faust's own loop does just this

        async def last_words() -> None:
            await app.offsets.commit({2: 500})

        host.while_revoking = last_words
    assert await committed(broker, names.group, names.events) == {0: 5, 2: 500}


async def test_a_commit_of_what_is_not_ours_is_refused(broker: Broker) -> None:
    """A commit for partitions of another worker raises ``NotOwner`` and commits nothing."""
    names, one, two = await fresh(broker), RecordingHost(), RecordingHost()
    async with worker(broker, names, one) as app:
        await one.until(lambda: len(one.held) == PARTITIONS)
        async with worker(broker, names, two):
            await two.until(lambda: two.held)
            await one.until(lambda: len(one.held) == 2)
            with pytest.raises(NotOwner):
                await app.offsets.commit(dict.fromkeys(range(PARTITIONS), 1))
            assert await committed(broker, names.group, names.events) == {}


async def test_a_paused_partition_waits_and_then_goes_on(broker: Broker) -> None:
    """Of a paused partition nothing arrives, the others go on, and after it is resumed nothing is missing."""
    names, host = await fresh(broker), RecordingHost()
    async with worker(broker, names, host) as app:
        await host.until(lambda: host.held)
        await app.offsets.pause(1)
        await append(broker, names.events, EACH)
        await append(broker, names.events, EACH)
        await host.until(lambda: all(host.next(p) == 1_000 for p in (0, 2, 3)))
        assert host.next(1) == 0
        await app.offsets.resume(1)
        await host.until(lambda: host.next(1) == 1_000)
    assert_whole(host.journal, dict.fromkeys(range(PARTITIONS), 1_000))


class Process:
    """A worker process; see ``transport_worker``."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process

    async def until(self, what: str) -> dict[str, Any]:
        """The next line about it."""
        assert self.process.stdout is not None
        async with asyncio.timeout(PATIENCE_SECONDS):
            while line := await self.process.stdout.readline():
                said: dict[str, Any] = json.loads(line)
                if said["what"] == what:
                    return said
        raise AssertionError(f"the worker ended before it said {what!r}")

    async def exit_code(self) -> int:
        async with asyncio.timeout(PATIENCE_SECONDS):
            return await self.process.wait()


@contextlib.asynccontextmanager
async def process(broker: Broker, names: Names, start: int, then: str = "go on") -> AsyncIterator[Process]:
    arguments = [broker.address, *names, str(broker.session_seconds), str(start), then]
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.integration.transport_worker", *arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        yield Process(child)
    finally:
        with contextlib.suppress(ProcessLookupError):
            child.kill()
        await child.communicate()


async def test_a_worker_starts_within_five_seconds(broker: Broker) -> None:
    """From the start of the process to the first batch it takes five seconds at most."""
    names = await fresh(broker)
    await append(broker, names.events, EACH)
    begun = time.monotonic()
    async with process(broker, names, 0) as child:
        await child.until("batch")
        assert time.monotonic() - begun < 5.0


async def test_a_killed_worker_is_replaced_and_goes_on_where_its_host_says(broker: Broker) -> None:
    """After kill -9 another process takes over once the session is over, at the offsets of its own host."""
    names = await fresh(broker)
    await append(broker, names.events, EACH)
    async with process(broker, names, 0) as child:
        assert (await child.until("batch"))["first"] == 0
        child.process.kill()
        assert await child.exit_code() == -signal.SIGKILL
    async with process(broker, names, 321) as child:
        assert (await child.until("assigned"))["partitions"] == list(range(PARTITIONS))
        assert (await child.until("batch"))["first"] == 321


async def test_sigterm_ends_a_worker_in_order(broker: Broker) -> None:
    """On SIGTERM the host hears ``revoked``, and the process ends with code 0."""
    names = await fresh(broker)
    await append(broker, names.events, EACH)
    async with process(broker, names, 0) as child:
        await child.until("batch")
        child.process.terminate()
        assert (await child.until("revoked"))["partitions"] == list(range(PARTITIONS))
        assert await child.exit_code() == 0


async def test_a_batch_that_never_returns_does_not_keep_a_worker_from_stopping(broker: Broker) -> None:
    """A stop waits for the batch in progress as long as it is set to, then ends the process with code 70."""
    names = await fresh(broker)
    await append(broker, names.events, EACH)
    async with process(broker, names, 0, "hang") as child:
        await child.until("batch")
        child.process.terminate()
        assert await child.exit_code() == 70


async def test_an_exception_of_the_host_ends_the_process_loudly(broker: Broker) -> None:
    """What a host raises on a batch is logged with its traceback, and ends the process with code 70."""
    names = await fresh(broker)
    await append(broker, names.events, EACH)
    async with process(broker, names, 0, "fail") as child:
        await child.until("batch")
        assert await child.exit_code() == 70
        assert child.process.stderr is not None
        log = (await child.process.stderr.read()).decode()
        assert "CRITICAL" in log and "LookupError: this host fails on purpose" in log
