"""A worker that no longer moves ends itself, and one that has a reason not to move goes on."""

from __future__ import annotations

import asyncio
import itertools
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import cast

import orjson
import pytest
import pytest_asyncio

from stream.engine import standstill
from stream.engine.faust_app import EngineApp
from stream.engine.standstill import Standstill
from stream.engine.transport import Consumer
from tests.installation import PATIENCE, Installation, installation
from tests.integration.conftest import Broker
from tests.integration.recording import PARTITIONS, RecordingHost, append, fresh, worker

#: Seconds that a partition may stand still here.
LIMIT = 1.0


class Died(Exception):
    """Where the process would have ended."""


@pytest_asyncio.fixture(loop_scope="session")
async def here(broker: Broker, tmp_path: Path) -> AsyncIterator[Installation]:
    """An installation with two partitions."""
    async with installation(broker.address, tmp_path, embedded=broker.kind == "tansu") as made:
        yield made


@pytest.fixture
def dies(monkeypatch: pytest.MonkeyPatch) -> None:
    """``die`` raises here: it would end the tests."""

    def die(reason: str, error: BaseException | None = None) -> None:
        raise Died(reason) from error

    monkeypatch.setattr(standstill, "die", die)


def views(count: int) -> Iterator[tuple[int, bytes, bytes]]:
    """Events of as many customers, one a millisecond."""
    start = time.time_ns() // 1_000_000  # what is older than a week, a broker may delete
    for number in range(count):
        name = f"c{number}"
        value = {"customer_id": name, "event_type": "product_view", "timestamp": start + number}
        yield (start + number) * 1000, name.encode(), orjson.dumps(value)


@asynccontextmanager
async def stalled(
    here: Installation, how: str, seconds: float
) -> AsyncIterator[tuple[asyncio.subprocess.Process, Path]]:
    """A worker that stops in one of the ways of ``stalled_worker``, and its log."""
    environment = here.environment | {"LIVESEGMENTS_STALL_SECONDS": str(seconds)}
    log = here.directory / "stalled.log"
    with log.open("wb") as output:
        command = (sys.executable, "-m", "tests.integration.stalled_worker", how)
        child = await asyncio.create_subprocess_exec(*command, env=environment, stdout=output, stderr=output)
    try:
        yield child, log
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()


@pytest.mark.asyncio(loop_scope="session")
async def test_a_worker_that_reads_no_more_ends_itself_and_its_successor_reads_on(here: Installation) -> None:
    """Its heartbeats go on, so nobody else would take over: it says why, and exits with 70 to be restarted."""
    async with stalled(here, "fetching", 2.0) as (child, log):
        await here.send(views(50))
        while not await here.checkpoints():  # it has read something
            assert child.returncode is None, log.read_text()
            await asyncio.sleep(0.1)
        await here.send(views(100))
        assert await asyncio.wait_for(child.wait(), PATIENCE) == 70, log.read_text()
        assert b" s, and there is something to read: the process ends" in log.read_bytes()
    await here.all_in([await here.start_worker()])


