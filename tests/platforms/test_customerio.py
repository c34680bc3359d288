"""What is Customer.io's own: manual segments, batches cut by bytes, events with ULIDs, and its SDK as the oracle."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest
from customerio import CustomerIO as Client
from requests import PreparedRequest, Response
from requests.adapters import HTTPAdapter

from connectors.changes import Change
from connectors.platforms.customerio import Config, connect, event_id
from connectors.results import Outcome
from tests.platforms.changes import change, entered, exited
from tests.platforms.driver import Driver, driving
from tests.platforms.servers import PlatformServer, Recorded, status
from tests.platforms.servers.customerio import MAX_BATCH_BYTES, SEGMENT, ULID, CustomerIOServer

pytestmark = pytest.mark.parametrize("platform", ["customerio"])

EVENTS = {"cart": {"attribute": "cart_abandoned", "events": {"entered": "cart_abandoned"}}}


class Plain(HTTPAdapter):
    """The SDK insists on https; the local server has none."""

    def send(self, request: PreparedRequest, *args: Any, **kwargs: Any) -> Response:
        request.url = str(request.url).replace("https://", "http://", 1)
        return super().send(request, *args, **kwargs)


def sdk(server: PlatformServer) -> Client:
    host, _, port = server.url.removeprefix("http://").partition(":")
    credentials = (server.environ["CUSTOMERIO_SITE_ID"], server.environ["CUSTOMERIO_API_KEY"])
    client = Client(*credentials, host=host, port=int(port), retries=0)
    client.http.mount("https://", Plain())
    return client


def said(request: Recorded) -> tuple[Any, ...]:
    return (
        request.method,
        request.path,
        request.headers["authorization"],
        request.headers["content-type"],
        request.json,
    )


async def test_it_sends_what_the_sdk_sends(server: PlatformServer) -> None:
    """Attributes, an event and a deletion in a batch: method, path, credentials, content type and body."""
    (change_in,) = entered("c1", segment="cart")
    person = {"type": "person", "identifiers": {"id": "c1"}}
    event = {
        "action": "event",
        "name": "cart_abandoned",
        "id": event_id(change_in),
        "timestamp": 1_789_907_696,
        "attributes": {"segment": "cart", "change_id": change_in.id},
    }
    attributes = {"cart_value": 59.98, "cart_abandoned": True}
    client = sdk(server)
    await asyncio.to_thread(
        client.batch, [{**person, "action": "identify", "attributes": attributes}, {**person, **event}]
    )
    await asyncio.to_thread(client.batch, [{**person, "action": "delete"}])
    expected = [said(request) for request in server.requests]
    server.requests.clear()
    async with driving(server, segments=EVENTS) as driver:
        await driver.deliver([change_in])
        await driver.erase([change("c1", "", "erased")])
    assert [said(request) for request in server.requests] == expected


async def test_a_segment_is_these_requests(server: PlatformServer) -> None:
    """As the published OpenAPI text has them; the SDK has none."""
    async with driving(server, fields={}, identity={"email": "email"}) as driver:
        await driver.settle([*entered("c1", "c2"), *exited("c3")])
        assert [(request.method, request.path, request.body) for request in server.requests] == [
            (
                "POST",
                f"/api/v1/segments/{SEGMENT}/add_customers?id_type=email",
                b'{"ids":["c1@example.com","c2@example.com"]}',
            ),
            (
                "POST",
                f"/api/v1/segments/{SEGMENT}/remove_customers?id_type=email",
                b'{"ids":["c3@example.com"]}',
            ),
        ]


async def test_attributes_come_before_the_segment_and_their_refusal_ends_it(
    server: PlatformServer, driver: Driver
) -> None:
    server.refused.add("c2")
    results = await driver.deliver(entered("c1", "c2"))
    assert [result.outcome for result in results] == [Outcome.DELIVERED, Outcome.REFUSED]
    assert results[1].reason == "invalid: id: id is not acceptable"
    assert [request.path.partition("?")[0] for request in server.requests] == [
        "/api/v2/batch",
        f"/api/v1/segments/{SEGMENT}/add_customers",
    ]
    assert server.requests[1].json == {"ids": ["c1"]}


async def test_a_batch_stays_below_its_bytes(server: PlatformServer) -> None:
    """1,000 people of 3 KB each are seven requests, and every change has its own result."""
    async with driving(server, fields={"note": "note"}) as driver:
        people = [change(f"c{number}", "cart", note=f"{number} " + "n" * 3_000) for number in range(1_000)]
        server.refused.add("c700")
        results = await driver.deliver(people)
        sizes = [len(request.body) for request in server.requests]
        assert len(sizes) == 7 and max(sizes) < MAX_BATCH_BYTES
        refused = {
            one.customer_id for one, result in zip(people, results, strict=True) if result.outcome != "delivered"
        }
        assert refused == {"c700"}
        assert len(cast(CustomerIOServer, server).people) == 999


async def test_what_is_too_large_is_refused_alone(server: PlatformServer) -> None:
    async with driving(server, fields={"note": "note"}) as driver:
        results = await driver.settle([change("c1", "cart", note="n" * 33_000), *entered("c2", segment="cart")])
        assert [(result.outcome, result.reason) for result in results] == [
            (Outcome.REFUSED, "too_large"),
            (Outcome.DELIVERED, ""),
        ]


async def test_an_event_that_comes_twice_is_one(server: PlatformServer) -> None:
    async with driving(server, segments=EVENTS) as driver:
        for _ in range(2):
            await driver.settle(entered("c1", "c2", segment="cart"))
        events = cast(CustomerIOServer, server).events
        assert sorted(event["identifiers"]["id"] for event in events.values()) == ["c1", "c2"]
        await driver.settle([change("c3", "cart", origin="resync")])
        assert len(events) == 2 and server.members("cart") == {"c1", "c2", "c3"}


def test_an_events_id_is_a_ulid_of_its_instant(platform: str) -> None:
    """48 bits of milliseconds, then 80 bits that the change's id decides."""
    first, second = event_id(change("c1")), event_id(change("c2"))
    assert ULID.fullmatch(first) and first == event_id(change("c1")) and first != second
    assert first[:10] == second[:10]
    alphabet = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
    milliseconds = 0
    for letter in first[:10]:
        milliseconds = milliseconds * 32 + alphabet.index(letter)
    assert milliseconds == 1_789_907_696_789


