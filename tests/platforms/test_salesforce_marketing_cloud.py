"""What is Marketing Cloud's own: three ways to write rows, jobs that take their time, and errors that name no row."""

from __future__ import annotations

import inspect
import json
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, cast

import pytest

from connectors.changes import Change
from connectors.exchange import Response
from connectors.platforms.salesforce_marketing_cloud import POLLS_LAST, Config, connect
from connectors.results import Outcome, Result
from tests.platforms import test_conformance as laws
from tests.platforms.changes import change, entered, exited
from tests.platforms.driver import AGENT, Driver, driving
from tests.platforms.servers import HANG, PASS, PlatformServer, status
from tests.platforms.servers.salesforce_marketing_cloud import MarketingCloudServer

pytestmark = pytest.mark.parametrize("platform", ["salesforce_marketing_cloud"])

AT = "2026-09-20T12:34:56.789012Z"


@pytest.fixture
def cloud(server: PlatformServer) -> MarketingCloudServer:
    return cast(MarketingCloudServer, server)


def outcomes(results: Sequence[Result]) -> list[Outcome]:
    return [result.outcome for result in results]


# What is sent.


async def test_a_token_is_asked_for_with_the_business_unit(cloud: MarketingCloudServer, driver: Driver) -> None:
    await driver.prepare()
    (request,) = cloud.requests
    assert (request.method, request.path) == ("POST", "/v2/token")
    assert request.headers["content-type"] == "application/json"
    assert request.json == {
        "grant_type": "client_credentials",
        "client_id": cloud.environ["SFMC_CLIENT_ID"],
        "client_secret": cloud.environ["SFMC_CLIENT_SECRET"],
        "account_id": "7281698",
    }


async def test_a_row_set_is_these_bytes(cloud: MarketingCloudServer) -> None:
    async with driving(cloud, fields={"cart_value": "CartValue", "email": "Email"}) as driver:
        await driver.deliver([change("c1", sequence=3), change("c2", action="exited", sequence=9)])
    (request,) = cloud.sent()
    assert (request.method, request.path) == ("POST", "/hub/v1/dataevents/key:Live%20Segments/rowset")
    assert request.headers["content-type"] == "application/json"
    assert request.headers["authorization"].startswith("Bearer token-")
    assert request.headers["user-agent"] == AGENT
    assert request.body == (
        b'[{"keys":{"SubscriberKey":"c1"},"values":{"Vip":true,"Version":3,"ChangedAt":"2026-09-20T12:34:56.789012Z",'
        b'"CartValue":59.98,"Email":"c1@example.com"}},'
        b'{"keys":{"SubscriberKey":"c2"},"values":{"Vip":false,"Version":9,"ChangedAt":"2026-09-20T12:34:56.789012Z",'
        b'"CartValue":59.98,"Email":"c2@example.com"}}]'
    )


async def test_an_upsert_is_these_bytes_and_then_questions(cloud: MarketingCloudServer) -> None:
    cloud.states = ["", "Pending", "Executing", "Error"]
    async with driving(cloud, mode="async", version_column=None, changed_at_column=None) as driver:
        assert outcomes(await driver.deliver(entered("c1", "c2"))) == [Outcome.DELIVERED] * 2
    put, *questions = cloud.sent()
    assert (put.method, put.path) == ("PUT", "/data/v1/async/dataextensions/key:Live%20Segments/rows")
    assert put.body == b'{"items":[{"SubscriberKey":"c1","Vip":true},{"SubscriberKey":"c2","Vip":true}]}'
    (job,) = cloud.jobs
    assert [question.path for question in questions] == [f"/data/v1/async/{job}/status"] * 5


