"""What is Iterable's own: one identifier per project, bulk endpoints only, failures by user, and its Swagger file."""

from __future__ import annotations

import re
from typing import Any, cast

import pytest
from aiohttp import ClientSession
from jsonschema import ValidationError
from yarl import URL

from connectors.platforms.iterable import MAX_BYTES, Config, connect
from connectors.rates import Window
from connectors.results import Outcome
from tests.platforms.changes import change, entered, exited
from tests.platforms.driver import Driver, driving
from tests.platforms.servers import PlatformServer, status
from tests.platforms.servers.iterable import LIST, IterableServer
from tests.platforms.specs import Spec

pytestmark = pytest.mark.parametrize("platform", ["iterable"])

BY_ID = {"email": None, "external_id": "customer_id"}


async def test_a_change_is_these_requests(server: PlatformServer, driver: Driver) -> None:
    await driver.deliver(entered("c1", "c2"))
    bodies = {(request.method, request.path): request.body for request in server.requests}
    assert bodies == {  # both at once
        ("POST", "/api/users/bulkUpdate"): (
            b'{"users":[{"email":"c1@example.com","dataFields":{"cartValue":59.98}},'
            b'{"email":"c2@example.com","dataFields":{"cartValue":59.98}}]}'
        ),
        ("POST", "/api/lists/subscribe"): (
            b'{"listId":4711,"subscribers":[{"email":"c1@example.com"},{"email":"c2@example.com"}]}'
        ),
    }


async def test_requests_and_answers_are_as_the_swagger_file_has_them(server: PlatformServer) -> None:
    """Every request that can be sent, against closed objects; and what the local server answers to it."""
    spec = Spec("iterable/api-docs.json")
    everything = {
        "segments": {
            "vip": {"list": LIST, "field": "is_vip"},
            "cart": {"field": "cart_abandoned", "events": {"entered": "cartAbandoned"}},
        },
        "update_existing_only": True,
        "prefer_user_id": True,
    }
    seen = set()
    for more in (
        {},
        {**everything, "identity": BY_ID},
        {"erasure": "forget"},
        {"identity": BY_ID, "erasure": "forget"},
    ):
        async with driving(server, **more) as driver, ClientSession() as session:
            server.refused.add("c9")
            await driver.settle([*entered("c1", "c9"), *exited("c2"), *entered("c3", segment="cart")])
            await driver.erase([change("c1", "", "erased")])
            await driver.ping()
            for request in driver.sent:
                path = spec.check_request(request.method, request.url, request.body)
                seen.add((request.method, path))
                assert request.limit in driver.connector.limits
                async with session.request(
                    request.method, URL(request.url, encoded=True), data=request.body, headers=request.headers
                ) as answer:
                    if answer.status == 200:
                        spec.check_answer(request.method, request.url, 200, await answer.read())
    assert seen == {
        ("POST", "/api/lists/subscribe"),
        ("POST", "/api/lists/unsubscribe"),
        ("POST", "/api/users/bulkUpdate"),
        ("POST", "/api/users/forget"),
        ("POST", "/api/events/trackBulk"),
        ("DELETE", "/api/users/{email}"),
        ("DELETE", "/api/users/byUserId/{userId}"),
        ("GET", "/api/lists"),
    }


def test_the_swagger_file_judges(platform: str) -> None:
    """A misspelt field, an unknown parameter and an unknown operation are seen."""
    spec = Spec("iterable/api-docs.json")
    url = "https://api.iterable.com/api/lists/subscribe"
    spec.check_request("POST", url, b'{"listId":1,"subscribers":[{"email":"a@b.c"}]}')
    for method, bad, body in (
        ("POST", url, b'{"listId":1,"subscribers":[{"e_mail":"a@b.c"}]}'),
        ("POST", url, b'{"listID":1,"subscribers":[]}'),
        ("POST", url + "?x=1", b'{"listId":1,"subscribers":[]}'),
        ("PUT", url, b'{"listId":1,"subscribers":[]}'),
    ):
        with pytest.raises((AssertionError, ValidationError)):
            spec.check_request(method, bad, body)


