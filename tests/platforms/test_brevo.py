"""What is Brevo's own: a batch for those who are there, contacts made apart, and its SDK as the oracle."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, cast
from urllib.parse import unquote

import pytest
from brevo import Brevo as SDK
from brevo.contacts import UpdateBatchContactsRequestContactsItem as Item
from pydantic import ValidationError

from connectors.platforms import brevo
from connectors.rates import Window
from connectors.results import Outcome
from tests.platforms.changes import change, entered, exited
from tests.platforms.driver import Driver, driving
from tests.platforms.servers import LOST, PlatformServer, Recorded, status
from tests.platforms.servers.brevo import KEY, LIST, BrevoServer, Contact

pytestmark = pytest.mark.parametrize("platform", ["brevo"])

BY_ID = {"identity": {"external_id": "customer_id", "email": "email"}}
"""Options under which contacts are found by `ext_id`."""

MISSING = 43
"""A list that there is not."""
BOTH: dict[str, Any] = {"segments": {"vip": {"list": LIST, "attribute": "IN_CART"}, "cart": {"list": MISSING}}}


def outcomes(results: Any) -> list[Outcome]:
    return [result.outcome for result in results]


def lines(server: PlatformServer) -> list[tuple[str, str, bytes]]:
    """The requests so far, which are then forgotten."""
    found = [(one.method, one.path, one.body) for one in server.requests]
    server.requests.clear()
    return found


def known(server: PlatformServer, *customers: str, ext_id: bool = False) -> list[Contact]:
    """Contacts that there are already, on no list."""
    contacts = cast(BrevoServer, server).contacts
    made = [
        Contact(100 + len(contacts) + place, f"{name}@example.com", name if ext_id else None)
        for place, name in enumerate(customers)
    ]
    contacts += made
    return made


# -- requests ------------------------------------------------------------------------------------------------


async def test_those_who_are_contacts_are_one_request(server: PlatformServer) -> None:
    """Whoever enters, whoever leaves, and both segments: all of a parcel travels together."""
    known(server, "c1", "c2", "c3")
    async with driving(server, fields={"cart_value": "CART_VALUE", "gone": "FNAME"}) as driver:
        parcel = [*entered("c1"), *exited("c2"), *entered("c3", segment="cart")]
        assert outcomes(await driver.deliver(parcel)) == [Outcome.DELIVERED] * 3
    (request,) = server.requests
    assert (request.method, request.path) == ("POST", "/v3/contacts/batch")
    assert {name: request.headers[name] for name in ("api-key", "accept", "content-type")} == {
        "api-key": KEY,
        "accept": "application/json",
        "content-type": "application/json",
    }
    assert request.body == (
        b'{"contacts":[{"email":"c1@example.com","attributes":{"CART_VALUE":59.98,"FNAME":""},"listIds":[42]},'
        b'{"email":"c2@example.com","attributes":{"CART_VALUE":59.98,"FNAME":""},"unlinkListIds":[42]},'
        b'{"email":"c3@example.com","attributes":{"CART_VALUE":59.98,"FNAME":"","IN_CART":true}}]}'
    )
    assert (server.members("vip"), server.members("cart")) == ({"c1"}, {"c3"})


async def test_one_is_sent_alone(server: PlatformServer) -> None:
    """By address whoever enters is upserted, and whoever leaves is updated: who is no contact does not become one."""
    async with driving(server, fields={}) as driver:
        for parcel in (entered("c1"), exited("c1"), exited("c2")):
            assert outcomes(await driver.deliver(parcel)) == [Outcome.DELIVERED]
    assert lines(server) == [
        ("POST", "/v3/contacts", b'{"email":"c1@example.com","listIds":[42],"updateEnabled":true}'),
        ("PUT", "/v3/contacts/c1%40example.com?identifierType=email_id", b'{"unlinkListIds":[42]}'),
        ("PUT", "/v3/contacts/c2%40example.com?identifierType=email_id", b'{"unlinkListIds":[42]}'),
        ("GET", "/v3/contacts/lists/42", b""),
    ]
    assert [one.email for one in cast(BrevoServer, server).contacts] == ["c1@example.com"]


async def test_by_external_id_an_update_comes_first(server: PlatformServer) -> None:
    """Who is unknown is made, with address and external id; who is known is not given an address."""
    async with driving(server, fields={}, **BY_ID) as driver:
        for parcel in (entered("c1"), entered("c1", sequence=2), exited("c1", sequence=3)):
            assert outcomes(await driver.deliver(parcel)) == [Outcome.DELIVERED]
    made = b'{"ext_id":"c1","email":"c1@example.com","listIds":[42],"updateEnabled":true}'
    assert lines(server) == [
        ("PUT", "/v3/contacts/c1?identifierType=ext_id", b'{"listIds":[42]}'),
        ("POST", "/v3/contacts", made),
        ("PUT", "/v3/contacts/c1?identifierType=ext_id", b'{"listIds":[42]}'),
        ("PUT", "/v3/contacts/c1?identifierType=ext_id", b'{"unlinkListIds":[42]}'),
    ]


async def test_it_sends_what_the_sdk_sends(server: PlatformServer) -> None:
    """Batch, upsert, updates, deletions, the questions: method, path, query, key, content type and body."""
    known(server, "c2", "c3")
    fields = {"cart_value": "CART_VALUE", "tags": "TAGS"}
    async with driving(server, fields=fields) as driver, driving(server, fields={}, **BY_ID) as by_id:
        await driver.deliver([change("c2", tags=["a", "b"]), *exited("c3")])
        await driver.deliver([change("c1", "cart", tags=["a"])])
        await driver.deliver(exited("c1"))
        await driver.deliver(exited("c9"))
        await by_id.deliver(entered("7/8"))
        await driver.erase([change("c1", "", "erased")])
        await by_id.erase([change("7/8", "", "erased")])
        await driver.ping()
    ours = [said(request) for request in server.requests]
    server.requests.clear()
    cast(BrevoServer, server).contacts.clear()
    contacts = SDK(api_key=KEY, base_url=f"{server.url}/v3", max_retries=0).contacts
    value = {"CART_VALUE": 59.98, "TAGS": ""}
    theirs: list[Callable[[], Any]] = [
        lambda: contacts.update_batch_contacts(
            contacts=[
                Item(email="c2@example.com", attributes={"CART_VALUE": 59.98, "TAGS": ["a", "b"]}, list_ids=[LIST]),
                Item(email="c3@example.com", attributes=value, unlink_list_ids=[LIST]),
            ]
        ),
        lambda: contacts.create_contact(
            email="c1@example.com",
            attributes={"CART_VALUE": 59.98, "TAGS": ["a"], "IN_CART": True},
            update_enabled=True,
        ),
        lambda: contacts.update_contact(
            "c1@example.com", identifier_type="email_id", attributes={**value}, unlink_list_ids=[LIST]
        ),
        lambda: contacts.update_contact(
            "c9@example.com", identifier_type="email_id", attributes={**value}, unlink_list_ids=[LIST]
        ),
        lambda: contacts.get_list(LIST),
        lambda: contacts.update_contact("7/8", identifier_type="ext_id", list_ids=[LIST]),
        lambda: contacts.create_contact(ext_id="7/8", email="7/8@example.com", list_ids=[LIST], update_enabled=True),
        lambda: contacts.delete_contact("c1@example.com", identifier_type="email_id"),
        lambda: contacts.delete_contact("7/8", identifier_type="ext_id"),
        lambda: contacts.get_lists(limit=1, offset=0),
    ]
    for call in theirs:
        server.fail(status(200, {"id": LIST, "count": 0, "lists": []}))  # whatever it would be
        await asyncio.to_thread(call)
    assert ours == [said(request) for request in server.requests]


def said(request: Recorded) -> tuple[Any, ...]:
    body = request.json if request.body else None
    kind = request.headers.get("content-type") if request.body else None
    path = unquote(request.path)  # the SDK leaves identifiers as they are
    return request.method, path, request.headers["api-key"], kind, body


@pytest.mark.parametrize(
    ("value", "theirs"),
    [
        (None, ""),
        (True, True),
        (0, 0),
        (49.9, 49.9),
        ("Ann", "Ann"),
        (["a", "b"], ["a", "b"]),
        ([1, "a"], '[1,"a"]'),
        ({"a": 1}, '{"a":1}'),
    ],
)
async def test_a_value_is_of_a_type_that_attributes_have(platform: str, value: Any, theirs: Any) -> None:
    found = brevo.attribute(value)
    assert (found, type(found)) == (theirs, type(theirs))


async def test_an_attribute_that_there_is_not_is_lost_without_a_word(server: PlatformServer) -> None:
    """As Brevo documents it: neither an error nor an attribute, and a value of another type is ignored."""
    async with driving(server, fields={"cart_value": "CART_VALUE", "first": "FNAME", "x": "NO_SUCH"}) as driver:
        assert outcomes(await driver.deliver([change("c1", first="Ann", x=1)])) == [Outcome.DELIVERED]
        again = change("c1", sequence=2, first=None, cart_value=None)
        assert outcomes(await driver.deliver([again])) == [Outcome.DELIVERED]
    (one,) = cast(BrevoServer, server).contacts
    assert one.attributes == {"CART_VALUE": 59.98, "FNAME": ""}


# -- who is no contact yet -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("names_places", "first_place"), [(True, 0), (True, 1), (False, 0)])
async def test_who_is_no_contact_is_found_whatever_places_count_from(
    server: PlatformServer, driver: Driver, names_places: bool, first_place: int
) -> None:
    """A batch with unknown customers writes nothing: those are made, whoever leaves is not, the others are written."""
    platform = cast(BrevoServer, server)
    platform.names_places, platform.first_place = names_places, first_place
    customers = [f"c{number}" for number in range(12)]
    known(server, *(name for name in customers if name not in ("c3", "c8", "c11")))
    parcel = [*entered(*customers[:6]), *exited(*customers[6:])]
    assert outcomes(await driver.deliver(parcel)) == [Outcome.DELIVERED] * 12
    assert server.members("vip") == set(customers[:6])
    assert {one.email for one in platform.contacts} == {f"{name}@example.com" for name in customers} - {
        "c8@example.com",
        "c11@example.com",
    }
    sent = [(method, path.partition("?")[0]) for method, path, _ in lines(server)]
    if names_places and first_place == 0:
        assert sorted(sent) == [
            ("GET", "/v3/contacts/lists/42"),
            ("POST", "/v3/contacts"),
            ("POST", "/v3/contacts/batch"),
            ("POST", "/v3/contacts/batch"),
            ("PUT", "/v3/contacts/c11%40example.com"),
            ("PUT", "/v3/contacts/c8%40example.com"),
        ]
    assert sent.count(("POST", "/v3/contacts/batch")) == (brevo.BATCHES if names_places else 1)


async def test_a_refusal_of_a_batch_that_names_places_is_read_like_that(server: PlatformServer, driver: Driver) -> None:
    """The one that it names is refused alone, without halves."""
    known(server, "c1", "c2", "c3")
    server.refused.add("c2")
    said = {"code": "invalid_parameter", "message": "Invalid email address for index 1"}
    server.fail(status(400, said))
    results = await driver.deliver(entered("c1", "c2", "c3"))
    assert outcomes(results) == [Outcome.DELIVERED, Outcome.REFUSED, Outcome.DELIVERED]
    assert results[1].reason == "Invalid email address"
    assert [path for _, path, _ in lines(server)] == [
        "/v3/contacts/batch",
        "/v3/contacts/batch",
        "/v3/contacts",
        "/v3/contacts/lists/42",
    ]


async def test_a_place_of_thousands_of_digits_is_nobodys(server: PlatformServer, driver: Driver) -> None:
    known(server, "c1", "c2")
    server.fail(status(400, {"code": "invalid_parameter", "message": f"Invalid email for index {'9' * 5_000}"}))
    assert outcomes(await driver.settle(entered("c1", "c2"))) == [Outcome.DELIVERED] * 2


async def test_a_refusal_that_names_nobody_is_found_by_halves(server: PlatformServer, driver: Driver) -> None:
    customers = [f"c{number}" for number in range(16)]
    known(server, *customers)
    server.refused.add("c5")
    results = await driver.settle(entered(*customers))
    assert [name for name, one in zip(customers, results, strict=True) if one.outcome is not Outcome.DELIVERED] == [
        "c5"
    ]
    assert (results[5].outcome, results[5].reason) == (Outcome.REFUSED, "Invalid email address")
    assert server.members("vip") == set(customers) - {"c5"}
    assert len(server.sent("/batch")) == 7, "16, two of 8, 4, and 2"


async def test_a_batch_whose_answer_is_lost_is_sent_again(server: PlatformServer, driver: Driver) -> None:
    known(server, "c1", "c2")
    server.fail(LOST)
    parcel = [*entered("c1"), *exited("c2")]
    assert outcomes(await driver.deliver(parcel)) == [Outcome.RETRY] * 2
    assert outcomes(await driver.deliver(parcel)) == [Outcome.DELIVERED] * 2
    first, second = lines(server)
    assert first == second
    assert server.members("vip") == {"c1"}


# -- identities ----------------------------------------------------------------------------------------------


async def test_two_customers_with_one_address_are_sent_one_after_the_other(
    server: PlatformServer, driver: Driver
) -> None:
    """What Brevo makes of a batch that has a contact twice is not documented."""
    known(server, "c1")
    one = change("c1", profile={"email": "C1@example.com"})
    other = change("x", action="exited", profile={"email": "c1@example.com"})
    results = await driver.deliver([one, other])
    assert [(result.outcome, result.reason, result.after) for result in results] == [
        (Outcome.DELIVERED, "", None),
        (Outcome.RETRY, "same_contact", 0.0),
    ]
    assert server.members("vip") == {"c1"}
    assert outcomes(await driver.deliver([other])) == [Outcome.DELIVERED]
    assert server.members("vip") == set()


async def test_who_is_blocklisted_stays_so(server: PlatformServer) -> None:
    """Brevo subscribes a contact again that is given another address: a customer's new one is not sent."""
    (one,) = known(server, "c1", ext_id=True)
    one.blocked = True
    async with driving(server, **BY_ID) as driver:
        moved = change("c1", profile={"email": "new@example.com"})
        assert outcomes(await driver.settle([moved, *entered("c2")])) == [Outcome.DELIVERED] * 2
    assert (one.blocked, one.email, one.lists) == (True, "c1@example.com", {LIST})
    assert server.members("vip") == {"c1", "c2"}