async def test_an_update_is_this_envelope(cloud: MarketingCloudServer) -> None:
    async with driving(cloud, mode="soap", version_column=None, fields={"note": "Email"}) as driver:
        await driver.deliver([change("c1", note='<b>&"\x00'), change("c2", action="exited", note=None)])
    (request,) = cloud.sent()
    assert (request.method, request.path) == ("POST", "/Service.asmx")
    assert (request.headers["content-type"], request.headers["soapaction"]) == ("text/xml; charset=utf-8", "Update")
    token = request.body.partition(b'<fueloauth xmlns="http://exacttarget.com">')[2].partition(b"<")[0].decode()
    assert token.startswith("token-")
    assert request.body.decode() == (
        '<?xml version="1.0" encoding="UTF-8"?><s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"'
        ' xmlns:a="http://schemas.xmlsoap.org/ws/2004/08/addressing"'
        ' xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"><s:Header><a:Action>Update</a:Action>'
        f"<a:To>{cloud.url}/Service.asmx</a:To>"
        f'<fueloauth xmlns="http://exacttarget.com">{token}</fueloauth></s:Header>'
        '<s:Body><UpdateRequest xmlns="http://exacttarget.com/wsdl/partnerAPI"><Options><SaveOptions><SaveOption>'
        "<PropertyName>DataExtensionObject</PropertyName><SaveAction>UpdateAdd</SaveAction></SaveOption></SaveOptions>"
        '</Options><Objects xsi:type="DataExtensionObject"><CustomerKey>Live Segments</CustomerKey><Properties>'
        "<Property><Name>Vip</Name><Value>true</Value></Property>"
        f"<Property><Name>ChangedAt</Name><Value>{AT}</Value></Property>"
        "<Property><Name>Email</Name><Value>&lt;b&gt;&amp;&quot;\ufffd</Value></Property></Properties>"
        "<Keys><Key><Name>SubscriberKey</Name><Value>c1</Value></Key></Keys></Objects>"
        '<Objects xsi:type="DataExtensionObject"><CustomerKey>Live Segments</CustomerKey><Properties>'
        "<Property><Name>Vip</Name><Value>false</Value></Property>"
        f"<Property><Name>ChangedAt</Name><Value>{AT}</Value></Property></Properties>"
        "<Keys><Key><Name>SubscriberKey</Name><Value>c2</Value></Key></Keys></Objects>"
        "</UpdateRequest></s:Body></s:Envelope>"
    )


async def test_a_membership_may_be_a_row_of_its_own(cloud: MarketingCloudServer) -> None:
    segments = {"vip": {"data_extension": "Memberships", "column": "IsMember", "segment_column": "Segment"}}
    async with driving(cloud, segments=segments, version_column=None, changed_at_column=None) as driver:
        await driver.deliver(entered("c1"))
    (request,) = cloud.sent()
    assert request.json == [{"keys": {"SubscriberKey": "c1", "Segment": "vip"}, "values": {"IsMember": True}}]


async def test_rows_of_different_columns_do_not_share_a_request(cloud: MarketingCloudServer, driver: Driver) -> None:
    """A row that lacks another's column must not blank it."""
    changes = [*entered("c1"), *entered("c2", segment="cart"), *exited("c3")]
    assert len({driver.connector.group(one) for one in changes}) == 2
    assert outcomes(await driver.deliver(changes)) == [Outcome.DELIVERED] * 3, "nor if they come together"
    assert [next(iter(row["values"])) for request in cloud.sent() for row in request.json] == ["Vip", "Vip", "Cart"]
    assert (cloud.members("vip"), cloud.members("cart")) == ({"c1"}, {"c2"})


async def test_an_erasure_deletes_the_contact(cloud: MarketingCloudServer, driver: Driver) -> None:
    assert (
        outcomes(await driver.erase([change("c1", "", "erased", 0), change("c2", "", "erased", 0)]))
        == [Outcome.DELIVERED] * 2
    )
    (request,) = cloud.sent()
    assert (request.method, request.path) == ("POST", "/contacts/v1/contacts/actions/delete?type=keys")
    assert request.body == b'{"values":["c1","c2"],"DeleteOperationType":"ContactAndAttributes"}'
    cloud.fail(status(200, {"operationInitiated": False, "resultMessages": [{"message": "not enabled"}]}))
    (result,) = await driver.erase([change("c1", "", "erased", 0)])
    assert result.outcome is Outcome.RETRY


async def test_by_soap_an_erasure_is_refused(cloud: MarketingCloudServer) -> None:
    async with driving(cloud, mode="soap") as driver:
        (result,) = await driver.erase([change("c1", "", "erased", 0)])
        assert (result.outcome, result.reason) == (Outcome.REFUSED, "erasure_not_supported")
        assert await driver.ping() == 200
        assert cloud.sent()[-1].headers["soapaction"] == "GetSystemStatus"


# The laws of all platforms, in the modes that their suite does not see.

