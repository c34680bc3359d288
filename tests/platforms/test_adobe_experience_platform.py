"""What is Adobe's own: XDM messages, results by message, and the vendor's specification of streaming ingestion."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import pytest
import yaml
from jsonschema import ValidationError

from connectors.platforms.adobe_experience_platform import BODY_BYTES, Config, connect
from connectors.results import Outcome, Result
from tests.platforms.changes import change, entered, exited
from tests.platforms.driver import AGENT, Driver, driving
from tests.platforms.servers import PlatformServer, status
from tests.platforms.servers.adobe_experience_platform import (
    CART_PROFILES,
    EVENTS,
    INLET,
    ORGANIZATION,
    PROFILES,
    SCHEMA,
    ExperiencePlatformServer,
)
from tests.platforms.specs import SPECS, Spec

pytestmark = pytest.mark.parametrize("platform", ["adobe_experience_platform"])

PARTIAL: dict[str, Any] = {
    "updates": "partial",
    "segments": {"vip": {"property": "_acme.segments.vip"}, "cart": {"property": "_acme.segments.cart"}},
}
EVENT = {"event": "acme.segment", "property": "_acme.member", "dataset": EVENTS, "schema_id": f"{SCHEMA}ev"}


@pytest.fixture
def adobe(server: PlatformServer) -> ExperiencePlatformServer:
    return cast(ExperiencePlatformServer, server)


@pytest.fixture
def spec(tmp_path: Path) -> Spec:
    """`xdmEntity` is free: it is whatever the schema that it names says."""
    source = SPECS / "adobe" / "streaming-ingestion.yaml"
    if not source.exists():
        pytest.skip("the vendor's specification adobe/streaming-ingestion.yaml is not here")
    document = yaml.safe_load(source.read_text("utf-8"))
    as_json = tmp_path / "streaming-ingestion.json"
    as_json.write_text(json.dumps(document, default=str))
    return Spec(str(as_json), free=frozenset({"xdmEntity"}))


def outcomes(results: Sequence[Result]) -> list[Outcome]:
    return [result.outcome for result in results]


# What is sent.


async def test_a_parcel_is_these_bytes(adobe: ExperiencePlatformServer, driver: Driver) -> None:
    await driver.deliver([*entered("c1"), *exited("c2", segment="cart")])
    token, request = adobe.requests
    assert (token.method, token.path) == ("POST", "/ims/token/v3")
    assert token.headers["content-type"] == "application/x-www-form-urlencoded"
    assert token.body.endswith(
        b"&scope=openid%2CAdobeID%2Cread_organizations%2Cadditional_info.projectedProductContext%2Csession"
    )
    assert (request.method, request.path) == ("POST", f"/collection/batch/{INLET}")
    assert request.headers["content-type"] == "application/json"
    assert request.headers["x-sandbox-name"] == "prod"
    assert request.headers["authorization"].startswith("Bearer eyJ")
    schema = f'{{"id":"{SCHEMA}","contentType":"application/vnd.adobe.xed-full+json;version=1"}}'
    flow = "69f188b6-af07-4587-8061-e94d34637b41"

    def message(dataset: str, customer: str, segment: str, member: str) -> str:
        return (
            f'{{"header":{{"imsOrgId":"{ORGANIZATION}","datasetId":"{dataset}","flowId":"{flow}","schemaRef":{schema},'
            f'"source":{{"name":"livesegments"}}}},"body":{{"xdmMeta":{{"schemaRef":{schema}}},"xdmEntity":{{'
            f'"identityMap":{{"CRMID":[{{"id":"{customer}","primary":true}}]}},'
            f'"_acme":{{"segments":{{"{segment}":{member}}}}}}}}}}}'
        )

    messages = [message(PROFILES, "c1", "vip", "true"), message(CART_PROFILES, "c2", "cart", "false")]
    assert request.body.decode() == f'{{"messages":[{",".join(messages)}]}}'


async def test_what_is_sent_and_answered_is_as_specified(
    adobe: ExperiencePlatformServer, driver: Driver, spec: Spec
) -> None:
    """By Adobe's own file, with its objects closed."""
    adobe.refused.add("c3")
    await driver.deliver([*entered("c1", "c3"), *exited("c2", segment="cart")])
    async with driving(adobe, segments={"vip": EVENT}, fields={"cart_value": "_acme.cart.value"}) as events:
        await events.deliver(entered("c1"))
    sent = adobe.sent("/collection/")
    assert len(sent) == 2
    for request in sent:
        assert spec.check_request(request.method, request.path, request.body) == "/collection/batch/{CONNECTION_ID}"
    answer = {"inletId": INLET, "batchId": "1", "receivedTimeMs": 1, "responses": [{"xactionId": "1:2"}]}
    spec.check_answer("POST", f"/collection/batch/{INLET}", 207, json.dumps(answer).encode())