@pytest.mark.parametrize("merges", [True, False])
async def test_an_address_that_is_there_already_is_taken_over_or_refused(server: PlatformServer, merges: bool) -> None:
    """What Brevo does where it knows the address and not the external id is not documented."""
    (one,) = known(server, "c1")
    cast(BrevoServer, server).merges = merges
    async with driving(server, **BY_ID) as driver:
        (result,) = await driver.settle(entered("c1"))
    if merges:
        assert (result.outcome, one.ext_id, one.lists) == (Outcome.DELIVERED, "c1", {LIST})
    else:
        assert result.outcome is Outcome.REFUSED
        assert result.reason == "Unable to update contact, email is already associated with another Contact"


async def test_an_external_id_of_digits_is_nobody_elses(server: PlatformServer) -> None:
    """Without the identifier's type, Brevo would take digits for its own id."""
    (other,) = known(server, "x", ext_id=True)
    other.lists.add(LIST)
    async with driving(server, **BY_ID) as driver:
        assert outcomes(await driver.deliver(exited(str(other.id)))) == [Outcome.DELIVERED]
        assert outcomes(await driver.erase([change(str(other.id), "", "erased")])) == [Outcome.DELIVERED]
    assert server.members("vip") == {"x"}


@pytest.mark.parametrize("name", [".", ".."])
async def test_an_external_id_that_would_steer_a_path_is_not_sent(server: PlatformServer, name: str) -> None:
    async with driving(server, **BY_ID) as driver:
        for result in (
            *await driver.deliver([change(name), change(name + "x", action="exited")]),
            *await driver.erase([change(name, "", "erased")]),
        ):
            assert result.outcome is (Outcome.REFUSED if result.reason == "unusable_id" else Outcome.DELIVERED)
    assert {path for _, path, _ in lines(server)} == {
        f"/v3/contacts/{name}x?identifierType=ext_id",
        "/v3/contacts/lists/42",
    }


