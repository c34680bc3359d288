"""Laws of the generic webhook: what it sends and how it reads the answers. No network."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Sequence
from typing import Any

import pytest
from standardwebhooks.webhooks import Webhook as Oracle

from connectors.changes import Change, UnreadableChange, read_change
from connectors.conversation import converse
from connectors.exchange import AddressRefused, Request, Response, Unreachable
from connectors.platforms import discover, webhook
from connectors.results import Outcome, Result

SECRET = "whsec_" + base64.b64encode(b"0123456789abcdef0123456789abcdef").decode()
NOW = 1_767_323_045.9


def value(sequence: int = 1, customer: str = "c1", at: str = "2026-01-02T03:04:05Z", **more: Any) -> bytes:
    """A change as it might stand on the topic: key order and spacing are the writer's business."""
    fields = {
        "id": f"{sequence:032x}",
        "customer_id": customer,
        "segment": "abandoned_cart",
        "action": "entered",
        "at": at,
        "sequence": sequence,
        "evidence": {"cart_value": 12.50, "n": 1e-7},
        "profile": {"last_viewed_product": 'Café \u2028 \\ "'},
    }
    return json.dumps(fields | more, ensure_ascii=False, separators=(",", ":")).encode()


def change(sequence: int = 1, **more: Any) -> Change:
    return read_change(value(sequence, **more))


def connector(**options: Any) -> webhook.Webhook:
    config = webhook.Config.model_validate(
        {"url": "https://example.com/hook/s3cretpath", "secret": {"env": "S"}} | options
    )
    return webhook.connect(config, {"S": SECRET, "OLD": SECRET[:-8]}, "livesegments/1")


def request_of(*changes: Change, now: float = NOW) -> Request:
    (request,) = next(connector().deliver(changes, now))
    return request


def results_of(response: Response | Exception, items: int = 1) -> Sequence[Result]:
    async def send(_: Request) -> Response:
        if isinstance(response, Exception):
            raise response
        return response

    changes = [change(number) for number in range(1, items + 1)]
    return asyncio.run(converse(connector().deliver(changes, NOW), send, items))


def test_a_change_is_sent_in_its_own_bytes() -> None:
    """`data` is the record's value, unaltered; around it stand its type and its instant."""
    raw = value(7, action="exited", at="2026-01-02T03:04:05.000001Z")
    body = request_of(read_change(raw)).body
    assert body == b'{"type":"segment.exited","timestamp":"2026-01-02T03:04:05.000001Z","data":' + raw + b"}"
    assert json.loads(body)["data"]["id"] == f"{7:032x}"


def test_a_batch_lists_the_changes_in_their_own_bytes() -> None:
    """Its time is the latest of their instants, whole seconds and fractions alike."""
    raws = [
        value(1, customer="a", at="2026-01-02T03:04:05Z"),
        value(2, customer="b", at="2026-01-02T03:04:05.500000Z"),
        value(3, customer="c", at="2026-01-02T03:04:04.999999Z"),
    ]
    body = request_of(*map(read_change, raws)).body
    assert body == (
        b'{"type":"segment.changes","timestamp":"2026-01-02T03:04:05.500000Z","data":[' + b",".join(raws) + b"]}"
    )


def test_a_repeat_has_the_same_id_and_body() -> None:
    """Only the time of the attempt and the signature over it change."""
    for changes in ([change(1)], [change(1, customer="a"), change(2, customer="b")]):
        first, again = request_of(*changes), request_of(*changes, now=NOW + 3600)
        assert first.body == again.body
        assert first.headers["webhook-id"] == again.headers["webhook-id"]
        assert first.headers["webhook-timestamp"] != again.headers["webhook-timestamp"]
        assert first.headers["webhook-signature"] != again.headers["webhook-signature"]


def test_the_id_is_the_change_s_and_a_batch_s_is_a_hash_of_its_changes() -> None:
    """Other changes, or another order of them, are another message."""
    one, two = change(1, customer="a"), change(2, customer="b")
    assert request_of(one).headers["webhook-id"] == one.id
    found = {request_of(*changes).headers["webhook-id"] for changes in ([one], [two], [one, two], [two, one])}
    assert len(found) == 4
    assert all(len(message_id) == 32 and set(message_id) <= set("0123456789abcdef") for message_id in found)