async def test_the_specification_is_closed(adobe: ExperiencePlatformServer, driver: Driver, spec: Spec) -> None:
    """A misspelt field, and one that is missing, do not pass."""
    await driver.deliver(entered("c1"))
    (request,) = adobe.sent()
    for good, bad in ((b'"flowId"', b'"flowID"'), (b'"xdmMeta"', b'"xdmmeta"'), (b'"messages"', b'"Messages"')):
        with pytest.raises(ValidationError):
            spec.check_request(request.method, request.path, request.body.replace(good, bad))


async def test_partial_updates_are_merged(adobe: ExperiencePlatformServer) -> None:
    """Two segments of one dataset, and neither wipes out the other."""
    fields = {"cart_value": "_acme.cart.value", "nothing": "_acme.nothing"}
    async with driving(adobe, **PARTIAL, fields=fields) as driver:
        await driver.deliver(entered("c1"))
        await driver.deliver(entered("c1", segment="cart"))
    (first, _) = adobe.sent()
    assert first.json == {
        "messages": [
            {
                "header": {
                    "imsOrgId": ORGANIZATION,
                    "datasetId": PROFILES,
                    "flowId": "69f188b6-af07-4587-8061-e94d34637b41",
                    "operations": {"data": "merge"},
                },
                "body": {
                    "identityMap": {"CRMID": [{"id": "c1", "primary": True}]},
                    "_acme": {"cart": {"value": 59.98}, "segments": {"vip": True}},
                },
            }
        ]
    }
    assert adobe.profiles[PROFILES]["c1"]["_acme"] == {
        "cart": {"value": 59.98},
        "segments": {"vip": True, "cart": True},
    }


async def test_an_event_has_the_change_s_id_and_instant(adobe: ExperiencePlatformServer) -> None:
    """So that it counts once, however often it comes; a resync is no event."""
    one = change("c1")
    async with driving(adobe, segments={"vip": EVENT, "cart": {"property": "_acme.cart"}}) as driver:
        for _ in range(2):
            assert outcomes(await driver.deliver([one, *entered("c2", segment="cart")])) == [Outcome.DELIVERED] * 2
        assert adobe.events == {
            one.id: {
                "_id": one.id,
                "timestamp": "2026-09-20T12:34:56.789012Z",
                "eventType": "acme.segment",
                "identityMap": {"CRMID": [{"id": "c1", "primary": True}]},
                "_acme": {"member": True},
            }
        }
        count = len(adobe.sent())
        assert outcomes(await driver.deliver([change("c3", origin="resync")])) == [Outcome.DELIVERED]
        assert len(adobe.sent()) == count
        again = [change("c3", origin="resync"), change("c4", "cart", origin="resync")]
        assert outcomes(await driver.deliver(again)) == [Outcome.DELIVERED] * 2
        assert len(adobe.sent()[-1].json["messages"]) == 1
    header = adobe.sent()[0].json["messages"][0]["header"]
    assert (header["datasetId"], header["schemaRef"]["id"]) == (EVENTS, f"{SCHEMA}ev")


