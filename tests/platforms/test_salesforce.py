"""What is Salesforce's own: records upserted by external id, errors by record, and a limit of calls per day."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import pytest

from connectors.platforms.salesforce import LIMIT_WAIT, Config, connect
from connectors.rates import Window
from connectors.results import Outcome, Result
from tests.platforms.changes import change, entered, exited
from tests.platforms.driver import AGENT, Driver, driving
from tests.platforms.servers import PlatformServer, status
from tests.platforms.servers.salesforce import SalesforceServer

pytestmark = pytest.mark.parametrize("platform", ["salesforce"])


@pytest.fixture
def crm(server: PlatformServer) -> SalesforceServer:
    return cast(SalesforceServer, server)


def outcomes(results: Sequence[Result]) -> list[Outcome]:
    return [result.outcome for result in results]


async def test_a_token_is_asked_for_with_a_form(crm: SalesforceServer, driver: Driver) -> None:
    await driver.prepare()
    (request,) = crm.requests
    assert (request.method, request.path) == ("POST", "/services/oauth2/token")
    assert request.headers["content-type"] == "application/x-www-form-urlencoded"
    assert request.body == (
        b"grant_type=client_credentials&client_id=3MVG9lKcPoNINVBIPJjdw1J9LLM82Hn"
        b"&client_secret=7C3F%2F95%2B21A%2640D0%3DB0A2"
    )


async def test_a_parcel_is_these_bytes(crm: SalesforceServer) -> None:
    """Segments share a request: every record has its own fields only."""
    async with driving(crm, fields={"cart_value": "Cart_Value__c", "unknown": "Cart_Items__c"}) as driver:
        changes = [*entered("c1"), *exited("c2", segment="cart")]
        assert len({driver.connector.group(one) for one in changes}) == 1
        assert outcomes(await driver.deliver(changes)) == [Outcome.DELIVERED] * 2
    (request,) = crm.sent()
    path = "/services/data/v62.0/composite/sobjects/Contact/Customer_Id__c"
    assert (request.method, request.path) == ("PATCH", path)
    assert request.headers["content-type"] == "application/json"
    assert request.headers["authorization"].startswith("Bearer 00Dxx")
    assert request.body == (
        b'{"allOrNone":false,"records":[{"attributes":{"type":"Contact"},"Customer_Id__c":"c1","Vip__c":true,'
        b'"Cart_Value__c":59.98,"Cart_Items__c":null},'
        b'{"attributes":{"type":"Contact"},"Customer_Id__c":"c2","Cart__c":false,'
        b'"Cart_Value__c":59.98,"Cart_Items__c":null}]}'
    )


async def test_an_erasure_deletes_the_record_by_its_external_id(crm: SalesforceServer, driver: Driver) -> None:
    await driver.settle(entered("a/b c"))
    (result,) = await driver.erase([change("a/b c", "", "erased", 0)])
    assert result.outcome is Outcome.DELIVERED
    request = crm.sent()[-1]
    assert request.method == "DELETE"
    assert request.path == "/services/data/v62.0/sobjects/Contact/Customer_Id__c/a%2Fb%20c"
    assert crm.contacts == {}


async def test_a_record_that_may_not_be_deleted_is_refused_and_one_that_is_locked_waits(
    crm: SalesforceServer, driver: Driver
) -> None:
    error = {"errorCode": "DELETE_FAILED", "message": "Your attempt to delete c1 could not be completed"}
    locked = {"errorCode": "UNABLE_TO_LOCK_ROW", "message": "unable to obtain exclusive access"}
    crm.fail(status(400, [error]))
    (result,) = await driver.erase([change("c1", "", "erased", 0)])
    assert (result.outcome, result.reason) == (
        Outcome.REFUSED,
        "DELETE_FAILED: Your attempt to delete c1 could not be completed",
    )
    crm.fail(status(400, [locked]))
    (result,) = await driver.erase([change("c1", "", "erased", 0)])
    assert (result.outcome, result.reason) == (Outcome.RETRY, "unable_to_lock_row")


def failed(code: str, message: str) -> dict[str, Any]:
    return {"success": False, "errors": [{"statusCode": code, "message": message, "fields": []}]}


@pytest.mark.parametrize(
    ("code", "message", "outcome"),
    [
        ("UNABLE_TO_LOCK_ROW", "unable to obtain exclusive access to this record", Outcome.RETRY),
        ("CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY", "AccountTrigger: … UNABLE_TO_LOCK_ROW, unable to", Outcome.RETRY),
        (
            "CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY",
            "AccountTrigger: Too many SOQL queries: 101",
            Outcome.RETRY,
        ),
        ("CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY", "AccountTrigger: attempt to de-reference a null", Outcome.REFUSED),
        ("SERVER_UNAVAILABLE", "", Outcome.RETRY),
        ("DUPLICATE_VALUE", "duplicate value found", Outcome.REFUSED),
        ("REQUIRED_FIELD_MISSING", "Required fields are missing: [LastName]", Outcome.REFUSED),
        ("INVALID_FIELD", "No such column 'Vip__c' on sobject of type Contact", Outcome.PAUSE),
        ("INVALID_FIELD_FOR_INSERT_UPDATE", "Unable to create/update fields: Vip__c", Outcome.PAUSE),
        ("STORAGE_LIMIT_EXCEEDED", "storage limit exceeded", Outcome.PAUSE),
    ],
)
async def test_a_record_s_error_says_what_becomes_of_it(
    crm: SalesforceServer, driver: Driver, code: str, message: str, outcome: Outcome
) -> None:
    crm.fail(status(200, [failed(code, message), {"id": "003", "success": True, "created": False, "errors": []}]))
    bad, good = await driver.deliver(entered("c1", "c2"))
    assert (bad.outcome, good.outcome) == (outcome, Outcome.DELIVERED)
    assert code.lower() in bad.reason.lower()
    assert bad.excerpt == f"{code}: {message}"


async def test_a_locked_record_is_sent_again_without_the_others(crm: SalesforceServer, driver: Driver) -> None:
    crm.locked.add("c2")
    results = await driver.deliver(entered("c1", "c2", "c3"))
    assert outcomes(results) == [Outcome.DELIVERED, Outcome.RETRY, Outcome.DELIVERED]
    assert outcomes(await driver.deliver(entered("c2"))) == [Outcome.DELIVERED]


@pytest.mark.parametrize(
    ("code", "status_code", "items", "outcome"),
    [
        ("INVALID_FIELD", 400, 2, Outcome.PAUSE),
        ("JSON_PARSER_ERROR", 400, 2, Outcome.SPLIT),
        ("JSON_PARSER_ERROR", 400, 1, Outcome.REFUSED),
        ("NOT_FOUND", 404, 2, Outcome.PAUSE),
        ("API_DISABLED_FOR_ORG", 403, 2, Outcome.PAUSE),
        ("INSUFFICIENT_ACCESS", 403, 2, Outcome.PAUSE),
        ("SERVER_UNAVAILABLE", 503, 2, Outcome.RETRY),
    ],
)
async def test_a_request_s_error_is_of_all_its_records(
    crm: SalesforceServer, driver: Driver, code: str, status_code: int, items: int, outcome: Outcome
) -> None:
    crm.fail(status(status_code, [{"errorCode": code, "message": "no"}]))
    assert outcomes(await driver.deliver(entered("c1", "c2")[:items])) == [outcome] * items


async def test_beyond_the_calls_of_a_day_it_waits_a_quarter_of_an_hour(crm: SalesforceServer, driver: Driver) -> None:
    crm.quota = (Window(0, 60.0),)
    results = await driver.deliver(entered("c1", "c2"))
    for result in results:
        assert (result.outcome, result.after, result.throttled) == (Outcome.RETRY, LIMIT_WAIT, True)
        assert result.status == 403


async def test_the_last_calls_are_left_to_others(crm: SalesforceServer, driver: Driver) -> None:
    crm.daily, crm.calls = 1_000, 948
    assert outcomes(await driver.deliver(entered("c1"))) == [Outcome.DELIVERED]
    assert outcomes(await driver.deliver(entered("c2"))) == [Outcome.DELIVERED], "949 of 1,000"
    driver.now += 60
    (result,) = await driver.deliver(entered("c3"))
    assert (result.outcome, result.reason, result.after) == (Outcome.RETRY, "calls_reserved", LIMIT_WAIT - 60)
    assert crm.calls == 950
    crm.calls = 100
    driver.now += LIMIT_WAIT
    assert outcomes(await driver.deliver(entered("c3", "c4"))) == [Outcome.DELIVERED] * 2, "asked once, and it is less"
    async with driving(crm, reserve=0) as all_of_them:
        crm.calls = 998
        assert outcomes(await all_of_them.deliver(entered("c5"))) == [Outcome.DELIVERED]
        assert outcomes(await all_of_them.deliver(entered("c6"))) == [Outcome.DELIVERED]


async def test_a_header_that_says_nothing_readable_reserves_nothing(crm: SalesforceServer, driver: Driver) -> None:
    endless = "9" * 5_000
    unreadable = ("api-usage=x/y", f"api-usage=1/{endless}", f"api-usage={endless}/1", "")
    for told in ("api-usage=9/0", "per-app-api-usage=17/250(appName=x)", *unreadable):
        crm.fail(status(200, [{"success": True}], sforce_limit_info=told))
        assert outcomes(await driver.deliver(entered("c1"))) == [Outcome.DELIVERED]
    assert len(crm.sent()) == 6


def options(**more: Any) -> dict[str, Any]:
    secrets = {name: {"env": "X"} for name in ("client_id", "client_secret")}
    segments = {"vip": {"field": "Vip__c"}}
    return {"domain": "acme", "external_id_field": "Id__c", "segments": segments, **secrets, **more}


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"domain": "evil.example.com/"}, "domain"),
        ({"domain": "acme@evil"}, "domain"),
        ({"domain": "acme.evil"}, "domain"),
        ({"domain": "acme\n"}, "domain"),
        ({"api_version": "45.0"}, "api_version"),
        ({"api_version": "62"}, "api_version"),
        ({"object": "Contact/../Account"}, "object"),
        ({"external_id_field": "Id__c?x=1"}, "external_id_field"),
        ({"segments": {"vip": {"field": "Vip c"}}}, "field"),
        ({"segments": {"vip": {"field": "id__C"}}}, "given twice"),
        ({"batch_size": 201}, "batch_size"),
        ({"base_url": "http://gateway.example.com"}, "allow_http"),
        ({"identity": {"email": "email"}}, "identity"),
    ],
)
def test_options_that_cannot_work_are_refused(platform: str, more: dict[str, Any], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        Config.model_validate(options(**more))


@pytest.mark.parametrize("domain", ["acme", "acme--test.sandbox", "acme-dev-ed.develop"])
def test_requests_go_to_my_domain(platform: str, domain: str) -> None:
    """Whatever `instance_url` a token comes with."""
    connector = connect(Config.model_validate(options(domain=domain)), {"X": "secret"}, AGENT)
    steps = connector.prepare(0.0)
    assert steps is not None
    assert next(steps)[0].url == f"https://{domain}.my.salesforce.com/services/oauth2/token"
    (request,) = next(connector.deliver(entered("c1"), 0.0))
    assert request.url.startswith(f"https://{domain}.my.salesforce.com/services/data/v62.0/")


def test_its_calls_in_a_day_are_limited(platform: str) -> None:
    connector = connect(Config.model_validate(options(daily_calls=15_000)), {"X": "secret"}, AGENT)
    assert connector.limits["api"] == (Window(15_000, 86_400.0),)
