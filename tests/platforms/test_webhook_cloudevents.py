"""Webhooks as CloudEvents: the specification's schema, and the CNCF's library."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cloudevents.core.bindings.http import HTTPMessage, from_http_event
from cloudevents.core.formats.json import JSONFormat
from jsonschema import Draft7Validator
from pydantic import ValidationError
from standardwebhooks.webhooks import Webhook as Oracle

from connectors.changes import Change
from connectors.exchange import Request
from connectors.platforms import webhook
from connectors.results import Outcome
from tests.platforms.changes import NOW, change
from tests.platforms.driver import driving
from tests.platforms.servers import status
from tests.platforms.servers.webhook import SECRET, WebhookServer

SCHEMA = Path(__file__).parents[3] / "shared" / "specs" / "cloudevents" / "cloudevents.schema.json"

CHANGES = [
    change("c1"),
    change('Zoë \u2028 "50%" o\'b\\x', "vip", "exited", 10**9, note="Ünï\ncödé 💶"),
    change("a/b?c=d", "a segment, with a comma", origin="replay"),
    change("", profile={}),
]


def request_of(*changes: Change, **options: Any) -> Request:
    given = {"url": "https://a.example/hook", "secret": {"env": "S"}, **options}
    config = webhook.Config.model_validate(given)
    (request,) = next(webhook.connect(config, {"S": SECRET}, "test").deliver(changes, NOW))
    return request


def expected(one: Change) -> dict[str, Any]:
    """An attribute that would be empty is left out: the specification has none."""
    named = {"subject": one.customer_id, "partitionkey": one.customer_id} if one.customer_id else {}
    return {
        **named,
        "specversion": "1.0",
        "id": one.id,
        "source": "/livesegments",
        "type": f"segment.{one.action}",
        "datacontenttype": "application/json",
        "sequence": f"{one.sequence:020d}",
    }


@pytest.mark.parametrize("envelope", ["cloudevents", "cloudevents_binary"])
@pytest.mark.parametrize("one", CHANGES, ids=["plain", "odd", "path", "nameless"])
def test_the_library_reads_what_is_sent(envelope: str, one: Change) -> None:
    """Every attribute and the data, in both modes, whatever the customer is called."""
    request = request_of(one, envelope=envelope)
    event = from_http_event(HTTPMessage(dict(request.headers), request.body))
    attributes = dict(event.get_attributes())
    assert attributes.pop("time").isoformat() == one.at.replace("Z", "+00:00")
    assert attributes == expected(one)
    data = event.get_data()
    assert (json.loads(data) if isinstance(data, bytes | str) else data) == one.document
    assert one.raw in request.body
    assert (request.body == one.raw) is (envelope == "cloudevents_binary")


@pytest.mark.skipif(not SCHEMA.exists(), reason=f"the specification's schema is not here: {SCHEMA.name}")
def test_the_schema_of_the_specification_holds() -> None:
    validator = Draft7Validator(json.loads(SCHEMA.read_text("utf-8")), format_checker=Draft7Validator.FORMAT_CHECKER)
    batch = json.loads(request_of(*CHANGES, envelope="cloudevents", batch_size=10).body)
    assert len(batch) == len(CHANGES)
    for event in [*batch, json.loads(request_of(CHANGES[0], envelope="cloudevents").body)]:
        validator.validate(event)
        assert not validator.is_valid({name: value for name, value in event.items() if name != "source"})


def test_a_batch_is_an_array_of_the_same_events() -> None:
    request = request_of(*CHANGES, envelope="cloudevents", batch_size=10)
    assert request.headers["content-type"] == "application/cloudevents-batch+json"
    singles = [json.loads(request_of(one, envelope="cloudevents").body) for one in CHANGES]
    assert json.loads(request.body) == singles
    for single in singles:
        JSONFormat().read(None, json.dumps(single))


def test_headers_are_of_printable_ascii() -> None:
    """Nothing in a customer's name ends a header or begins another."""
    request = request_of(CHANGES[1], envelope="cloudevents_binary")
    for name, value in request.headers.items():
        assert value.isascii() and value.isprintable(), name
    assert request.headers["ce-subject"] == "Zo%C3%AB%20%E2%80%A8%20%2250%25%22%20o'b\\x"
    assert "ce-datacontenttype" not in request.headers


@pytest.mark.parametrize("envelope", ["cloudevents", "cloudevents_binary"])
async def test_it_is_signed_as_any_webhook(envelope: str) -> None:
    """The library of Standard Webhooks accepts it on a real connection; a repeat has the same id and body."""
    async with WebhookServer() as server:
        server.fail(status(503), status(204))
        async with driving(server, envelope=envelope, batch_size=1) as driver:
            assert [result.outcome for result in await driver.deliver(CHANGES[:1])] == [Outcome.RETRY]
            driver.now += 60
            assert [result.outcome for result in await driver.deliver(CHANGES[:1])] == [Outcome.DELIVERED]
        first, second = server.requests
        assert first.body == second.body
        assert first.headers["webhook-id"] == second.headers["webhook-id"] == CHANGES[0].id
        for sent, now in ((first, NOW), (second, NOW + 60)):
            stamp = int(sent.headers["webhook-timestamp"])
            assert stamp == int(now)
            assert sent.headers["webhook-signature"] == Oracle(SECRET).sign(
                CHANGES[0].id, datetime.fromtimestamp(stamp, UTC), sent.body.decode()
            )


def test_a_binary_event_is_alone() -> None:
    with pytest.raises(ValidationError, match="binary mode is sent alone"):
        request_of(CHANGES[0], envelope="cloudevents_binary", batch_size=2)
    with pytest.raises(ValidationError):
        request_of(CHANGES[0], envelope="cloudevents", source="")


def test_an_erasure_has_a_type_of_its_own() -> None:
    config = webhook.Config.model_validate({"url": "https://a.example/", "secret": {"env": "S"}})
    connector = webhook.connect(config, {"S": SECRET}, "test")
    first, second = next(connector.erase([change("c1", "", "erased"), change("c2", "", "erased")], NOW))
    assert json.loads(first.body)["type"] == "customer.erased"
    assert json.loads(second.body)["data"]["customer_id"] == "c2"
