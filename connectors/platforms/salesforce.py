"""Salesforce CRM: a checkbox per segment on contacts, leads or any object that has an external id.

    destinations:
      crm:
        platform: salesforce
        domain: acme                        # https://acme.my.salesforce.com; a sandbox: acme--test.sandbox
        client_id: {env: SALESFORCE_CLIENT_ID}
        client_secret: {env: SALESFORCE_CLIENT_SECRET}
        object: Contact
        external_id_field: Customer_Id__c
        segments:
          abandoned_cart: {field: Abandoned_Cart__c}
          vip: {field: Vip__c}
        fields: {cart_value: Cart_Value__c}

| ours | theirs |
|---|---|
| customer (`identity.external_id`) | `external_id_field` of `object` |
| entered / exited | true / false in the segment's `field` |
| `fields` | fields; a list or an object as its JSON |

Up to 200 records per request (`composite/sobjects/…`, `allOrNone: false`), with a result for each [D]; an
upsert by external id is idempotent, and creates a record that is not there, if `fields` hold what their object
requires.

Answers: a record is retried after UNABLE_TO_LOCK_ROW, `Too many SOQL queries` and the like [C], pauses the
destination where it speaks of a field or an object (INVALID_FIELD, …), and is refused otherwise. 401
INVALID_SESSION_ID renews the token. There is no 429: beyond the calls of 24 hours (100,000 and more, by
licences [3]) it is 403 REQUEST_LIMIT_EXCEEDED, and this waits 15 minutes. `Sforce-Limit-Info` says how
many calls the organisation has used: the last of them (`reserve`) are left to others.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Annotated, Any, Literal
from urllib.parse import quote, urlsplit

import msgspec
from pydantic import Field, model_validator

from connectors.answers import judge, result
from connectors.batches import identified, in_turns, suspected, unreadable
from connectors.changes import Change
from connectors.exchange import Answer, Request, Response, Steps, origin
from connectors.mapping import Identity, fields_of, identity_of
from connectors.options import Hosted, ProfileField, SegmentName, Strict
from connectors.platforms import Connector
from connectors.rates import Window
from connectors.results import DELIVERED, Outcome, Result
from connectors.scalars import scalar
from connectors.secrets import SecretReference, fingerprint
from connectors.tokens import Tokens, form_request, rehearsed

MAX_RECORDS = 200
DAY = 86_400.0
SESSION_SECONDS = 7_200.0
"""How long a session lasts where nobody set it otherwise; the token's answer does not say [D]."""
LIMIT_WAIT = 900.0
"""Seconds to wait once the calls of 24 hours are used up: they come back as the hours pass."""
DELETIONS_AT_ONCE = 4

RETRYABLE = frozenset(
    {"UNABLE_TO_LOCK_ROW", "SERVER_UNAVAILABLE", "REQUEST_RUNNING_TOO_LONG", "QUERY_TIMEOUT", "UNKNOWN_EXCEPTION"}
)
RETRYABLE_TEXTS = ("UNABLE_TO_LOCK_ROW", "Too many SOQL queries")
"""In the message of another code: of a trigger or a flow that met it (CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY)."""
DESTINATION_WRONG = frozenset(
    {
        "API_CURRENTLY_DISABLED",
        "API_DISABLED_FOR_ORG",
        "INVALID_FIELD",
        "INVALID_FIELD_FOR_INSERT_UPDATE",
        "INVALID_TYPE",
        "INVALID_TYPE_FOR_OPERATION",
        "STORAGE_LIMIT_EXCEEDED",
    }
)
"""They speak of what we are configured to, or of the organisation; every record would meet them."""

USAGE = re.compile(r"\bapi-usage=([0-9]{1,18})/([0-9]{1,18})(?![0-9])")

ApiName = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_]{0,79}$")]


class Account(Identity):
    """By which profile field a record's external id is known."""

    email: None = None
    external_id: ProfileField = Field("customer_id", description="The profile field with the external id's value.")


class Target(Strict):
    """What a segment is there."""

    field: ApiName = Field(description="A checkbox field's API name: true for members.")