def test_the_library_verifies_what_is_sent() -> None:
    """`standardwebhooks` from PyPI is the oracle."""
    import time

    request = request_of(change(), now=time.time())
    assert Oracle(SECRET).verify(request.body, dict(request.headers))["type"] == "segment.entered"
    assert request.headers["user-agent"] == "livesegments/1"
    assert request.headers["content-type"] == "application/json"


def test_nothing_secret_is_in_a_repr() -> None:
    """Neither of the connector nor of its requests."""
    made = connector()
    shown = f"{made!r} {request_of(change())!r} {made.endpoint}"
    for hidden in (SECRET, SECRET[6:], "s3cretpath", "whsec_"):
        assert hidden not in shown
    assert made.endpoint == "https://example.com"


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        *[(status, Outcome.DELIVERED) for status in (200, 201, 202, 204)],
        *[(status, Outcome.RETRY) for status in (408, 425, 429, 500, 502, 503, 504, 529)],
        *[(status, Outcome.PAUSE) for status in (301, 302, 307, 308, 401, 403, 404, 405)],
        (410, Outcome.DISABLE),
        *[(status, Outcome.REFUSED) for status in (400, 406, 409, 411, 413, 414, 415, 422, 431)],
    ],
)
def test_an_answer_is_sorted_by_its_remedy(status: int, outcome: Outcome) -> None:
    """What may heal is retried, what is wrong with the destination pauses it, the rest is refused."""
    (result,) = results_of(Response(status, {}, b"because"))
    assert result.outcome is outcome
    if outcome is not Outcome.DELIVERED:
        assert (result.reason, result.status, result.excerpt) == (f"http_{status}", status, "because")


def test_a_batch_that_is_refused_is_split_and_not_given_up() -> None:
    """One of its changes may be why; alone, it is refused."""
    assert {result.outcome for result in results_of(Response(422, {}, b""), items=3)} == {Outcome.SPLIT}


def test_retry_after_counts_where_something_is_retried() -> None:
    """And is given in seconds from the attempt."""
    (result,) = results_of(Response(429, {"retry-after": "1.5"}, b""))
    assert result.after == 1.5
    (result,) = results_of(Response(401, {"retry-after": "1.5"}, b""))
    assert result.after is None


def test_no_answer_is_retried_and_a_refused_address_pauses() -> None:
    """A timeout may have been a delivery: it is repeated under the same id."""
    assert results_of(Unreachable("timeout"), 2) == [Result(Outcome.RETRY, "timeout")] * 2
    assert results_of(AddressRefused("x"), 2) == [Result(Outcome.PAUSE, "address_refused")] * 2


def test_an_excerpt_is_short_and_text() -> None:
    """Whatever the receiver wrote."""
    (result,) = results_of(Response(400, {}, b"\xff" * 10_000))
    assert len(result.excerpt) == 500


@pytest.mark.parametrize(
    "raw",
    [
        None,
        b"",
        b"{",
        b"\xff",
        b"[]",
        b"{}",
        value(id=""),
        value(id="a.b"),
        value(id=7),
        value()[:-1],
        b"[" * 5000,
    ],
)
def test_what_is_no_change_is_said_to_be_none(raw: bytes | None) -> None:
    """And nothing else is raised, so that it can be dead-lettered."""
    with pytest.raises(UnreadableChange):
        read_change(raw)


def test_platforms_are_found_by_discovery() -> None:
    """A platform is a module of the package, under the module's name."""
    assert discover()["webhook"].Config is webhook.Config


@pytest.mark.parametrize("at", ["yesterday", "2026-01-02T03:04:05", ""])
def test_a_change_without_an_instant_is_unreadable(at: str) -> None:
    """Platforms that are sent events reckon with it."""
    with pytest.raises(UnreadableChange, match="no instant"):
        change(at=at)


def test_a_change_that_is_no_text_is_unreadable() -> None:
    """Also where only a platform would have looked."""
    with pytest.raises(UnreadableChange):
        read_change(value().replace(b"12.5", b'"\xed"'))


def test_a_number_beyond_every_float_is_no_reason_to_stop() -> None:
    """It is null to platforms, and the rest of the profile is there."""
    raw = value(profile={"a": 1}).replace(b'{"a":1}', b'{"a":1e999,"b":-7,"c":2.5,"d":%b}' % (b"9" * 5000))
    found = read_change(raw)
    assert [found.value(name) for name in "abcd"] == [None, -7, 2.5, None]