Law = Callable[..., Awaitable[None]]
LAWS: list[tuple[Law, dict[str, Any]]] = [
    (laws.test_entering_and_leaving_is_what_the_platform_then_holds, {}),
    (laws.test_the_newest_of_a_customer_decides, {}),
    (laws.test_a_batch_may_be_as_large_as_the_platform_takes, {}),
    *((laws.test_a_customer_may_be_called_anything, {"customer": one}) for one in ("o'b+a/b", "<a>&'\"", "Ünï\tcö")),
    (laws.test_one_bad_item_is_refused_alone, {}),
    (laws.test_who_has_no_identity_is_refused_alone, {}),
    (laws.test_beyond_the_limits_it_waits_as_long_as_it_is_told, {}),
    *((laws.test_what_may_heal_is_retried_wherever_it_breaks, {"fault": one}) for one in laws.FAULTS),
    *((laws.test_no_answer_makes_it_stumble, {"body": one}) for one in (b"", b"[]", b"<a/>", b'{"status":0}')),
    (laws.test_wrong_credentials_pause_the_destination, {}),
    (laws.test_what_is_forbidden_pauses_the_destination, {}),
    (laws.test_secrets_are_shown_nowhere, {}),
    (laws.test_a_delivery_can_be_shown_to_its_end_without_sending, {}),
    (laws.test_a_ping_shows_whether_the_credentials_are_taken, {}),
    (laws.test_every_request_counts_against_a_declared_limit, {}),
    (laws.test_an_erased_customer_is_deleted_there, {}),
]


def _name(value: object) -> str | None:
    return f"{value[0].__name__}{value[1] or ''}" if isinstance(value, tuple) else None


