"""Laws of access tokens: one serves until shortly before its end, and neither it nor the secrets show anywhere."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs

import pytest

from connectors.exchange import Answer, Request, Response, Unreachable
from connectors.results import Outcome, Result
from connectors.secrets import redact
from connectors.tokens import Tokens, form_request, json_request

SECRET = 'p&"s/w+ rd\\'
NOW = 1_790_000_000.0
REQUEST = form_request("https://auth.example.com/token", {"client_id": "me", "client_secret": SECRET}, "agent", "token")


def tokens(**more: float) -> Tokens:
    return Tokens(REQUEST, "me", SECRET, lifetime=3600.0, **more)


def had(token: object = "T0KEN", status: int = 200, headers: Mapping[str, str] | None = None, **more: Any) -> Response:
    return Response(status, headers or {}, json.dumps({"access_token": token, "token_type": "Bearer", **more}).encode())


def prepare(of: Tokens, answer: Answer, now: float = NOW) -> Result:
    steps = of.prepare(now)
    assert steps is not None
    (asked,) = next(steps)
    assert asked == REQUEST
    with pytest.raises(StopIteration) as end:
        steps.send((answer,))
    (result,) = end.value.value
    assert isinstance(result, Result)
    return result


def test_one_token_serves_until_shortly_before_its_end() -> None:
    of = tokens(margin=300.0)
    assert of.current == ""
    assert prepare(of, had(expires_in=1000)).outcome is Outcome.DELIVERED
    assert of.current == "T0KEN"
    assert of.prepare(NOW + 699) is None
    assert prepare(of, had("NEXT", expires_in="1000"), NOW + 700).outcome is Outcome.DELIVERED
    assert of.current == "NEXT"


@pytest.mark.parametrize("said", [{}, {"expires_in": None}, {"expires_in": "soon"}, {"expires_in": -1}])
def test_a_token_that_does_not_say_when_it_ends_lasts_as_its_platform_says(said: dict[str, Any]) -> None:
    of = tokens(margin=600.0)
    prepare(of, had(**said))
    assert of.prepare(NOW + 2_999) is None
    assert of.prepare(NOW + 3_000) is not None


def test_a_short_life_is_not_all_margin() -> None:
    of = tokens(margin=300.0)
    prepare(of, had(expires_in=100))
    assert of.prepare(NOW + 49) is None
    assert of.prepare(NOW + 50) is not None


def test_while_none_can_be_had_the_old_one_serves_to_its_end() -> None:
    of = tokens(margin=300.0)
    prepare(of, had(expires_in=1000))
    assert prepare(of, Unreachable("timeout"), NOW + 700).outcome is Outcome.DELIVERED
    assert of.current == "T0KEN"
    assert of.prepare(NOW + 701) is None, "the endpoint is not asked before each parcel"
    assert prepare(of, Response(503, {}, b""), NOW + 990).outcome is Outcome.DELIVERED
    assert prepare(of, Unreachable("timeout"), NOW + 1_020) == Result(Outcome.RETRY, "timeout")


@pytest.mark.parametrize(
    ("answer", "outcome", "after"),
    [
        (Unreachable("connect"), Outcome.RETRY, None),
        (Response(429, {"retry-after": "7"}, b""), Outcome.RETRY, 7.0),
        (Response(500, {}, b"oops"), Outcome.RETRY, None),
        (Response(200, {}, b"<html>"), Outcome.RETRY, None),
        (Response(200, {}, b"[]"), Outcome.RETRY, None),
        (had(""), Outcome.RETRY, None),
        (had(7), Outcome.RETRY, None),
        (had("a\r\nx: y"), Outcome.RETRY, None),
        (had("tökén"), Outcome.RETRY, None),
        (Response(400, {}, b'{"error":"invalid_client"}'), Outcome.PAUSE, None),
        (Response(401, {}, b""), Outcome.PAUSE, None),
        (Response(404, {}, b""), Outcome.PAUSE, None),
        (Response(410, {}, b""), Outcome.PAUSE, None),
        (Response(302, {}, b""), Outcome.PAUSE, None),
    ],
)
def test_without_a_token_it_waits_or_pauses(answer: Answer, outcome: Outcome, after: float | None) -> None:
    of = tokens()
    result = prepare(of, answer)
    assert (result.outcome, result.after, of.current) == (outcome, after, "")
    assert result.reason


def test_a_token_that_is_not_taken_is_exchanged_once() -> None:
    of = tokens(fresh=60.0)
    prepare(of, had("OLD"))
    assert of.refuse("OLD", NOW + 59) is Outcome.PAUSE
    assert of.current == "OLD"
    assert of.refuse("OLD", NOW + 60) is Outcome.RENEW
    assert of.current == ""
    prepare(of, had("NEW"), NOW + 61)
    assert of.refuse("OLD", NOW + 62) is Outcome.RENEW, "it was sent before the exchange"
    assert of.current == "NEW"
    assert of.refuse("NEW", NOW + 63) is Outcome.PAUSE


def test_secrets_and_tokens_are_hidden_in_every_form() -> None:
    of = tokens()
    prepare(of, had("OLD/+T0KEN"))
    of.refuse("OLD/+T0KEN", NOW + 100)
    prepare(of, had("NEW.T0KEN"), NOW + 100)
    echoes = [REQUEST.body.decode(), json.dumps({"s": SECRET}), "Bearer OLD/+T0KEN", "t=OLD%2F%2BT0KEN", "NEW.T0KEN"]
    for echo in echoes:
        shown = redact(echo, of.hidden)
        for part in ("s/w", "s%2Fw", "T0KEN"):
            assert part not in shown, shown
    assert "T0KEN" not in repr(of) and SECRET not in repr(of)


def test_what_is_said_of_a_token_holds_neither_what_was_sent_nor_what_came() -> None:
    for answer in (had("T0KEN", 500), had("T0KEN", 401), had("T0KEN\n"), Response(200, {}, b'{"access_token":"T0KEN')):
        result = prepare(tokens(), answer)
        assert (result.excerpt, result.request) == ("", None)


def test_a_token_is_asked_for_as_a_form_or_as_json() -> None:
    assert parse_qs(REQUEST.body.decode()) == {
        "grant_type": ["client_credentials"],
        "client_id": ["me"],
        "client_secret": [SECRET],
    }
    assert REQUEST.headers == {"content-type": "application/x-www-form-urlencoded", "user-agent": "agent"}
    asked: Request = json_request("https://auth.example.com/token", {"client_secret": SECRET}, "agent")
    assert json.loads(asked.body) == {"grant_type": "client_credentials", "client_secret": SECRET}