async def test_the_first_identity_that_is_known_is_primary(adobe: ExperiencePlatformServer) -> None:
    identity = {"external_id": "loyalty_id", "email": "email"}
    async with driving(adobe, identity=identity, external_id_namespace="Loyalty") as driver:
        await driver.deliver([change("c1", loyalty_id="L-1"), change("c2")])
    maps = [message["body"]["xdmEntity"]["identityMap"] for message in adobe.sent()[0].json["messages"]]
    assert maps == [
        {"Loyalty": [{"id": "L-1", "primary": True}], "Email": [{"id": "c1@example.com", "primary": False}]},
        {"Email": [{"id": "c2@example.com", "primary": True}]},
    ]


async def test_an_open_inlet_is_sent_no_token_and_is_itself_a_secret(platform: str) -> None:
    config = Config.model_validate(options(inlet={"env": "INLET"}))
    connector = connect(config, {"INLET": INLET}, AGENT)
    assert connector.prepare(0.0) is None
    (request,) = next(connector.deliver(entered("c1"), 0.0))
    assert request.url == f"https://dcs.adobedc.net/collection/batch/{INLET}"
    assert "authorization" not in request.headers
    assert INLET in connector.hidden
    assert INLET not in repr(connector) + connector.account + connector.endpoint


async def test_an_erasure_is_a_privacy_job(adobe: ExperiencePlatformServer) -> None:
    async with driving(adobe, identity={"external_id": "customer_id", "email": "email"}) as driver:
        results = await driver.erase([change("c1", "", "erased", 0), change("c2", "", "erased", 0, profile={})])
        assert outcomes(results) == [Outcome.DELIVERED] * 2
    (request,) = adobe.sent()
    assert request.path == "/data/core/privacy/jobs"
    assert request.headers["x-api-key"] == adobe.environ["AEP_CLIENT_ID"]
    assert request.headers["x-gw-ims-org-id"] == ORGANIZATION
    crm = {"namespace": "CRMID", "type": "custom"}
    assert request.json == {
        "companyContexts": [{"namespace": "imsOrgID", "value": ORGANIZATION}],
        "users": [
            {
                "key": "c1",
                "action": ["delete"],
                "userIDs": [
                    crm | {"value": "c1"},
                    {"namespace": "Email", "value": "c1@example.com", "type": "standard"},
                ],
            },
            {"key": "c2", "action": ["delete"], "userIDs": [crm | {"value": "c2"}]},
        ],
        "include": ["AdobeCloudPlatform", "Identity", "profileService"],
        "regulation": "gdpr",
    }
    async with driving(adobe, privacy=None) as driver:
        (result,) = await driver.erase([change("c1", "", "erased", 0)])
        assert (result.outcome, result.reason) == (Outcome.REFUSED, "erasure_not_supported")


# How answers are read.


@pytest.mark.parametrize(
    ("one", "outcome"),
    [
        ({"xactionId": "1:2"}, Outcome.DELIVERED),
        ({"statusCode": 200, "xactionId": "1:2"}, Outcome.DELIVERED),
        ({"statusCode": 400, "message": "Message has unknown xdm format"}, Outcome.REFUSED),
        ({"statusCode": 400, "message": "Message has an absent or wrong ims org in the header"}, Outcome.PAUSE),
        ({"statusCode": 429, "message": "Too many"}, Outcome.RETRY),
        ({"statusCode": 503}, Outcome.RETRY),
        ({"statusCode": 403, "message": "expired"}, Outcome.PAUSE),
        ({"statusCode": "400"}, Outcome.RETRY),
        ({}, Outcome.RETRY),
        (None, Outcome.RETRY),
    ],
)
async def test_each_message_has_its_own_result(
    adobe: ExperiencePlatformServer, driver: Driver, one: Any, outcome: Outcome
) -> None:
    adobe.fail(status(207, {"responses": [one, {"xactionId": "1:3"}]}))
    first, second = await driver.deliver(entered("c1", "c2"))
    assert (first.outcome, second.outcome) == (outcome, Outcome.DELIVERED)
    if outcome is Outcome.REFUSED:
        assert (first.reason, first.status) == ("400: Message has unknown xdm format", 400)


