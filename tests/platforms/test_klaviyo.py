"""What is special of Klaviyo: its specification, its SDK, ids and duplicates, events that are recorded once."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from klaviyo_api import KlaviyoAPI
from pydantic import ValidationError

from connectors.platforms import klaviyo
from connectors.rates import Window
from connectors.remembered import Remembered
from connectors.results import Outcome
from tests.platforms.changes import NOW, change, entered, exited
from tests.platforms.driver import Driver, driving
from tests.platforms.servers import LOST, PASS, RESET, Fault, Recorded, status
from tests.platforms.servers.klaviyo import KEY, LIST, KlaviyoServer
from tests.platforms.specs import SPECS, Spec

FREE = frozenset({"properties"})
EVENTS: dict[str, Any] = {
    "segments": {"vip": {"event": {"entered": "Entered VIP", "exited": "Left VIP"}, "list": LIST}},
    "fields": {"cart_value": "cart_value"},
}


@pytest.fixture
async def server() -> AsyncIterator[KlaviyoServer]:
    async with KlaviyoServer() as running:
        yield running


@pytest.fixture
async def driver(server: KlaviyoServer) -> AsyncIterator[Driver]:
    async with driving(server) as running:
        yield running


def delivered(results: Any) -> bool:
    return {result.outcome for result in results} == {Outcome.DELIVERED}


# -- requests ------------------------------------------------------------------------------------------------


async def test_the_requests_of_an_entry(server: KlaviyoServer) -> None:
    """A profile by its identifiers, the list by its id, then the event; JSON without white space."""
    options = {
        **EVENTS,
        "identity": {"email": "email", "phone_number": "phone"},
        "fields": {"cart_value": "cart_value", "city": "location.city", "name": "first_name", "gone": "gone"},
    }
    one = change("c1", phone="+49151", city="Köln", name=None)
    async with driving(server, **options) as driver:
        assert delivered(await driver.deliver([one]))
    made, added, event = server.requests
    (profile,) = server.profiles
    assert (made.method, made.path) == ("POST", "/api/profile-import")
    assert made.json == {
        "data": {
            "type": "profile",
            "attributes": {
                "email": "c1@example.com",
                "external_id": "c1",
                "phone_number": "+49151",
                "location": {"city": "Köln"},
                "properties": {"cart_value": 59.98, "gone": None},
            },
        }
    }
    assert (added.method, added.path) == ("POST", f"/api/lists/{LIST}/relationships/profiles")
    assert added.body == b'{"data":[{"type":"profile","id":"%b"}]}' % profile.encode()
    assert (event.method, event.path) == ("POST", "/api/events")
    assert event.json["data"]["attributes"] == {
        "properties": {
            "cart_value": 59.98,
            "location.city": "Köln",
            "first_name": None,
            "gone": None,
            "segment": "vip",
            "action": "entered",
            "sequence": 1,
        },
        "time": "2026-09-20T12:34:56.789012Z",
        "unique_id": one.id,
        "backfill": False,
        "metric": {"data": {"type": "metric", "attributes": {"name": "Entered VIP"}}},
        "profile": {
            "data": {
                "type": "profile",
                "attributes": {"email": "c1@example.com", "external_id": "c1", "phone_number": "+49151"},
            }
        },
    }
    for request in server.requests:
        assert request.headers["authorization"] == f"Klaviyo-API-Key {KEY}"
        assert request.headers["revision"] == "2026-07-15"
        assert request.headers["content-type"] == request.headers["accept"] == "application/vnd.api+json"


async def test_the_specification_knows_every_request(server: KlaviyoServer) -> None:
    """Klaviyo's own, with its objects closed: path, query and body."""
    specs = [Spec(f"klaviyo/stable_categories_{name}.json", FREE) for name in ("profiles", "lists", "events")]
    async with driving(server, **{**EVENTS, "fields": {"cart_value": "x", "cart_items": "location.zip"}}) as driver:
        await driver.settle([*entered("c1", "c2"), *exited("c1")])
        await driver.erase([change("c1", "", "erased")])
    seen = set()
    for request in server.requests:
        by_name = {"profile": specs[0], "lists": specs[1], "events": specs[2]}
        found = re.match(r"/api/(profile|lists|events)", request.path)
        if found is None:
            assert request.path == "/api/data-privacy-deletion-jobs"  # it is in none of the files that we have
            continue
        seen.add((request.method, by_name[found[1]].check_request(request.method, request.path, request.body)))
    lists = "/api/lists/{id}/relationships/profiles"
    assert seen == {
        ("POST", "/api/profile-import"),
        ("POST", lists),
        ("DELETE", lists),
        ("POST", "/api/events"),
        ("GET", "/api/profiles"),
    }
    with pytest.raises(Exception, match="Additional properties"):
        specs[0].check_request("POST", "/api/profile-import", b'{"data":{"type":"profile","attributes":{"emial":""}}}')


