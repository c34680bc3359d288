"""Laws of the deliverer's processes: one per destination, none in another's way, none left over. The real command."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from uuid import NAMESPACE_OID, uuid5

import aiohttp
import pytest
import pytest_asyncio
import yaml
from aiokafka import AIOKafkaConsumer, TopicPartition
from prometheus_client.parser import text_string_to_metric_families

from stream.core.routing import partition_of
from stream.demo.children import Child, running
from stream.embedded.process import free_ports
from tests.installation import Installation, installation
from tests.integration.conftest import Broker
from tests.receiver import PATIENCE_SECONDS, Answer, Received, Receiver, receiving

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

pytestmark = [
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.skipif(sys.platform != "linux", reason="finds the processes of a deliverer in /proc"),
]


@pytest_asyncio.fixture(loop_scope="session")
async def here(broker: Broker, tmp_path: Path) -> AsyncIterator[Installation]:
    async with installation(broker.address, tmp_path, embedded=broker.kind == "tansu") as made:
        (port,) = free_ports(1)
        made.environment |= {
            "CRM_SECRET": SECRET,
            "LIVESEGMENTS_METRICS_HOST": "127.0.0.1",
            "LIVESEGMENTS_METRICS_PORT": str(port),
            "LIVESEGMENTS_DESTINATIONS": str(tmp_path / "destinations.yaml"),
        }
        yield made


def declare(here: Installation, **urls: str) -> None:
    """Destinations of the platform webhook, by their names."""
    common = {"platform": "webhook", "secret": {"env": "CRM_SECRET"}, "retry_base": 0.05}
    local = {"allow_http": True, "allow_private_addresses": True}
    content = {"destinations": {name: common | local | {"url": url} for name, url in urls.items()}}
    (here.directory / "destinations.yaml").write_text(yaml.safe_dump(content), "utf-8")


async def publish(here: Installation, first: int, count: int) -> None:
    """One change of each of so many customers."""
    for number in range(first, first + count):
        customer = f"c{number}"
        change = {
            "id": uuid5(NAMESPACE_OID, customer).hex,
            "customer_id": customer,
            "segment": "vip",
            "action": "entered",
            "at": "2026-03-02T10:00:00Z",
            "sequence": 1,
        }
        partition = partition_of(customer, here.partitions)
        value = json.dumps(change).encode()
        await here.producer.send(f"{here.prefix}segment-changes", value, key=customer.encode(), partition=partition)
    await here.producer.flush()


async def committed(here: Installation, destination: str) -> int:
    """The sum of a destination's committed offsets: the changes that it is done with, if all are."""
    group = f"{here.prefix}livesegments-deliver-{destination}"
    client = {"bootstrap_servers": here.address}
    async with AIOKafkaConsumer(**client, group_id=group, enable_auto_commit=False) as consumer:
        partitions = [TopicPartition(f"{here.prefix}segment-changes", n) for n in range(here.partitions)]
        consumer.assign(partitions)
        return sum([await consumer.committed(partition) or 0 for partition in partitions])


# The processes.


def children(pid: int) -> dict[str, int]:
    """The processes that a process started, by what they are called."""
    found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return {Path(f"/proc/{child}/comm").read_text().strip(): int(child) for child in found}


def lives(pid: int) -> bool:
    """Whether a process runs; one that has ended and waits for its parent does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


async def until(holds: Callable[[], bool]) -> None:
    """Wait for what only another process can make true."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not holds():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


