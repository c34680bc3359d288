"""What is Braze's own: attributes, arrays and events of `/users/track`, and errors that point into them."""

from __future__ import annotations

from typing import Any, cast

import pytest

from connectors.platforms.braze import INSTANCES, Config, Target
from connectors.results import Outcome
from connectors.retry import wait_asked
from tests.platforms.changes import NOW, change, entered, exited
from tests.platforms.driver import Driver, driving
from tests.platforms.servers import PlatformServer, garbage, status
from tests.platforms.servers.braze import BrazeServer

pytestmark = pytest.mark.parametrize("platform", ["braze"])

BOTH = {"vip": {"attribute": "is_vip", "array": "live", "value": "VIP", "events": {"entered": "became_vip"}}}


async def test_a_change_is_these_bytes(server: PlatformServer, driver: Driver) -> None:
    await driver.deliver([*entered("c1"), *exited("c2", segment="cart")])
    (request,) = server.requests
    assert (request.method, request.path) == ("POST", "/users/track")
    assert request.headers["content-type"] == "application/json"
    assert request.body == (
        b'{"attributes":[{"external_id":"c1","cart_value":59.98,"is_vip":true},'
        b'{"external_id":"c2","cart_value":59.98,"live_segments":{"remove":["cart"]}}]}'
    )


async def test_an_event_comes_besides_only_where_it_is_asked_for(server: PlatformServer) -> None:
    async with driving(server, segments=BOTH, fields={}, identity={"email": "email"}) as driver:
        (change_in,) = entered("c1")
        await driver.deliver([change_in, *exited("c2")])
        assert server.requests[0].json == {
            "attributes": [
                {"email": "c1@example.com", "is_vip": True, "live": {"add": ["VIP"]}},
                {"email": "c2@example.com", "is_vip": False, "live": {"remove": ["VIP"]}},
            ],
            "events": [
                {
                    "email": "c1@example.com",
                    "name": "became_vip",
                    "time": "2026-09-20T12:34:56.789012Z",
                    "properties": {"segment": "vip", "change_id": change_in.id},
                }
            ],
        }


async def test_what_is_sent_by_a_resync_is_no_event(server: PlatformServer) -> None:
    events_only = {"vip": {"events": {"entered": "became_vip"}}}
    async with driving(server, segments=events_only, fields={}) as driver:
        (live, again) = await driver.deliver([change("c1"), change("c2", origin="resync")])
        assert (live.outcome, again.outcome) == (Outcome.DELIVERED, Outcome.DELIVERED)
        assert [event["external_id"] for event in cast(BrazeServer, server).events] == ["c1"]
        assert [result.outcome for result in await driver.deliver([change("c2", origin="resync")])] == [
            Outcome.DELIVERED
        ]
        assert len(server.requests) == 1, "nothing to say, nothing sent"


async def test_a_request_has_no_more_objects_than_the_limit(server: PlatformServer) -> None:
    async with driving(server, segments=BOTH, batch_size=75) as driver:
        results = await driver.deliver(entered(*(f"c{number}" for number in range(75))))
        assert {result.outcome for result in results} == {Outcome.DELIVERED}
        objects = [sum(len(of) for of in request.json.values()) for request in server.requests]
        assert objects == [74, 74, 2]


async def test_a_refused_event_refuses_its_change_alone(server: PlatformServer) -> None:
    """`index` counts within `input_array`: the second event belongs to the third customer."""
    async with driving(server, segments=BOTH) as driver:
        error = {"type": "'name' is not valid", "input_array": "events", "index": 1}
        server.fail(status(201, {"message": "success", "errors": [error]}))
        results = await driver.deliver([*entered("c1"), *exited("c2"), *entered("c3")])
        assert [result.outcome for result in results] == [Outcome.DELIVERED, Outcome.DELIVERED, Outcome.REFUSED]
        assert results[2].reason == "'name' is not valid"


@pytest.mark.parametrize("error", ["sorry", {"type": "odd"}, {"input_array": "events", "index": 0}, {"index": 9}])
async def test_an_error_that_points_nowhere_is_found_by_halves(
    server: PlatformServer, driver: Driver, error: object
) -> None:
    answer = status(201, {"message": "success", "errors": [error]})
    server.fail(answer, answer)
    assert {result.outcome for result in await driver.deliver(entered("c1", "c2"))} == {Outcome.SPLIT}
    assert {result.outcome for result in await driver.deliver(entered("c1"))} == {Outcome.REFUSED}


async def test_errors_of_both_kinds(server: PlatformServer, driver: Driver) -> None:
    """Whom it names is refused; the others are asked for again, a single one at once."""
    said = {"type": "bad", "input_array": "attributes", "index": 0}
    server.fail(status(200, {"message": "success", "errors": [said, "odd"]}))
    results = await driver.deliver(entered("c1", "c2"))
    assert [(one.outcome, one.after) for one in results] == [(Outcome.REFUSED, None), (Outcome.RETRY, 0.0)]
    server.fail(status(200, {"message": "success", "errors": ["odd", said]}))
    assert [one.reason for one in await driver.deliver(entered("c1"))] == ["bad"]


