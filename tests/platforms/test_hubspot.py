"""What is special of HubSpot: its SDK, results by trace id, record ids that vanish, and its rate policies."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from hubspot import Client
from hubspot.crm.contacts import (
    BatchInputSimplePublicObjectBatchInputUpsert,
    BatchReadInputSimplePublicObjectId,
    PublicGdprDeleteInput,
    SimplePublicObjectBatchInputUpsert,
    SimplePublicObjectId,
)
from hubspot.crm.lists import MembershipChangeRequest
from pydantic import ValidationError

from connectors.platforms import hubspot
from connectors.rates import Window
from connectors.results import Outcome, Result
from tests.platforms.changes import change, entered, exited
from tests.platforms.driver import Driver, driving
from tests.platforms.servers import LOST, PASS, RESET, Fault, Recorded, status
from tests.platforms.servers.hubspot import LIST, TOKEN, HubSpotServer

OWN_ID: dict[str, Any] = {
    "identity": {"external_id": "customer_id", "email": "email"},
    "id_property": "external_customer_id",
}


@pytest.fixture
async def server() -> AsyncIterator[HubSpotServer]:
    async with HubSpotServer() as running:
        yield running


@pytest.fixture
async def driver(server: HubSpotServer) -> AsyncIterator[Driver]:
    async with driving(server) as running:
        yield running


def delivered(results: Any) -> bool:
    return {result.outcome for result in results} == {Outcome.DELIVERED}


# -- requests ------------------------------------------------------------------------------------------------


async def test_the_requests_of_a_parcel(server: HubSpotServer) -> None:
    """Contacts by the id property, every value as text; one request for those who enter and those who leave."""
    options = {
        **OWN_ID,
        "segments": {"vip": {"list": LIST, "property": "in_cart"}},
        "fields": {"cart_value": "cart_value", "tags": "tags", "gone": "firstname"},
    }
    parcel = [change("c1", tags=["a", "b"]), change("c2", action="exited", profile={"email": None})]
    async with driving(server, **options) as driver:
        assert delivered(await driver.deliver(parcel))
    upsert, membership = server.requests
    assert (upsert.method, upsert.path) == ("POST", "/crm/v3/objects/contacts/batch/upsert")
    assert upsert.json == {
        "inputs": [
            {
                "id": "c1",
                "idProperty": "external_customer_id",
                "objectWriteTraceId": parcel[0].id,
                "properties": {
                    "cart_value": "59.98",
                    "tags": "a;b",
                    "firstname": "",
                    "email": "c1@example.com",
                    "in_cart": "true",
                },
            },
            {
                "id": "c2",
                "idProperty": "external_customer_id",
                "objectWriteTraceId": parcel[1].id,
                "properties": {"cart_value": "", "tags": "", "firstname": "", "in_cart": "false"},
            },
        ]
    }
    assert (membership.method, membership.path) == ("PUT", f"/crm/v3/lists/{LIST}/memberships/add-and-remove")
    assert membership.body == b'{"recordIdsToAdd":["101"],"recordIdsToRemove":["102"]}'
    for request in server.requests:
        assert request.headers["authorization"] == f"Bearer {TOKEN}"
        assert request.headers["content-type"] == "application/json"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, ""),
        (True, "true"),
        (False, "false"),
        (7, "7"),
        (0.1, "0.1"),
        (1e22, "1e22"),
        ("x", "x"),
        (["a", 1], "a;1"),
        ([], ""),
        ({"a": [1]}, '{"a":[1]}'),
        ([["a"]], '[["a"]]'),
    ],
)
def test_every_value_is_text(value: Any, text: str) -> None:
    assert hubspot.text(value) == text


async def test_the_paths_of_a_dated_version(server: HubSpotServer) -> None:
    async with driving(server, api_version="2026-03") as driver:
        assert delivered(await driver.settle([*entered("c1"), *exited("c2")]))
        assert delivered(await driver.erase([change("c1", "", "erased")]))
    assert {request.path for request in server.requests} == {
        "/crm/objects/2026-03/contacts/batch/upsert",
        f"/crm/lists/2026-03/{LIST}/memberships/add-and-remove",
        "/crm/objects/2026-03/contacts/batch/read",
        "/crm/objects/2026-03/contacts/gdpr-delete",
    }


# -- the official SDK ----------------------------------------------------------------------------------------


def comparable(request: Recorded) -> tuple[Any, ...]:
    names = ("authorization", "content-type")
    return request.method, urlsplit(request.path), [request.headers.get(name) for name in names], request.json


async def test_the_sdk_sends_the_same(server: HubSpotServer) -> None:
    """An upsert, membership, a look-up and a deletion, built from the SDK's own models: field by field."""
    options = {**OWN_ID, "segments": {"vip": {"list": LIST}}, "fields": {"cart_value": "cart_value"}}
    parcel = [change("c1"), change("c2", action="exited")]
    async with driving(server, **options) as driver:
        assert delivered(await driver.deliver(parcel))
        assert delivered(await driver.erase([change("c1", "", "erased")]))
    ours = [comparable(request) for request in server.requests]
    server.requests.clear()
    sdk = Client.create(access_token=TOKEN, host=server.url)
    inputs = [
        SimplePublicObjectBatchInputUpsert(
            id=one.customer_id,
            id_property="external_customer_id",
            object_write_trace_id=one.id,
            properties={"cart_value": "59.98", "email": f"{one.customer_id}@example.com"},
        )
        for one in parcel
    ]
    read = BatchReadInputSimplePublicObjectId(
        id_property="external_customer_id",
        properties=["external_customer_id"],
        properties_with_history=[],
        inputs=[SimplePublicObjectId(id="c1")],
    )

    def send() -> None:
        contacts, lists = sdk.crm.contacts, sdk.crm.lists
        contacts.batch_api.upsert(BatchInputSimplePublicObjectBatchInputUpsert(inputs=inputs))
        change_of_members = MembershipChangeRequest(record_ids_to_add=["101"], record_ids_to_remove=["102"])
        lists.memberships_api.add_and_remove(LIST, change_of_members)
        contacts.batch_api.read(read)
        server.contacts["101"] = {"email": "c1@example.com"}
        contacts.basic_api.purge(PublicGdprDeleteInput(object_id="101"))

    await asyncio.to_thread(send)
    theirs = [comparable(request) for request in server.requests]
    history = theirs[2][3].pop("propertiesWithHistory")
    assert history == [], "the SDK insists on it, the API does not"
    assert theirs == ours


