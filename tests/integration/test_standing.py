"""Laws of how a destination stands: tokens, orders, being gone for good, and customers who are to be forgotten."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from types import MappingProxyType
from typing import Any

import pytest

from connectors.answers import judge, result
from connectors.changes import Change
from connectors.delivery import DeliverySettings, deliver
from connectors.destinations import load
from connectors.exchange import Request, Response, Steps
from connectors.platforms import Connector
from connectors.rates import Window
from connectors.results import DELIVERED, Outcome
from schemas.deliveries import DestinationState
from schemas.rejections import DeadLetter
from tests.integration.conftest import Broker
from tests.integration.delivering import SECRET, Bench, Metrics, options, value
from tests.receiver import Answer, Received, Receiver, receiving, sequences


@pytest.fixture
async def bench(broker: Broker) -> Bench:
    return await Bench(broker).create()


class Club(Connector):
    """A platform with tokens, a list per segment and direction, and a deletion call: what webhooks have not."""

    limits = MappingProxyType({"token": (Window(1000, 1.0),), "list": (Window(1000, 1.0),)})

    def __init__(self, url: str) -> None:
        self.url = url
        self.endpoint = "club"
        self.account = url
        self.token = ""
        self.preparations = 0

    @property
    def hidden(self) -> Sequence[str]:
        return (SECRET, self.token)

    def group(self, change: Change) -> str:
        return f"{change.segment}/{change.action}"

    def prepare(self, now: float) -> Steps | None:
        return None if self.token else self._get_token(now)

    def _get_token(self, now: float) -> Steps:
        self.preparations += 1
        request = self._request("token", "token", [{"secret": SECRET}])
        (answer,) = yield (request,)
        if isinstance(answer, Response) and answer.status == 200:
            self.token = answer.body.decode()
            return [DELIVERED]
        return [judge(request, answer, now)]

    def deliver(self, changes: Sequence[Change], now: float) -> Steps:
        return self._send("list", self.group(changes[0]), changes, now)

    def erase(self, customers: Sequence[Change], now: float) -> Steps:
        return self._send("list", "erase", customers, now)

    def _send(self, limit: str, what: str, changes: Sequence[Change], now: float) -> Steps:
        request = self._request(limit, what, [json.loads(change.raw) for change in changes])
        (answer,) = yield (request,)
        if isinstance(answer, Response) and answer.status == 401:
            self.token = ""
            return [result(Outcome.RENEW, request, answer, now)] * len(changes)
        return [judge(request, answer, now, len(changes))] * len(changes)

    def _request(self, limit: str, what: str, data: Any) -> Request:
        body = json.dumps({"what": what, "data": data}).encode()
        return Request("POST", self.url, {"webhook-id": what, "token": self.token}, body, limit)

    def rehearse(self, request: Request) -> Response:
        return Response(204, {}, b"")


def what(received: Received) -> str:
    return str(json.loads(received.body)["what"])


@asynccontextmanager
async def club(bench: Bench, receiver: Receiver, metrics: Metrics, *more: str) -> AsyncIterator[Club]:
    """A deliverer that sends to a club."""
    made, stop = Club(receiver.url), asyncio.Event()
    destinations = load(f"destinations: {{crm: {{{options(receiver, *more)}}}}}")
    running = asyncio.create_task(
        deliver(DeliverySettings(**bench.settings), destinations, {"crm": made}, metrics, stop)
    )
    try:
        yield made
    finally:
        stop.set()
        await running


async def test_a_token_is_got_once_and_renewed_when_it_is_no_longer_taken(bench: Bench) -> None:
    """Everything that met the old one is sent again at once, and nobody takes it for a failure."""
    valid, issued = "", 0

    def guarded(received: Received) -> Answer:
        nonlocal valid, issued
        if what(received) == "token":
            issued += 1
            valid = f"t{issued}"
            return Answer(200, {}, valid.encode())
        return Answer(204 if received.headers["token"] == valid else 401)

    metrics = Metrics()
    async with receiving(guarded) as receiver, club(bench, receiver, metrics, "retry_base: 30"):
        await bench.write([value(f"c{n}", 1) for n in range(40)])
        await metrics.until(lambda: metrics.ended() == 40)
        assert issued == 1
        valid = "expired"
        await bench.write([value(f"c{n}", 2) for n in range(40)])
        await metrics.until(lambda: metrics.ended() == 80)
    assert issued == 2
    assert sequences(r for r in receiver.accepted if what(r) != "token") == {f"c{n}": [1, 2] for n in range(40)}
    assert metrics.states["crm"] == ["active"]


async def test_a_new_token_that_is_not_taken_either_pauses_the_destination(bench: Bench) -> None:
    """It asks for no third at once; nothing is lost, and it goes on by itself."""
    locked = True

    def guarded(received: Received) -> Answer:
        if what(received) == "token":
            return Answer(200, {}, b"t")
        return Answer(401 if locked else 204)

    metrics = Metrics()
    async with receiving(guarded) as receiver, club(bench, receiver, metrics) as made:
        await bench.write([value("ann", 1)])
        await metrics.until(lambda: metrics.states["crm"][-1:] == ["http_401"])
        assert made.preparations == 2
        locked = False
        await metrics.until(lambda: metrics.ended() == 1)
    assert metrics.states["crm"] == ["active", "http_401", "active"]
    assert metrics.outcomes["crm"]["dead_lettered"] == 0


async def test_credentials_that_give_no_token_pause_the_destination(bench: Bench) -> None:
    """And no dead letter ever holds the request that bore them."""
    locked = True

    def guarded(received: Received) -> Answer:
        if what(received) == "token":
            return Answer(403 if locked else 200, {}, b"" if locked else b"t")
        return Answer(422)

    metrics = Metrics()
    async with receiving(guarded) as receiver, club(bench, receiver, metrics):
        await bench.write([value("ann", 1)])
        await metrics.until(lambda: metrics.states["crm"][-1:] == ["http_403"])
        locked = False
        await metrics.until(lambda: metrics.ended() == 1)
    (written,) = await bench.read("dead_letters")
    letter = DeadLetter.model_validate_json(written)
    assert letter.request and letter.request.url == receiver.url
    assert json.loads(letter.request.body)["what"] == "vip/entered"
    assert SECRET.encode() not in written


async def test_a_parcel_is_of_one_group(bench: Bench) -> None:
    """One list and one direction to a request, and requests for each fill by themselves."""
    await bench.write([value(f"c{n}", 1 + n % 2, segment=f"s{n % 3}") for n in range(120)])

    def welcome(received: Received) -> Answer:
        return Answer(200, {}, b"t")

    metrics = Metrics()
    async with (
        receiving(welcome) as receiver,
        club(bench, receiver, metrics, "batch_size: 10", "batch_wait: 0.5"),
    ):
        await metrics.until(lambda: metrics.ended() == 120)
    parcels = [one for one in receiver.received if what(one) != "token"]
    for one in parcels:
        assert {f"{change['segment']}/{change['action']}" for change in one.changes} == {what(one)}
    assert {what(one) for one in parcels} == {f"s{n}/{action}" for n in range(3) for action in ("entered", "exited")}
    assert len(parcels) <= 24


async def test_a_customer_who_is_to_be_forgotten_is_deleted_after_what_was_sent(bench: Bench) -> None:
    """What waited is not sent any more; what comes later is, though it is numbered anew; nobody can replay what was
    before, after a restart either.
    """
    gate = asyncio.Event()

    async def slow(received: Received) -> Answer:
        if what(received) == "vip/entered" and received.changes[0]["customer_id"] == "ann":
            await gate.wait()
        return Answer(200, {}, b"t")

    old = value("ann", 7)
    metrics, again = Metrics(), Metrics()
    async with receiving(slow) as receiver:
        async with club(bench, receiver, metrics):
            await bench.write([value("ann", 5, segment="anew")])
            await metrics.until(lambda: metrics.ended() == 1)
            await bench.write([old])
            await receiver.until(lambda: any(what(one) == "vip/entered" for one in receiver.received))
            await bench.write([value("ann", 8), value("ann", 9, segment="other")])
            await bench.write_erasure("ann")
            await bench.write([value("ann", 1, segment="anew", at="2026-01-02T05:00:00Z")])
            await bench.write([value("bob", 1)])
            await metrics.until(lambda: metrics.outcomes["crm"]["superseded"] == 2)
            gate.set()
            await metrics.until(lambda: metrics.ended() == 7)
        async with club(bench, receiver, again):
            await bench.redeliver(old)
            await again.until(lambda: again.ended() == 1)
    sent = [what(one) for one in receiver.received if what(one) != "token" and one.changes[0]["customer_id"] == "ann"]
    assert sent == ["anew/entered", "vip/entered", "erase", "anew/entered"]
    erased = next(one for one in receiver.received if what(one) == "erase")
    assert erased.changes[0]["profile"] == {"email": "ann@example.com"}
    assert again.outcomes["crm"] == {"superseded": 1}
    told = Counter(receipt.status for receipt in await bench.receipts())
    assert told == {"delivered": 4, "superseded": 3, "erased": 1}


async def test_an_erasure_for_which_no_token_was_to_be_had_is_known_all_the_same(bench: Bench) -> None:
    """It is given up, and who comes back is numbered anew."""
    closed = False

    def answer(received: Received) -> Answer:
        return Answer(503 if closed and what(received) == "token" else 200, {}, b"t")

    metrics = Metrics()
    async with (
        receiving(answer) as receiver,
        club(bench, receiver, metrics, "retry_base: 0.01", "retry_horizon: 0.1") as made,
    ):
        await bench.write([value("ann", 7)])
        await metrics.until(lambda: metrics.ended() == 1)
        made.token, closed = "", True
        await bench.write_erasure("ann")
        await metrics.until(lambda: metrics.ended() == 2)
        closed = False
        await bench.write([value("ann", 1)])
        await metrics.until(lambda: metrics.ended() == 3)
    assert metrics.outcomes["crm"]["dead_lettered"] == 1
    assert metrics.outcomes["crm"]["delivered"] == 2


async def states(bench: Bench) -> Mapping[str, DestinationState | None]:
    """The last record under each key."""
    found: dict[str, DestinationState | None] = {}
    for key, written in await bench.keyed("destination_states"):
        found[key] = None if written is None else DestinationState.model_validate_json(written)
    return found


async def test_a_receiver_that_is_gone_for_good_is_left_alone_until_somebody_enables_it(bench: Bench) -> None:
    """Also after a restart, and without a probe; nothing is lost."""
    gone = True

    def behaviour(_: Received) -> Answer:
        return Answer(410 if gone else 204)

    first, second = Metrics(), Metrics()
    async with receiving(behaviour) as receiver:
        async with bench.delivering(metrics=first, crm=options(receiver, "concurrency: 1")):
            await bench.write([value(f"c{n}", 1) for n in range(10)])
            await first.until(lambda: first.states["crm"] == ["active", "http_410"])
        asked = len(receiver.received)
        stood = (await states(bench))["crm"]
        assert stood and (stood.state, stood.reason, stood.by) == ("disabled", "http_410", "deliverer")
        gone = False
        async with bench.delivering(metrics=second, crm=options(receiver)):
            await second.until(lambda: second.pendings and second.pendings[-1] == 10)
            assert (len(receiver.received), second.states["crm"][-1]) == (asked, "http_410")
            await bench.order("active")
            await second.until(lambda: second.ended() == 10)
    assert asked == 1
    assert second.states["crm"] == ["active", "http_410", "active"]
    assert sequences(receiver.accepted) == {f"c{n}": [1] for n in range(10)}


async def test_an_operator_s_word_is_obeyed_and_every_replica_says_how_it_stands(bench: Bench) -> None:
    """Paused means that nothing leaves, and active that everything may, whatever had closed the valve."""
    locked = True

    def guarded(_: Received) -> Answer:
        return Answer(401 if locked else 204)

    metrics = Metrics()
    async with (
        receiving(guarded) as receiver,
        bench.delivering(metrics=metrics, changed={"replica": "r1", "state_interval": 0.2}, crm=options(receiver)),
    ):
        await bench.write([value("ann", 1)])
        await metrics.until(lambda: metrics.states["crm"][-1:] == ["http_401"])
        await bench.order("paused")
        await metrics.until(lambda: metrics.states["crm"][-1:] == ["operator"])
        asked = len(receiver.received)
        async with asyncio.timeout(10):
            while (stood := (await states(bench)).get("crm/r1")) is None or stood.reason != "operator":  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        repeated = stood.at
        async with asyncio.timeout(10):
            while (stood := (await states(bench))["crm/r1"]) is None or stood.at == repeated:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        assert (stood.state, stood.by, stood.replica) == ("paused", "deliverer", "r1")
        await bench.write([value("bob", 1)])
        locked = False
        await metrics.until(lambda: metrics.pendings and metrics.pendings[-1] == 2)
        assert len(receiver.received) == asked
        await bench.order("active")
        await metrics.until(lambda: metrics.ended() == 2)
    assert metrics.states["crm"] == ["active", "http_401", "operator", "active"]
    assert (await states(bench))["crm/r1"] is None


async def test_a_dead_letter_holds_what_was_sent_without_its_secrets(bench: Bench) -> None:
    """Method, address and the beginning of the body; no headers."""
    await bench.write([value("ann", 1, note="x" * 5_000)])
    metrics = Metrics()
    async with (
        receiving(lambda _: Answer(400, {}, b"no")) as receiver,
        bench.delivering(metrics=metrics, crm=options(receiver)),
    ):
        await metrics.until(lambda: metrics.ended() == 1)
    (written,) = await bench.read("dead_letters")
    letter = DeadLetter.model_validate_json(written)
    assert letter.request is not None
    assert (letter.request.method, len(letter.request.body)) == ("POST", 2_000)
    assert letter.request.body.startswith('{"type":"segment.entered"')
    assert letter.request.url.startswith("http://127.0.0.1:") and "T0PS3CRETPATH" not in written.decode()
    assert b"webhook-signature" not in written and b"user-agent" not in written
