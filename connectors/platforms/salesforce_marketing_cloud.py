"""Salesforce Marketing Cloud Engagement: a row per customer in a data extension, and a column per segment.

    destinations:
      journeys:
        platform: salesforce_marketing_cloud
        subdomain: mc563885gzs27c5t9-63k636ttgm   # of the Authentication Base URI
        client_id: {env: SFMC_CLIENT_ID}
        client_secret: {env: SFMC_CLIENT_SECRET}
        account_id: 7281698                       # MID of the business unit, where it is not the package's own
        version_column: Version
        changed_at_column: ChangedAt
        segments:
          abandoned_cart: {data_extension: Segments, column: AbandonedCart}
          vip: {data_extension: Segments, column: Vip}
        fields: {last_viewed_product: LastViewedProduct}

| ours | theirs |
|---|---|
| customer (`identity.external_id`) | `key_column`, the data extension's primary key |
| entered / exited | true / false in the segment's `column` |
| segment name | `segment_column`, where a row is a membership and not a customer |
| sequence number, instant | `version_column`, `changed_at_column` |
| `fields` | columns; a list or an object as its JSON |

`mode: sync` posts a row set and has its answer at once (at most 50 rows and 5 MB are advised [D]). It says
which rows are wrong, but not of which change: the halves are sent apart. `mode: async` puts up to 30,000
rows in a queue [C], asks until they are written, and reads the result of each. `mode: soap` is for packages
that have no REST permissions; it also has a result per row.

An upsert by primary key is idempotent. Two writers of one data extension lock each other out (`Rerun the
transaction`), and a queue has an order only if nothing else is in it: so one request is in flight.

Answers: 429 (50100 with `Retry-After`; 50200, blocked, without: 60 s) and 5xx are retried, and so are 10006
without `additionalErrors` [C], a row that says `Rerun the transaction` [C], and SOAP's throttling, which
is a fault with status 500 [D]. 401 and SOAP's `Token Expired` renew the token. 403 and 404 pause.
No rate is published for REST [D]; about 2,000 SOAP calls a minute are recommended [C] and taken for both.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Annotated, Any, Literal, NamedTuple, TypeGuard
from urllib.parse import quote, urlsplit
from xml.etree.ElementTree import Element

import msgspec
from pydantic import Field, model_validator

from connectors import soap
from connectors.answers import judge, result
from connectors.batches import identified, in_turns, suspected, unreadable
from connectors.changes import Change
from connectors.exchange import Answer, Request, Response, Steps, origin
from connectors.mapping import Identity, fields_of, identity_of
from connectors.options import Hosted, ProfileField, SegmentName, Strict
from connectors.platforms import Connector, nothing
from connectors.rates import Window
from connectors.results import DELIVERED, Outcome, Result
from connectors.scalars import scalar
from connectors.secrets import SecretReference, fingerprint
from connectors.tokens import Tokens, json_request, rehearsed

BODY_BYTES = 5_000_000
"""Largest body of a row set, and of an asynchronous upsert [D, C]."""
ANSWER_BYTES = 1024 * 1024

TOKEN_SECONDS = 1079.0
TOKEN_MARGIN = 60.0
"""A token lasts 18 to 20 minutes, and no more than one in 20 minutes is wished for [D]."""
TOKEN_FRESH = 300.0

BLOCKED_SECONDS = 60.0
"""Wait after 50200, which names none."""
POLLS = (1.0, 2.0, 3.0, 5.0, 8.0)
"""Seconds before each question after a job; the last is repeated."""
POLLS_LAST = 300.0
"""Seconds after which a job is no longer asked for, but at the next attempt."""
UNANSWERED = 5
"""Questions without an answer, one after the other, that are enough for an attempt."""
JOB_LIVES = 3600.0
"""Seconds during which a job that was not finished is asked for again instead of being started anew."""
JOBS = 64
PAGES_AT_ONCE = 8
PAGE_ITEMS = 50

LIMITS = MappingProxyType(
    {
        "token": (Window(10, 60.0),),
        "rest": (Window(2_000, 60.0),),
        "soap": (Window(2_000, 60.0),),
    }
)

JOB_FAILED = "job_failed"
DEADLOCK = "Rerun the transaction"
PARTNER_API = "http://exacttarget.com/wsdl/partnerAPI"

Name = Annotated[str, Field(min_length=1, max_length=200)]


class Subscriber(Identity):
    """The primary key of the rows, and the contact key of erasures."""

    email: None = None
    external_id: ProfileField = Field("customer_id", description="The profile field with the subscriber key.")


class Target(Strict):
    """What a segment is: a column of a data extension."""

    data_extension: Name = Field(description="Its external key.")
    column: Name = Field(description="A Boolean column: true for members.")
    segment_column: Name | None = Field(
        None, description="A second part of the primary key that holds our segment's name: a row per membership."
    )


class Config(Hosted):
    """A Marketing Cloud business unit's options."""

    platform: Literal["salesforce_marketing_cloud"] = "salesforce_marketing_cloud"
    subdomain: str = Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9-]{0,62}$",
        description="Of the package's URLs: what stands before `.auth.marketingcloudapis.com`.",
    )
    client_id: SecretReference = Field(description="Client ID of the package's API integration, by reference.")
    client_secret: SecretReference = Field(description="Its client secret, by reference.")
    account_id: int | None = Field(None, ge=1, description="MID of the business unit that the token is for.")
    mode: Literal["sync", "async", "soap"] = Field("sync", description="Which API writes the rows.")
    identity: Subscriber = Field(Subscriber(), description="How the platform knows a customer.")
    key_column: Name = Field("SubscriberKey", description="The primary key's column.")
    version_column: Name | None = Field(None, description="Column for the change's sequence number.")
    changed_at_column: Name | None = Field(None, description="Column for the change's instant.")
    fields: Mapping[ProfileField, Name] = Field({}, description="Profile fields and the columns that they go to.")
    segments: Annotated[Mapping[SegmentName, Target], Field(min_length=1)] = Field(
        description="The segments, and what each is there."
    )
    batch_size: int = Field(50, ge=1, le=30_000, description="Rows per request, at most.")
    batch_bytes: int = Field(1_000_000, ge=1_000, le=4_000_000, description="Bytes of changes per request, at most.")
    concurrency: int = Field(
        1, ge=1, le=10, description="Requests in flight at once. More than one may deadlock in a data extension."
    )
    timeout: float = Field(30.0, gt=0, le=300, description="Limit for a whole request.")

    @model_validator(mode="after")
    def _is_usable(self) -> Config:
        for name, target in self.segments.items():
            columns = [self.key_column, target.column, *self.fields.values()]
            columns += filter(None, (target.segment_column, self.version_column, self.changed_at_column))
            if len({column.casefold() for column in columns}) < len(columns):
                raise ValueError(f"segments: a column of {name!r} is given twice")
        return self