# -- results by item -----------------------------------------------------------------------------------------


async def test_a_207_is_read_to_the_item(server: HubSpotServer, driver: Driver) -> None:
    """In whatever order: the good are in the list, the bad are refused with HubSpot's reason, in one attempt."""
    server.refused |= {"c2", "c4"}
    results = await driver.deliver(entered("c1", "c2", "c3", "c4"))
    assert [result.outcome for result in results] == [Outcome.DELIVERED, Outcome.REFUSED] * 2
    assert results[1].reason == "Property values were not valid" and results[1].status == 207
    assert server.members("vip") == {"c1", "c3"}


def _said(category: str, message: str, *traces: str) -> dict[str, Any]:
    return {"status": "error", "category": category, "message": message, "context": {"objectWriteTraceId": [*traces]}}


async def test_an_item_that_hubspot_could_not_write_is_retried(server: HubSpotServer, driver: Driver) -> None:
    parcel = entered("c1", "c2")
    for category in ("INTERNAL_ERROR", "RATE_LIMITS"):
        said = {
            "results": [{"id": "1", "objectWriteTraceId": parcel[0].id}],
            "errors": [_said(category, "x", parcel[1].id)],
        }
        server.contacts["1"] = {"email": "c1@example.com"}
        server.fail(status(207, said))
        results = await driver.deliver(parcel)
        assert [result.outcome for result in results] == [Outcome.DELIVERED, Outcome.RETRY]


async def test_a_batch_that_is_refused_for_one_is_sent_without_it(server: HubSpotServer, driver: Driver) -> None:
    parcel = entered("c1", "c2", "c3")
    said = status(400, {"errors": [_said("VALIDATION_ERROR", "no", parcel[1].id)]})
    server.fail(said, said)
    results = await driver.deliver(parcel)
    assert [(r.outcome, r.after) for r in results] == [
        (Outcome.RETRY, 0.0),
        (Outcome.REFUSED, None),
        (Outcome.RETRY, 0.0),
    ]
    results = await driver.settle(parcel)
    assert [result.outcome for result in results] == [Outcome.DELIVERED, Outcome.REFUSED, Outcome.DELIVERED]
    server.fail(status(400, {"status": "error", "message": "no"}))
    assert delivered(await driver.settle(entered("c7", "c8"))), "halves are sent apart"


