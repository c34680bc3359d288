"""What is SendGrid's own: jobs that are awaited, ids that are searched for, its OpenAPI files and SDK as oracles."""

from __future__ import annotations

import asyncio
import json
from typing import Any, cast

import pytest
import sendgrid
from aiohttp import ClientSession
from jsonschema import ValidationError
from yarl import URL

from connectors.exchange import Request, Response
from connectors.platforms.sendgrid import LONGEST_WAIT, WAITS, Config, SendGrid, connect
from connectors.results import Outcome, Result
from tests.platforms.changes import NOW, change, entered, exited
from tests.platforms.driver import Driver, driving
from tests.platforms.servers import LOST, PASS, PlatformServer, Recorded, status
from tests.platforms.servers.sendgrid import LIST, SendGridServer
from tests.platforms.specs import Spec

pytestmark = pytest.mark.parametrize("platform", ["sendgrid"])


def said(request: Recorded) -> tuple[Any, ...]:
    body = request.json if request.body else None
    kind = request.headers.get("content-type") if request.body else None  # they name a type for nothing, too
    return request.method, request.path, request.headers["authorization"], kind, body


async def test_it_sends_what_the_sdk_sends(server: PlatformServer) -> None:
    """Upsert, job, search, removal from the list, deletion, count: method, path with query, key and body."""
    async with driving(server) as driver:
        await driver.settle(entered("c1", "c2"))
        await driver.settle(exited("c1", "c2"))
        await driver.erase([change("c1", "", "erased")])
        await driver.ping()
    ours = [said(request) for request in server.requests]
    ids = {email: contact["contact"]["id"] for email, contact in (await _found(server, driver)).items()}
    assert set(ids) == {"c2@example.com"}
    client = sendgrid.SendGridAPIClient(api_key=server.environ["SENDGRID_API_KEY"], host=server.url).client
    contacts = client.marketing.contacts
    theirs = []
    for method, path, _, _, body in ours:
        server.requests.clear()
        query = dict(URL(path).query)
        call = {
            "/v3/marketing/contacts": contacts,
            "/v3/marketing/contacts/count": contacts.count,
            "/v3/marketing/contacts/search/emails": contacts.search.emails,
            f"/v3/marketing/lists/{LIST}/contacts": client.marketing.lists._(LIST).contacts,
        }.get(URL(path).path) or contacts.imports._(URL(path).name)
        more = {name: value for name, value in (("request_body", body), ("query_params", query)) if value}
        server.fail(status(200))  # who is to be deleted is gone already
        await asyncio.to_thread(getattr(call, method.lower()), **more)
        theirs.append(said(server.requests[0]))
    assert ours == theirs
    assert [(method, URL(path).path.rpartition("/")[2]) for method, path, *_ in ours] == [
        ("PUT", "contacts"),
        ("GET", ours[1][1].rpartition("/")[2]),
        ("POST", "emails"),
        ("PUT", "contacts"),
        ("GET", ours[4][1].rpartition("/")[2]),
        ("DELETE", "contacts"),
        ("GET", ours[6][1].rpartition("/")[2]),
        ("POST", "emails"),
        ("DELETE", "contacts"),
        ("GET", ours[9][1].rpartition("/")[2]),
        ("GET", "count"),
    ]


async def _found(server: PlatformServer, driver: Driver) -> dict[str, Any]:
    headers = {"authorization": f"Bearer {server.environ['SENDGRID_API_KEY']}"}
    url = f"{server.url}/v3/marketing/contacts/search/emails"
    async with (
        ClientSession() as session,
        session.post(url, headers=headers, data=json.dumps({"emails": ["c1@example.com", "c2@example.com"]})) as answer,
    ):
        result = (await answer.json())["result"]
    return {email: one for email, one in result.items() if "contact" in one}


