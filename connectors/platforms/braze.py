"""Braze: custom attributes of user profiles, by `/users/track`.

    destinations:
      braze:
        platform: braze
        api_key: {env: BRAZE_API_KEY}
        instance: EU-01
        segments:
          vip: {attribute: is_vip}                 # a boolean attribute of its own
          abandoned_cart:
            array: live_segments                   # and, or, an element of an array attribute
            events: {entered: cart_abandoned}      # opt-in: Braze does not recognise a repeated event
        fields: {cart_value: cart_value}

| ours | Braze's |
|---|---|
| customer | `external_id`, or `email` where `identity.email` is set |
| in the segment | `attribute`: true or false; `array`: `{"add": [value]}` or `{"remove": [value]}` |
| profile field | custom attribute; null removes it |
| change (opt-in) | custom event at the change's instant, with its id as the property `change_id` |
| erasure | `/users/delete` |

Answers: 2xx is accepted and queued; an entry of its `errors` with an `index` refuses that item, one
without sends the batch again in halves. A 400 that names items refuses those. 429 is retried by
`X-RateLimit-Retry-After` or `X-RateLimit-Reset` (epoch seconds or seconds). 401 (also: the wrong
instance), 403 and 404 pause.

Limits: 3,000 requests per 3 s; 75 objects per request over all its arrays, 50 on plans by monthly active
users, which is the default here [D]. `/users/delete`: 50 users, 20,000 requests/min [D]. 4 MB [3].
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Annotated, Any, Literal

import msgspec
from pydantic import Field, model_validator

from connectors.answers import judge
from connectors.batches import blamed, identified, named, suspected, unreadable
from connectors.changes import Change
from connectors.exchange import Answer, Request, Response, Steps, origin
from connectors.mapping import Events, Identity, check_identity, fields_of, identity_of
from connectors.options import Hosted, ProfileField, SegmentName, Strict
from connectors.platforms import Connector
from connectors.rates import Window
from connectors.results import DELIVERED, Result
from connectors.secrets import SecretReference, fingerprint

MAX_OBJECTS = 75
MAX_DELETED = 50

INSTANCES = {
    **{f"US-0{n}": f"https://rest.iad-0{n}.braze.com" for n in range(1, 9)},
    "US-10": "https://rest.us-10.braze.com",
    "EU-01": "https://rest.fra-01.braze.eu",
    "EU-02": "https://rest.fra-02.braze.eu",
    **{f"{place}-01": f"https://rest.{place.lower()}-01.braze.com" for place in ("AU", "ID", "JP", "KR")},
}
"""REST endpoints by the instance's name, as the dashboard shows it [D]."""

_Name = Annotated[str, Field(min_length=1, max_length=255)]
_RESERVED = frozenset({"external_id", "user_alias", "braze_id", "_update_existing_only", "push_token_import"})


class Target(Strict):
    """What a segment is at Braze; at least one of these."""

    attribute: _Name | None = Field(None, description="A boolean custom attribute.")
    array: _Name | None = Field(None, description="An array custom attribute that the segment is an element of.")
    value: _Name | None = Field(None, description="The element; the segment's name if not given.")
    events: Events[_Name] = Field(
        Events[_Name](), description="Custom events besides, by action. A repeated request records them twice."
    )

    @model_validator(mode="after")
    def _is_something(self) -> Target:
        if self.attribute is None and self.array is None and not self.events:
            raise ValueError("give `attribute`, `array` or `events`")
        if self.value is not None and self.array is None:
            raise ValueError("`value` is an element of an `array`")
        if {self.attribute, self.array} & _RESERVED:
            raise ValueError("that attribute identifies users")
        return self


class Config(Hosted):
    """A Braze workspace's options."""

    platform: Literal["braze"] = "braze"
    api_key: SecretReference = Field(description="A REST API key with `users.track` (and `users.delete`).")
    instance: str = Field("US-01", description="The instance's name, like US-01 or EU-02.")
    identity: Identity = Field(Identity(), description="By `external_id`, or by `email` where that is given.")
    segments: Annotated[Mapping[SegmentName, Target], Field(min_length=1)] = Field(
        description="What each segment is there."
    )
    fields: Mapping[ProfileField, _Name] = Field({}, description="Profile fields and the custom attributes they set.")
    update_existing_only: bool = Field(False, description="Do not create a profile for a customer Braze has none of.")
    batch_size: int = Field(50, ge=1, le=MAX_OBJECTS, description="Objects (attributes, events) per request, at most.")

    @model_validator(mode="after")
    def _is_usable(self) -> Config:
        if self.base_url is None and self.instance not in INSTANCES:
            raise ValueError(f"instance: one of {', '.join(INSTANCES)}")
        if set(self.fields.values()) & _RESERVED:
            raise ValueError("fields: that attribute identifies users")
        check_identity(self.identity)
        if self.batch_size == 1 and any(_width(target) == 2 for target in self.segments.values()):
            raise ValueError("batch_size: a change with an event besides is two objects")
        return self


def connect(config: Config, environ: Mapping[str, str], user_agent: str) -> Braze:
    """Raises SecretMissing."""
    key = config.api_key.read(environ).get_secret_value()
    base = config.base(INSTANCES[config.instance])
    return Braze(config, base, key, user_agent, origin(base), fingerprint(base, key), (key,))


@dataclass(frozen=True)
class _Item:
    change: Change
    user: str
    """Its identifier."""