async def test_the_rates_are_those_of_the_swagger_file(server: PlatformServer, driver: Driver) -> None:
    spec = Spec("iterable/api-docs.json")
    published = {
        "users": spec.description("POST", "/api/users/bulkUpdate"),
        "events": spec.description("POST", "/api/events/trackBulk"),
        "delete": spec.description("DELETE", "/api/users/a@b.c"),
        "forget": spec.description("POST", "/api/users/forget"),
        "other": spec.description("GET", "/api/lists"),
    }
    for limit, text in published.items():
        (rate,) = re.findall(r"Rate limit</b>: ([0-9]+) requests/second", text)
        assert driver.connector.limits[limit][0] == Window(int(rate), 1.0), limit
    assert "4MB" in published["users"] and MAX_BYTES == 4_000_000
    (daily,) = re.findall(r"Daily Cap</b>: ([0-9]+) requests per 24 hour period", published["forget"])
    assert driver.connector.limits["forget"][1] == Window(int(daily), 86_400.0)


async def test_only_bulk_endpoints_are_used(server: PlatformServer, driver: Driver) -> None:
    """Also for one user: single updates would overtake or be overtaken."""
    await driver.settle([*entered("c1"), *exited("c1")])
    assert {request.path for request in server.requests} == {
        "/api/users/bulkUpdate",
        "/api/lists/subscribe",
        "/api/lists/unsubscribe",
    }


async def test_a_user_who_is_not_on_the_list_has_left_it(server: PlatformServer, driver: Driver) -> None:
    """`notFoundEmails` of an unsubscription is what we want; a forgotten user may not enter, but has left."""
    results = await driver.settle(exited("c1"))
    assert [result.outcome for result in results] == [Outcome.DELIVERED]
    async with driving(server, fields={}) as bare:
        cast(IterableServer, server).forgotten.add("c2@example.com")
        assert [result.outcome for result in await bare.settle(exited("c2"))] == [Outcome.DELIVERED]
        (result,) = await bare.settle(entered("c2", sequence=3))
        assert (result.outcome, result.reason) == (Outcome.REFUSED, "forgottenEmails")


async def test_users_are_named_whatever_the_case_of_their_address(server: PlatformServer) -> None:
    async with driving(server, fields={}) as driver:
        answer = {"successCount": 1, "failCount": 1, "failedUpdates": {"invalidEmails": ["c2@example.com"]}}
        server.fail(status(200, answer))
        results = await driver.deliver([change("c1"), change("c2", profile={"email": "C2@Example.com"})])
        assert [result.reason for result in results] == ["", "invalidEmails"]


async def test_failures_that_name_nobody_are_found_by_halves(server: PlatformServer) -> None:
    async with driving(server, fields={}) as driver:
        answer = status(200, {"successCount": 1, "failCount": 1})
        server.fail(answer, answer)
        assert {result.outcome for result in await driver.deliver(entered("c1", "c2"))} == {Outcome.SPLIT}
        assert {result.outcome for result in await driver.deliver(entered("c1"))} == {Outcome.REFUSED}


@pytest.mark.parametrize(
    ("answer", "outcome", "reason"),
    [
        (status(409, {"code": "GenericError", "msg": "contention"}), Outcome.RETRY, "http_409"),
        (status(413, {"code": "BatchTooLarge", "msg": ""}), Outcome.SPLIT, "http_413"),
        (status(400, {"code": "RequestFieldsTypesMismatched", "msg": "cartValue"}), Outcome.SPLIT, "http_400"),
        (status(400, {"code": "BadParams", "msg": "Invalid list id"}), Outcome.PAUSE, "list_refused"),
        (status(400, {"code": "BadParams", "msg": "List 4711 does not exist"}), Outcome.PAUSE, "list_refused"),
        (status(401, {"code": "BadApiKey", "msg": ""}), Outcome.PAUSE, "http_401"),
        (status(429, {"code": "RateLimitExceeded", "msg": ""}), Outcome.RETRY, "http_429"),
    ],
)
async def test_answers_to_a_whole_batch(server: PlatformServer, answer: Any, outcome: Outcome, reason: str) -> None:
    async with driving(server, fields={}) as driver:
        server.fail(answer)
        results = await driver.deliver(entered("c1", "c2"))
        assert {(result.outcome, result.reason) for result in results} == {(outcome, reason)}


async def test_a_single_user_that_is_refused_has_the_code_for_a_reason(server: PlatformServer) -> None:
    async with driving(server, fields={}) as driver:
        server.fail(status(400, {"code": "RequestFieldsTypesMismatched", "msg": ""}))
        assert [r.reason for r in await driver.deliver(entered("c1"))] == ["RequestFieldsTypesMismatched"]


