"""Access tokens by OAuth 2.0's client credentials (RFC 6749 §4.4): had when needed, kept until they end. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from urllib.parse import quote, quote_plus, urlencode

import msgspec

from connectors.exchange import Request, Response, Steps, Unreachable
from connectors.results import DELIVERED, Outcome, Result, outcome_of
from connectors.retry import wait_asked

MARGIN = 300.0
"""Seconds before its end at which a token is exchanged for another."""
FRESH = 60.0
"""Seconds. A younger token that is not taken is not the matter: the account is."""
AGAIN = 30.0
"""Seconds until another is asked for, where the old one still serves and none could be had."""
REMEMBERED = 3
"""Tokens that stay hidden: an answer may quote one that has been exchanged since."""


class Tokens:
    """One account's access token. It shows nothing of itself."""

    def __init__(
        self,
        request: Request,
        *secrets: str,
        lifetime: float,
        margin: float = MARGIN,
        fresh: float = FRESH,
    ) -> None:
        """`request` asks for a token; `secrets` are those in it. `lifetime` in seconds is that of tokens whose
        answer says nothing (`expires_in`).
        """
        self._request = request
        self._secrets = tuple(form for secret in secrets for form in forms_of(secret))
        self._lifetime = lifetime
        self._margin = margin
        self._fresh = fresh
        self._tokens: list[str] = []  # the newest last
        self._had_at = self._renew_at = self._ends_at = -math.inf

    @property
    def current(self) -> str:
        """The token to send; empty where there is none."""
        return self._tokens[-1] if self._tokens and self._ends_at > -math.inf else ""

    @property
    def hidden(self) -> tuple[str, ...]:
        """What must never be written: the secrets and the tokens, in every form in which they travel."""
        return (*self._secrets, *(form for token in self._tokens for form in forms_of(token)))

    def prepare(self, now: float) -> Steps | None:
        """As `Connector.prepare`."""
        return None if self.current and now < self._renew_at else self._have(now)

    def refuse(self, token: str, now: float) -> Outcome:
        """What follows where a request with `token` was answered that it is not taken (401): RENEW where another
        token may help, PAUSE where it was fresh.
        """
        if token != self.current:
            return Outcome.RENEW  # another conversation has renewed it meanwhile
        if now - self._had_at < self._fresh:
            return Outcome.PAUSE
        self._renew_at = self._ends_at = -math.inf
        return Outcome.RENEW

    def _have(self, now: float) -> Steps:
        (answer,) = yield (self._request,)
        result = self._read(answer, now)
        if result.outcome is Outcome.RETRY and self.current and now < self._ends_at:
            self._renew_at = now + AGAIN
            return [DELIVERED]
        return [result]

    def _read(self, answer: Response | Unreachable, now: float) -> Result:
        """Says nothing of what was sent or came: both hold secrets."""
        if isinstance(answer, Unreachable):
            return Result(Outcome.RETRY, answer.reason)
        outcome = outcome_of(answer.status)
        if outcome is Outcome.RETRY:
            return Result(outcome, f"http_{answer.status}", answer.status, wait_asked(answer.headers, now))
        if outcome is not Outcome.DELIVERED:
            return Result(Outcome.PAUSE, f"http_{answer.status}", answer.status)
        document = answer.json()
        token = document.get("access_token") if isinstance(document, dict) else None
        if not isinstance(token, str) or not token or not token.isascii() or not token.isprintable():
            return Result(Outcome.RETRY, "no_access_token", answer.status)
        self._tokens = [*(old for old in self._tokens if old != token), token][-REMEMBERED:]
        lasts = _seconds(document.get("expires_in"), self._lifetime)
        self._had_at, self._ends_at = now, now + lasts
        self._renew_at = now + max(lasts - self._margin, lasts / 2)
        return DELIVERED


def form_request(url: str, fields: Mapping[str, str], user_agent: str, limit: str = "") -> Request:
    """A request for a token as RFC 6749 has it: a form."""
    headers = {"content-type": "application/x-www-form-urlencoded", "user-agent": user_agent}
    body = urlencode({"grant_type": "client_credentials", **fields})
    return Request("POST", url, headers, body.encode(), limit=limit)


def json_request(url: str, fields: Mapping[str, str], user_agent: str, limit: str = "") -> Request:
    """A request for a token as some platforms have it: JSON."""
    headers = {"content-type": "application/json", "user-agent": user_agent}
    body = msgspec.json.encode({"grant_type": "client_credentials", **fields})
    return Request("POST", url, headers, body, limit=limit)


def rehearsed() -> Response:
    """What a token endpoint answers, made up."""
    return Response(200, {}, b'{"access_token":"rehearsed","token_type":"Bearer","expires_in":3600}')


def forms_of(secret: str) -> tuple[str, ...]:
    """A secret as it is, percent-encoded, as a form has it, and as JSON has it; each once."""
    in_json = msgspec.json.encode(secret)[1:-1].decode()
    return tuple(dict.fromkeys((secret, quote(secret, safe=""), quote_plus(secret), in_json)))


def _seconds(value: object, default: float) -> float:
    """`expires_in`: some send it as text."""
    try:
        seconds = float(value) if isinstance(value, int | float | str) else default
    except (ValueError, OverflowError):
        return default
    return seconds if math.isfinite(seconds) and seconds > 0 else default