def connect(config: Config, environ: Mapping[str, str], user_agent: str) -> MarketingCloud:
    """Read the secrets and be ready to build requests. Raises SecretMissing, ValueError."""
    client_id = config.client_id.read(environ).get_secret_value()
    client_secret = config.client_secret.read(environ).get_secret_value()
    auth, rest, soap_url = (_host(config, name) for name in ("auth", "rest", "soap"))
    asked = {"client_id": client_id, "client_secret": client_secret}
    if config.account_id is not None:
        asked["account_id"] = str(config.account_id)
    return MarketingCloud(
        config=config,
        rest=rest,
        service=f"{soap_url}/Service.asmx",
        user_agent=user_agent,
        tokens=Tokens(
            json_request(f"{auth}/v2/token", asked, user_agent, "token"),
            client_id,
            client_secret,
            lifetime=TOKEN_SECONDS,
            margin=TOKEN_MARGIN,
            fresh=TOKEN_FRESH,
        ),
        endpoint=origin(soap_url if config.mode == "soap" else rest),
        account=fingerprint(config.subdomain, client_id, str(config.account_id)),
    )


def _host(config: Config, api: str) -> str:
    return config.base(f"https://{config.subdomain}.{api}.marketingcloudapis.com")


class Row(NamedTuple):
    group: str
    data_extension: str
    keys: dict[str, Any]
    values: dict[str, Any]