class Config(Hosted):
    """A Salesforce organisation's options."""

    platform: Literal["salesforce"] = "salesforce"
    domain: str = Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9-]{0,62}(\.(sandbox|develop|scratch|trailblaze|demo|patch|stage))?$",
        description="My Domain: what stands before `.my.salesforce.com`.",
    )
    api_version: str = Field("62.0", pattern=r"^(4[6-9]|[5-9]\d|\d{3})\.0$", description="Of the REST API, 46.0 on.")
    client_id: SecretReference = Field(description="Consumer key of the connected app, by reference.")
    client_secret: SecretReference = Field(description="Its consumer secret, by reference.")
    object: ApiName = Field("Contact", description="The object's API name.")
    external_id_field: ApiName = Field(description="Its field that is an external id and unique.")
    identity: Account = Field(Account(), description="How the platform knows a customer.")
    fields: Mapping[ProfileField, ApiName] = Field({}, description="Profile fields and the fields that they go to.")
    segments: Annotated[Mapping[SegmentName, Target], Field(min_length=1)] = Field(
        description="The segments, and what each is there."
    )
    daily_calls: int = Field(100_000, ge=1, description="API calls of this destination in 24 hours, at most.")
    reserve: float = Field(0.05, ge=0, le=0.9, description="Share of the organisation's calls that is left to others.")
    batch_size: int = Field(MAX_RECORDS, ge=1, le=MAX_RECORDS, description="Records per request, at most.")
    concurrency: int = Field(4, ge=1, le=25, description="Requests in flight at once.")
    timeout: float = Field(60.0, gt=0, le=300, description="Limit for a whole request.")

    @model_validator(mode="after")
    def _is_usable(self) -> Config:
        for name, target in self.segments.items():
            taken = [self.external_id_field, target.field, *self.fields.values()]
            if len({one.casefold() for one in taken}) < len(taken):
                raise ValueError(f"segments: a field of {name!r} is given twice")
        return self


def connect(config: Config, environ: Mapping[str, str], user_agent: str) -> Salesforce:
    """Read the secrets and be ready to build requests. Raises SecretMissing, ValueError."""
    client_id = config.client_id.read(environ).get_secret_value()
    client_secret = config.client_secret.read(environ).get_secret_value()
    base = config.base(f"https://{config.domain}.my.salesforce.com")
    asked = {"client_id": client_id, "client_secret": client_secret}
    return Salesforce(
        config=config,
        base=base,
        user_agent=user_agent,
        tokens=Tokens(
            form_request(f"{base}/services/oauth2/token", asked, user_agent, "token"),
            client_id,
            client_secret,
            lifetime=SESSION_SECONDS,
        ),
        endpoint=origin(base),
        account=fingerprint(base, client_id),
        limits=MappingProxyType(
            {"token": (Window(60, 3_600.0),), "api": (Window(config.daily_calls, DAY),)},
        ),
    )


@dataclass
class Usage:
    """What `Sforce-Limit-Info` said last."""

    share: float = 0.0
    at: float = 0.0


@dataclass(frozen=True)
class Item:
    change: Change
    key: str


