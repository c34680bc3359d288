"""HubSpot: contact properties and membership of static lists.

    destinations:
      hubspot:
        platform: hubspot
        access_token: {env: HUBSPOT_ACCESS_TOKEN}      # a private app's token
        identity: {external_id: customer_id, email: email}
        id_property: external_customer_id              # the contact property with unique values that has external_id
        segments:
          vip: {list: "42"}                            # a list that is filled by hand or by API (MANUAL, SNAPSHOT)
          abandoned_cart: {property: abandoned_cart}   # a checkbox: "true" or "false"
        fields: {cart_value: cart_value, last_viewed_product: last_viewed_product}

| ours | HubSpot's |
|---|---|
| customer | contact, by `id_property` if there is one, else by `email`; created where it is not known |
| in the segment | member of `list`; `property` is "true" or "false" |
| profile field | contact property, as text; null is "" and clears it, a list is joined by ";" |
| change id | `objectWriteTraceId`, by which HubSpot's answer names the item |
| erasure | the contact is found, and deleted by `gdpr-delete` |

A list takes HubSpot's record ids: contacts are upserted first, and their ids kept for an hour. Adding a
member and removing a stranger change nothing, so that one request does both.

Answers: 200 and 207 are read to the item by the trace ids of `results` and `errors`; `VALIDATION_ERROR`,
`CONFLICT` and the like refuse the item, a property that the account does not have pauses the destination.
`recordIdsMissing` of a list: upserted again. 429 with `policyName` DAILY waits for an hour at a time, with
TEN_SECONDLY_ROLLING ten seconds. 423 and 477 are retried. 401, 403 and 404 pause.

Limits [D]: 100 contacts per request; requests per 10 s: 100 (Free and Starter, the default here), 190
(Professional and Enterprise), 250 (with the API limit increase).
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Annotated, Any, Literal

import msgspec
from pydantic import Field, model_validator

from connectors.answers import judge, result
from connectors.batches import identified, in_turns, refused, worst
from connectors.changes import Change
from connectors.exchange import Answer, Request, Response, Steps, origin
from connectors.mapping import Identity as CommonIdentity
from connectors.mapping import fields_of, identity_of
from connectors.options import Hosted, ProfileField, SegmentName, Strict
from connectors.platforms import Connector
from connectors.rates import Window
from connectors.remembered import Remembered
from connectors.results import DELIVERED, Outcome, Result
from connectors.secrets import SecretReference, fingerprint

MAX_CONTACTS = 100
WAITS = MappingProxyType({"DAILY": 3600.0, "SECONDLY": 1.0})
"""Seconds by `policyName`. The day ends at midnight of the account's time zone, which we do not know."""
OTHER_WAIT = 10.0

RETRYABLE = frozenset({423, 477})
"""Locked, and being moved; besides what is retryable everywhere."""
HEALING = frozenset({"RATE_LIMITS", "RATE_LIMIT", "INTERNAL_ERROR", "SERVICE_UNAVAILABLE", "TIMEOUT"})
"""Categories of an item's error that speak of HubSpot, not of the item."""

ANSWER_CAP = 1024 * 1024
_MADE_UP = "rehearsal"

PropertyName = Annotated[str, Field(pattern=r"^[a-z0-9_]{1,100}$")]


class Identity(CommonIdentity):
    """By which profile fields a contact is found: `external_id` where it is given, else `email`."""

    email: ProfileField | None = Field("email", description="The profile field with the e-mail address.")
    external_id: ProfileField | None = Field(None, description="The profile field with our own id.")


class Target(Strict):
    """What a segment is in HubSpot."""

    list: Annotated[str, Field(pattern=r"^\d{1,20}$")] | None = Field(None, description="A static list's id.")
    property: PropertyName | None = Field(None, description='A contact property that is "true" for members.')

    @model_validator(mode="after")
    def _is_something(self) -> Target:
        if self.list is None and self.property is None:
            raise ValueError("give a `list` or a `property`")
        return self