def published() -> dict[str, Any]:
    found: dict[str, Any] = {}
    for path in sorted((SPECS / "klaviyo").glob("stable_*.json")):
        found |= json.loads(path.read_text("utf-8"))["paths"]
    return found


@pytest.mark.skipif(not published(), reason="Klaviyo's specification is not here")
@pytest.mark.parametrize(
    ("limit", "path", "method"),
    [
        ("profile-import", "/api/profile-import", "post"),
        ("list-add", "/api/lists/{id}/relationships/profiles", "post"),
        ("list-remove", "/api/lists/{id}/relationships/profiles", "delete"),
        ("events", "/api/events", "post"),
        ("profiles", "/api/profiles", "get"),
    ],
)
def test_the_rates_are_those_of_the_specification(limit: str, path: str, method: str) -> None:
    said = published()[path][method]["x-klaviyo-ratelimit"]
    burst, steady = (int(said[name].split("/")[0]) for name in ("burst", "steady"))
    assert said["burst"].endswith("/s") and said["steady"].endswith("/m")
    assert klaviyo.LIMITS[limit] == (Window(burst, 1), Window(steady, 60))


@pytest.mark.skipif(not published(), reason="Klaviyo's specification is not here")
def test_the_sizes_are_those_of_the_specification() -> None:
    lists = published()["/api/lists/{id}/relationships/profiles"]
    for method in ("post", "delete"):
        assert f"maximum of {klaviyo.MAX_PROFILES} profiles" in lists[method]["description"]
    assert klaviyo.Config.model_fields["revision"].default == "2026-07-15"


# -- the official SDK ----------------------------------------------------------------------------------------


def comparable(request: Recorded) -> tuple[Any, ...]:
    """What Klaviyo sees of a request. The revision is the SDK's own, and so is how it writes UTC."""
    parts = urlsplit(request.path)
    document = request.json if request.body else {}
    attributes = document["data"].get("attributes", {}) if isinstance(document.get("data"), dict) else {}
    if "time" in attributes:
        attributes["time"] = datetime.fromisoformat(attributes["time"])
    headers = [request.headers.get(name) for name in ("authorization", "content-type", "accept")]
    return request.method, parts.path.rstrip("/"), parse_qs(parts.query), headers, document


async def test_the_sdk_sends_the_same(server: KlaviyoServer) -> None:
    """An import, an event, membership both ways, a search and a deletion: field by field."""
    sdk = KlaviyoAPI(KEY, max_retries=1, max_delay=1, test_host=server.url)
    one, gone = change("c1"), change("c1", action="exited", sequence=2)
    async with driving(server, **EVENTS) as driver:
        assert delivered(await driver.settle([one, gone]))
        assert delivered(await driver.erase([change("c1", "", "erased", profile={})]))
    ours = list(server.requests)
    made, added, first, _, removed, _, searched, deleted = ours
    server.requests.clear()
    (profile,) = [row["id"] for row in added.json["data"]]
    server.add(external_id="c1", email="c1@example.com").id = profile
    server.profiles = {profile: next(iter(server.profiles.values()))}

    def send() -> None:
        sdk.Profiles.create_or_update_profile(made.json)
        sdk.Lists.add_profiles_to_list(LIST, added.json)
        sdk.Events.create_event(first.json)
        sdk.Lists.remove_profiles_from_list(LIST, removed.json)
        sdk.Profiles.get_profiles(filter='equals(external_id,"c1")', fields_profile=["id"])
        sdk.Data_Privacy.request_profile_deletion(deleted.json)

    await asyncio.to_thread(send)
    mine = [comparable(request) for request in (made, added, first, removed, searched, deleted)]
    assert [comparable(request) for request in server.requests] == mine


# -- ids -----------------------------------------------------------------------------------------------------


async def test_a_profile_s_id_is_asked_for_once(server: KlaviyoServer, driver: Driver) -> None:
    """Within the hour; after it, it is asked for again."""
    await driver.settle(entered("c1"))
    await driver.settle(exited("c1"))
    assert len(server.sent("profile-import")) == 1
    driver.now += 3601
    await driver.settle(entered("c1", sequence=3))
    assert len(server.sent("profile-import")) == 2