async def test_requests_and_answers_are_as_the_openapi_files_have_them(server: PlatformServer) -> None:
    """Every request that can be sent, against closed objects; and what the local server answers to it."""
    contacts = Spec("sendgrid/tsg_mc_contacts_v3.json", free=frozenset({"custom_fields"}))
    lists = Spec("sendgrid/tsg_mc_lists_v3.json")
    options: dict[str, Any] = {
        "segments": {"vip": {"list": LIST, "field": "e7_T"}, "cart": {"field": "e7_T"}},
        "fields": {"cart_value": "e8_N", "first": "first_name"},
        "identity": {"external_id": "customer_id"},
    }
    seen = set()
    async with driving(server, **options) as driver, ClientSession() as session:
        await driver.settle([*entered("c1", "c2"), change("c3", "cart", first="Ann")])
        await driver.settle(exited("c1", "c2"))
        await driver.erase([change("c1", "", "erased")])
        await driver.ping()
        for request in driver.sent:
            spec = lists if "/lists/" in request.url else contacts
            path = spec.check_request(request.method, request.url, request.body)
            seen.add((request.method, path))
            assert request.limit == ("contacts" if request.method == "PUT" else "other")
            if request.method == "DELETE" and spec is contacts:
                continue  # its answer's job_id is an object there, and nowhere else
            async with session.request(
                request.method, URL(request.url, encoded=True), data=request.body, headers=request.headers
            ) as answer:
                if answer.status < 300:
                    spec.check_answer(request.method, request.url, answer.status, await answer.read())
    assert seen == {
        ("PUT", "/v3/marketing/contacts"),
        ("DELETE", "/v3/marketing/contacts"),
        ("GET", "/v3/marketing/contacts/imports/{id}"),
        ("GET", "/v3/marketing/contacts/count"),
        ("POST", "/v3/marketing/contacts/search/emails"),
        ("DELETE", "/v3/marketing/lists/{id}/contacts"),
    }
    url = f"{server.url}/v3/marketing/contacts"
    wrong: list[dict[str, Any]] = [
        {"contact": []},
        {"contacts": [{"e_mail": "a@b.c"}]},
        {"contacts": [], "list_ids": 7},
    ]
    for body in wrong:
        with pytest.raises(ValidationError):
            contacts.check_request("PUT", url, json.dumps(body).encode())


async def test_a_contact_is_these_bytes(server: PlatformServer) -> None:
    fields = {"cart_value": "e8_N", "first": "first_name", "tags": "e9_T", "gone": "e1_T"}
    async with driving(server, fields=fields, identity={"external_id": "customer_id"}) as driver:
        person = {"email": "Ann@Example.com", "cart_value": 49.9, "first": "Ann", "tags": ["a", "b"], "gone": None}
        await driver.deliver([change("ann", profile=person)])
    assert server.requests[0].body == (
        b'{"list_ids":["6d04a6e3-0f3a-4a4e-9f7b-6a1f6f0c1c52"],"contacts":[{"email":"ann@example.com",'
        b'"external_id":"ann","first_name":"Ann","custom_fields":{"e8_N":"49.9","e9_T":"[\\"a\\",\\"b\\"]"}}]}'
    )


async def test_nothing_is_delivered_before_its_job_is_done(server: PlatformServer, driver: Driver) -> None:
    """However slow: entering, leaving and erasing are what the platform holds when they are said to be done."""
    cast(SendGridServer, server).slow = 9
    assert [result.outcome for result in await driver.deliver(entered("c1", "c2"))] == [Outcome.DELIVERED] * 2
    assert server.members("vip") == {"c1", "c2"}
    assert [result.outcome for result in await driver.deliver(exited("c1"))] == [Outcome.DELIVERED]
    assert server.members("vip") == {"c2"}
    assert [result.outcome for result in await driver.erase([change("c2", "", "erased")])] == [Outcome.DELIVERED]
    assert server.erased == {"c2"}


async def test_a_job_that_does_not_end_is_given_up_after_five_minutes(server: PlatformServer, driver: Driver) -> None:
    cast(SendGridServer, server).slow = 1_000
    (result,) = await driver.deliver(entered("c1"))
    assert (result.outcome, result.reason) == (Outcome.RETRY, "job_unfinished")
    assert len(server.requests) == 1 + len(WAITS)
    assert 290 <= sum(WAITS) <= 310


def waits(connector: SendGrid, *answers: Response) -> list[float]:
    """The waits before the questions for a job that these are the answers to."""
    steps = connector.deliver(entered("c1"), NOW)
    requests: Any = next(steps)
    requests = steps.send([Response(202, {}, b'{"job_id":"j"}')])
    found = [requests[0].wait]
    for answer in answers:
        requests = steps.send([answer])
        found.append(requests[0].wait)
    steps.close()
    return found