# -- answers -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "body", "outcome", "reason"),
    [
        (400, {"code": "invalid_parameter", "message": "Invalid phone number"}, "refused", "Invalid phone number"),
        (400, {"code": "duplicate_parameter", "message": "SMS is already there"}, "refused", "SMS is already there"),
        (400, {"code": "invalid_parameter"}, "refused", "http_400"),
        (400, {"code": "permission_denied", "message": "no"}, "pause", "permission_denied"),
        (400, {"code": "account_under_validation", "message": "no"}, "pause", "account_under_validation"),
        (400, {"code": "not_enough_credits", "message": "no"}, "pause", "not_enough_credits"),
        (400, {"code": "account_in_process", "message": "later"}, "retry", "account_in_process"),
        (401, {"code": "unauthorized", "message": "unrecognised IP address"}, "pause", "http_401"),
        (402, {"code": "not_enough_credits", "message": "no"}, "pause", "http_402"),
        (403, {"code": "permission_denied", "message": "no"}, "pause", "http_403"),
        (404, {"message": "no such route"}, "pause", "http_404"),
        (405, {"code": "method_not_allowed", "message": "no"}, "pause", "http_405"),
        (425, {"code": "account_in_process", "message": "later"}, "retry", "http_425"),
        (500, b"", "retry", "http_500"),
    ],
)
@pytest.mark.parametrize("action", ["entered", "exited"])
async def test_an_answer_is_read_by_its_status_and_code(
    server: PlatformServer, driver: Driver, action: str, code: int, body: Any, outcome: str, reason: str
) -> None:
    known(server, "c1")
    server.fail(status(code, body))
    (result,) = await driver.deliver([change("c1", action=action)])
    assert (result.outcome, result.reason) == (outcome, reason)
    server.fail(status(code, body))
    known(server, "c2")
    both = await driver.deliver([change("c1", action=action, sequence=2), change("c2", action=action)])
    split = outcome == "refused"
    if code != 404:  # to a batch it may say that somebody is unknown
        assert outcomes(both) == [Outcome.SPLIT if split else Outcome(outcome)] * 2