async def test_an_id_that_is_out_of_date_is_looked_up_again(server: KlaviyoServer, driver: Driver) -> None:
    """A profile was deleted by hand since: the others of the parcel are not held up, nobody is refused."""
    await driver.settle(entered("c1", "c2"))
    del server.profiles[next(iter(server.profiles))]
    server.lists[LIST].clear()
    results = await driver.deliver(entered("c1", "c2", "c3", sequence=5))
    assert [(result.outcome, result.after) for result in results] == [(Outcome.RETRY, 0)] * 3
    assert delivered(await driver.settle(entered("c1", "c2", "c3", sequence=5)))
    assert server.members("vip") == {"c1", "c2", "c3"}
    assert len(server.sent("profile-import")) == 4, "c1 twice"


async def test_a_list_that_names_nobody_is_asked_again_with_fresh_ids(server: KlaviyoServer, driver: Driver) -> None:
    """Whatever it says of ids that were remembered; with fresh ones its word counts."""
    await driver.settle(entered("c1"))
    server.lists.clear()
    (result,) = await driver.deliver(entered("c1", sequence=5))
    assert (result.outcome, result.after) == (Outcome.RETRY, 0)
    (result,) = await driver.deliver(entered("c1", sequence=5))
    assert (result.outcome, result.status) == (Outcome.PAUSE, 404)


async def test_an_id_that_was_just_imported_is_not_out_of_date(server: KlaviyoServer) -> None:
    """Where properties are written each time, what the list says counts at once, else it would never end."""
    async with driving(server, segments={"vip": {"list": LIST, "property": "in_cart"}}) as driver:
        await driver.settle(entered("c1"))
        server.fail(status(400, {"errors": [{"code": "invalid", "detail": "no"}]}), at="/relationships/")
        (result,) = await driver.deliver(entered("c1", sequence=2))
        assert result.outcome is Outcome.REFUSED


async def test_an_item_that_a_list_points_to_is_refused_alone(server: KlaviyoServer, driver: Driver) -> None:
    said = {"errors": [{"code": "invalid", "detail": "no", "source": {"pointer": "/data/1/id"}}]}
    server.fail(status(400, said), at="/relationships/")
    results = await driver.settle(entered("c1", "c2", "c3"))
    assert [result.outcome for result in results] == [Outcome.DELIVERED, Outcome.REFUSED, Outcome.DELIVERED]
    assert server.members("vip") == {"c1", "c3"}


async def test_a_list_that_refuses_without_a_name_is_split(server: KlaviyoServer, driver: Driver) -> None:
    server.fail(status(400, {"errors": [{"code": "invalid", "detail": "no"}]}), at="/relationships/")
    results = await driver.deliver(entered("c1", "c2"))
    assert [result.outcome for result in results] == [Outcome.SPLIT] * 2


# -- duplicates ----------------------------------------------------------------------------------------------


async def test_a_duplicate_is_the_profile_that_it_names(server: KlaviyoServer, driver: Driver) -> None:
    """409 is no error for membership: the list gets the id that the answer names."""
    holder = server.add(email="c1@example.com")
    server.add(external_id="c1")
    assert delivered(await driver.settle(entered("c1")))
    assert server.lists[LIST] == {holder.id}
    assert len(server.sent("profile-import")) == 1


async def test_a_duplicate_is_written_by_its_id(server: KlaviyoServer) -> None:
    """Properties are not lost to a 409: they are written to the profile that it names, which keeps its own
    identifiers; and so is the event.
    """
    holder = server.add(email="c1@example.com")
    server.add(external_id="c1")
    options: dict[str, Any] = {"segments": {"vip": {"property": "is_vip", "event": {"entered": "Entered VIP"}}}}
    async with driving(server, **options) as driver:
        assert delivered(await driver.settle(entered("c1")))
    assert holder.properties == {"is_vip": True}
    assert holder.attributes == {"email": "c1@example.com"}
    assert [event["profile"] for event in server.events] == [holder.id]


async def test_a_duplicate_of_a_duplicate_is_refused(server: KlaviyoServer) -> None:
    """The profile that was named cannot be written either: that is said, and nothing goes on as if it were."""
    said = {"errors": [{"code": "duplicate_profile", "meta": {"duplicate_profile_id": "01H"}}]}
    server.fail(status(409, said), status(409, said))
    async with driving(server, segments={"vip": {"list": LIST, "property": "in_cart"}}) as driver:
        (result,) = await driver.deliver(entered("c1"))
    assert (result.outcome, result.status) == (Outcome.REFUSED, 409)
    assert not server.sent("/relationships/")