@pytest.mark.parametrize(
    ("body", "outcomes"),
    [
        ({"errors": [{"batch_index": 1, "reason": "bad"}]}, [Outcome.RETRY, Outcome.REFUSED]),
        ({"errors": [{"reason": "bad"}]}, [Outcome.SPLIT, Outcome.SPLIT]),
        ({"errors": ["bad"]}, [Outcome.SPLIT, Outcome.SPLIT]),
    ],
)
async def test_a_400_refuses_whom_it_names_and_else_is_halved(
    server: PlatformServer, driver: Driver, body: object, outcomes: list[Outcome]
) -> None:
    server.fail(status(400, body))
    results = await driver.deliver(entered("c1", "c2", segment="cart"))
    assert [result.outcome for result in results] == outcomes
    assert results[0].outcome is not Outcome.RETRY or results[0].after == 0


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"errors": []}, [(Outcome.SPLIT, "http_207")] * 2),
        ({"errors": [{"message": "odd"}]}, [(Outcome.SPLIT, "odd")] * 2),
        ({"errors": [{"batch_index": 0}, "odd"]}, [(Outcome.REFUSED, "invalid"), (Outcome.RETRY, "odd")]),
        ({"errors": [{"batch_index": 0}, {"batch_index": 1}]}, [(Outcome.REFUSED, "invalid")] * 2),
        ({"errors": [{"batch_index": 1, "reason": "late"}]}, [(Outcome.DELIVERED, ""), (Outcome.REFUSED, "late")]),
        ({}, [(Outcome.RETRY, "unreadable_answer")] * 2),
    ],
)
async def test_a_207_is_read_to_the_item(
    server: PlatformServer, driver: Driver, body: object, expected: list[tuple[Outcome, str]]
) -> None:
    server.fail(status(207, body))
    results = await driver.deliver(entered("c1", "c2", segment="cart"))
    assert [(result.outcome, result.reason) for result in results] == expected


async def test_two_operations_of_one_customer_are_not_to_be_halved(server: PlatformServer) -> None:
    """A customer with an attribute and an event is one change: refused, not split for ever."""
    async with driving(server, segments=EVENTS) as driver:
        for answer in (status(400, {"errors": [{"reason": "bad"}]}), status(207, {"errors": [{"reason": "bad"}]})):
            server.fail(answer)
            assert [r.outcome for r in await driver.deliver(entered("c1", segment="cart"))] == [Outcome.REFUSED]


async def test_a_segment_that_is_not_there_pauses(server: PlatformServer) -> None:
    async with driving(server, segments={"vip": {"segment": 8}}, fields={}) as driver:
        results = await driver.settle(entered("c1", "c2"))
        assert {(result.outcome, result.reason) for result in results} == {(Outcome.PAUSE, "segment_refused")}


async def test_suppression_refuses_what_comes_later(server: PlatformServer) -> None:
    async with driving(server, erasure="suppress") as driver:
        await driver.settle(entered("c1", "c2"))
        await driver.erase([change("c1", "", "erased")])
        assert server.requests[-1].json["batch"][0]["action"] == "suppress"
        await driver.settle(entered("c1", sequence=5))
        assert server.members("vip") == {"c2"}


async def test_the_region_decides_the_host(server: PlatformServer) -> None:
    options = {name: value for name, value in server.options().items() if name != "base_url"}
    for region, host in (("us", "https://track.customer.io"), ("eu", "https://track-eu.customer.io")):
        assert connect(Config.model_validate({**options, "region": region}), server.environ, "test").endpoint == host


def test_a_batch_of_one_kind_shares_a_group(platform: str) -> None:
    config = Config.model_validate(
        {
            "platform": "customerio",
            "site_id": {"env": "S"},
            "api_key": {"env": "K"},
            "segments": {"vip": {"segment": 7}, "cart": {"attribute": "a"}, "new": {"attribute": "b"}},
        }
    )
    connector = connect(config, {"S": "s", "K": "k"}, "test")

    def groups(*changes: Change) -> set[str]:
        return {connector.group(change) for change in changes}

    assert config.batch_size == 1_000
    assert len(groups(*entered("c1"), *exited("c2"))) == 2
    assert len(groups(*entered("c1", segment="cart"), *exited("c2", segment="new"))) == 1


def test_its_options_say_what_is_wrong(platform: str) -> None:
    plain: dict[str, Any] = {
        "platform": "customerio",
        "site_id": {"env": "S"},
        "api_key": {"env": "K"},
        "segments": {"vip": {"segment": 7}},
    }
    Config.model_validate(plain)
    wrong: list[dict[str, Any]] = [
        {"batch_size": 1_001},
        {"segments": {"vip": {}}},
        {"segments": {"vip": {"segment": 0}}},
        {"identity": {"external_id": None}},
        {"region": "asia"},
        {"erasure": "archive"},
    ]
    for more in wrong:
        with pytest.raises(ValueError):
            Config.model_validate({**plain, **more})
