"""What is Shopify's own: GraphQL documents, points instead of requests, and ids that have to be looked up."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import pytest

from connectors.platforms.shopify import Bucket, Config, connect
from connectors.rates import Window
from connectors.results import Outcome, Result
from tests.platforms.changes import NOW, change, entered, exited
from tests.platforms.driver import AGENT, Driver, driving
from tests.platforms.servers import PASS, PlatformServer, status
from tests.platforms.servers.shopify import ShopifyServer

pytestmark = pytest.mark.parametrize("platform", ["shopify"])

PATH = "/admin/api/2026-10/graphql.json"


@pytest.fixture
def store(server: PlatformServer) -> ShopifyServer:
    return cast(ShopifyServer, server)


def outcomes(results: Sequence[Result]) -> list[Outcome]:
    return [result.outcome for result in results]


async def test_a_parcel_is_these_bytes(store: ShopifyServer, driver: Driver) -> None:
    """Each call has an alias and variables of its own; nothing of a customer is part of the document."""
    await driver.deliver([*entered("c1"), *exited("c2", segment="cart")])
    token, lookup, tags = store.requests
    assert token.body == (
        b"grant_type=client_credentials&client_id=28737d7b5cf9a2ff0bd6e13c6d8aa8ab"
        b"&client_secret=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"
    )
    for request in (lookup, tags):
        assert (request.method, request.path) == ("POST", PATH)
        assert request.headers["content-type"] == "application/json"
        assert request.headers["x-shopify-access-token"].startswith("shpat_")
    assert lookup.body == (
        b'{"query":"query($identifier0:CustomerIdentifierInput!,$identifier1:CustomerIdentifierInput!)'
        b"{c0:customerByIdentifier(identifier:$identifier0){id}"
        b' c1:customerByIdentifier(identifier:$identifier1){id}}",'
        b'"variables":{"identifier0":{"emailAddress":"c1@example.com"},"identifier1":{"emailAddress":"c2@example.com"}}}'
    )
    assert tags.body == (
        b'{"query":"mutation($id0:ID!,$tags0:[String!]!,$id1:ID!,$tags1:[String!]!)'
        b"{c0:tagsAdd(id:$id0,tags:$tags0){userErrors{message}}"
        b' c1:tagsRemove(id:$id1,tags:$tags1){userErrors{message}}}",'
        b'"variables":{"id0":"gid://shopify/Customer/7000","tags0":["vip"],'
        b'"id1":"gid://shopify/Customer/7001","tags1":["cart-abandoned"]}}'
    )


async def test_an_erasure_asks_for_the_erasure_of_the_data(store: ShopifyServer, driver: Driver) -> None:
    await driver.erase([change("c1", "", "erased", 0)])
    assert store.sent()[-1].json == {
        "query": "mutation($customerId0:ID!)"
        "{c0:customerRequestDataErasure(customerId:$customerId0){userErrors{code message}}}",
        "variables": {"customerId0": "gid://shopify/Customer/7000"},
    }
    nobody = change("x", "", "erased", 0, profile={"email": "x@elsewhere.example"})
    assert outcomes(await driver.erase([nobody])) == [Outcome.DELIVERED]


# Customers.


async def test_an_id_is_looked_up_once(store: ShopifyServer, driver: Driver) -> None:
    await driver.deliver(entered("c1", "c2"))
    await driver.deliver(exited("c1", "c3"))
    lookups = [request.json["variables"] for request in store.sent() if "customerByIdentifier" in request.json["query"]]
    assert [[one["emailAddress"] for one in each.values()] for each in lookups] == [
        ["c1@example.com", "c2@example.com"],
        ["c3@example.com"],
    ]


async def test_an_id_of_the_profile_needs_no_lookup(store: ShopifyServer) -> None:
    store.ids |= {"c1@example.com": "gid://shopify/Customer/8001", "c2@example.com": "gid://shopify/Customer/8002"}
    async with driving(store, identity={"external_id": "shopify_id", "email": None}) as driver:
        parcel = [
            change("c1", shopify_id=8001),
            change("c2", shopify_id="gid://shopify/Customer/8002"),
            change("c3", shopify_id="gid://shopify/Order/1"),
            change("c4"),
        ]
        results = await driver.deliver(parcel)
        assert [(result.outcome, result.reason) for result in results] == [
            (Outcome.DELIVERED, ""),
            (Outcome.DELIVERED, ""),
            (Outcome.REFUSED, "no_identity"),
            (Outcome.REFUSED, "no_identity"),
        ]
    assert len(store.sent()) == 1
    assert store.members("vip") == {"c1", "c2"}


async def test_who_has_no_account_cannot_enter_and_has_left(store: ShopifyServer, driver: Driver) -> None:
    profile = {"email": "c1@elsewhere.example"}
    results = await driver.deliver([change("c1", profile=profile), *entered("c2")])
    assert [(result.outcome, result.reason) for result in results] == [
        (Outcome.REFUSED, "customer_not_found"),
        (Outcome.DELIVERED, ""),
    ]
    assert outcomes(await driver.deliver([change("c1", "vip", "exited", profile=profile)])) == [Outcome.DELIVERED]
    assert sum("customerByIdentifier" in request.json["query"] for request in store.sent()) == 2, "nor remembered"


async def test_an_id_that_is_gone_is_looked_up_once_more(store: ShopifyServer, driver: Driver) -> None:
    """Accounts are merged, and deleted."""
    await driver.settle(entered("c1", "c2"))
    store.ids["c1@example.com"] = "gid://shopify/Customer/9001"
    (result, other) = await driver.deliver([*exited("c1"), *exited("c2")])
    assert (result.outcome, result.after, other.outcome) == (Outcome.RETRY, 0.0, Outcome.DELIVERED)
    assert outcomes(await driver.settle(entered("c1", sequence=5))) == [Outcome.DELIVERED]
    assert store.tags["gid://shopify/Customer/9001"] == {"vip"}


async def test_an_id_that_does_not_exist_at_all_is_refused(store: ShopifyServer) -> None:
    async with driving(store, identity={"external_id": "shopify_id", "email": None}) as driver:
        (result,) = await driver.deliver([change("c1", shopify_id=1)])
        assert (result.outcome, result.reason) == (Outcome.REFUSED, "Customer does not exist")
        (result,) = await driver.deliver([change("c1", "vip", "exited", shopify_id=1)])
        assert result.outcome is Outcome.DELIVERED


async def test_ids_are_remembered_for_a_day(store: ShopifyServer, driver: Driver) -> None:
    await driver.settle(entered("c1"))
    for later, lookups in ((86_399, 1), (1, 2)):
        driver.now += later
        await driver.settle(entered("c1", sequence=2))
        assert sum("customerByIdentifier" in request.json["query"] for request in store.sent()) == lookups


# Points.


async def test_a_request_waits_until_it_can_be_paid(store: ShopifyServer, driver: Driver) -> None:
    store.maximum, store.restore, store.available = 200.0, 50.0, 200.0
    customers = [f"c{number}" for number in range(10)]
    await driver.settle(entered(*customers))  # 10 for the ids, 100 for the tags: 90 are left
    waits = []
    steps = driver.connector.deliver(exited(*customers), driver.now)
    for _ in range(3):
        (request,) = next(steps)
        waits.append(request.wait)
        steps = driver.connector.deliver(exited(*customers), driver.now)
    assert waits == pytest.approx([0.2, 2.2, 4.2], abs=0.15)
    (request,) = next(driver.connector.deliver(exited(*customers), driver.now + 60))
    assert request.wait == 0


async def test_throttled_waits_as_long_as_the_points_need(store: ShopifyServer, driver: Driver) -> None:
    """In a 200; others took what we thought was there."""
    await driver.settle(entered("c1"))
    store.restore, store.available = 4.0, 2.0
    (result,) = await driver.deliver(exited("c1"))
    assert (result.outcome, result.reason, result.status, result.throttled) == (Outcome.RETRY, "throttled", 200, True)
    assert result.after == pytest.approx(2.0, abs=0.2)
    assert store.members("vip") == {"c1"}


async def test_the_largest_batch_is_below_what_one_request_may_cost(store: ShopifyServer) -> None:
    customers = [f"c{number}" for number in range(50)]
    async with driving(store, batch_size=50) as driver:
        assert outcomes(await driver.deliver(entered(*customers))) == [Outcome.DELIVERED] * 50
    assert store.members("vip") == set(customers)


async def test_a_bucket_that_tells_nothing_makes_nothing_wait(platform: str) -> None:
    bucket = Bucket()
    costs: list[Any] = [None, {}, [], {"throttleStatus": {}}, {"throttleStatus": {"restoreRate": 0}}]
    for cost in costs:
        assert bucket.note(cost, NOW) is None
        assert bucket.take(500, NOW) == 0
    full = {"currentlyAvailable": 1000.0, "maximumAvailable": 1000.0, "restoreRate": 50.0}
    assert bucket.note({"throttleStatus": full}, NOW) is None
    assert [bucket.take(600, NOW), bucket.take(600, NOW), bucket.take(600, NOW + 100)] == [0.0, 4.0, 0.0]


# Answers.


def error(code: str | None, message: str = "no") -> dict[str, Any]:
    extensions = {} if code is None else {"extensions": {"code": code}}
    return {"errors": [{"message": message, **extensions}], "data": None}


@pytest.mark.parametrize(
    ("code", "said", "items", "outcome"),
    [
        (200, error("ACCESS_DENIED"), 2, Outcome.PAUSE),
        (200, error("SHOP_INACTIVE"), 2, Outcome.PAUSE),
        (200, error("INTERNAL_SERVER_ERROR"), 2, Outcome.RETRY),
        (200, error("MAX_COST_EXCEEDED"), 2, Outcome.SPLIT),
        (200, error(None, "Variable $id0 of type ID! was provided invalid value"), 2, Outcome.SPLIT),
        (200, error(None, "Variable $id0 of type ID! was provided invalid value"), 1, Outcome.REFUSED),
        (200, {"data": {"c0": None, "c1": {"userErrors": []}}}, 2, Outcome.RETRY),
        (402, {"errors": "Unavailable Shop"}, 2, Outcome.PAUSE),
        (404, {"errors": "Not Found"}, 2, Outcome.PAUSE),
        (423, {"errors": "Locked"}, 2, Outcome.PAUSE),
        (430, {"errors": "Shopify Security Rejection"}, 2, Outcome.RETRY),
        (401, {"errors": "[API] Invalid API key or access token"}, 2, Outcome.PAUSE),
    ],
)
async def test_answers_say_what_becomes_of_all(
    store: ShopifyServer, driver: Driver, code: int, said: dict[str, Any], items: int, outcome: Outcome
) -> None:
    store.fail(PASS, status(code, said))
    results = await driver.deliver(entered("c1", "c2")[:items])
    assert results[0].outcome is outcome
    assert set(outcomes(results)) <= {outcome, Outcome.DELIVERED}
    assert results[0].request is not None


@pytest.mark.parametrize("one", [7, "x", {}, {"id": None}, {"id": "gid://shopify/Order/1"}, [], False])
async def test_an_id_that_is_none_is_not_used(store: ShopifyServer, driver: Driver, one: object) -> None:
    store.fail(status(200, {"data": {"c0": one}}))
    (result,) = await driver.deliver(entered("c1"))
    assert (result.outcome, result.reason) == (Outcome.RETRY, "unreadable_answer")
    assert outcomes(await driver.deliver(entered("c1"))) == [Outcome.DELIVERED]


async def test_an_app_without_the_scopes_pauses(store: ShopifyServer, driver: Driver) -> None:
    store.granted = False
    (result,) = await driver.deliver(entered("c1"))
    assert (result.outcome, result.reason) == (Outcome.PAUSE, "access_denied")


async def test_an_older_app_has_a_token_that_is_its_own(store: ShopifyServer) -> None:
    """There is none to renew: where it is not taken, the destination pauses."""
    own = {"client_id": None, "client_secret": None, "access_token": {"env": "TOKEN"}}
    async with driving(store, {"TOKEN": "shpat_static0123456789"}, **own) as driver:
        assert outcomes(await driver.settle(entered("c1"))) == [Outcome.DELIVERED]
        assert "shpat_static0123456789" in driver.connector.hidden
        assert "shpat_static" not in repr(driver.connector)
        store.revoke()
        driver.now += 90_000
        assert outcomes(await driver.settle(entered("c2"))) == [Outcome.PAUSE]
    assert {request.path for request in store.requests} == {PATH}


# Options.


def options(**more: Any) -> dict[str, Any]:
    return {"shop": "acme", "access_token": {"env": "X"}, "segments": {"vip": {"tag": "vip"}}, **more}


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"shop": "acme.evil.example"}, "shop"),
        ({"shop": "acme/"}, "shop"),
        ({"shop": "acme\n"}, "shop"),
        ({"api_version": "2026-11"}, "api_version"),
        ({"api_version": "../x"}, "api_version"),
        ({"segments": {"vip": {"tag": "a,b"}}}, "tag"),
        ({"segments": {"vip": {"tag": " vip"}}}, "tag"),
        ({"segments": {"vip": {"tag": "x" * 256}}}, "tag"),
        ({"client_id": {"env": "Y"}}, "access_token"),
        ({"access_token": None}, "access_token"),
        ({"access_token": None, "client_id": {"env": "Y"}}, "access_token"),
        ({"identity": {"email": None}}, "identity"),
        ({"batch_size": 51}, "batch_size"),
        ({"base_url": "http://gateway.example.com"}, "allow_http"),
    ],
)
def test_options_that_cannot_work_are_refused(platform: str, more: dict[str, Any], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        Config.model_validate(options(**more))


def test_requests_go_to_the_store_and_count_points(platform: str) -> None:
    config = Config.model_validate(options(api_version="2026-07", points_per_second=1_000))
    connector = connect(config, {"X": "secret"}, AGENT)
    (request,) = next(connector.deliver(entered("c1"), 0.0))
    assert request.url == "https://acme.myshopify.com/admin/api/2026-07/graphql.json"
    assert connector.limits["graphql"] == (Window(100, 1.0),)