@pytest.mark.parametrize(
    ("headers", "after"),
    [
        ({"x_sib_ratelimit_limit": "10", "x_sib_ratelimit_remaining": "0", "x_sib_ratelimit_reset": "17"}, 17.0),
        ({"x_sib_ratelimit_reset": "3", "retry_after": "9"}, 9.0),
        ({"x_sib_ratelimit_reset": "soon"}, None),
        ({}, None),
    ],
)
async def test_too_fast_waits_until_the_window_ends(
    server: PlatformServer, driver: Driver, headers: dict[str, str], after: float | None
) -> None:
    known(server, "c1", "c2")
    said = {"code": "too_many_requests", "message": "slow down"}
    for parcel in (entered("c1"), exited("c1"), entered("c1", "c2")):
        server.fail(status(429, said, **headers))
        results = await driver.deliver(parcel)
        assert {(result.outcome, result.status, result.after) for result in results} == {(Outcome.RETRY, 429, after)}


async def test_a_missing_list_pauses(server: PlatformServer) -> None:
    """Whatever the answer says of a contact: that it is bad, or that there is none."""
    known(server, "c1", "c2")
    async with driving(server, **BOTH) as driver:
        for parcel in (
            entered("c1", segment="cart"),
            entered("c1", "c2", segment="cart"),
            exited("c1", segment="cart"),
            exited("c9", segment="cart"),
        ):
            results = await driver.settle(parcel)
            assert {(result.outcome, result.reason, result.status) for result in results} == {
                (Outcome.PAUSE, "list_missing", 404)
            }
        server.fail(status(404, {"code": "document_not_found", "message": "List does not exist"}))
        assert outcomes(await driver.settle(entered("c1", segment="cart"))) == [Outcome.PAUSE]