@dataclass
class Deliverer:
    """The command, and what its processes say at the one port."""

    here: Installation
    child: Child

    @property
    def processes(self) -> dict[str, int]:
        return children(self.child.pid)

    async def metrics(self) -> dict[tuple[str, ...], float]:
        """(name, the values of its labels) -> value."""
        url = f"http://127.0.0.1:{self.here.environment['LIVESEGMENTS_METRICS_PORT']}/metrics"
        async with aiohttp.ClientSession() as session, session.get(url) as response:
            text = await response.text()
        families = list(text_string_to_metric_families(text))
        assert len({family.name for family in families}) == len(families)
        return {
            (sample.name.removeprefix("livesegments_"), *sample.labels.values()): sample.value
            for family in families
            for sample in family.samples
        }

    async def until_said(
        self, holds: Callable[[Mapping[tuple[str, ...], float]], bool]
    ) -> Mapping[tuple[str, ...], float]:
        """Wait for what they say; what is not said yet does not hold, nor does anything before the port is open."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                self.child.check()
                with contextlib.suppress(aiohttp.ClientConnectionError, KeyError):
                    if holds(says := await self.metrics()):
                        return says
                await asyncio.sleep(0.05)


@asynccontextmanager
async def delivering(here: Installation, *arguments: str) -> AsyncIterator[Deliverer]:
    async with running("deliverer", ["deliver", *arguments], here.environment, here.directory) as child:
        yield Deliverer(here, child)


@dataclass
class Ends:
    """Two receivers, and who took what."""

    crm: Receiver
    other: Receiver
    held: dict[str, asyncio.Event] = field(default_factory=lambda: defaultdict(asyncio.Event))


@pytest_asyncio.fixture(loop_scope="session")
async def ends(here: Installation) -> AsyncIterator[Ends]:
    async with receiving() as crm, receiving() as other:
        declare(here, crm=crm.url, other=other.url)
        yield Ends(crm, other)


async def arrived(receiver: Receiver, count: int) -> None:
    await receiver.until(lambda: len({one.id for one in receiver.accepted}) == count)


async def test_a_process_that_is_killed_comes_back_and_the_others_do_not_notice(here: Installation, ends: Ends) -> None:
    """Its destination loses nothing, and the metrics tell the truth all the while."""
    await publish(here, 0, 20)
    async with delivering(here) as deliverer:
        await arrived(ends.crm, 20)
        await arrived(ends.other, 20)
        before = deliverer.processes
        assert set(before) == {"crm", "other", "metrics"}
        await deliverer.until_said(
            lambda says: (
                says["deliveries_total", "crm", "delivered"] == says["deliveries_total", "other", "delivered"] == 20
                and ("delivery_pending", "crm") in says
            )
        )

        os.kill(before["crm"], signal.SIGKILL)
        await publish(here, 20, 20)
        says = await deliverer.until_said(lambda says: says["destination_stopped", "crm", "restarting"] == 1)
        assert (says["destination_active", "crm"], says["destination_active", "other"]) == (0, 1)
        assert ("delivery_pending", "crm") not in says and ("delivery_pending", "other") in says
        assert says["deliveries_total", "crm", "delivered"] == 20
        await arrived(ends.other, 40)
        await arrived(ends.crm, 40)
        await deliverer.until_said(
            lambda says: (
                says["deliveries_total", "crm", "delivered"] >= 40  # more where it was killed before it had committed
                and says["destination_pauses_total", "crm", "restarting"] == 1
                and says["destination_active", "crm"] == 1
                and says["destination_stopped", "crm", "restarting"] == 0
            )
        )
        after = deliverer.processes
        assert after["crm"] != before["crm"]
        assert after | {"crm": 0} == before | {"crm": 0}
        assert await deliverer.child.stop() == 0
    assert len(ends.other.accepted) == 40
    said = deliverer.child.log.read_text()
    assert "the process of destination crm was killed by signal 9; it is started again in 1 s" in said


async def test_the_metrics_come_back_where_they_were(here: Installation, ends: Ends) -> None:
    """Who serves them counts nothing, so nothing is lost with it."""
    await publish(here, 0, 20)
    async with delivering(here) as deliverer:
        delivered = {("deliveries_total", name, "delivered"): 20.0 for name in ("crm", "other")}
        await deliverer.until_said(lambda says: says.items() >= delivered.items())
        os.kill(deliverer.processes["metrics"], signal.SIGKILL)
        await deliverer.until_said(lambda says: says.items() >= delivered.items())


async def test_nobody_outlives_a_supervisor_that_is_killed(here: Installation, ends: Ends) -> None:
    """Not even a process in the middle of a request."""
    release = asyncio.Event()

    async def wait(_: Received) -> Answer:
        await release.wait()
        return Answer()

    ends.crm.behaviour = wait
    await publish(here, 0, 5)
    try:
        async with delivering(here) as deliverer:
            await ends.crm.until(lambda: len(ends.crm.received) == 5)
            processes = deliverer.processes
            assert set(processes) == {"crm", "other", "metrics"}
            deliverer.child.kill()
            began = time.monotonic()
            await until(lambda: not any(lives(pid) for pid in processes.values()))
            assert time.monotonic() - began < 5
    finally:
        release.set()


async def test_a_stop_lets_every_process_finish_and_commit(here: Installation, ends: Ends) -> None:
    """SIGTERM to the supervisor alone, as Kubernetes sends it; exit code 0, and nothing comes again."""
    release = asyncio.Event()

    async def wait(_: Received) -> Answer:
        await release.wait()
        return Answer()

    ends.crm.behaviour = ends.other.behaviour = wait
    await publish(here, 0, 5)
    async with delivering(here) as deliverer:
        for receiver in (ends.crm, ends.other):
            await receiver.until(lambda: len(receiver.received) == 5)  # noqa: B023
        processes = deliverer.processes
        os.kill(deliverer.child.pid, signal.SIGTERM)
        asyncio.get_running_loop().call_later(0.5, release.set)
        assert await deliverer.child.wait(PATIENCE_SECONDS) == 0
        assert not any(lives(pid) for pid in processes.values())
    assert [await committed(here, name) for name in ("crm", "other")] == [5, 5]
    ends.crm.behaviour = ends.other.behaviour = lambda _: Answer()
    async with delivering(here):
        await publish(here, 5, 1)
        await arrived(ends.crm, 6)
        await arrived(ends.other, 6)
    assert len(ends.crm.accepted) == len(ends.other.accepted) == 6


async def test_only_the_destinations_that_are_named_are_sent_to(here: Installation, ends: Ends) -> None:
    """In one process where it is one; a name that is not declared ends the command, and it says which there are."""
    await publish(here, 0, 5)
    async with delivering(here, "--destination", "other") as deliverer:
        await arrived(ends.other, 5)
        assert deliverer.processes == {}
        await deliverer.until_said(lambda says: says.get(("deliveries_total", "other", "delivered")) == 5)
        assert not [series for series in await deliverer.metrics() if "crm" in series]
    assert not ends.crm.received
    async with delivering(here, "--destination", "others", "--destination", "crm") as deliverer:
        assert await deliverer.child.wait(PATIENCE_SECONDS) == 2
    assert "has no destination 'others': it has crm, other" in deliverer.child.log.read_text().replace("\n", " ")


async def test_all_that_is_missing_is_said_at_once_and_before_anything_starts(here: Installation) -> None:
    """Exit code 2, as for wrong usage."""
    declare(here, crm="https://hooks.example.com/a", other="https://hooks.example.com/b")
    del here.environment["CRM_SECRET"]
    async with delivering(here) as deliverer:
        assert await deliverer.child.wait(PATIENCE_SECONDS) == 2
    said = deliverer.child.log.read_text()
    assert "destination crm: the environment variable CRM_SECRET is not set" in said
    assert "destination other: the environment variable CRM_SECRET is not set" in said


async def test_who_shares_an_account_shares_a_process_unless_redis_counts_its_rates(
    here: Installation, ends: Ends
) -> None:
    """Two destinations at one address, without Redis; a third elsewhere."""
    declare(here, crm=ends.crm.url, twin=ends.crm.url, other=ends.other.url)
    await publish(here, 0, 5)
    async with delivering(here) as deliverer:
        await arrived(ends.other, 5)
        await ends.crm.until(lambda: len(ends.crm.accepted) == 10)
        assert set(deliverer.processes) == {"crm", "other", "metrics"}
        await deliverer.until_said(lambda says: says.get(("deliveries_total", "twin", "delivered")) == 5)