@dataclass(frozen=True)
class Salesforce(Connector):
    """Builds and reads; holds secrets, and shows none of them."""

    config: Config = field(repr=False)
    base: str = field(repr=False)
    user_agent: str
    tokens: Tokens = field(repr=False)
    limits: Mapping[str, Sequence[Window]] = field(repr=False)
    endpoint: str
    account: str
    usage: Usage = field(repr=False, default_factory=Usage)

    @property
    def hidden(self) -> Sequence[str]:  # it grows with the tokens
        return self.tokens.hidden

    def prepare(self, now: float) -> Steps | None:
        return self.tokens.prepare(now)

    def deliver(self, changes: Sequence[Change], now: float) -> Steps:
        return identified(changes, self._item, lambda items: self._upsert(items, now))

    def erase(self, customers: Sequence[Change], now: float) -> Steps:
        """Delete the records: to the recycle bin, which empties itself after 15 days [D]."""
        return identified(customers, self._key, lambda keys: self._delete(keys, now))

    def ping(self, now: float) -> Request:
        return self._request("GET", "/limits")

    def rehearse(self, request: Request) -> Response:
        if urlsplit(request.url).path.endswith("/oauth2/token"):
            return rehearsed()
        if request.method == "DELETE":
            return Response(204, {}, b"")
        records = msgspec.json.decode(request.body)["records"] if request.body else []
        return Response(200, {}, msgspec.json.encode([{"success": True, "errors": []} for _ in records]))

    def _key(self, change: Change) -> str | None:
        return identity_of(change, self.config.identity).get("external_id")

    def _item(self, change: Change) -> Item | None:
        key = self._key(change)
        return None if key is None or change.segment not in self.config.segments else Item(change, key)

    def _record(self, item: Item) -> dict[str, Any]:
        config = self.config
        return {
            "attributes": {"type": config.object},
            config.external_id_field: item.key,
            config.segments[item.change.segment].field: item.change.entered,
            **{name: scalar(value) for name, value in fields_of(item.change, config.fields).items()},
        }

    def _request(self, method: str, path: str, document: Any = None) -> Request:
        headers = {"authorization": f"Bearer {self.tokens.current}", "user-agent": self.user_agent}
        body = b""
        if document is not None:
            headers["content-type"] = "application/json"
            body = msgspec.json.encode(document)
        url = f"{self.base}/services/data/v{self.config.api_version}{path}"
        return Request(method, url, headers, body, limit="api", cap=1024 * 1024)

    def _upsert(self, items: Sequence[Item], now: float) -> Steps:
        document = {"allOrNone": False, "records": [self._record(item) for item in items]}
        request = self._request(
            "PATCH", f"/composite/sobjects/{self.config.object}/{self.config.external_id_field}", document
        )
        if self.usage.share >= 1 - self.config.reserve and now - self.usage.at < LIMIT_WAIT:
            wait = self.usage.at + LIMIT_WAIT - now
            return [Result(Outcome.RETRY, "calls_reserved", after=wait, request=request, throttled=True)] * len(items)
        (answer,) = yield (request,)
        self._note(answer, now)
        if not isinstance(answer, Response) or not 200 <= answer.status < 300:
            return self._judge(request, answer, now, len(items))
        saved = answer.json()
        if not isinstance(saved, list) or len(saved) != len(items):
            return unreadable(request, answer, len(items))
        return [_of_record(one, request, answer, now) for one in saved]

    def _delete(self, keys: Sequence[str], now: float) -> Steps:
        where = f"/sobjects/{self.config.object}/{self.config.external_id_field}"
        requests = [self._request("DELETE", f"{where}/{quote(key, safe='')}") for key in keys]
        answers = yield from in_turns(requests, DELETIONS_AT_ONCE)
        results = []
        for request, answer in zip(requests, answers, strict=True):
            self._note(answer, now)
            # What is not there is forgotten already: 404 is the record's here, and not the object's.
            gone = isinstance(answer, Response) and answer.status == 404 and _code(answer.json()) == "NOT_FOUND"
            results += [DELIVERED] if gone else self._judge(request, answer, now, 1)
        return results

    def _judge(self, request: Request, answer: Answer, now: float, items: int) -> list[Result]:
        """The results of a request that was answered as a whole."""
        if not isinstance(answer, Response):
            return [judge(request, answer, now)] * items
        said = answer.json()
        code, message = _code(said), _message(said)
        if answer.status == 401:
            token = request.headers["authorization"].removeprefix("Bearer ")
            return [result(self.tokens.refuse(token, now), request, answer, now)] * items
        if code == "REQUEST_LIMIT_EXCEEDED":
            found = result(Outcome.RETRY, request, answer, now, "request_limit_exceeded", throttled=True)
            return [replace(found, after=LIMIT_WAIT)] * items
        if answer.status == 400 and _may_heal(code, message):
            return [result(Outcome.RETRY, request, answer, now, code.lower() or "http_400")] * items
        if code in DESTINATION_WRONG:
            return [result(Outcome.PAUSE, request, answer, now, code.lower())] * items
        if answer.status == 400:
            return suspected(request, answer, now, items, f"{code}: {message}" if code else "http_400")
        return [judge(request, answer, now, items)] * items

    def _note(self, answer: Answer, now: float) -> None:
        found = USAGE.search(answer.headers.get("sforce-limit-info", "")) if isinstance(answer, Response) else None
        if found is not None and int(found[2]) > 0:
            self.usage.share, self.usage.at = int(found[1]) / int(found[2]), now


def _of_record(one: Any, request: Request, answer: Response, now: float) -> Result:
    """One record's own result."""
    if not isinstance(one, dict) or not isinstance(one.get("success"), bool):
        return unreadable(request, answer, 1)[0]
    if one["success"]:
        return DELIVERED
    code, message = _code(one.get("errors")), _message(one.get("errors"))
    outcome = Outcome.REFUSED
    if _may_heal(code, message):
        outcome = Outcome.RETRY
    elif code in DESTINATION_WRONG:
        outcome = Outcome.PAUSE
    reason = code.lower() if outcome is Outcome.PAUSE else f"{code or 'ERROR'}: {message}"[:200]
    return replace(result(outcome, request, answer, now, reason), excerpt=f"{code}: {message}")


def _may_heal(code: str, message: str) -> bool:
    return code in RETRYABLE or any(text in message for text in RETRYABLE_TEXTS)


def _code(said: Any) -> str:
    """The code of the first error: `errorCode` of a request's, `statusCode` of a record's."""
    return _text(said, "errorCode") or _text(said, "statusCode")


def _message(said: Any) -> str:
    return " ".join(_text(said, "message").split())


def _text(said: Any, name: str) -> str:
    first = said[0] if isinstance(said, list) and said else None
    found = first.get(name) if isinstance(first, dict) else None
    return found if isinstance(found, str) else ""