@dataclass(frozen=True)
class Job:
    """An upsert that was still in their queue when we stopped to ask."""

    id: str
    started: float


@dataclass(frozen=True)
class MarketingCloud(Connector):
    """Builds and reads; holds secrets, and shows none of them."""

    config: Config = field(repr=False)
    rest: str = field(repr=False)
    service: str = field(repr=False)
    """The SOAP endpoint."""
    user_agent: str
    tokens: Tokens = field(repr=False)
    endpoint: str
    account: str
    limits = LIMITS
    _jobs: dict[str, Job] = field(repr=False, default_factory=dict)

    @property
    def hidden(self) -> Sequence[str]:
        return self.tokens.hidden

    def group(self, change: Change) -> str:
        """Rows with the same columns of one data extension: what another row says must not blank a column."""
        target = self.config.segments.get(change.segment)
        return "" if target is None else f"{target.data_extension}\n{target.column}\n{target.segment_column}"

    def prepare(self, now: float) -> Steps | None:
        return self.tokens.prepare(now)

    def deliver(self, changes: Sequence[Change], now: float) -> Steps:
        return identified(changes, self._row, lambda rows: self._write(rows, now))

    def erase(self, customers: Sequence[Change], now: float) -> Steps:
        """Contact deletion, for the whole enterprise and within their suppression period. It is a job that may
        take hours [D]: what is known here is that it was begun.
        """
        if self.config.mode == "soap":
            return nothing(customers, "erasure_not_supported")
        return identified(customers, self._key, lambda keys: self._erase(keys, now))

    def ping(self, now: float) -> Request | None:
        if self.config.mode == "soap":
            status = soap.element("SystemStatusRequestMsg", attributes=f' xmlns="{PARTNER_API}"')
            return self._soap_request("GetSystemStatus", status)
        return self._request("GET", "/platform/v1/tokenContext")

    def rehearse(self, request: Request) -> Response:
        return _rehearse(request)

    def _key(self, change: Change) -> str | None:
        return identity_of(change, self.config.identity).get("external_id")

    def _row(self, change: Change) -> Row | None:
        key = self._key(change)
        target = self.config.segments.get(change.segment)
        if key is None or target is None:
            return None
        config = self.config
        keys = {config.key_column: key}
        if target.segment_column is not None:
            keys[target.segment_column] = change.segment
        values: dict[str, Any] = {target.column: change.entered}
        if config.version_column is not None:
            values[config.version_column] = change.sequence
        if config.changed_at_column is not None:
            values[config.changed_at_column] = change.at
        values |= {column: scalar(value) for column, value in fields_of(change, config.fields).items()}
        return Row(self.group(change), target.data_extension, keys, values)

    def _write(self, rows: Sequence[Row], now: float) -> Steps:
        """Group by group: the parcels of a deliverer have one, others may have more."""
        write = {"sync": self._sync, "async": self._async, "soap": self._soap}[self.config.mode]
        results: dict[int, Result] = {}
        for group in dict.fromkeys(row.group for row in rows):
            places = [place for place, row in enumerate(rows) if row.group == group]
            results |= zip(places, (yield from write([rows[place] for place in places], now)), strict=True)
        return [results[place] for place in range(len(rows))]

    # REST.

    def _request(self, method: str, path: str, body: bytes = b"", **more: Any) -> Request:
        headers = {"authorization": f"Bearer {self.tokens.current}", "user-agent": self.user_agent}
        if body:
            headers["content-type"] = "application/json"
        return Request(method, self.rest + path, headers, body, limit="rest", **more)

    def _judge(self, request: Request, answer: Answer, now: float, items: int = 1) -> list[Result]:
        if not isinstance(answer, Response):
            return [judge(request, answer, now)] * items
        said = answer.json()
        said = said if isinstance(said, dict) else {}
        if answer.status == 401:
            token = request.headers["authorization"].removeprefix("Bearer ")
            return [result(self.tokens.refuse(token, now), request, answer, now)] * items
        if answer.status == 429:
            found = result(Outcome.RETRY, request, answer, now)
            return [found if found.after is not None else replace(found, after=_wait(said))] * items
        if answer.status == 400:
            errors = said.get("additionalErrors")
            if said.get("errorcode") == 10006 and not errors:
                return [result(Outcome.RETRY, request, answer, now, "errorcode_10006")] * items
            messages = (_message(errors), _message(said.get("resultMessages")), _message([said]), "http_400")
            return suspected(request, answer, now, items, next(filter(None, messages)))
        return [judge(request, answer, now, items)] * items

    def _sync(self, rows: Sequence[Row], now: float) -> Steps:
        body = _encode([{"keys": row.keys, "values": row.values} for row in rows])
        if len(body) > BODY_BYTES:
            return _too_large(rows)
        path = f"/hub/v1/dataevents/key:{quote(rows[0].data_extension, safe='')}/rowset"
        request = self._request("POST", path, body)
        (answer,) = yield (request,)
        # The rows come back; that much has to be seen, for any proxy can say 200.
        if _is_good(answer) and not answer.body.lstrip().startswith(b"["):
            return unreadable(request, answer, len(rows))
        return self._judge(request, answer, now, len(rows))

    def _async(self, rows: Sequence[Row], now: float) -> Steps:
        body = _encode({"items": [row.keys | row.values for row in rows]})
        if len(body) > BODY_BYTES:
            return _too_large(rows)
        path = f"/data/v1/async/dataextensions/key:{quote(rows[0].data_extension, safe='')}/rows"
        request = self._request("PUT", path, body)
        parcel = hashlib.blake2b(path.encode() + body, digest_size=16).hexdigest()
        job = self._jobs.pop(parcel, None)
        if job is None or now - job.started > JOB_LIVES:
            (answer,) = yield (request,)
            if not _is_good(answer):
                return self._judge(request, answer, now, len(rows))
            job_id = _job_id(answer)
            if job_id is None:
                return unreadable(request, answer, len(rows))
            job = Job(job_id, now)
        ended = yield from self._poll(request, job, len(rows), now)
        if not isinstance(ended, Result):
            return ended
        if ended.reason != JOB_FAILED:
            while len(self._jobs) >= JOBS:
                del self._jobs[next(iter(self._jobs))]
            self._jobs[parcel] = job
        return [ended] * len(rows)

    def _poll(
        self, request: Request, job: Job, items: int, now: float
    ) -> Generator[Sequence[Request], Sequence[Answer], Sequence[Result] | Result]:
        """Ask until the job has ended. The rows' results; or one result, if it has not, or has come to nothing
        (`JOB_FAILED`).
        """
        last = Result(Outcome.RETRY, "job_not_finished", request=request)
        unanswered = 0
        for waited, wait in _waits():
            asked = self._request("GET", f"/data/v1/async/{job.id}/status", wait=max(wait, last.after or 0.0))
            (answer,) = yield (asked,)
            found = self._judge(asked, answer, now + waited)[0]
            if found.outcome is Outcome.RETRY:  # of the question: the job goes on
                last = replace(last, after=found.after)
                unanswered += 1
                if unanswered == UNANSWERED:
                    break
                continue
            unanswered = 0
            if isinstance(answer, Response) and answer.status == 404:
                return Result(Outcome.RETRY, JOB_FAILED, 404, excerpt=answer.excerpt(), request=request)
            if found.outcome is not Outcome.DELIVERED:
                return found
            status = _status(answer)
            if status.get("requestStatus") != "Complete":
                # Error is not an end: it may turn to Complete yet [C].
                failed = status.get("requestStatus") == "Error"
                last = replace(last, reason=JOB_FAILED if failed else "job_not_finished", after=None)
                continue
            if status.get("resultStatus") == "OK":
                return [DELIVERED] * items
            return (yield from self._results(request, job, items, now + waited))
        return last

    def _results(
        self, request: Request, job: Job, items: int, now: float
    ) -> Generator[Sequence[Request], Sequence[Answer], Sequence[Result] | Result]:
        """Each row's result, in the order in which the rows were sent; they come in pages."""
        first = self._page(job, 1)
        (answer,) = yield (first,)
        asked, answers = [first], [answer]
        if _is_good(answer):
            pages = math.ceil(items / _positive(_document(answer).get("pageSize"), PAGE_ITEMS))
            others = [self._page(job, number) for number in range(2, pages + 1)]
            answers += yield from in_turns(others, PAGES_AT_ONCE)
            asked += others
        found: list[Any] = []
        for page, answer in zip(asked, answers, strict=True):
            if not _is_good(answer):
                (judged,) = self._judge(page, answer, now)
                return judged if judged.outcome is not Outcome.REFUSED else replace(judged, outcome=Outcome.RETRY)
            listed = _document(answer).get("items")
            found += listed if isinstance(listed, list) else []
        if len(found) != items or not all(isinstance(one, dict) for one in found):
            return Result(Outcome.RETRY, "unreadable_answer", request=request)
        return [_row_result(one.get("status"), one.get("message"), request) for one in found]

    def _page(self, job: Job, number: int) -> Request:
        return self._request("GET", f"/data/v1/async/{job.id}/results?page={number}", cap=ANSWER_BYTES)

    def _erase(self, keys: Sequence[str], now: float) -> Steps:
        body = _encode({"values": keys, "DeleteOperationType": "ContactAndAttributes"})
        request = self._request("POST", "/contacts/v1/contacts/actions/delete?type=keys", body)
        (answer,) = yield (request,)
        if _is_good(answer) and _document(answer).get("operationInitiated") is not True:
            return unreadable(request, answer, len(keys))
        return self._judge(request, answer, now, len(keys))

    # SOAP.

    def _soap_request(self, action: str, body: str) -> Request:
        token = soap.element("fueloauth", soap.text(self.tokens.current), attributes=' xmlns="http://exacttarget.com"')
        headers = {"content-type": "text/xml; charset=utf-8", "soapaction": action, "user-agent": self.user_agent}
        message = soap.envelope(action, self.service, token, body)
        return Request("POST", self.service, headers, message, limit="soap", cap=ANSWER_BYTES)

    def _soap(self, rows: Sequence[Row], now: float) -> Steps:
        token = self.tokens.current
        request = self._soap_request("Update", _update(rows))
        (answer,) = yield (request,)
        if not isinstance(answer, Response) or (answer.status >= 300 and answer.status != 500):
            return [judge(request, answer, now, len(rows))] * len(rows)
        try:
            update = soap.read(answer.body)
        except soap.Fault as fault:
            return self._faulty(request, answer, fault, token, now, len(rows))
        except soap.UnreadableXml:
            return unreadable(request, answer, len(rows))
        found = {soap.value(one, "OrdinalID"): one for one in soap.children(update, "Results")}
        overall = soap.value(update, "OverallStatus")
        if not found and overall.startswith("Error"):
            return suspected(request, answer, now, len(rows), _shortened(overall))
        (missing,) = unreadable(request, answer, 1)
        return [
            missing if (one := found.get(str(place))) is None else _soap_result(one, request)
            for place in range(len(rows))
        ]

    def _faulty(
        self, request: Request, answer: Response, fault: soap.Fault, token: str, now: float, items: int
    ) -> list[Result]:
        kind = fault.code.rpartition(":")[2]
        if kind == "Security" or fault.text.casefold() in ("token expired", "login failed"):
            return [result(self.tokens.refuse(token, now), request, answer, now, "soap_security")] * items
        if kind == "Client":
            return suspected(request, answer, now, items, _shortened(fault.text) or "soap_client")
        # Throttling has no fault of its own, but every other of them is rarer.
        return [result(Outcome.RETRY, request, answer, now, "soap_fault", throttled=True)] * items