async def test_results_that_are_not_all_there_are_not_believed(adobe: ExperiencePlatformServer, driver: Driver) -> None:
    adobe.fail(status(207, {"responses": [{"xactionId": "1:2"}]}))
    assert outcomes(await driver.deliver(entered("c1", "c2"))) == [Outcome.RETRY] * 2


async def test_an_expired_token_is_a_403_and_is_renewed(adobe: ExperiencePlatformServer, driver: Driver) -> None:
    await driver.settle(entered("c1"))
    adobe.revoke()
    driver.now += 3_600
    assert outcomes(await driver.settle(entered("c2"))) == [Outcome.DELIVERED]
    assert len(adobe.requests) - len(adobe.sent()) == 2


async def test_a_closed_service_says_when_to_come_back(adobe: ExperiencePlatformServer, driver: Driver) -> None:
    adobe.fail(status(503, b"", retry_after="120"))
    (result,) = await driver.deliver(entered("c1"))
    assert (result.outcome, result.after) == (Outcome.RETRY, 120.0)


async def test_no_request_is_larger_than_a_megabyte(adobe: ExperiencePlatformServer) -> None:
    parcel = [change(f"c{number}", note="x" * 300_000) for number in range(5)]
    async with driving(adobe, fields={"note": "_acme.note"}, timeout=20) as driver:
        assert outcomes(await driver.settle(parcel)) == [Outcome.DELIVERED] * 5
        assert max(len(request.body) for request in adobe.sent()) <= BODY_BYTES
        count = len(adobe.sent())
        (result,) = await driver.deliver([change("c9", note="x" * BODY_BYTES)])
        assert (result.outcome, result.reason) == (Outcome.REFUSED, "too_large")
        assert len(adobe.sent()) == count
        adobe.fail(status(413, b""))
        assert outcomes(await driver.settle(entered("c1", "c2"))) == [Outcome.DELIVERED] * 2


# Options.


def options(**more: Any) -> dict[str, Any]:
    return {
        "inlet": INLET,
        "organization": ORGANIZATION,
        "schema_id": SCHEMA,
        "dataset": PROFILES,
        "flow": "f-1",
        "segments": {"vip": {"property": "_acme.vip"}},
        **more,
    }


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"inlet": "a/../b"}, "inlet"),
        ({"sandbox": "prod\r\nx: y"}, "sandbox"),
        ({"organization": "acme"}, "organization"),
        ({"schema_id": "https://evil.example/x"}, "schema_id"),
        ({"segments": {"vip": {}}}, "`property` or `event`"),
        ({"segments": {"vip": {"property": "a..b"}}}, "property"),
        ({"segments": {"vip": {"property": "_id"}}}, "begins with one of"),
        ({"segments": {"vip": {"property": "identityMap.x"}}}, "begins with one of"),
        ({"fields": {"a": "_acme.vip.x"}}, "part of another"),
        ({"fields": {"a": "_acme"}}, "part of another"),
        ({"fields": {"a": "_acme.vip"}}, "part of another"),
        ({"segments": {"vip": {"property": "a.b"}, "cart": {"property": "a.c"}}}, "a `dataset` of its own"),
        ({"privacy": {"regulation": "gdpr"}}, "needs `oauth`"),
        ({"identity": {"external_id": None}}, "identity"),
        ({"base_url": "http://gateway.example.com"}, "allow_http"),
        ({"batch_size": 1001}, "batch_size"),
    ],
)
def test_options_that_cannot_work_are_refused(platform: str, more: dict[str, Any], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        Config.model_validate(options(**more))


def test_paths_may_be_neighbours(platform: str) -> None:
    Config.model_validate(options(fields={"a": "_acme.vip2", "b": "_acme.vi", "c": "_acme.a.b", "d": "_acme.a.c"}))