async def test_it_is_asked_for_a_list_once_a_parcel(server: PlatformServer, driver: Driver) -> None:
    assert outcomes(await driver.deliver(exited("c1", "c2", "c3"))) == [Outcome.DELIVERED] * 3
    assert len(server.sent("/lists/")) == 1
    server.fail(status(500), at="/lists/")
    assert outcomes(await driver.deliver(exited("c1"))) == [Outcome.RETRY]
    server.requests.clear()
    assert outcomes(await driver.deliver(exited("c1", segment="cart"))) == [Outcome.DELIVERED]
    assert server.sent("/lists/") == [], "an attribute has none"


# -- erasure -------------------------------------------------------------------------------------------------


async def test_an_erasure_deletes_the_contact(server: PlatformServer, driver: Driver) -> None:
    known(server, "c1", "c2")
    erasures = [change(name, "", "erased", profile={"email": f"{name}@example.com"}) for name in ("c1", "c9", "c1")]
    assert outcomes(await driver.erase(erasures)) == [Outcome.DELIVERED] * 3
    assert lines(server) == [
        ("DELETE", "/v3/contacts/c1%40example.com?identifierType=email_id", b""),
        ("DELETE", "/v3/contacts/c9%40example.com?identifierType=email_id", b""),
    ]
    assert [one.email for one in cast(BrevoServer, server).contacts] == ["c2@example.com"]
    server.fail(status(404, b"<html>Not Found</html>"))
    assert outcomes(await driver.erase(erasures[:1])) == [Outcome.PAUSE], "a proxy's page does not say that it is gone"