@dataclass(frozen=True)
class Braze(Connector):
    """Builds and reads; holds the key, and does not show it."""

    config: Config = field(repr=False)
    base: str
    key: str = field(repr=False)
    user_agent: str
    endpoint: str
    account: str
    hidden: Sequence[str] = field(repr=False, default=())
    limits = MappingProxyType(
        {
            "track": (Window(3_000, 3.0),),
            "delete": (Window(20_000, 60.0),),
            "other": (Window(250_000, 3_600.0),),
        }
    )

    @property
    def _kind(self) -> Literal["email", "external_id"]:
        return "email" if self.config.identity.email is not None else "external_id"

    def deliver(self, changes: Sequence[Change], now: float) -> Steps:
        return identified(changes, self._item, lambda items: self._track(items, now))

    def erase(self, customers: Sequence[Change], now: float) -> Steps:
        return identified(customers, self._item, lambda items: self._delete(items, now))

    def ping(self, now: float) -> Request:
        return Request("GET", f"{self.base}/segments/list?page=0", self._headers(), b"", "other")

    def rehearse(self, request: Request) -> Response:
        return Response(201, {}, b'{"message":"success"}')

    def _item(self, change: Change) -> _Item | None:
        user = identity_of(change, self.config.identity).get(self._kind)
        return _Item(change, user) if user is not None else None

    def _track(self, items: Sequence[_Item], now: float) -> Steps:
        """One request, or as many as the limit of objects needs where changes are events besides."""
        objects = [self._objects(item) for item in items]
        size = max(1, self.config.batch_size // max(1, max(len(of) for of in objects)))
        parts = [objects[start : start + size] for start in range(0, len(items), size)]
        sent = [(_Body(part), part) for part in parts]
        requests = {
            index: self._post("/users/track", body.document, "track")
            for index, (body, _) in enumerate(sent)
            if body.document
        }
        answers = dict(zip(requests, (yield tuple(requests.values())), strict=True)) if requests else {}
        results: list[Result] = []
        for index, (body, part) in enumerate(sent):
            if index in requests:
                results.extend(_read(body, len(part), requests[index], answers[index], now))
            else:
                results.extend([DELIVERED] * len(part))
        return results

    def _objects(self, item: _Item) -> dict[str, dict[str, Any]]:
        """What a change is in each of the request's arrays."""
        change = item.change
        target = self.config.segments.get(change.segment)
        user = {self._kind: item.user, **({"_update_existing_only": True} if self.config.update_existing_only else {})}
        found = fields_of(change, self.config.fields)
        if target is not None and target.array is not None:
            found[target.array] = {"add" if change.entered else "remove": [target.value or change.segment]}
        if target is not None and target.attribute is not None:
            found[target.attribute] = change.entered
        objects = {"attributes": {**user, **found}} if found else {}
        name = target.events.of(change) if target is not None else None
        if name is not None:
            properties = {"segment": change.segment, "change_id": change.id}
            objects["events"] = {**user, "name": name, "time": change.at, "properties": properties}
        return objects

    def _delete(self, items: Sequence[_Item], now: float) -> Steps:
        array = "email_addresses" if self._kind == "email" else "external_ids"
        parts = [items[start : start + MAX_DELETED] for start in range(0, len(items), MAX_DELETED)]
        requests = [self._post("/users/delete", {array: [item.user for item in part]}, "delete") for part in parts]
        answers = yield requests
        return [
            judge(request, answer, now, len(part))
            for part, request, answer in zip(parts, requests, answers, strict=True)
            for _ in part
        ]

    def _post(self, path: str, body: Mapping[str, Any], limit: str) -> Request:
        headers = {**self._headers(), "content-type": "application/json"}
        return Request("POST", self.base + path, headers, msgspec.json.encode(body), limit, cap=1024 * 1024)

    def _headers(self) -> dict[str, str]:
        return {
            "authorization": f"Bearer {self.key}",
            "accept": "application/json",
            "user-agent": self.user_agent,
        }


class _Body:
    """A request's body, and which customer each of its objects is about."""

    def __init__(self, objects: Sequence[Mapping[str, dict[str, Any]]]) -> None:
        self.document: dict[str, list[dict[str, Any]]] = {}
        self._about: dict[tuple[str, int], int] = {}
        for index, of in enumerate(objects):
            for array, found in of.items():
                self._about[array, len(self.document.setdefault(array, []))] = index
                self.document[array].append(found)

    def about(self, error: Mapping[str, Any]) -> int | None:
        array, place = error.get("input_array"), error.get("index")
        return self._about.get((array, place)) if isinstance(array, str) and isinstance(place, int) else None


def _width(target: Target) -> int:
    """The objects that a change of the segment may take."""
    return ((target.attribute or target.array) is not None) + bool(target.events)


def _read(body: _Body, count: int, request: Request, answer: Answer, now: float) -> list[Result]:
    """What an answer says about the `count` customers of a request."""
    if not isinstance(answer, Response):
        return [judge(request, answer, now)] * count
    document = answer.json()
    errors = document.get("errors") if isinstance(document, dict) else None
    reasons: dict[int, str] = {}
    unnamed = ""
    for error in errors if isinstance(errors, list) else []:
        about = body.about(error) if isinstance(error, dict) else None
        reason = str(error.get("type", error)) if isinstance(error, dict) else str(error)
        if about is not None:
            reasons.setdefault(about, reason)
        else:
            unnamed = unnamed or reason
    if answer.status == 400:
        return blamed(request, answer, now, count, reasons)
    if not 200 <= answer.status < 300:
        return [judge(request, answer, now, count)] * count
    if not isinstance(document, dict):
        return unreadable(request, answer, count)
    rest = [DELIVERED]
    if unnamed and len(reasons) < count:
        rest = suspected(request, answer, now, count - len(reasons), unnamed, named=len(reasons))
    return named(request, answer, now, count, reasons, rest[0])