def _update(rows: Sequence[Row]) -> str:
    """An `UpdateRequest` that adds what is not there. A column without a value is left out, and stays."""
    one, text = soap.element, soap.text
    option = one("SaveOption", one("PropertyName", "DataExtensionObject"), one("SaveAction", "UpdateAdd"))
    objects = [
        one(
            "Objects",
            one("CustomerKey", text(row.data_extension)),
            one("Properties", *_properties("Property", row.values)),
            one("Keys", *_properties("Key", row.keys)),
            attributes=' xsi:type="DataExtensionObject"',
        )
        for row in rows
    ]
    options = one("Options", one("SaveOptions", option))
    return one("UpdateRequest", options, *objects, attributes=f' xmlns="{PARTNER_API}"')


def _properties(name: str, columns: Mapping[str, Any]) -> Iterator[str]:
    one, text = soap.element, soap.text
    for column, value in columns.items():
        if value is not None:
            yield one(name, one("Name", text(column)), one("Value", text(value)))


def _soap_result(one: Element, request: Request) -> Result:
    said = soap.value(one, "ErrorMessage") or soap.value(one, "StatusMessage")
    return _row_result(soap.value(one, "StatusCode"), said, request)


def _row_result(status: object, message: object, request: Request) -> Result:
    """A row's own result: `OK`, or an error with a message."""
    if status == "OK":
        return DELIVERED
    said = _shortened(message) if isinstance(message, str) else ""
    outcome = Outcome.RETRY if DEADLOCK in str(message) else Outcome.REFUSED
    return Result(outcome, said or "row_error", excerpt=said, request=request)