async def test_a_batch_that_is_all_bad_is_refused_item_by_item(server: PlatformServer, driver: Driver) -> None:
    """Braze answers 400 then, and still names the items."""
    server.refused |= {"c1", "c2"}
    results = await driver.settle(entered("c1", "c2"))
    assert {result.outcome for result in results} == {Outcome.REFUSED}
    assert len(server.requests) == 1


async def test_queued_for_maintenance_is_delivered(server: PlatformServer, driver: Driver) -> None:
    server.fail(status(202, {"message": "queued"}))
    assert [result.outcome for result in await driver.deliver(entered("c1"))] == [Outcome.DELIVERED]


@pytest.mark.parametrize(
    ("headers", "wait"),
    [
        ({"x-ratelimit-remaining": "0", "x-ratelimit-reset": str(int(NOW) + 9)}, 9.0),
        ({"x-ratelimit-remaining": "0", "x-ratelimit-reset": "3"}, 3.0),
        ({"x-ratelimit-retry-after": "40", "x-ratelimit-remaining": "0", "x-ratelimit-reset": "3"}, 40.0),
    ],
)
async def test_its_three_ways_to_say_how_long(
    server: PlatformServer, driver: Driver, headers: dict[str, str], wait: float
) -> None:
    assert wait_asked(headers, NOW) == wait
    server.fail(status(429, {"message": "slow down"}, **headers))
    assert [result.after for result in await driver.deliver(entered("c1"))] == [wait]


async def test_a_field_that_the_customer_has_not_removes_the_attribute(server: PlatformServer, driver: Driver) -> None:
    await driver.deliver(entered("c1"))
    await driver.deliver([change("c1", sequence=2, profile={})])
    assert cast(BrazeServer, server).users["c1"] == {"is_vip": True}


async def test_update_existing_only_creates_nobody(server: PlatformServer) -> None:
    async with driving(server, update_existing_only=True) as driver:
        assert [result.outcome for result in await driver.deliver(entered("c1"))] == [Outcome.DELIVERED]
        assert cast(BrazeServer, server).users == {}


async def test_no_more_than_fifty_are_deleted_at_once(server: PlatformServer, driver: Driver) -> None:
    erasures = [change(f"c{number}", "", "erased") for number in range(120)]
    assert {result.outcome for result in await driver.erase(erasures)} == {Outcome.DELIVERED}
    assert [len(request.json["external_ids"]) for request in server.requests] == [50, 50, 20]
    assert len(server.erased) == 120


async def test_who_is_known_by_address_is_deleted_by_it(server: PlatformServer) -> None:
    async with driving(server, identity={"email": "email"}) as driver:
        await driver.erase([change("c1", "", "erased")])
        assert server.requests[0].json == {"email_addresses": ["c1@example.com"]}


async def test_an_answer_that_was_cut_is_asked_for_in_halves(server: PlatformServer, driver: Driver) -> None:
    server.fail(garbage(b'{"message":"success","errors":[' + b" " * 1_100_000))
    assert {result.outcome for result in await driver.deliver(entered("c1", "c2"))} == {Outcome.SPLIT}


def test_its_options_say_what_is_wrong(platform: str) -> None:
    plain = {"platform": "braze", "api_key": {"env": "K"}, "segments": {"vip": {"attribute": "is_vip"}}}
    assert (Config.model_validate(plain).instance, Config.model_validate(plain).batch_size) == ("US-01", 50)
    wrong: list[dict[str, Any]] = [
        {"instance": "EU-99"},
        {"segments": {}},
        {"segments": {"vip": {}}},
        {"segments": {"vip": {"value": "x"}}},
        {"segments": {"vip": {"attribute": "external_id"}}},
        {"fields": {"email": "external_id"}},
        {"batch_size": 76},
        {"batch_size": 1, "segments": BOTH},
        {"identity": {"external_id": None}},
        {"base_url": "http://rest.example.com"},
        {"api_key": "inline"},
    ]
    for more in wrong:
        with pytest.raises(ValueError):
            Config.model_validate({**plain, **more})


def test_every_instance_has_its_host(platform: str) -> None:
    assert len(INSTANCES) == 15
    assert INSTANCES["EU-02"] == "https://rest.fra-02.braze.eu"
    assert INSTANCES["US-10"] == "https://rest.us-10.braze.com"
    assert INSTANCES["US-08"] == "https://rest.iad-08.braze.com"
    assert INSTANCES["AU-01"] == "https://rest.au-01.braze.com"
    assert not Target(attribute="a").events