async def test_questions_for_a_job_are_spaced_and_wait_as_they_are_told(server: PlatformServer, driver: Driver) -> None:
    connector = cast(SendGrid, driver.connector)
    pending = Response(200, {}, b'{"status":"pending"}')
    assert waits(connector, *[pending] * 6) == [1.0, 1.0, 2.0, 3.0, 5.0, 8.0, 15.0]
    throttled = Response(429, {"x-ratelimit-remaining": "0", "x-ratelimit-reset": f"{NOW + 30:.0f}"}, b"")
    assert waits(connector, throttled, pending) == [1.0, 30.0, 2.0]
    assert waits(connector, Response(503, {"retry-after": "9999"}, b"")) == [1.0, LONGEST_WAIT]


@pytest.mark.parametrize("kept", [True, False])
async def test_a_removals_job_need_not_be_known(server: PlatformServer, driver: Driver, kept: bool) -> None:
    """Whether SendGrid keeps its status is not documented: a 404 ends it, at once."""
    cast(SendGridServer, server).keeps_removals = kept
    await driver.settle([*entered("c1"), *exited("c1")])
    assert server.members("vip") == set()
    assert [request.method for request in server.sent("/imports/")] == ["GET"] * 2 + ["GET"]


async def test_a_bad_contact_is_found_by_its_number_or_by_halves(server: PlatformServer, driver: Driver) -> None:
    platform = cast(SendGridServer, server)
    customers = [f"c{number}" for number in range(16)]
    platform.refused.add("c5")
    for names, requests in ((True, 2), (False, 9)):
        platform.names_items = names
        server.requests.clear()
        results = await driver.settle(entered(*customers))
        assert [customer for customer, one in zip(customers, results, strict=True) if one.outcome != "delivered"] == [
            "c5"
        ]
        assert results[5].reason == ("not a valid email" if names else "one or more emails are invalid")
        assert len([one for one in server.requests if one.method == "PUT"]) == requests
        assert server.members("vip") == set(customers) - {"c5"}


async def test_a_contact_that_only_its_job_refuses_is_found_by_halves(server: PlatformServer, driver: Driver) -> None:
    cast(SendGridServer, server).spoiled.add("c2")
    results = await driver.settle(entered("c1", "c2", "c3", "c4"))
    assert [result.outcome for result in results] == [
        Outcome.DELIVERED,
        Outcome.REFUSED,
        Outcome.DELIVERED,
        Outcome.DELIVERED,
    ]
    assert results[1].reason == "job_errored"
    assert server.members("vip") == {"c1", "c3", "c4"}


async def test_two_customers_with_one_address_are_one_contact(server: PlatformServer, driver: Driver) -> None:
    """SendGrid refuses a PUT that has an address twice."""
    both = [
        change("c1", profile={"email": "c1@example.com", "cart_value": 1}),
        change("x", profile={"email": "C1@example.com", "cart_value": 2}),
    ]
    assert [result.outcome for result in await driver.deliver(both)] == [Outcome.DELIVERED] * 2
    assert cast(SendGridServer, server).contacts["c1@example.com"].fields == {"e8_N": "2"}


async def test_who_is_no_contact_has_left_and_does_not_become_one(server: PlatformServer, driver: Driver) -> None:
    assert [result.outcome for result in await driver.settle(exited("c1", "c2"))] == [Outcome.DELIVERED] * 2
    assert cast(SendGridServer, server).contacts == {}
    await driver.settle(entered("c1"))
    assert [result.outcome for result in await driver.settle(exited("c1", "c2"))] == [Outcome.DELIVERED] * 2
    assert set(cast(SendGridServer, server).contacts) == {"c1@example.com"}


async def test_an_id_is_searched_for_once(server: PlatformServer, driver: Driver) -> None:
    for number in range(3):
        await driver.settle(entered("c1", sequence=number * 2 + 1))
        await driver.settle(exited("c1", sequence=number * 2 + 2))
    assert len(server.sent("/search/")) == 1
    assert server.members("vip") == set()


async def test_an_id_that_is_no_longer_one_is_searched_for_again(server: PlatformServer, driver: Driver) -> None:
    """The contact was deleted, and came again under another id."""
    contacts = cast(SendGridServer, server).contacts
    await driver.settle(entered("c1"))
    await driver.settle(exited("c1"))
    await driver.settle(entered("c1", sequence=3))
    contacts["c1@example.com"].id = "11111111-2222-3333-4444-555555555555"
    assert [result.outcome for result in await driver.settle(exited("c1", sequence=4))] == [Outcome.DELIVERED]
    assert server.members("vip") == set()