def _too_large(rows: Sequence[Row]) -> list[Result]:
    one = Result.refused("too_large") if len(rows) == 1 else Result(Outcome.SPLIT, "too_large")
    return [one] * len(rows)


def _encode(document: Any) -> bytes:
    return msgspec.json.encode(document)


def _waits() -> Iterator[tuple[float, float]]:
    """Seconds waited so far, and to wait before the next question."""
    waited = 0.0
    for number in range(1000):
        wait = POLLS[min(number, len(POLLS) - 1)]
        waited += wait
        if waited > POLLS_LAST:
            return
        yield waited, wait


def _wait(said: Mapping[str, Any]) -> float:
    """The wait of a 429 without `Retry-After`."""
    told = said.get("retryAfter")
    return float(told) if isinstance(told, int | float) and 0 <= told < math.inf else BLOCKED_SECONDS


def _message(errors: Any) -> str:
    """The first message in a list of errors."""
    for error in errors if isinstance(errors, list) else ():
        if isinstance(error, dict) and isinstance(error.get("message"), str) and error["message"].strip():
            return _shortened(error["message"])
    return ""


def _shortened(message: str) -> str:
    return " ".join(message.split())[:200]


def _positive(value: Any, default: int) -> int:
    return value if isinstance(value, int) and value > 0 else default


