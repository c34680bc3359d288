"""Generic webhook: a signed POST per change or small batch, to anything that speaks HTTP (Zapier, …).

    destinations:
      crm:
        platform: webhook
        url: https://hooks.example.com/segments   # a URL that is a secret: {env: NAME} or {file: PATH}
        secret: {env: CRM_WEBHOOK_SECRET}          # for rotation a list, the newest first: each signs
        segments: [abandoned_cart]

| ours | on the wire |
|---|---|
| one change | `{"type":"segment.entered","timestamp":<its instant>,"data":<the change>}` (or `.exited`) |
| several | `{"type":"segment.changes","timestamp":<the latest instant>,"data":[<change>,…]}` |
| change id | `webhook-id` (of a batch: a hash of its changes' ids); the same in every repeat |
| attempt time | `webhook-timestamp` |
| signature | `webhook-signature`, Standard Webhooks v1, one per secret |

A change in `data` is the bytes of its record on `segment-changes`. Answers: 2xx delivered; 408, 425, 429
and 5xx are retried, by `Retry-After` where given; 400, 409, 413, 415, 422 and the like refuse the change;
3xx, 401, 403, 404 pause the destination; 410 disables it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from connectors.answers import judge
from connectors.changes import Change
from connectors.exchange import Request, Response, Steps, origin
from connectors.options import Options
from connectors.platforms import Connector
from connectors.secrets import SecretReference, fingerprint
from connectors.signing import SigningKey, sign

MAX_KEYS = 10


class Config(Options):
    """A webhook's options."""

    platform: Literal["webhook"] = "webhook"
    coalesce: bool = Field(False, description="Send only the newest of a customer's waiting changes of one segment.")
    url: str | SecretReference = Field(repr=False, description="Where to POST; a reference where the URL is a secret.")
    secret: Annotated[list[SecretReference], Field(min_length=1, max_length=MAX_KEYS)] = Field(
        description="Signing secrets (`whsec_…`) by reference, the newest first. Each signs, for rotation."
    )

    @field_validator("secret", mode="before")
    @classmethod
    def _one_or_more(cls, value: object) -> object:
        return value if isinstance(value, list) else [value]

    @model_validator(mode="after")
    def _url_is_usable(self) -> Config:
        if isinstance(self.url, str):
            check_url(self.url, allow_http=self.allow_http)
        return self


def check_url(url: str, *, allow_http: bool) -> None:
    """Raises ValueError, without quoting the URL."""
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018 - reading it is what checks it
    except ValueError:
        raise ValueError("url: not a URL") from None
    if parts.scheme == "http" and not allow_http:
        raise ValueError("url: plain http needs `allow_http: true`")
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("url: expected https://host/path")
    if parts.username is not None or parts.password is not None:
        raise ValueError("url: user and password do not belong in a URL")
    if not url.isascii() or any(character <= " " for character in url):
        raise ValueError("url: only ASCII without spaces; percent-encode the rest")


def connect(config: Config, environ: Mapping[str, str], user_agent: str) -> Webhook:
    """Read the secrets and be ready to build requests. Raises SecretMissing, InvalidKey, ValueError."""
    url = config.url if isinstance(config.url, str) else config.url.read(environ).get_secret_value()
    check_url(url, allow_http=config.allow_http)
    secrets = [reference.read(environ).get_secret_value() for reference in config.secret]
    return Webhook(
        url=url,
        keys=tuple(SigningKey.parse(secret) for secret in secrets),
        user_agent=user_agent,
        endpoint=origin(url),
        account=fingerprint(url),
        hidden=(*_secret_parts(url), *secrets, *(secret.removeprefix("whsec_") for secret in secrets)),
    )


@dataclass(frozen=True)
class Webhook(Connector):
    """Builds and reads; holds secrets, and shows none of them."""

    url: str = field(repr=False)
    keys: tuple[SigningKey, ...] = field(repr=False)
    user_agent: str
    endpoint: str
    account: str
    hidden: Sequence[str] = field(repr=False, default=())

    def deliver(self, changes: Sequence[Change], now: float) -> Steps:
        request = self.request(changes, now)
        (answer,) = yield (request,)
        return [judge(request, answer, now, len(changes))] * len(changes)

    def rehearse(self, request: Request) -> Response:
        return Response(204, {}, b"")

    def request(self, changes: Sequence[Change], now: float) -> Request:
        """The same changes give the same id and body at any `now`."""
        body = body_of(changes)
        message_id = id_of(changes)
        timestamp = int(now)
        return Request(
            "POST",
            self.url,
            {
                "content-type": "application/json",
                "user-agent": self.user_agent,
                "webhook-id": message_id,
                "webhook-timestamp": str(timestamp),
                "webhook-signature": sign(self.keys, message_id, timestamp, body),
            },
            body,
        )


def id_of(changes: Sequence[Change]) -> str:
    if len(changes) == 1:
        return changes[0].id
    return hashlib.blake2b("\n".join(change.id for change in changes).encode(), digest_size=16).hexdigest()


def body_of(changes: Sequence[Change]) -> bytes:
    """The changes' own bytes, unaltered, in an envelope without white space."""
    if len(changes) == 1:
        change = changes[0]
        return b'{"type":%b,"timestamp":%b,"data":%b}' % (
            _text("segment." + change.action),
            _text(change.at),
            change.raw,
        )
    # Without the Z a whole second sorts before its fractions.
    latest = max((change.at for change in changes), key=lambda at: at.removesuffix("Z"))
    data = b",".join(change.raw for change in changes)
    return b'{"type":"segment.changes","timestamp":%b,"data":[%b]}' % (_text(latest), data)


def _text(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode()


def _secret_parts(url: str) -> list[str]:
    """What of a URL may be a secret: all but scheme and host."""
    parts = urlsplit(url)
    path = parts.path + (f"?{parts.query}" if parts.query else "")
    return [url, path, *(part for part in [*parts.path.split("/"), parts.query] if len(part) >= 8)]