@pytest.mark.parametrize("mode", ["async", "soap"])
@pytest.mark.parametrize("law", LAWS, ids=_name)
async def test_the_laws_hold_in_every_mode(
    platform: str, mode: str, law: tuple[Law, dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(MarketingCloudServer, "mode", mode)
    monkeypatch.setattr(MarketingCloudServer, "throttle_tells", mode == "async")
    monkeypatch.setattr(MarketingCloudServer, "erases", mode == "async")
    test, arguments = law
    async with MarketingCloudServer() as server, driving(server) as driver:
        given = {"server": server, "driver": driver, "platform": platform, **arguments}
        await test(**{name: given[name] for name in inspect.signature(test).parameters})


# How answers are read.


async def test_a_bad_row_is_found_by_halves(cloud: MarketingCloudServer, driver: Driver) -> None:
    """The rows before it are written, those after it are not, and nothing says which it was."""
    cloud.refused.add("c6")
    customers = [f"c{number}" for number in range(16)]
    results = await driver.settle(entered(*customers))
    bad = results[6]
    assert (bad.outcome, bad.reason) == (
        Outcome.REFUSED,
        "String or binary data would be truncated in column 'Vip'.",
    )
    assert outcomes([*results[:6], *results[7:]]) == [Outcome.DELIVERED] * 15
    assert cloud.members("vip") == {*customers} - {"c6"}
    assert len(cloud.sent()) == 9


async def test_a_row_set_that_could_not_be_saved_for_no_reason_is_retried(
    cloud: MarketingCloudServer, driver: Driver
) -> None:
    cloud.deadlocked.add("c1")
    (result,) = await driver.deliver(entered("c1"))
    assert (result.outcome, result.reason) == (Outcome.RETRY, "errorcode_10006")
    assert outcomes(await driver.deliver(entered("c1"))) == [Outcome.DELIVERED]


@pytest.mark.parametrize(
    ("body", "headers", "after"),
    [
        ({"message": "Rate limit exceeded", "errorcode": 50100, "retryAfter": 5}, {"retry_after": "5"}, 5.0),
        ({"message": "Rate limit exceeded", "errorcode": 50100, "retryAfter": 5}, {}, 5.0),
        ({"message": "Your requests are temporarily blocked.", "errorcode": 50200}, {}, 60.0),
    ],
)
async def test_too_many_requests_wait_as_long_as_they_are_told_or_a_minute(
    cloud: MarketingCloudServer, driver: Driver, body: dict[str, Any], headers: dict[str, str], after: float
) -> None:
    cloud.fail(status(429, body, **headers))
    (result,) = await driver.deliver(entered("c1"))
    assert (result.outcome, result.after) == (Outcome.RETRY, after)


async def test_an_unknown_data_extension_pauses(cloud: MarketingCloudServer) -> None:
    for mode in ("sync", "async"):
        async with driving(cloud, mode=mode, segments={"vip": {"data_extension": "x/../y", "column": "V"}}) as driver:
            assert outcomes(await driver.deliver(entered("c1"))) == [Outcome.PAUSE]
            assert "/key:x%2F..%2Fy/" in cloud.sent()[-1].path


# Jobs.


async def test_each_row_of_a_job_has_its_own_result(cloud: MarketingCloudServer) -> None:
    """Results come in pages of 50, in the order of the rows; a deadlock heals, what is wrong does not."""
    cloud.refused.add("c60")
    cloud.deadlocked.add("c119")
    customers = [f"c{number}" for number in range(120)]
    async with driving(cloud, mode="async", batch_size=200) as driver:
        results = await driver.deliver(entered(*customers))
    assert [request.path.rpartition("?")[2] for request in cloud.sent("/results")] == ["page=1", "page=2", "page=3"]
    ends = {place: result.outcome for place, result in enumerate(results) if result.outcome is not Outcome.DELIVERED}
    assert ends == {60: Outcome.REFUSED, 119: Outcome.RETRY}
    assert results[60].reason == "String or binary data would be truncated in column 'Vip'."
    assert results[60].request is not None and results[60].request.method == "PUT"
    assert cloud.members("vip") == {*customers} - {"c60", "c119"}


async def test_results_that_are_not_all_there_are_not_believed(cloud: MarketingCloudServer) -> None:
    cloud.refused.add("c1")
    async with driving(cloud, mode="async") as driver:
        cloud.fail(*[PASS] * 4, status(200, {"page": 1, "pageSize": 50, "count": 2, "items": [{"status": "OK"}]}))
        assert outcomes(await driver.deliver(entered("c1", "c2"))) == [Outcome.RETRY] * 2
        assert outcomes(await driver.deliver(entered("c1", "c2"))) == [Outcome.REFUSED, Outcome.DELIVERED]
        assert len(cloud.jobs) == 1


@pytest.mark.parametrize("size", [0, -1, "50", None, 2.5])
async def test_a_page_whose_size_is_none_is_one_of_fifty(cloud: MarketingCloudServer, size: object) -> None:
    cloud.refused.add("c1")
    async with driving(cloud, mode="async") as driver:
        page = {"pageSize": size, "items": [{"status": "Error", "message": "no"}, {"status": "OK"}]}
        cloud.fail(*[PASS] * 4, status(200, page))
        assert outcomes(await driver.deliver(entered("c1", "c2"))) == [Outcome.REFUSED, Outcome.DELIVERED]


@pytest.mark.parametrize(("code", "outcome"), [(400, Outcome.RETRY), (500, Outcome.RETRY), (403, Outcome.PAUSE)])
async def test_results_that_cannot_be_had_refuse_nobody(
    cloud: MarketingCloudServer, code: int, outcome: Outcome
) -> None:
    cloud.refused.add("c1")
    async with driving(cloud, mode="async") as driver:
        cloud.fail(*[PASS] * 4, status(code, {"message": "no"}))
        assert outcomes(await driver.deliver(entered("c1", "c2"))) == [outcome] * 2
        assert outcomes(await driver.deliver(entered("c1", "c2"))) == [Outcome.REFUSED, Outcome.DELIVERED]
        assert len(cloud.jobs) == 1


async def test_a_job_that_is_not_finished_is_asked_for_again_and_not_started_anew(cloud: MarketingCloudServer) -> None:
    """So that it cannot be applied after what follows it."""
    cloud.states = ["", *["Pending"] * 60]
    async with driving(cloud, mode="async") as driver:
        (result,) = await driver.deliver(entered("c1"))
        assert (result.outcome, result.reason) == (Outcome.RETRY, "job_not_finished")
        assert cloud.members("vip") == set()
        driver.now += 600
        assert outcomes(await driver.deliver(entered("c1"))) == [Outcome.DELIVERED]
        cloud.states = []
        assert outcomes(await driver.deliver(exited("c1"))) == [Outcome.DELIVERED]
    assert len(cloud.sent("/rows")) == 2
    assert cloud.members("vip") == set()


async def test_a_job_is_asked_for_less_and_less_often(cloud: MarketingCloudServer) -> None:
    async with driving(cloud, mode="async") as driver:
        await driver.prepare()
        steps = driver.connector.deliver(entered("c1"), driver.now)
        next(steps)
        waits = []
        answer = Response(202, {}, b'{"requestId":"j-1"}')
        with pytest.raises(StopIteration) as end:
            while True:
                (request,) = steps.send([answer])
                waits.append(request.wait)
                answer = Response(200, {}, b'{"status":{"requestStatus":"Pending"}}')
                if len(waits) == 6:
                    answer = Response(429, {"retry-after": "40"}, b"")
    assert waits[:8] == [1.0, 2.0, 3.0, 5.0, 8.0, 8.0, 40.0, 8.0]
    assert POLLS_LAST - 8 < sum(waits) - 32 <= POLLS_LAST
    assert end.value.value[0].reason == "job_not_finished"


async def test_a_job_that_was_lost_is_started_anew(cloud: MarketingCloudServer) -> None:
    async with driving(cloud, mode="async") as driver:
        cloud.fail(PASS, status(404, {"message": "Not Found"}))
        assert outcomes(await driver.deliver(entered("c1"))) == [Outcome.RETRY]
        assert outcomes(await driver.deliver(entered("c1"))) == [Outcome.DELIVERED]
        assert len(cloud.sent("/rows")) == 2
        cloud.states = ["Error"] * 100
        (result,) = await driver.deliver(entered("c2"))
        assert (result.outcome, result.reason) == (Outcome.RETRY, "job_failed")
        cloud.states = []
        assert outcomes(await driver.deliver(entered("c2"))) == [Outcome.DELIVERED]
        assert len(cloud.sent("/rows")) == 4
        cloud.states = ["Pending"] * 100
        assert outcomes(await driver.deliver(entered("c3"))) == [Outcome.RETRY]
        driver.now += 4_000
        cloud.states = []
        await driver.prepare()
        assert outcomes(await driver.deliver(entered("c3"))) == [Outcome.DELIVERED]
        assert len(cloud.sent("/rows")) == 6


async def test_questions_without_an_answer_come_to_an_end(cloud: MarketingCloudServer) -> None:
    async with driving(cloud, mode="async", timeout=0.1) as driver:
        cloud.fail(PASS, HANG, status(503), status(429), status(500), HANG)
        (result,) = await driver.deliver(entered("c1"))
        assert (result.outcome, result.reason) == (Outcome.RETRY, "job_not_finished")
        assert len(cloud.sent("/status")) == 5
        assert outcomes(await driver.deliver(entered("c1"))) == [Outcome.DELIVERED]
        assert len(cloud.sent("/rows")) == 1


async def test_a_token_that_ends_during_a_job_is_renewed_and_the_job_goes_on(cloud: MarketingCloudServer) -> None:
    async with driving(cloud, mode="async") as driver:
        await driver.settle(entered("c1"))
        driver.now += 400
        cloud.fail(PASS, PASS, status(401, {"message": "Not Authorized"}))
        assert outcomes(await driver.settle(entered("c2"))) == [Outcome.DELIVERED]
    assert len(cloud.sent("/rows")) == 2
    assert len(cloud.requests) - len(cloud.sent()) == 2


@pytest.mark.parametrize("job", ["../x", "a/b", "", 7, None, "x" * 65])
async def test_a_job_is_asked_for_only_by_a_plain_name(cloud: MarketingCloudServer, job: object) -> None:
    async with driving(cloud, mode="async") as driver:
        cloud.fail(status(202, {"requestId": job}))
        assert outcomes(await driver.deliver(entered("c1"))) == [Outcome.RETRY]
        assert len(cloud.sent()) == 1


# SOAP.


async def test_results_are_told_apart_by_their_ordinal(cloud: MarketingCloudServer) -> None:
    """The server gives them in reverse."""
    cloud.refused.add("c1")
    cloud.deadlocked.add("c3")
    async with driving(cloud, mode="soap") as driver:
        results = await driver.deliver(entered("c1", "c2", "c3"))
    assert outcomes(results) == [Outcome.REFUSED, Outcome.DELIVERED, Outcome.RETRY]
    assert results[0].reason == "String or binary data would be truncated in column 'Vip'."


def fault(code: str, text: str) -> Any:
    said = f"<s:Fault><faultcode>{code}</faultcode><faultstring>{text}</faultstring></s:Fault>"
    envelope = f'<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body>{said}</s:Body></s:Envelope>'
    return status(500, envelope.encode())


async def test_faults_are_told_apart(cloud: MarketingCloudServer) -> None:
    async with driving(cloud, mode="soap") as driver:
        cloud.fail(fault("soap:Server", "Rate limit exceeded"))
        (result,) = await driver.deliver(entered("c1"))
        assert (result.outcome, result.throttled) == (Outcome.RETRY, True)
        cloud.fail(fault("soap:Client", "Server was unable to read request."))
        assert outcomes(await driver.deliver(entered("c1", "c2"))) == [Outcome.SPLIT] * 2
        cloud.fail(fault("soap:Client", "Server was unable to read request."))
        (result,) = await driver.deliver(entered("c1"))
        assert (result.outcome, result.reason) == (Outcome.REFUSED, "Server was unable to read request.")
        cloud.fail(fault("soap:Client", ""))
        (result,) = await driver.deliver(entered("c1"))
        assert (result.outcome, result.reason) == (Outcome.REFUSED, "soap_client")
        cloud.fail(fault("q0:Security", "Token Expired"))
        assert outcomes(await driver.deliver(entered("c1"))) == [Outcome.PAUSE], "it was fresh"
        driver.now += 400
        cloud.fail(fault("q0:Security", "Token Expired"))
        assert outcomes(await driver.settle(entered("c1"))) == [Outcome.DELIVERED]


async def test_an_answer_with_a_document_type_is_not_read(cloud: MarketingCloudServer) -> None:
    async with driving(cloud, mode="soap") as driver:
        cloud.fail(status(200, b'<!DOCTYPE r [<!ENTITY a "b">]><r>&a;</r>'))
        (result,) = await driver.deliver(entered("c1"))
        assert (result.outcome, result.reason) == (Outcome.RETRY, "unreadable_answer")


# Limits and options.


@pytest.mark.parametrize("mode", ["sync", "async"])
async def test_no_request_is_larger_than_5_megabytes(cloud: MarketingCloudServer, mode: str) -> None:
    large = "x" * 1_500_000
    parcel: list[Change] = [change(f"c{number}", note=large) for number in range(5)]
    async with driving(cloud, mode=mode, fields={"note": "Email"}, timeout=20) as driver:
        assert outcomes(await driver.settle(parcel)) == [Outcome.DELIVERED] * 5
        sizes = [len(request.body) for request in cloud.sent() if len(request.body) > 1000]
        assert max(sizes) <= 5_000_000 and len(sizes) == 2
        (result,) = await driver.deliver([change("c9", note=large * 4)])
        assert (result.outcome, result.reason) == (Outcome.REFUSED, "too_large")
        assert len(sizes) == len([request for request in cloud.sent() if len(request.body) > 1000])


async def test_no_more_than_one_token_in_seventeen_minutes(cloud: MarketingCloudServer, driver: Driver) -> None:
    for number in range(60):
        await driver.deliver([change("c1", sequence=number)])
        driver.now += 60
    assert len(cloud.requests) - len(cloud.sent()) == 4, "an hour"


def options(**more: Any) -> dict[str, Any]:
    secrets = {name: {"env": "X"} for name in ("client_id", "client_secret")}
    segments = {"vip": {"data_extension": "D", "column": "Vip"}}
    return {"subdomain": "mc-1", "segments": segments, **secrets, **more}


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"subdomain": "evil.example.com/"}, "subdomain"),
        ({"subdomain": "evil.example.com#"}, "subdomain"),
        ({"subdomain": "a@evil"}, "subdomain"),
        ({"subdomain": "mc-1\n"}, "subdomain"),
        ({"subdomain": ""}, "subdomain"),
        ({"base_url": "http://gateway.example.com"}, "allow_http"),
        ({"key_column": "vip"}, "given twice"),
        ({"fields": {"a": "Version"}, "version_column": "Version"}, "given twice"),
        ({"segments": {"vip": {"data_extension": "D"}}}, "column"),
        ({"segments": {}}, "segments"),
        ({"identity": {"email": "email"}}, "identity"),
        ({"batch_size": 30_001}, "batch_size"),
        ({"mode": "bulk"}, "mode"),
    ],
)
def test_options_that_cannot_work_are_refused(platform: str, more: dict[str, Any], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        Config.model_validate(options(**more))


def test_requests_go_to_the_subdomain(platform: str) -> None:
    connector = connect(Config.model_validate(options()), {"X": "secret"}, AGENT)
    steps = connector.prepare(0.0)
    assert steps is not None
    (asked,) = next(steps)
    assert asked.url == "https://mc-1.auth.marketingcloudapis.com/v2/token"
    assert json.loads(asked.body).keys() == {"grant_type", "client_id", "client_secret"}
    (request,) = next(connector.deliver(entered("c1"), 0.0))
    assert request.url == "https://mc-1.rest.marketingcloudapis.com/hub/v1/dataevents/key:D/rowset"
    assert connector.endpoint == "https://mc-1.rest.marketingcloudapis.com"
    by_soap = connect(Config.model_validate(options(mode="soap")), {"X": "secret"}, AGENT)
    (request,) = next(by_soap.deliver(entered("c1"), 0.0))
    assert request.url == "https://mc-1.soap.marketingcloudapis.com/Service.asmx"