@pytest.mark.asyncio(loop_scope="session")
async def test_a_worker_that_hears_no_more_of_its_group_says_nothing_more_and_ends(here: Installation) -> None:
    """What it still reads after a session is another's to say; it would do so for ever."""
    session = float(here.environment["LIVESEGMENTS_SESSION_TIMEOUT_SECONDS"])
    await here.apply("segments: {seen: {sql: view_count >= 1}}", time.time_ns() // 1000)
    async with stalled(here, "group", session * 2) as (child, log):
        await here.send(views(50))
        while len(await here.changes()) < 50:
            assert child.returncode is None, log.read_text()
            await asyncio.sleep(0.1)
        await asyncio.sleep(session)  # the fault itself
        assert child.returncode is None, log.read_text()
        await here.send(views(100))
        assert await asyncio.wait_for(child.wait(), PATIENCE) == 70, log.read_text()
        assert b"nothing was heard of the consumer group for" in log.read_bytes()
    assert len(await here.changes()) == 50
    worker = await here.start_worker()
    await here.all_in([worker])
    assert len(await here.changes()) == 100


@pytest.mark.asyncio(loop_scope="session")
async def test_a_worker_with_nothing_to_read_goes_on(here: Installation) -> None:
    """A quiet log is no standstill, however long: the worker asks several times, and then still works."""
    worker = await here.start_worker(stall_seconds="0.4")
    await here.send(views(50))
    await here.all_in([worker])
    await asyncio.sleep(2.0)  # five limits, in which it has to do nothing
    await here.send(views(100))
    await here.all_in([worker])
    assert await worker.stop() == 0


async def _looks(watch: Standstill, seconds: float) -> None:
    """As the worker looks, for so long."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        await watch._look(time.monotonic())
        await asyncio.sleep(0.1)


@pytest_asyncio.fixture(loop_scope="session")
async def stuck(broker: Broker) -> AsyncIterator[tuple[RecordingHost, EngineApp]]:
    """A worker in the middle of a batch that does not end."""
    names, host = await fresh(broker), RecordingHost()
    await append(broker, names.events, dict.fromkeys(range(PARTITIONS), 500))
    reached, released = asyncio.Event(), asyncio.Event()

    async def hold() -> None:
        reached.set()
        await released.wait()

    host.while_processing = hold
    async with worker(broker, names, host) as app:
        await reached.wait()
        yield host, app
        released.set()


@pytest.mark.asyncio(loop_scope="session")
@pytest.mark.usefixtures("dies")
async def test_a_batch_that_does_not_end_is_a_standstill(stuck: tuple[RecordingHost, EngineApp]) -> None:
    """Whatever it waits for, its records wait as well, and not before the limit is over."""
    _, app = stuck
    watch = Standstill(app, LIMIT, lambda partition: None)
    await _looks(watch, LIMIT * 0.7)
    with pytest.raises(Died, match=r"events/. was not read on for 1\.. s"):
        await _looks(watch, LIMIT * 3)


@pytest.mark.asyncio(loop_scope="session")
@pytest.mark.usefixtures("dies")
async def test_a_batch_that_takes_long_and_goes_on_is_none(stuck: tuple[RecordingHost, EngineApp]) -> None:
    """Filling a window may read the whole log before the batch ends."""
    _, app = stuck
    read = itertools.count()
    await _looks(Standstill(app, LIMIT, lambda partition: next(read)), LIMIT * 3)


@pytest.mark.asyncio(loop_scope="session")
@pytest.mark.usefixtures("dies")
async def test_partitions_that_are_paused_on_purpose_may_stand(stuck: tuple[RecordingHost, EngineApp]) -> None:
    """Who paused them knows why."""
    _, app = stuck
    for partition in range(PARTITIONS):
        await app.offsets.pause(partition)
    await _looks(Standstill(app, LIMIT, lambda partition: None), LIMIT * 3)


@pytest.mark.asyncio(loop_scope="session")
@pytest.mark.usefixtures("dies")
async def test_a_broker_that_does_not_answer_is_not_the_workers_fault(stuck: tuple[RecordingHost, EngineApp]) -> None:
    """Nothing can be told without it; and when it is back, the worker gets its whole time to read on."""
    _, app = stuck
    watch = Standstill(app, LIMIT, lambda partition: None)
    client, app.client = app.client, {**app.client, "bootstrap_servers": "127.0.0.1:1"}
    await _looks(watch, LIMIT * 3)
    app.client = client
    await _looks(watch, LIMIT * 0.7)
    with pytest.raises(Died):
        await _looks(watch, LIMIT * 3)


@pytest.mark.asyncio(loop_scope="session")
@pytest.mark.usefixtures("dies")
async def test_a_loading_that_does_not_end_is_a_standstill(broker: Broker) -> None:
    """No position yet, but records that wait for one."""
    names, host = await fresh(broker), RecordingHost()
    await append(broker, names.events, dict.fromkeys(range(PARTITIONS), 5))
    host.while_loading = asyncio.Event().wait
    async with worker(broker, names, host) as app:
        await host.until(lambda: host.count("assigned"))
        with pytest.raises(Died):
            await _looks(Standstill(app, LIMIT, lambda partition: None), LIMIT * 3)


@pytest.mark.asyncio(loop_scope="session")
@pytest.mark.usefixtures("dies")
async def test_a_coordinator_that_answers_nobody_is_not_the_workers_fault(broker: Broker) -> None:
    """Only if another consumer hears from it, the worker has to; and then for a whole session."""
    names, host = await fresh(broker), RecordingHost()
    async with worker(broker, names, host) as app:
        await host.until(lambda: host.held)
        thread, found = cast(Consumer, app.consumer).thread, asyncio.Event()
        coordinator = thread._ensure_consumer()._coordinator
        search, coordinator.ensure_coordinator_known = coordinator.ensure_coordinator_known, found.wait
        thread.thread_loop.call_soon_threadsafe(coordinator.coordinator_dead)
        try:
            watch = Standstill(app, LIMIT, lambda partition: None)
            client, app.client = app.client, {**app.client, "bootstrap_servers": "127.0.0.1:1"}
            await _looks(watch, broker.session_seconds * 2)
            app.client = client
            waiting = asyncio.create_task(app.offsets.ours())
            with pytest.raises(Died, match=r"nothing was heard of the consumer group for [3-9]"):
                await _looks(watch, broker.session_seconds * 5)
            assert not waiting.done(), "whoever is not heard of does nothing"
        finally:
            coordinator.ensure_coordinator_known = search
            thread.thread_loop.call_soon_threadsafe(found.set)
        await asyncio.wait_for(waiting, PATIENCE)  # goes on, or gives up where the group has forgotten it
