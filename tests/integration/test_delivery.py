"""Laws of delivery, on real brokers and real sockets: in order per customer, nothing lost, nobody held up."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import random
import signal
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer
from standardwebhooks.webhooks import Webhook as Oracle

from connectors.changes import Change
from connectors.delivery import DeliverySettings, DestinationsUnusable, connect, deliver, run
from connectors.destinations import load
from connectors.exchange import Request, Response, Steps
from connectors.platforms import Connector
from schemas.deliveries import Receipt
from schemas.rejections import DeadLetter
from tests.integration.conftest import Broker
from tests.integration.delivering import PARTITIONS, SECRET, Bench, Metrics, deliverer, options, value
from tests.receiver import Answer, Received, Receiver, receiving, sequences


@pytest.fixture
async def bench(broker: Broker) -> Bench:
    return await Bench(broker).create()


async def test_every_change_is_delivered_once_signed_and_in_order(bench: Bench) -> None:
    """In its own bytes; receipts are written; the stop commits, so that a restart sends nothing again."""
    changes = [value(f"c{n % 20}", n // 20 + 1) for n in range(400)]
    await bench.write([*changes, value("c1", 21, segment="unwanted")])
    metrics = Metrics()
    async with receiving() as receiver:
        async with bench.delivering(metrics=metrics, crm=options(receiver, "segments: [vip]")):
            await metrics.until(lambda: metrics.ended() == 401)
        again = Metrics()
        async with bench.delivering(metrics=again, crm=options(receiver, "segments: [vip]")):
            await bench.write([value("last", 1)])
            await again.until(lambda: again.ended() == 1)
    assert len(receiver.received) == 401
    assert sequences(receiver.received) == {f"c{n}": list(range(1, 21)) for n in range(20)} | {"last": [1]}
    bodies = {received.id: received.body for received in receiver.received}
    for change in changes:
        assert bodies[json.loads(change)["id"]].endswith(b',"data":' + change + b"}")
    for received in receiver.received:
        Oracle(SECRET).verify(received.body, dict(received.headers))
        assert received.headers["user-agent"].startswith("livesegments/")
    receipts = [Receipt.model_validate_json(written) for written in await bench.read("deliveries")]
    assert {receipt.id for receipt in receipts} == bodies.keys()
    assert {(receipt.destination, receipt.status, receipt.attempts) for receipt in receipts} == {
        ("crm", "delivered", 1)
    }
    assert await bench.committed() == 402
    assert (metrics.outcomes["crm"]["skipped"], len(metrics.latencies), len(metrics.attempts)) == (
        1,
        400,
        400,
    )
    assert (metrics.lags[-1], metrics.pendings[-1]) == (0, 0)


async def test_each_customer_s_order_survives_every_kind_of_failure(bench: Bench) -> None:
    """What arrives, repeats aside, arrives in order and in the same bytes, and nothing is given up."""
    draw = random.Random(3)
    changes = [value(f"c{n % 15}", n // 15 + 1) for n in range(300)]
    await bench.write(changes)

    def moody(received: Received) -> Answer:
        mood = draw.random()
        if mood < 0.1:
            raise ConnectionResetError  # aiohttp answers 500
        return Answer(draw.choice([500, 502, 503, 408, 425]) if mood < 0.3 else 200)

    metrics = Metrics()
    async with (
        receiving(moody) as receiver,
        bench.delivering(metrics=metrics, crm=options(receiver, "retry_base: 0.05")),
    ):
        await metrics.until(lambda: metrics.ended() == 300)
    expected = {f"c{n}": list(range(1, 21)) for n in range(15)}
    assert sequences(receiver.accepted) == expected
    assert sequences(receiver.received) == expected
    assert all(len(bodies) == 1 for bodies in receiver.bodies().values())
    assert metrics.outcomes["crm"]["retried"] == len(receiver.received) - 300
    assert metrics.outcomes["crm"]["dead_lettered"] == 0


async def test_a_customer_in_retry_holds_up_nobody_and_a_destination_no_other(bench: Bench) -> None:
    """One change fails, one destination hangs: everything else is delivered, and memory stays bounded."""
    await bench.write([value("stuck", 1), value("stuck", 2)])
    await bench.write([value(f"c{n}", 1) for n in range(1_000)])
    healed = asyncio.Event()

    async def hang(_: Received) -> Answer:
        await healed.wait()
        return Answer()

    def fail_one(received: Received) -> Answer:
        return Answer(500 if received.changes[0]["customer_id"] == "stuck" and not healed.is_set() else 204)

    metrics = Metrics()
    async with (
        receiving(fail_one) as receiver,
        receiving(hang) as hanging,
        bench.delivering(
            metrics=metrics,
            changed={"pending_limit": 400, "fetch_records": 50},
            crm=options(receiver, "retry_base: 0.1", "retry_cap: 0.2"),
            slow=options(hanging),
        ),
    ):
        await metrics.until(lambda: metrics.outcomes["crm"]["delivered"] == 1_000)
        assert metrics.outcomes["slow"]["delivered"] == 0
        await metrics.until(lambda: metrics.lags and metrics.pendings[-1] > 2)
        held_back = max(metrics.pendings)
        healed.set()
        await metrics.until(lambda: metrics.ended("crm") == metrics.ended("slow") == 1_002)
    assert sequences(receiver.accepted)["stuck"] == [1, 2]
    assert held_back <= 400 + PARTITIONS * 50
    assert await bench.committed("crm") == await bench.committed("slow") == 1_002


async def test_a_restart_repeats_nobody_else_s_changes_while_one_customer_is_stuck(bench: Bench) -> None:
    """Where the broker keeps a commit's metadata; where it does not, repeats have the same id and bytes."""
    await bench.write([value("stuck", 1)])
    await bench.write([value(f"c{n}", 1) for n in range(200)])
    broken = True

    def behaviour(received: Received) -> Answer:
        return Answer(500 if broken and received.changes[0]["customer_id"] == "stuck" else 204)

    first, second = Metrics(), Metrics()
    async with receiving(behaviour) as receiver:
        destination = options(receiver, "retry_base: 0.1", "retry_cap: 0.2")
        async with bench.delivering(metrics=first, crm=destination):
            await first.until(lambda: first.ended() == 200)
        assert await bench.committed() < 201
        broken = False
        async with bench.delivering(metrics=second, crm=destination):
            await receiver.until(lambda: len(sequences(receiver.accepted)) == 201)
    accepted = Counter(received.id for received in receiver.accepted)
    if bench.broker.kind == "kafka":
        assert set(accepted.values()) == {1}
    assert len(accepted) == 201
    assert all(len(bodies) == 1 for bodies in receiver.bodies().values())