async def test_a_contact_that_may_not_be_deleted_is_refused_alone(server: PlatformServer) -> None:
    known(server, "c1", "c2", ext_id=True)
    cast(BrevoServer, server).kept.add("c1")
    async with driving(server, **BY_ID) as driver:
        first, other = await driver.erase([change("c1", "", "erased"), change("c2", "", "erased")])
    assert (first.outcome, first.reason) == (Outcome.REFUSED, "Contact can not be deleted")
    assert (other.outcome, server.erased) == (Outcome.DELIVERED, {"c2"})


# -- options -------------------------------------------------------------------------------------------------


async def test_rates_are_the_plans(server: PlatformServer) -> None:
    for plan, requests in (("general", 10), ("advanced", 20), ("extended", 60)):
        async with driving(server, plan=plan) as driver:
            assert driver.connector.limits == {"contacts": (Window(requests, 1.0),)}


async def test_requests_go_to_brevo(server: PlatformServer) -> None:
    options = {name: value for name, value in server.options().items() if name != "base_url"}
    connector = brevo.connect(brevo.Config.model_validate(options), server.environ, "test")
    assert (connector.endpoint, connector.base) == ("https://api.brevo.com", "https://api.brevo.com/v3")


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"segments": {}}, "segments"),
        ({"segments": {"vip": {}}}, "give `list` or `attribute`"),
        ({"segments": {"vip": {"list": 0}}}, "segments.vip.list"),
        ({"segments": {"vip": {"attribute": "in cart"}}}, "segments.vip.attribute"),
        ({"segments": {"vip": {"attribute": "EMAIL"}}}, "EMAIL and EXT_ID"),
        ({"fields": {"customer_id": "EXT_ID"}}, "EMAIL and EXT_ID"),
        ({"fields": {"first_name": "fname"}}, "fields.first_name"),
        ({"identity": {"email": None}}, "identity"),
        ({"batch_size": brevo.MAX_CONTACTS + 1}, "batch_size"),
        ({"plan": "enterprise"}, "plan"),
    ],
)
async def test_options_that_cannot_be_right_are_refused(
    server: PlatformServer, wrong: dict[str, Any], named: str
) -> None:
    good = {**server.options(), "allow_http": True}
    brevo.Config.model_validate(good)
    with pytest.raises(ValidationError, match=named):
        brevo.Config.model_validate({**good, **wrong})