async def test_a_property_that_is_missing_pauses(server: HubSpotServer) -> None:
    """It is missing for everybody: nothing is dead-lettered for it."""
    async with driving(server, fields={"cart_value": "not_there"}) as driver:
        results = await driver.deliver(entered("c1", "c2"))
        assert [(r.outcome, r.reason) for r in results] == [(Outcome.PAUSE, "property_missing")] * 2
        server.fail(status(400, {"message": 'Property "x": PROPERTY_DOESNT_EXIST'}))
        results = await driver.deliver(entered("c1", "c2"))
        assert [(r.outcome, r.reason) for r in results] == [(Outcome.PAUSE, "property_missing")] * 2


async def test_two_customers_who_are_one_contact_take_turns(server: HubSpotServer, driver: Driver) -> None:
    """HubSpot refuses a whole batch that names a contact twice."""
    profile = {"email": "shared@example.com"}
    parcel = [change("c1", profile=profile), change("c2", action="exited", profile={"email": "Shared@example.com"})]
    results = await driver.deliver(parcel)
    assert [(r.outcome, r.reason, r.after) for r in results] == [
        (Outcome.DELIVERED, "", None),
        (Outcome.RETRY, "same_contact", 0.0),
    ]
    assert delivered(await driver.settle(parcel))
    assert server.members("vip") == set()


@pytest.mark.parametrize("fault", [status(500), RESET, LOST], ids=lambda fault: str(fault.kind))
async def test_a_whole_parcel_heals_wherever_it_breaks(fault: Fault) -> None:
    """List and property, one who enters and one who leaves: broken at each request, and repeated."""
    options = {**OWN_ID, "segments": {"vip": {"list": LIST, "property": "in_cart"}}}
    parcel = [*entered("c1"), *exited("c2")]
    for position in range(2):
        async with HubSpotServer() as server, driving(server, **options) as driver:
            await driver.settle(entered("c2", sequence=0))
            server.fail(*[PASS] * position, fault)
            assert [result.outcome for result in await driver.deliver(parcel)] == [Outcome.RETRY] * 2
            assert delivered(await driver.settle(parcel))
            assert server.members("vip") == server.members("cart") == {"c1"}


# -- record ids ----------------------------------------------------------------------------------------------


async def test_a_contact_s_id_is_asked_for_once(server: HubSpotServer, driver: Driver) -> None:
    await driver.settle(entered("c1"))
    await driver.settle(exited("c1"))
    assert len(server.sent("upsert")) == 1
    driver.now += 3601
    await driver.settle(entered("c1", sequence=3))
    assert len(server.sent("upsert")) == 2


async def test_a_missing_record_is_made_again(server: HubSpotServer, driver: Driver) -> None:
    """Deleted by hand since its id was remembered: who enters is upserted anew at once, who leaves has left."""
    await driver.settle(entered("c1", "c2", "c3"))
    server.forget("c1")
    server.forget("c2")
    parcel = [*entered("c1", sequence=5), *exited("c2", sequence=5), *exited("c3", sequence=5)]
    results = await driver.deliver(parcel)
    assert [(r.outcome, r.reason, r.after) for r in results] == [
        (Outcome.RETRY, "record_missing", 0.0),
        (Outcome.DELIVERED, "", None),
        (Outcome.DELIVERED, "", None),
    ]
    assert delivered(await driver.settle(parcel))
    assert server.members("vip") == {"c1"}


async def test_a_record_that_is_not_yet_to_be_seen_is_waited_for(server: HubSpotServer, driver: Driver) -> None:
    """Its id is fresh: asking at once again would not help."""
    server.fail(status(200, {"recordIdsMissing": ["101"]}), at="/memberships/")
    (result,) = await driver.deliver(entered("c1"))
    assert (result.outcome, result.after) == (Outcome.RETRY, None)
    assert delivered(await driver.settle(entered("c1")))


async def test_a_list_that_is_gone_pauses(server: HubSpotServer, driver: Driver) -> None:
    server.lists.clear()
    results = await driver.deliver(entered("c1", "c2"))
    assert [(result.outcome, result.status) for result in results] == [(Outcome.PAUSE, 404)] * 2