class Config(Hosted):
    """A HubSpot account's options."""

    platform: Literal["hubspot"] = "hubspot"
    access_token: SecretReference = Field(description="A private app's access token.")
    segments: Annotated[Mapping[SegmentName, Target], Field(min_length=1)] = Field(description="What each segment is.")
    identity: Identity = Field(Identity(), description="How contacts are found.")
    id_property: PropertyName | None = Field(
        None, description="The contact property with unique values that holds `identity.external_id`."
    )
    fields: Mapping[ProfileField, PropertyName] = Field({}, description="Our profile field: their contact property.")
    api_version: str = Field("v3", pattern=r"^(v3|\d{4}-\d{2})$", description="`v3`, or a dated version (`2026-03`).")
    requests_per_10_seconds: int = Field(100, ge=1, le=250, description="The app's burst limit.")
    batch_size: int = Field(MAX_CONTACTS, ge=1, le=MAX_CONTACTS, description="Contacts per request, at most.")

    @model_validator(mode="after")
    def _is_usable(self) -> Config:
        if self.identity.external_id is not None and self.id_property is None:
            raise ValueError("id_property: name the property that has `identity.external_id`")
        if self.identity.external_id is None and (self.identity.email is None or self.id_property is not None):
            raise ValueError("identity: give `external_id` with an `id_property`, or `email` alone")
        return self


def connect(config: Config, environ: Mapping[str, str], user_agent: str) -> HubSpot:
    """Raises SecretMissing."""
    token = config.access_token.read(environ).get_secret_value()
    base = config.base("https://api.hubapi.com")
    headers = {"authorization": f"Bearer {token}", "accept": "application/json", "user-agent": user_agent}
    return HubSpot(
        config,
        base,
        headers,
        endpoint=origin(base),
        account=fingerprint("hubspot", token),
        limits={"api": (Window(config.requests_per_10_seconds, 10),)},
        hidden=(token,),
    )


@dataclass
class _Contact:
    """A change on its way: whose it is, and what became of it so far."""

    change: Change
    target: Target
    name: str
    """The value of the id property."""
    email: str | None
    """To be set besides, where the contact is found by something else."""
    id: str | None = None
    """HubSpot's."""
    known: bool = False
    """Whether the id was remembered, and may be out of date."""
    failure: Result | None = None


_Stage = Generator[Sequence[Request], Sequence[Answer], None]