async def test_contacts_that_vanish_meanwhile_are_looked_for_later(server: PlatformServer, driver: Driver) -> None:
    """The removal says twice that there are no such contacts, and the list is there."""
    await driver.settle(entered("c1"))
    gone = status(404, {"errors": [{"message": "The specified list or contact does not exist."}]})
    server.fail(PASS, PASS, PASS, gone, PASS, gone)
    (result,) = await driver.deliver(exited("c1"))
    assert (result.outcome, result.reason) == (Outcome.RETRY, "contacts_changed")
    assert [result.outcome for result in await driver.deliver(exited("c1"))] == [Outcome.DELIVERED]
    assert server.members("vip") == set()


async def test_a_missing_list_pauses(server: PlatformServer) -> None:
    other = LIST.replace("6", "0")
    async with driving(server, segments={"vip": {"list": LIST}, "cart": {"list": other}}) as driver:
        await driver.settle(entered("c1", "c2"))
        (result,) = await driver.settle(entered("c1", segment="cart"))
        assert (result.outcome, result.reason) == (Outcome.PAUSE, "list_refused")
        (result,) = await driver.settle(exited("c1", segment="cart"))
        assert (result.outcome, result.reason) == (Outcome.PAUSE, "http_404")


async def test_a_404_that_is_no_answer_of_the_search_is_no_end(server: PlatformServer, driver: Driver) -> None:
    """A proxy's page must not mean that nobody is a contact."""
    await driver.settle(entered("c1"))
    server.fail(status(404, b"<html>Not Found</html>"), at="/search/")
    assert [result.outcome for result in await driver.deliver(exited("c1"))] == [Outcome.PAUSE]
    assert server.members("vip") == {"c1"}


async def test_a_thousand_leave_by_hundreds(server: PlatformServer) -> None:
    """Searches take 100 addresses, and the ids of a removal have to fit into a URL."""
    async with driving(server, batch_size=1_000) as driver:
        customers = [f"c{number}" for number in range(250)]
        await driver.settle(entered(*customers))
        assert {result.outcome for result in await driver.settle(exited(*customers))} == {Outcome.DELIVERED}
        assert [len(request.json["emails"]) for request in server.sent("/search/")] == [100, 100, 50]
        assert server.members("vip") == set()
        assert {result.outcome for result in await driver.erase([change(one, "", "erased") for one in customers])} == {
            Outcome.DELIVERED
        }
        assert len(server.erased) == 250


async def test_what_was_lost_on_the_way_back_is_the_same_when_repeated(server: PlatformServer, driver: Driver) -> None:
    server.fail(LOST)
    results: list[Result] = list(await driver.deliver(entered("c1", "c2")))
    assert {result.outcome for result in results} == {Outcome.RETRY}
    assert {result.outcome for result in await driver.settle(entered("c1", "c2"))} == {Outcome.DELIVERED}
    assert server.members("vip") == {"c1", "c2"}


async def test_an_id_is_not_remembered_for_ever(server: PlatformServer, driver: Driver) -> None:
    for _ in range(2):
        await driver.settle([*entered("c1"), *exited("c1")])
        driver.now += 3_601
    assert len(server.sent("/search/")) == 2


def test_its_options_say_what_is_wrong(platform: str) -> None:
    plain: dict[str, Any] = {
        "platform": "sendgrid",
        "api_key": {"env": "K"},
        "segments": {"vip": {"list": LIST}},
    }
    connector = connect(Config.model_validate({**plain, "region": "eu"}), {"K": "SG.x"}, "test")
    assert connector.endpoint == "https://api.eu.sendgrid.com"
    request: Request = connector.ping(NOW)
    assert request.url == "https://api.eu.sendgrid.com/v3/marketing/contacts/count"
    wrong: list[dict[str, Any]] = [
        {"segments": {"vip": {}}},
        {"segments": {"vip": {"list": "../../contacts"}}},
        {"segments": {"vip": {"field": "plan"}}},
        {"fields": {"cart_value": "email"}},
        {"fields": {"cart_value": "phone_number_id"}},
        {"identity": {"email": None}},
        {"batch_size": 1_001},
    ]
    for more in wrong:
        with pytest.raises(ValueError):
            Config.model_validate({**plain, **more})