# -- limits --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("policy", "after"), [("DAILY", 3600.0), ("TEN_SECONDLY_ROLLING", 10.0), ("SECONDLY", 1.0), ("NEW", 10.0)]
)
async def test_a_rate_limit_waits_by_its_policy(
    server: HubSpotServer, driver: Driver, policy: str, after: float
) -> None:
    server.policy = policy
    server.quota = (Window(0, 10.0),)
    results = await driver.deliver(entered("c1", "c2"))
    assert [(r.outcome, r.after, r.throttled) for r in results] == [(Outcome.RETRY, after, True)] * 2
    assert results[0].reason == f"policy_{policy.lower()}"


async def test_retry_after_goes_before_the_policy(server: HubSpotServer, driver: Driver) -> None:
    server.fail(status(429, {"policyName": "DAILY"}, retry_after="7"), status(429))
    assert [(await driver.deliver(entered("c1")))[0].after for _ in range(2)] == [7.0, 10.0]


@pytest.mark.parametrize("code", [423, 477])
async def test_a_lock_and_a_move_are_waited_for(server: HubSpotServer, driver: Driver, code: int) -> None:
    server.fail(status(code, retry_after="30"))
    (result,) = await driver.deliver(entered("c1"))
    assert (result.outcome, result.after) == (Outcome.RETRY, 30.0)


async def test_the_burst_limit_is_the_app_s(server: HubSpotServer) -> None:
    async with driving(server) as usual, driving(server, requests_per_10_seconds=190) as professional:
        assert usual.connector.limits == {"api": (Window(100, 10),)}
        assert professional.connector.limits == {"api": (Window(190, 10),)}


# -- erasure -------------------------------------------------------------------------------------------------


async def test_only_contacts_that_there_are_get_deleted(server: HubSpotServer) -> None:
    """`gdpr-delete` of an address that no contact has would block the address: contacts are looked up first."""
    async with driving(server, **OWN_ID) as driver:
        await driver.settle(entered("c1", "c2"))
        server.requests.clear()
        erasures = [change(name, "", "erased", profile={}) for name in ("c1", "nobody", "c2")]
        server.fail(status(500), at="gdpr-delete")
        results = await driver.erase(erasures)
        assert [result.outcome for result in results] == [Outcome.RETRY, Outcome.DELIVERED, Outcome.DELIVERED]
        assert [request.json for request in server.sent("gdpr-delete")] == [{"objectId": "101"}, {"objectId": "102"}]
        assert delivered(await driver.erase(erasures))
    assert server.erased == {"c1", "c2"}
    assert server.contacts == {}


async def test_who_is_erased_is_forgotten(server: HubSpotServer, driver: Driver) -> None:
    """Also where somebody else was faster; who comes back is another contact."""
    await driver.settle(entered("c1"))
    server.fail(status(404, {"category": "OBJECT_NOT_FOUND"}), at="gdpr-delete")
    assert delivered(await driver.erase([change("c1", "", "erased")]))
    assert delivered(await driver.erase([change("c1", "", "erased")]))
    assert server.contacts == {}
    server.requests.clear()
    assert delivered(await driver.deliver(entered("c1", sequence=3)))
    assert [request.path.rpartition("/")[2] for request in server.requests] == ["upsert", "add-and-remove"]


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [(status(200, []), Outcome.RETRY), (status(500), Outcome.RETRY), (status(403, {}), Outcome.PAUSE)],
)
async def test_who_could_not_be_looked_up_is_not_said_to_be_erased(
    server: HubSpotServer, driver: Driver, answer: Any, outcome: Outcome
) -> None:
    await driver.settle(entered("c1"))
    server.fail(answer)
    results: list[Result] = list(await driver.erase([change("c1", "", "erased"), change("c2", "", "erased")]))
    assert [result.outcome for result in results] == [outcome] * 2


def test_wrong_options_are_named() -> None:
    good: dict[str, Any] = {"access_token": {"env": "T"}, "segments": {"vip": {"list": "42"}}}
    hubspot.Config.model_validate(good)
    wrongs: list[dict[str, Any]] = [
        {"segments": {}},
        {"segments": {"vip": {}}},
        {"segments": {"vip": {"list": "../42"}}},
        {"segments": {"vip": {"property": "Not a Name"}}},
        {"identity": {"external_id": "customer_id"}},
        {"id_property": "external_customer_id"},
        {"identity": {"email": None}},
        {"batch_size": hubspot.MAX_CONTACTS + 1},
        {"api_version": "v4/../x"},
        {"requests_per_10_seconds": 251},
        {"base_url": "http://api.example"},
    ]
    for wrong in wrongs:
        with pytest.raises(ValidationError):
            hubspot.Config.model_validate({**good, **wrong})