@dataclass(frozen=True)
class HubSpot(Connector):
    """An account of HubSpot's."""

    config: Config
    base: str
    headers: Mapping[str, str] = field(repr=False)
    endpoint: str
    account: str
    limits: Mapping[str, Sequence[Window]] = field(repr=False, default_factory=dict)
    hidden: Sequence[str] = field(repr=False, default=())
    ids: Remembered = field(default_factory=Remembered)

    def group(self, change: Change) -> str:
        target = self.config.segments.get(change.segment)
        return target.list or "" if target is not None else ""

    def deliver(self, changes: Sequence[Change], now: float) -> Steps:
        return identified(changes, lambda change: self._contact(change, now), lambda found: self._deliver(found, now))

    def erase(self, customers: Sequence[Change], now: float) -> Steps:
        return identified(customers, self._name, lambda names: self._erase(names, now))

    def ping(self, now: float) -> Request:
        return self._request("GET", "/account-info/v3/details")

    def rehearse(self, request: Request) -> Response:
        document = msgspec.json.decode(request.body) if request.body else {}
        if request.url.endswith("/upsert"):
            made = [
                {"id": f"{_MADE_UP}-{index}", "objectWriteTraceId": one["objectWriteTraceId"]}
                for index, one in enumerate(document["inputs"])
            ]
            return Response(200, {}, msgspec.json.encode({"status": "COMPLETE", "results": made}))
        if request.url.endswith("/read"):
            found = [{"id": f"{_MADE_UP}-{index}"} for index, _ in enumerate(document["inputs"])]
            return Response(200, {}, msgspec.json.encode({"status": "COMPLETE", "results": found}))
        return Response(200, {}, b'{"recordIdsMissing":[]}')

    # A delivery: contacts, then the list.

    def _deliver(self, contacts: Sequence[_Contact], now: float) -> Steps:
        yield from self._upsert([one for one in self._distinct(contacts) if self._has_content(one) or not one.id], now)
        yield from self._write_list([one for one in contacts if one.failure is None and one.target.list], now)
        return [one.failure or DELIVERED for one in contacts]

    def _distinct(self, contacts: Sequence[_Contact]) -> Sequence[_Contact]:
        """Those that are each another contact: HubSpot refuses a batch that names one twice. The rest waits."""
        seen: set[str] = set()
        for one in contacts:
            if one.name.casefold() in seen:
                one.failure = Result(Outcome.RETRY, "same_contact", after=0.0)
            seen.add(one.name.casefold())
        return [one for one in contacts if one.failure is None]

    def _upsert(self, contacts: Sequence[_Contact], now: float) -> _Stage:
        if not contacts:
            return
        request = self._request(
            "POST", f"{self._objects}/batch/upsert", {"inputs": [self._input(one) for one in contacts]}
        )
        (answer,) = yield (request,)
        made, errors = _traced(answer)
        for one in contacts:
            one.known = False
            trace = one.change.id
            if trace in made:
                one.id = made[trace]
                if not one.id.startswith(_MADE_UP):
                    self.ids.put(one.name, one.id, now)
            else:
                one.failure = self._failure(request, answer, now, errors, trace, len(contacts))

    def _failure(
        self,
        request: Request,
        answer: Answer,
        now: float,
        errors: Mapping[str, Mapping[str, Any]],
        trace: str,
        items: int,
    ) -> Result:
        """What became of an item that is not among the results of an upsert."""
        if not isinstance(answer, Response):
            return self._judge(request, answer, now, items)
        error = errors.get(trace)
        if error is not None:
            if error.get("category") in HEALING:
                return result(Outcome.RETRY, request, answer, now, str(error["category"]))
            message = str(error.get("message") or error.get("category") or "refused")
            if "PROPERTY_DOESNT_EXIST" in message:
                return result(Outcome.PAUSE, request, answer, now, "property_missing")
            return refused(request, answer, now, message)
        if 200 <= answer.status < 300:  # neither done nor refused
            return Result(Outcome.RETRY, "unreadable_answer", answer.status, None, answer.excerpt(), request)
        if errors:  # others are to blame
            return Result(Outcome.RETRY, "batch_refused", answer.status, 0.0, answer.excerpt(), request)
        return self._judge(request, answer, now, items)

    def _write_list(self, members: Sequence[_Contact], now: float) -> _Stage:
        if not members:
            return
        request = self._request(
            "PUT",
            f"{self._lists}/{members[0].target.list}/memberships/add-and-remove",
            {
                "recordIdsToAdd": [one.id for one in members if one.change.entered],
                "recordIdsToRemove": [one.id for one in members if not one.change.entered],
            },
        )
        (answer,) = yield (request,)
        document = answer.json() if isinstance(answer, Response) else None
        if not isinstance(answer, Response) or not 200 <= answer.status < 300:
            for one in members:
                one.failure = self._judge(request, answer, now, len(members))
            return
        if not isinstance(document, dict):
            for one in members:
                one.failure = Result(Outcome.RETRY, "unreadable_answer", answer.status, None, answer.excerpt(), request)
            return
        missing = document.get("recordIdsMissing")
        for one in members:
            if isinstance(missing, list) and one.id in missing:
                # Deleted or merged since its id was remembered, or not to be seen yet.
                self.ids.forget(one.name)
                if one.change.entered:
                    after = 0.0 if one.known else None
                    one.failure = Result(
                        Outcome.RETRY, "record_missing", answer.status, after, answer.excerpt(), request
                    )

    def _erase(self, names: Sequence[str], now: float) -> Steps:
        """Find the contacts, and delete those that there are: an address that has none would be blocked."""
        results: list[list[Result]] = [[DELIVERED] for _ in names]
        property_name = self.config.id_property or "email"
        inputs = [{"id": name} for name in dict.fromkeys(names)]
        body = {"idProperty": property_name, "properties": [property_name], "inputs": inputs}
        request = self._request("POST", f"{self._objects}/batch/read", body)
        (answer,) = yield (request,)
        for name in names:
            self.ids.forget(name)
        found = _records(answer, property_name)
        if found is None:
            if isinstance(answer, Response) and 200 <= answer.status < 300:
                return [Result(Outcome.RETRY, "unreadable_answer", answer.status, request=request)] * len(names)
            return [self._judge(request, answer, now, len(names))] * len(names)
        deletions = [self._request("POST", f"{self._objects}/gdpr-delete", {"objectId": record}) for record, _ in found]
        answers = yield from in_turns(deletions, self.config.concurrency)
        for (_, value), deletion, deleted in zip(found, deletions, answers, strict=True):
            if isinstance(deleted, Response) and deleted.status == 404:  # gone meanwhile
                continue
            failure = self._judge(deletion, deleted, now)
            for index, name in enumerate(names):
                if value is None or value.casefold() == name.casefold():
                    results[index].append(failure)
        return [worst(each) for each in results]

    # Requests.

    @property
    def _objects(self) -> str:
        version = self.config.api_version
        return "/crm/v3/objects/contacts" if version == "v3" else f"/crm/objects/{version}/contacts"

    @property
    def _lists(self) -> str:
        version = self.config.api_version
        return "/crm/v3/lists" if version == "v3" else f"/crm/lists/{version}"

    def _input(self, one: _Contact) -> dict[str, Any]:
        properties = {theirs: text(value) for theirs, value in fields_of(one.change, self.config.fields).items()}
        if one.email is not None:
            properties["email"] = one.email
        if one.target.property is not None:
            properties[one.target.property] = text(one.change.entered)
        return {
            "id": one.name,
            "idProperty": self.config.id_property or "email",
            "objectWriteTraceId": one.change.id,
            "properties": properties,
        }

    def _request(self, method: str, path: str, document: Any = None) -> Request:
        headers = self.headers if document is None else {**self.headers, "content-type": "application/json"}
        body = b"" if document is None else msgspec.json.encode(document)
        return Request(method, self.base + path, headers, body, "api", cap=ANSWER_CAP)

    # Reading.

    def _name(self, change: Change) -> str | None:
        found = identity_of(change, self.config.identity)
        return found.get("external_id") if self.config.id_property is not None else found.get("email")

    def _contact(self, change: Change, now: float) -> _Contact | None:
        name = self._name(change)
        target = self.config.segments.get(change.segment)
        if name is None or target is None:
            return None
        besides = identity_of(change, self.config.identity).get("email") if self.config.id_property else None
        known = self.ids.get(name, now)
        return _Contact(change, target, name, besides, known, known is not None)

    def _has_content(self, one: _Contact) -> bool:
        return one.target.property is not None or one.email is not None or bool(self.config.fields)

    def _judge(self, request: Request, answer: Answer, now: float, items: int = 1) -> Result:
        if isinstance(answer, Response) and answer.status in RETRYABLE:
            return result(Outcome.RETRY, request, answer, now)
        judged = judge(request, answer, now, items)
        if isinstance(answer, Response) and answer.status == 429 and judged.after is None:
            document = answer.json()
            policy = document.get("policyName") if isinstance(document, dict) else None
            after = WAITS.get(policy, OTHER_WAIT) if isinstance(policy, str) else OTHER_WAIT
            reason = f"policy_{policy.lower()}" if isinstance(policy, str) else judged.reason
            return Result(Outcome.RETRY, reason[:50], 429, after, judged.excerpt, request, throttled=True)
        if (
            isinstance(answer, Response)
            and judged.outcome in (Outcome.REFUSED, Outcome.SPLIT)
            and "PROPERTY_DOESNT_EXIST" in answer.excerpt()
        ):
            return result(Outcome.PAUSE, request, answer, now, "property_missing")
        return judged