def _is_good(answer: Answer) -> TypeGuard[Response]:
    return isinstance(answer, Response) and 200 <= answer.status < 300


def _document(answer: Response) -> Mapping[str, Any]:
    document = answer.json()
    return document if isinstance(document, dict) else {}


def _job_id(answer: Response) -> str | None:
    found = _document(answer).get("requestId")
    return found if isinstance(found, str) and re.fullmatch(r"[A-Za-z0-9-]{1,64}", found) else None


def _status(answer: Answer) -> Mapping[str, Any]:
    """A job's status; empty until it has been taken up."""
    status = _document(answer).get("status") if isinstance(answer, Response) else None
    return status if isinstance(status, dict) else {}


def _rehearse(request: Request) -> Response:
    path = urlsplit(request.url).path
    if path.endswith("/v2/token"):
        return rehearsed()
    if path.endswith("/Service.asmx"):
        ordinals = range(request.body.count(b"<Objects "))
        results = (
            soap.element("Results", soap.element("StatusCode", "OK"), soap.element("OrdinalID", str(number)))
            for number in ordinals
        )
        update = soap.element("UpdateResponse", *results, soap.element("OverallStatus", "OK"))
        return Response(200, {}, soap.envelope("UpdateResponse", "", "", update))
    if path.endswith("/status"):
        return Response(200, {}, b'{"status":{"requestStatus":"Complete","resultStatus":"OK"}}')
    if path.endswith("/delete"):
        return Response(200, {}, b'{"operationInitiated":true}')
    if path.startswith("/data/") or "/async/" in path:
        return Response(202, {}, b'{"requestId":"00000000-0000-0000-0000-000000000000","resultMessages":[]}')
    return Response(200, {}, b"[]")