async def test_two_customers_who_are_one_profile_take_turns(server: KlaviyoServer) -> None:
    """Their requests would race: what was said last has to hold."""
    first = change("c1", profile={"email": "shared@example.com"})
    second = change("c2", action="exited", profile={"email": "Shared@example.com"})
    async with driving(server, segments={"vip": {"property": "in_cart"}}) as driver:
        results = await driver.deliver([first, second, change("c3")])
        assert [(r.outcome, r.reason, r.after) for r in results] == [
            (Outcome.DELIVERED, "", None),
            (Outcome.RETRY, "same_profile", 0.0),
            (Outcome.DELIVERED, "", None),
        ]
        assert delivered(await driver.settle([second]))


# -- events --------------------------------------------------------------------------------------------------


async def test_an_event_is_recorded_once(server: KlaviyoServer) -> None:
    """However often it is sent; two changes in one second are two events."""
    async with driving(server, **EVENTS) as driver:
        parcel = [change("c1"), change("c1", action="exited", sequence=2)]
        for _ in range(3):
            assert delivered(await driver.settle(parcel))
    assert [event["unique_id"] for event in server.events] == [one.id for one in parcel]
    assert [event["metric"]["data"]["attributes"]["name"] for event in server.events] == ["Entered VIP", "Left VIP"]


@pytest.mark.parametrize(("origin", "backfill"), [("live", False), ("replay", True), ("resync", True)])
async def test_what_is_sent_again_starts_no_flow(server: KlaviyoServer, origin: Any, backfill: bool) -> None:
    async with driving(server, **EVENTS) as driver:
        assert delivered(await driver.settle([change("c1", origin=origin)]))
    assert [event["backfill"] for event in server.events] == [backfill]


async def test_an_event_follows_the_state(server: KlaviyoServer) -> None:
    """A flow that an event starts finds the list and the properties as they are: the event is the last request,
    and is not sent where they failed.
    """
    async with driving(server, **EVENTS) as driver:
        server.fail(status(503), at="/relationships/")
        (result,) = await driver.deliver(entered("c1"))
        assert result.outcome is Outcome.RETRY
        assert not server.events
        assert delivered(await driver.settle(entered("c1")))
    assert [request.path.split("/")[2] for request in server.requests][-1] == "events"


async def test_an_event_has_only_the_direction_that_has_a_metric(server: KlaviyoServer) -> None:
    options: dict[str, Any] = {"segments": {"vip": {"event": {"exited": "Left VIP"}}}}
    async with driving(server, **options) as driver:
        assert delivered(await driver.settle(entered("c1")))
        assert server.requests == []
        assert delivered(await driver.settle(exited("c1")))
    assert len(server.events) == 1


@pytest.mark.parametrize("fault", [status(500), RESET, LOST], ids=lambda fault: str(fault.kind))
async def test_a_whole_entry_heals_wherever_it_breaks(fault: Fault) -> None:
    """List, property and event of two customers: broken at each request, repeated, they are there once."""
    options: dict[str, Any] = {
        "segments": {"vip": {"list": LIST, "property": "in_cart", "event": {"entered": "Entered VIP"}}}
    }
    parcel = entered("c1", "c2")
    for position in range(5):
        async with KlaviyoServer() as server, driving(server, **options) as driver:
            server.fail(*[PASS] * position, fault)
            results = await driver.deliver(parcel)
            assert {result.outcome for result in results} <= {Outcome.DELIVERED, Outcome.RETRY}
            assert Outcome.RETRY in {result.outcome for result in results}
            for one, result in zip(parcel, results, strict=True):
                done = one.id in {event["unique_id"] for event in server.events}
                assert done or result.outcome is Outcome.RETRY
            assert delivered(await driver.settle(parcel))
            assert server.members("vip") == server.members("cart") == {"c1", "c2"}
            assert sorted(event["unique_id"] for event in server.events) == sorted(one.id for one in parcel)


# -- the rest ------------------------------------------------------------------------------------------------