def text(value: Any) -> str:
    """A value as HubSpot's properties take it: always text."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, list) and all(isinstance(one, str | int | float) for one in value):
        return ";".join(text(one) for one in value)
    return msgspec.json.encode(value).decode()


def _traced(answer: Answer) -> tuple[dict[str, str], dict[str, Mapping[str, Any]]]:
    """The record ids and the errors of an upsert, by trace id."""
    document = answer.json() if isinstance(answer, Response) else None
    if not isinstance(answer, Response) or not isinstance(document, dict):
        return {}, {}
    made = {}
    results = document.get("results")
    if 200 <= answer.status < 300 and isinstance(results, list):
        for one in results:
            if isinstance(one, dict) and isinstance(one.get("id"), str) and one.get("objectWriteTraceId"):
                made[str(one["objectWriteTraceId"])] = one["id"]
    errors: dict[str, Mapping[str, Any]] = {}
    listed = document.get("errors")
    for error in listed if isinstance(listed, list) else []:
        context = error.get("context") if isinstance(error, dict) else None
        traces = context.get("objectWriteTraceId") if isinstance(context, dict) else None
        for trace in traces if isinstance(traces, list) else []:
            errors[str(trace)] = error
    return made, errors


def _records(answer: Answer, found_by: str) -> list[tuple[str, str | None]] | None:
    """Record ids and the values they were found by; None where the answer does not say."""
    document = answer.json() if isinstance(answer, Response) and 200 <= answer.status < 300 else None
    results = document.get("results") if isinstance(document, dict) else None
    if not isinstance(results, list):
        return None
    found: list[tuple[str, str | None]] = []
    for one in results:
        if not isinstance(one, dict) or not isinstance(one.get("id"), str):
            return None
        properties = one.get("properties")
        value = properties.get(found_by) if isinstance(properties, dict) else None
        found.append((one["id"], value if isinstance(value, str) else None))
    return found