async def test_what_one_request_refuses_the_other_does_not_make_good(server: PlatformServer, driver: Driver) -> None:
    """The field of c1 is refused, its list is not: the change is refused. The list's 500 goes first: both repeat."""
    failed = {"successCount": 1, "failCount": 1, "failedUpdates": {"invalidDataEmails": ["c1@example.com"]}}
    server.fail(status(200, failed), at="bulkUpdate")
    results = await driver.deliver(entered("c1", "c2"))
    assert [result.outcome for result in results] == [Outcome.REFUSED, Outcome.DELIVERED]
    server.fail(status(500), at="subscribe")
    assert {result.outcome for result in await driver.deliver(entered("c1", "c2"))} == {Outcome.RETRY}


async def test_an_event_that_comes_twice_is_one(server: PlatformServer) -> None:
    """The change's id is the event's; what a resync sends is none; a name that is not allowed pauses."""
    platform = cast(IterableServer, server)
    targets = {"vip": {"events": {"entered": "becameVip"}}}
    async with driving(server, segments=targets, fields={}) as driver:
        (live,) = entered("c1")
        for _ in range(2):
            results = await driver.deliver([live, change("c2", origin="resync"), *exited("c3")])
            assert {result.outcome for result in results} == {Outcome.DELIVERED}
        assert platform.events == {
            live.id: {
                "email": "c1@example.com",
                "eventName": "becameVip",
                "id": live.id,
                "createdAt": 1_789_907_696,
                "dataFields": {"segment": "vip"},
            }
        }
        count = len(server.requests)
        assert [r.outcome for r in await driver.deliver(exited("c3"))] == [Outcome.DELIVERED]
        assert len(server.requests) == count, "nothing to say, nothing sent"
        platform.disallowed.add("becameVip")
        (result,) = await driver.deliver(entered("c4"))
        assert (result.outcome, result.reason) == (Outcome.PAUSE, "event_disallowed")


async def test_only_known_users_where_it_is_asked_for(server: PlatformServer) -> None:
    async with driving(server, identity=BY_ID, fields={}, update_existing_only=True, prefer_user_id=True) as driver:
        (result,) = await driver.settle(entered("c1"))
        assert (result.outcome, result.reason) == (Outcome.REFUSED, "notFoundUserIds")
        assert server.requests[0].json == {
            "listId": LIST,
            "subscribers": [{"userId": "c1", "preferUserId": True}],
            "updateExistingUsersOnly": True,
        }


async def test_an_identifier_is_one_part_of_the_path(server: PlatformServer) -> None:
    """Deleting `a/b` deletes nobody else, and `..` no collection of users."""
    async with driving(server, identity=BY_ID) as driver:
        results = await driver.erase([change(user, "", "erased") for user in ("a/b?c#d", "..", ".", "c 1")])
        assert [result.outcome for result in results] == [
            Outcome.DELIVERED,
            Outcome.REFUSED,
            Outcome.REFUSED,
            Outcome.DELIVERED,
        ]
        assert [request.path for request in server.requests] == [
            "/api/users/byUserId/a%2Fb%3Fc%23d",
            "/api/users/byUserId/c%201",
        ]
    async with driving(server, identity=BY_ID, erasure="forget") as driver:
        assert [r.outcome for r in await driver.erase([change("..", "", "erased")])] == [Outcome.DELIVERED]


async def test_the_region_decides_the_host(server: PlatformServer) -> None:
    options = {name: value for name, value in server.options().items() if name != "base_url"}
    for region, host in (("us", "https://api.iterable.com"), ("eu", "https://api.eu.iterable.com")):
        assert connect(Config.model_validate({**options, "region": region}), server.environ, "test").endpoint == host
    defaults = Config.model_validate({name: value for name, value in options.items() if name != "batch_size"})
    assert defaults.batch_size == 1_000
    wrong: list[dict[str, Any]] = [
        {"region": "eu.evil.example.com/"},
        {"segments": {"vip": {}}},
        {"segments": {}},
        {"identity": {"external_id": None}},
        {"batch_size": 1_001},
        {"batch_bytes": 4_000_000},
    ]
    for more in wrong:
        with pytest.raises(ValueError):
            Config.model_validate({**options, **more})
