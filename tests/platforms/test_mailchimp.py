"""What is Mailchimp's own: audiences in which nobody is ever subscribed, a bare 403, and its SDK as the oracle."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable
from typing import Any, cast

import mailchimp_marketing
import pytest

from connectors.platforms.mailchimp import Config, connect
from connectors.results import Outcome
from tests.platforms.changes import change, entered, exited
from tests.platforms.driver import Driver, driving
from tests.platforms.servers import PlatformServer, Recorded, status
from tests.platforms.servers.mailchimp import LIST, SEGMENT, MailchimpServer

pytestmark = pytest.mark.parametrize("platform", ["mailchimp"])

HASH = hashlib.md5(b"c1@example.com", usedforsecurity=False).hexdigest()


def said(request: Recorded) -> tuple[str, str, str | None, Any]:
    body = request.json if request.body else None  # the SDK says `null` where there is nothing to say
    return request.method, request.path, request.headers.get("content-type"), body


def sdk(server: PlatformServer) -> Any:
    """The official client, for the local server."""
    client = mailchimp_marketing.Client()
    client.set_config({"api_key": server.environ["MAILCHIMP_API_KEY"]})
    client.api_client.host = f"{server.url}/3.0"
    return client


async def test_it_sends_what_the_sdk_sends(server: PlatformServer) -> None:
    """Segments, tags, merge fields, deletion and ping: method, path, content type and body are the same."""
    emails = ["c1@example.com", "c2@example.com"]
    lists = sdk(server).lists
    theirs: list[Callable[[], Any]] = [
        lambda: lists.batch_segment_members({"members_to_add": emails}, LIST, str(SEGMENT)),
        lambda: lists.batch_segment_members({"members_to_remove": emails[:1]}, LIST, str(SEGMENT)),
        lambda: lists.update_list_member_tags(LIST, HASH, {"tags": [{"name": "Cart left", "status": "active"}]}),
        lambda: lists.update_list_member(LIST, HASH, {"merge_fields": {"CARTVAL": 59.98}}),
        lambda: lists.delete_list_member_permanent(LIST, HASH),
        lambda: sdk(server).ping.get(),
    ]
    for call in theirs:
        await asyncio.to_thread(call)
    expected = [said(request) for request in server.requests]
    server.requests.clear()
    server.erased.clear()
    async with driving(server) as driver, driving(server, fields={"cart_value": "CARTVAL"}) as fielded:
        await driver.deliver(entered("c1", "c2"))
        await driver.deliver(exited("c1"))
        await driver.deliver(entered("c1", segment="cart"))
        await fielded.deliver(entered("c1"))
        await driver.erase([change("c1", "", "erased")])
        await driver.ping()
    ours = [said(request) for request in server.requests]
    ours.pop(4)  # the segment that follows the merge fields
    for (method, path, kind, body), (their_method, their_path, their_kind, their_body) in zip(
        ours, expected, strict=True
    ):
        assert (method, path, body) == (their_method, their_path, their_body)
        assert kind == their_kind or not body  # they name a type for nothing, too


async def test_the_hash_is_of_the_address_in_lower_case(server: PlatformServer, driver: Driver) -> None:
    await driver.deliver([change("x", "cart", profile={"email": "  C1@Example.COM "})])
    assert server.requests[0].path == f"/3.0/lists/{LIST}/members/{HASH}/tags"


async def test_the_key_names_the_data_centre(server: PlatformServer) -> None:
    options = {name: value for name, value in server.options().items() if name != "base_url"}
    config = Config.model_validate(options)
    assert connect(config, server.environ, "test").base == "https://us21.api.mailchimp.com/3.0"
    for key in ("nothing", "0123456789abcdef-evil.example.com/", "0123-us21.evil.example.com", "x-us21#"):
        with pytest.raises(ValueError, match="data centre") as raised:
            connect(config, {"MAILCHIMP_API_KEY": key}, "test")
        assert key not in str(raised.value)


async def test_who_is_not_in_the_audience_is_not_subscribed(server: PlatformServer, driver: Driver) -> None:
    """Entering is refused, leaving is done; that the audience exists is asked once per parcel."""
    audience = cast(MailchimpServer, server)
    audience.strangers |= {"c2", "c3"}
    for segment in ("vip", "cart"):
        results = await driver.settle([*entered("c1", "c2", segment=segment), *exited("c3", segment=segment)])
        assert [result.outcome for result in results] == [Outcome.DELIVERED, Outcome.REFUSED, Outcome.DELIVERED]
        assert server.members(segment) == {"c1"}
        assert "not" in results[1].reason
    assert {request.method for request in server.requests} == {"POST", "GET"}


async def test_a_missing_audience_pauses(server: PlatformServer, driver: Driver) -> None:
    cast(MailchimpServer, server).list_exists = False
    results = await driver.settle([*entered("c1"), *entered("c2", "c3", segment="cart")])
    assert {(result.outcome, result.reason) for result in results} == {(Outcome.PAUSE, "http_404")}


async def test_a_forbidden_without_json_means_too_fast(server: PlatformServer, driver: Driver) -> None:
    for segment in ("vip", "cart"):
        server.fail(status(403, b"<html>Forbidden</html>"))
        (result,) = await driver.deliver(entered("c1", segment=segment))
        assert (result.outcome, result.reason, result.throttled) == (Outcome.RETRY, "throttled", True)


async def test_what_is_sent_again_starts_no_automation(server: PlatformServer, driver: Driver) -> None:
    await driver.deliver(
        [change("c1", "cart"), change("c2", "cart", origin="resync"), change("c3", "cart", origin="replay")]
    )
    assert server.members("cart") == {"c1", "c2", "c3"}
    assert cast(MailchimpServer, server).automations == [("Cart left", HASH)]


async def test_merge_fields_come_before_the_membership(server: PlatformServer) -> None:
    audience = cast(MailchimpServer, server)
    audience.strangers.add("c2")
    async with driving(server, fields={"cart_value": "CARTVAL", "vip": "VIP", "note": "NOTE"}) as driver:
        results = await driver.deliver([change("c1", vip=True), change("c2")])
        assert [result.outcome for result in results] == [Outcome.DELIVERED, Outcome.REFUSED]
        assert audience.merge_fields == {HASH: {"CARTVAL": 59.98, "VIP": "true", "NOTE": ""}}
        assert [request.method for request in server.requests] == ["PATCH", "PATCH", "GET", "POST"]
        assert server.requests[-1].json == {"members_to_add": ["c1@example.com"]}


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (
            {"email_addresses": ["c2@example.com"], "error": "Blocked"},
            [(Outcome.DELIVERED, ""), (Outcome.REFUSED, "Blocked")],
        ),
        ({"email_addresses": [], "error": "Odd"}, [(Outcome.SPLIT, "Odd")] * 2),
        ("Odd", [(Outcome.SPLIT, "Odd")] * 2),
        ({"email_addresses": ["c2@example.com"], "error": "It is already there"}, [(Outcome.DELIVERED, "")] * 2),
    ],
)
async def test_the_errors_of_a_segment_are_read_to_the_item(
    server: PlatformServer, driver: Driver, error: object, expected: list[tuple[Outcome, str]]
) -> None:
    """Whatever the case of an address; that somebody is there already is no error."""
    server.fail(status(200, {"errors": [error], "error_count": 1}))
    results = await driver.deliver([change("c1"), change("c2", profile={"email": "C2@Example.com"})])
    assert [(result.outcome, result.reason) for result in results] == expected


async def test_a_refused_member_has_the_problems_words(server: PlatformServer, driver: Driver) -> None:
    server.refused.add("c1")
    (result,) = await driver.deliver(entered("c1", segment="cart"))
    assert (result.outcome, result.reason) == (Outcome.REFUSED, "The member cannot be changed by the API.")
    server.fail(status(400, {"title": "Bad Request"}))
    assert [result.reason for result in await driver.deliver(entered("c2", segment="cart"))] == ["Bad Request"]


async def test_a_400_that_names_an_item_refuses_that_alone(server: PlatformServer, driver: Driver) -> None:
    results = await driver.settle([*entered("c1"), change("c2", profile={"email": "no address"}), *entered("c3")])
    assert [result.outcome for result in results] == [Outcome.DELIVERED, Outcome.REFUSED, Outcome.DELIVERED]
    assert results[1].reason == "not a valid address"
    assert len(server.requests) == 2, "the good ones are sent again at once, without it"


async def test_an_answer_too_long_to_read_is_asked_for_in_halves(server: PlatformServer, driver: Driver) -> None:
    """The state was reached all the same; the repeat, whose members are known already, is short."""
    cast(MailchimpServer, server).weight = 5_500
    customers = [f"c{number}" for number in range(500)]
    results = await driver.settle(entered(*customers))
    assert {result.outcome for result in results} == {Outcome.DELIVERED}
    assert len(server.requests) == 3
    assert server.members("vip") == set(customers)


async def test_few_requests_of_a_parcel_are_in_flight_at_once(server: PlatformServer, driver: Driver) -> None:
    """The 10 connections are for all parcels of the account."""
    steps = driver.connector.deliver(entered(*(f"c{number}" for number in range(12)), segment="cart"), driver.now)
    sizes = []
    requests = next(steps)
    with pytest.raises(StopIteration):
        while True:
            sizes.append(len(requests))
            requests = steps.send([driver.connector.rehearse(request) for request in requests])
    assert sizes == [5, 5, 2]
    assert driver.options.concurrency == 10


def test_its_options_say_what_is_wrong(platform: str) -> None:
    plain: dict[str, Any] = {
        "platform": "mailchimp",
        "api_key": {"env": "K"},
        "list": "a1",
        "segments": {"vip": {"segment": 1}},
    }
    assert Config.model_validate(plain).batch_size == 100
    wrong: list[dict[str, Any]] = [
        {"list": "../../x"},
        {"segments": {"vip": {}}},
        {"segments": {"vip": {"segment": 1, "tag": "x"}}},
        {"batch_size": 501},
        {"concurrency": 11},
        {"fields": {"cart_value": "a field"}},
        {"identity": {"external_id": "customer_id"}},
        {"identity": {"email": None}},
    ]
    for more in wrong:
        with pytest.raises(ValueError):
            Config.model_validate({**plain, **more})