async def test_subscriptions_are_never_touched(server: KlaviyoServer) -> None:
    """The bulk calls for subscriptions would lift suppressions: nobody asked for that."""
    async with driving(server, **EVENTS) as driver:
        await driver.settle([*entered("c1", "c2"), *exited("c1")])
        await driver.erase([change("c2", "", "erased")])
    assert server.requests
    for request in server.requests:
        assert "subscription" not in request.path and "bulk" not in request.path


async def test_a_retired_revision_pauses(server: KlaviyoServer) -> None:
    """410 is not the customer's, and it is not for good: a newer revision in the options heals it."""
    async with driving(server, revision="2023-02-22") as driver:
        (result,) = await driver.deliver(entered("c1"))
    assert (result.outcome, result.reason) == (Outcome.PAUSE, "revision_retired")


async def test_what_klaviyo_takes_for_too_large_is_refused_alone(server: KlaviyoServer) -> None:
    async with driving(server, fields={"note": "note"}) as driver:
        results = await driver.settle([change("c1", note="x" * 101_000), change("c2", note="x")])
    assert [(result.outcome, result.status) for result in results] == [
        (Outcome.REFUSED, 413),
        (Outcome.DELIVERED, None),
    ]


async def test_whoever_has_one_of_the_identifiers_is_erased(server: KlaviyoServer, driver: Driver) -> None:
    """Two profiles of one person, one by e-mail and one by id, are both deleted; a stranger's is not."""
    server.add(external_id="c1")
    server.add(external_id="older", email='c1"&a=%41+#@example.com')
    server.add(external_id="c2")
    profile = {"email": 'c1"&a=%41+#@example.com'}
    assert delivered(await driver.erase([change("c1", "", "erased", profile=profile)]))
    assert server.erased == {"c1", "older"}


async def test_an_erasure_that_fails_is_retried(server: KlaviyoServer, driver: Driver) -> None:
    server.add(external_id="c1")
    for fault in (status(429, retry_after="9"), status(500)):
        server.fail(fault, at="/data-privacy")
        (result,) = await driver.erase([change("c1", "", "erased")])
        assert (result.outcome, result.after) == (Outcome.RETRY, 9 if fault.status == 429 else None)
    server.fail(status(404, {"errors": []}), at="/data-privacy")
    assert delivered(await driver.erase([change("c1", "", "erased")])), "gone meanwhile"
    assert not server.erased
    assert delivered(await driver.erase([change("c1", "", "erased")]))
    assert server.erased == {"c1"}


def test_wrong_options_are_named() -> None:
    good = {"api_key": {"env": "K"}, "segments": {"vip": {"list": "AbC123"}}}
    klaviyo.Config.model_validate(good)
    wrongs: list[dict[str, Any]] = [
        {"segments": {}},
        {"segments": {"vip": {}}},
        {"segments": {"vip": {"list": "../x"}}},
        {"segments": {"vip": {"event": {}}}},
        {"segments": "all"},
        {"segments": {"vip": {"lists": "AbC123"}}},
        {"fields": {"x": "location.planet"}},
        {"batch_size": klaviyo.MAX_PROFILES + 1},
        {"revision": "latest"},
        {"base_url": "https://a.klaviyo.com/?x"},
    ]
    for wrong in wrongs:
        with pytest.raises(ValidationError):
            klaviyo.Config.model_validate({**good, **wrong})


def test_what_is_remembered_is_bounded() -> None:
    """In number, the least lately used first, and in age."""
    ids = Remembered(capacity=2, seconds=10)
    for name in "abc":
        ids.put(name, name.upper(), NOW)
        ids.get("a", NOW)
    assert [ids.get(name, NOW) for name in "abc"] == ["A", None, "C"]
    assert ids.get("a", NOW + 9.9) == "A" and ids.get("a", NOW + 10) is None
    assert ids.get("a", NOW - 1) is None, "a clock that was set back"
    assert ids.get("a", NOW, of="another") is None
    assert "A" not in repr(ids)


async def test_an_id_belongs_to_its_identifiers(server: KlaviyoServer, driver: Driver) -> None:
    """A customer who has another e-mail address is imported again, and so is one who was erased and came back."""
    await driver.settle(entered("c1"))
    assert delivered(await driver.settle([change("c1", sequence=2, profile={"email": "new@example.com"})]))
    (profile,) = server.profiles.values()
    assert profile.attributes["email"] == "new@example.com"
    await driver.erase([change("c1", "", "erased", profile={})])
    server.requests.clear()
    assert delivered(await driver.deliver([change("c1", sequence=3, profile={"email": "new@example.com"})]))
    assert len(server.sent("profile-import")) == 1
