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
| an erasure | `{"type":"customer.erased","timestamp":<its instant>,"data":<the erasure>}`, always alone |
| change id | `webhook-id` (of a batch: a hash of its changes' ids); the same in every repeat |
| attempt time | `webhook-timestamp` |
| signature | `webhook-signature`, Standard Webhooks, one per secret: v1 by `whsec_…`, v1a (Ed25519) by `whsk_…` |

With `envelope: cloudevents` the body is a CloudEvent in JSON with the same type, or a batch of them; with
`cloudevents_binary` its attributes are headers and the body is the change alone. The `webhook-` headers are
the same: the signature covers the id, the attempt and the body, in binary mode not the `ce-` headers.

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

from pydantic import Field, field_validator, model_validator

from connectors import cloudevents
from connectors.answers import judge
from connectors.changes import ERASED, Change
from connectors.exchange import Request, Response, Steps, origin
from connectors.options import Options
from connectors.platforms import Connector
from connectors.secrets import SecretReference, fingerprint
from connectors.signing import PREFIX, PRIVATE_PREFIX, Signer, parse_signer, sign
from connectors.urls import check_url, secret_parts

MAX_KEYS = 10


class Config(Options):
    """A webhook's options."""

    platform: Literal["webhook"] = "webhook"
    coalesce: bool = Field(False, description="Send only the newest of a customer's waiting changes of one segment.")
    url: str | SecretReference = Field(repr=False, description="Where to POST; a reference where the URL is a secret.")
    secret: Annotated[list[SecretReference], Field(min_length=1, max_length=MAX_KEYS)] = Field(
        description="Signing secrets (`whsec_…`) and private keys (`whsk_…`) by reference, newest first. Each signs."
    )
    envelope: Literal["standard", "cloudevents", "cloudevents_binary"] = Field(
        "standard", description="How a change is wrapped: as Standard Webhooks recommends, or as a CloudEvent."
    )
    source: str = Field(
        "/livesegments", pattern=r"^[!-~]{1,500}$", description="The `source` of CloudEvents: a URI reference."
    )

    @field_validator("secret", mode="before")
    @classmethod
    def _one_or_more(cls, value: object) -> object:
        return value if isinstance(value, list) else [value]

    @model_validator(mode="after")
    def _is_usable(self) -> Config:
        if isinstance(self.url, str):
            check_url(self.url, allow_http=self.allow_http)
        if self.envelope == "cloudevents_binary" and self.batch_size > 1:
            raise ValueError("batch_size: a CloudEvent in binary mode is sent alone")
        return self


def connect(config: Config, environ: Mapping[str, str], user_agent: str) -> Webhook:
    """Read the secrets and be ready to build requests. Raises SecretMissing, InvalidKey, ValueError."""
    url = config.url if isinstance(config.url, str) else config.url.read(environ).get_secret_value()
    check_url(url, allow_http=config.allow_http)
    secrets = [reference.read(environ).get_secret_value() for reference in config.secret]
    return Webhook(
        url=url,
        keys=tuple(parse_signer(secret) for secret in secrets),
        user_agent=user_agent,
        endpoint=origin(url),
        account=fingerprint(url),
        envelope=config.envelope,
        source=config.source,
        hidden=(
            *secret_parts(url, declared=not isinstance(config.url, str)),
            *secrets,
            *(secret.removeprefix(prefix) for secret in secrets for prefix in (PREFIX, PRIVATE_PREFIX)),
        ),
    )


@dataclass(frozen=True)
class Webhook(Connector):
    """Builds and reads; holds secrets, and shows none of them."""

    url: str = field(repr=False)
    keys: tuple[Signer, ...] = field(repr=False)
    user_agent: str
    endpoint: str
    account: str
    envelope: str = "standard"
    source: str = ""
    hidden: Sequence[str] = field(repr=False, default=())

    def deliver(self, changes: Sequence[Change], now: float) -> Steps:
        request = self.request(changes, now)
        (answer,) = yield (request,)
        return [judge(request, answer, now, len(changes))] * len(changes)

    def erase(self, customers: Sequence[Change], now: float) -> Steps:
        """Tell the receiver, about each customer apart."""
        requests = [self.request([customer], now) for customer in customers]
        answers = yield requests
        return [judge(request, answer, now) for request, answer in zip(requests, answers, strict=True)]

    def rehearse(self, request: Request) -> Response:
        return Response(204, {}, b"")

    def request(self, changes: Sequence[Change], now: float) -> Request:
        """The same changes give the same id and body at any `now`."""
        headers, body = self._wrapped(changes)
        message_id = id_of(changes)
        timestamp = int(now)
        return Request(
            "POST",
            self.url,
            {
                **headers,
                "user-agent": self.user_agent,
                "webhook-id": message_id,
                "webhook-timestamp": str(timestamp),
                "webhook-signature": sign(self.keys, message_id, timestamp, body),
            },
            body,
        )

    def _wrapped(self, changes: Sequence[Change]) -> tuple[Mapping[str, str], bytes]:
        if self.envelope == "standard":
            return {"content-type": "application/json"}, body_of(changes)
        kinds = [type_of(change) for change in changes]
        if len(changes) > 1:
            return {"content-type": cloudevents.BATCH}, cloudevents.batch(changes, self.source, kinds)
        (change,), (kind,) = changes, kinds
        if self.envelope == "cloudevents":
            return {"content-type": cloudevents.STRUCTURED}, cloudevents.structured(change, self.source, kind)
        return {"content-type": "application/json", **cloudevents.headers(change, self.source, kind)}, change.raw


def type_of(change: Change) -> str:
    return "customer.erased" if change.action == ERASED else f"segment.{change.action}"


def id_of(changes: Sequence[Change]) -> str:
    if len(changes) == 1:
        return changes[0].id
    return hashlib.blake2b("\n".join(change.id for change in changes).encode(), digest_size=16).hexdigest()


def body_of(changes: Sequence[Change]) -> bytes:
    """The changes' own bytes, unaltered, in an envelope without white space."""
    if len(changes) == 1:
        change = changes[0]
        return b'{"type":%b,"timestamp":%b,"data":%b}' % (
            _text(type_of(change)),
            _text(change.at),
            change.raw,
        )
    # Without the Z a whole second sorts before its fractions.
    latest = max((change.at for change in changes), key=lambda at: at.removesuffix("Z"))
    data = b",".join(change.raw for change in changes)
    return b'{"type":"segment.changes","timestamp":%b,"data":[%b]}' % (_text(latest), data)


def _text(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode()