async def test_retry_after_is_honoured_by_the_whole_destination(bench: Bench) -> None:
    """A 429 with `Retry-After` is not answered by the requests of other customers."""
    await bench.write([value(f"c{n}", 1) for n in range(40)])
    first: list[float] = []

    def busy(received: Received) -> Answer:
        if len(first) < 4:
            first.append(received.at)
            return Answer(429, {"retry-after": "1.1"})
        return Answer()

    metrics = Metrics()
    async with (
        receiving(busy) as receiver,
        bench.delivering(metrics=metrics, crm=options(receiver, "concurrency: 4")),
    ):
        await metrics.until(lambda: metrics.ended() == 40)
    later = [received.at for received in receiver.received if received.at > first[3]]
    assert len(later) == 40
    assert min(later) - first[0] >= 1.1
    assert metrics.states["crm"] == ["active"]


async def test_a_destination_that_refuses_our_key_is_paused_and_resumes_by_itself(bench: Bench) -> None:
    """Nothing is lost or given up, what waits is probed one at a time, and the metrics say so."""
    await bench.write([value(f"c{n % 10}", n // 10 + 1) for n in range(100)])
    locked = 401

    def guarded(_: Received) -> Answer:
        return Answer(locked or 204)

    metrics = Metrics()
    async with receiving(guarded) as receiver, bench.delivering(metrics=metrics, crm=options(receiver)):
        await metrics.until(lambda: metrics.states["crm"] == ["active", "http_401"])
        await receiver.until(lambda: receiver.received[-1].at - receiver.received[0].at > 0.9)
        locked = 0
        await metrics.until(lambda: metrics.ended() == 100)
    began, resumed = receiver.received[0].at, receiver.accepted[0].at
    waits = [received.at - began for received in receiver.received if received.at < resumed]
    assert len([wait for wait in waits if wait > 0.9]) == 1  # a probe, where ten customers wait
    assert metrics.states["crm"] == ["active", "http_401", "active"]
    assert sequences(receiver.accepted) == {f"c{n}": list(range(1, 11)) for n in range(10)}
    assert metrics.outcomes["crm"]["dead_lettered"] == 0


async def test_what_is_refused_goes_to_the_dead_letters_alone(bench: Bench) -> None:
    """A batch that one change spoils is split, the rest arrives; the answer is kept without its secrets."""
    await bench.write([value(f"c{n}", 1) for n in range(64)])

    def picky(received: Received) -> Answer:
        if any(change["customer_id"] == "c42" for change in received.changes):
            return Answer(422, {}, f"c42 {SECRET} {received.headers['host']} T0PS3CRETPATH".encode())
        return Answer()

    metrics = Metrics()
    async with (
        receiving(picky) as receiver,
        bench.delivering(metrics=metrics, crm=options(receiver, "batch_size: 64")),
    ):
        await metrics.until(lambda: metrics.ended() == 64)
    assert len(sequences(receiver.accepted)) == 63
    assert len(receiver.received) < 40
    (letter,) = [DeadLetter.model_validate_json(written) for written in await bench.read("dead_letters")]
    assert isinstance(letter.change, dict)
    assert letter.change["customer_id"] == "c42"
    assert (letter.destination, letter.reason, letter.status) == ("crm", "refused", 422)
    assert letter.response.startswith("c42 ********** 127.0.0.1")
    assert SECRET[6:] not in letter.response and "T0PS3CRETPATH" not in letter.response
    assert metrics.outcomes["crm"]["refused"] == metrics.outcomes["crm"]["dead_lettered"] == 1
    endings = Counter(Receipt.model_validate_json(written).status for written in await bench.read("deliveries"))
    assert endings == {"delivered": 63, "dead_lettered": 1}
    assert await bench.committed() == 64


async def test_no_change_and_no_failure_stops_the_rest(bench: Bench) -> None:
    """What cannot be read, and what has failed beyond the horizon, is dead-lettered."""
    garbage = [b"not json", b"\xff", b"{}", b""]
    async with AIOKafkaProducer(**bench.broker.client) as producer:
        for raw in garbage:
            await producer.send_and_wait(bench.settings["changes_topic"], raw, partition=0)
        await producer.send_and_wait(bench.settings["changes_topic"], None, key=b"tombstone", partition=0)
    await bench.write([value("doomed", 1), value("doomed", 2), value("fine", 1)])
    metrics = Metrics()

    def behaviour(received: Received) -> Answer:
        return Answer(503 if received.changes[0] == json.loads(value("doomed", 1)) else 204)

    async with (
        receiving(behaviour) as receiver,
        bench.delivering(metrics=metrics, crm=options(receiver, "retry_horizon: 0.3", "retry_base: 0.1")),
    ):
        await metrics.until(lambda: metrics.ended() == 8)
    assert sequences(receiver.accepted) == {"doomed": [2], "fine": [1]}
    letters = [DeadLetter.model_validate_json(written) for written in await bench.read("dead_letters")]
    assert Counter(letter.reason for letter in letters) == {"unreadable_change": 5, "retries_exhausted": 1}
    (exhausted,) = [letter for letter in letters if letter.reason == "retries_exhausted"]
    assert (exhausted.status, exhausted.attempts >= 2) == (503, True)
    assert sorted(base64.b64decode(letter.payload) for letter in letters if letter.payload is not None) == [
        b"",
        b"not json",
        b"\xff",
    ]


async def test_a_failing_run_never_logs_a_secret(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    """Neither key nor path, at any level, whatever fails: the network, the key, the receiver."""
    caplog.set_level(logging.DEBUG)
    await bench.write([value(f"c{n}", 1) for n in range(30)])
    answers = iter([401, 500, 429, 503, 302, 422, 400])

    async def awful(received: Received) -> Answer:
        status = next(answers, 0)
        if status == 0 and len(receiver.received) % 3 == 0:
            await asyncio.sleep(0.4)  # longer than the timeout
        return Answer(status or 204, {"location": receiver.url}, f"{received.headers} {SECRET} {receiver.url}".encode())

    metrics = Metrics()
    async with (
        receiving(awful) as receiver,
        bench.delivering(
            metrics=metrics,
            crm=options(receiver, "timeout: 0.2", "retry_base: 0.05"),
            nobody=options("http://127.0.0.1:9/hooks/T0PS3CRETPATH", "retry_base: 0.05"),
        ),
    ):
        await metrics.until(lambda: metrics.ended("crm") == 30)
        await metrics.until(lambda: "breaker_open" in metrics.states["nobody"])
    written = b"".join(await bench.read("dead_letters") + await bench.read("deliveries")).decode()
    # aiohttp's access log of the receiver is the receiver's; the path is no secret to it.
    said = "\n".join(record.getMessage() for record in caplog.records if record.name != "aiohttp.access")
    assert "destination crm (http://127.0.0.1:" in said
    assert "destination nobody (http://127.0.0.1:9) is broken: breaker_open" in said
    for hidden in (SECRET, SECRET[6:], "T0PS3CRETPATH", "an0ther-s3cret"):
        assert hidden not in said + caplog.text
        assert hidden not in written
        assert hidden not in repr(dict(metrics.states))


async def test_a_graceful_stop_finishes_what_is_in_flight(bench: Bench) -> None:
    """And commits it, so that it is not sent again; what was not begun waits for the next start."""
    await bench.write([value(f"c{n}", 1) for n in range(10)])
    release = asyncio.Event()

    async def wait(_: Received) -> Answer:
        await release.wait()
        return Answer()

    metrics = Metrics()
    async with receiving(wait) as receiver:
        async with bench.delivering(metrics=metrics, crm=options(receiver, "concurrency: 3")):
            await receiver.until(lambda: len(receiver.received) == 3)
            asyncio.get_running_loop().call_later(0.2, release.set)
        assert metrics.outcomes["crm"]["delivered"] == len(receiver.received) == 3
        assert len(await bench.read("deliveries")) == 3


async def test_a_killed_deliverer_loses_nothing_and_repeats_the_same_bytes(bench: Bench, tmp_path: Path) -> None:
    """kill -9 in the middle of a stream: every change arrives, in order but for repeats."""
    total = 600
    await bench.write([value(f"c{n % 30}", n // 30 + 1) for n in range(total)])
    path = tmp_path / "destinations.yaml"
    async with receiving(_slowly) as receiver:
        path.write_text(f"destinations:\n  crm: {{{options(receiver, 'concurrency: 8')}}}\n")
        for goal in (total // 2, total):
            process = await deliverer(bench.settings, path)
            try:
                await receiver.until(lambda: len({one.id for one in receiver.received}) >= goal)  # noqa: B023
            finally:
                process.send_signal(signal.SIGKILL if goal < total else signal.SIGTERM)
                code = await process.wait()
            assert code == (-signal.SIGKILL if goal < total else 0)
    assert sequences(receiver.received) == {f"c{n}": list(range(1, 21)) for n in range(30)}
    assert all(len(bodies) == 1 for bodies in receiver.bodies().values())
    for received in receiver.received:
        Oracle(SECRET).verify(received.body, dict(received.headers))
    receipts = {Receipt.model_validate_json(written).id for written in await bench.read("deliveries")}
    assert len(receipts) == total
    assert await bench.committed() == total


async def _slowly(_: Received) -> Answer:
    await asyncio.sleep(0.01)
    return Answer()


async def test_replicas_share_the_work_and_keep_the_order(bench: Bench) -> None:
    """One joins in the middle and one leaves: nothing is lost, and each customer's order holds."""
    first, second = Metrics(), Metrics()

    async def write(receiver: Receiver, start: int) -> None:
        """Three hundred more changes, of which most are to arrive before it returns."""
        await bench.write([value(f"c{n % 30}", n // 30 + 1) for n in range(start, start + 300)])
        await receiver.until(lambda: len({received.id for received in receiver.received}) >= start + 200)

    async def unevenly(received: Received) -> Answer:
        await asyncio.sleep(0.4 if received.changes[0]["sequence"] % 7 == 0 else 0.01)
        return Answer()

    async with receiving(unevenly) as receiver:
        destination = options(receiver, "concurrency: 30")
        async with bench.delivering(metrics=first, crm=destination):
            await write(receiver, 0)
            async with bench.delivering(metrics=second, crm=destination):
                await write(receiver, 300)
                await second.until(lambda: second.outcomes["crm"]["delivered"])
            await write(receiver, 600)
            await first.until(lambda: len({received.id for received in receiver.received}) == 900)
    assert sequences(receiver.received) == {f"c{n}": list(range(1, 31)) for n in range(30)}
    assert all(len(bodies) == 1 for bodies in receiver.bodies().values())
    assert await bench.committed() == 900
    assert first.states["crm"] == second.states["crm"] == ["active"]  # a hand-over is no failure


class Faulty(Connector):
    """A connector with a bug that shows once."""

    def __init__(self, sound: Connector) -> None:
        self._sound = sound
        self.endpoint = sound.endpoint
        self.deliveries = 0

    @property
    def hidden(self) -> Sequence[str]:
        return self._sound.hidden

    def deliver(self, changes: Sequence[Change], now: float) -> Steps:
        self.deliveries += 1
        if self.deliveries == 5:
            raise ZeroDivisionError
        return (yield from self._sound.deliver(changes, now))

    def rehearse(self, request: Request) -> Response:
        return self._sound.rehearse(request)


async def test_a_bug_in_one_platform_stops_only_its_destination_and_only_for_a_while(bench: Bench) -> None:
    """It is started again from its last commit, and nothing is lost."""
    await bench.write([value(f"c{n}", 1) for n in range(10)])
    metrics, stop = Metrics(), asyncio.Event()
    async with receiving() as receiver:
        destinations = load(f"destinations:\n  crm: {{{options(receiver)}}}\n  other: {{{options(receiver)}}}")
        connectors = dict(connect(destinations, {"SECRET": SECRET}, "test"))
        connectors["crm"] = Faulty(connectors["crm"])
        running = asyncio.create_task(
            deliver(DeliverySettings(**bench.settings), destinations, connectors, metrics, stop)
        )
        await metrics.until(lambda: metrics.ended("other") == 10 and "restarting" in metrics.states["crm"])
        await receiver.until(lambda: len({received.id for received in receiver.received}) == 10)
        await metrics.until(lambda: metrics.states["crm"][-1] == "active" and metrics.ended("crm") >= 10)
        stop.set()
        await running
    assert metrics.states["other"] == ["active"]
    assert await bench.committed("crm") == await bench.committed("other") == 10


async def test_a_new_destination_may_begin_with_the_next_change(bench: Bench) -> None:
    """`start: latest`."""
    await bench.write([value("old", 1)])
    metrics = Metrics()
    async with (
        receiving() as receiver,
        bench.delivering(metrics=metrics, crm=options(receiver, "start: latest")),
    ):
        await bench.begun()
        await bench.write([value("new", 1)])
        await metrics.until(lambda: metrics.ended() == 1)
    assert sequences(receiver.received) == {"new": [1]}


async def test_missing_topics_and_secrets_end_the_start(broker: Broker) -> None:
    """With one clear line, before anything is sent."""
    destinations = load(f"destinations: {{crm: {{{options('http://127.0.0.1:9/x')}}}}}")
    settings = DeliverySettings(**Bench(broker).settings)
    with pytest.raises(DestinationsUnusable, match=r"topics do not exist: changes-.*, dead-.*, del.*, red.*, states-"):
        await run(settings, destinations, Metrics(), environ={"SECRET": SECRET}, stop=asyncio.Event())
    with pytest.raises(DestinationsUnusable, match="the environment variable SECRET is not set"):
        await run(settings, destinations, Metrics(), environ={}, stop=asyncio.Event())
