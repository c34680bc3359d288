"""Klaviyo: list membership, profile properties, and events.

    destinations:
      klaviyo:
        platform: klaviyo
        api_key: {env: KLAVIYO_API_KEY}
        identity: {email: email}                       # external_id is our customer id, unless it is null
        segments:
          vip: {list: VRgFBd, property: is_vip}
          abandoned_cart:
            property: abandoned_cart
            event: {entered: Abandoned cart}           # a metric that starts a flow
        fields: {cart_value: cart_value, last_viewed_product: last_viewed_product, first_name: first_name}

| ours | Klaviyo's |
|---|---|
| customer | profile, by `external_id`, `email` and `phone_number`; created where there is none |
| in the segment | member of `list`; `property` is true or false |
| profile field | profile attribute where it has that name (`first_name`, `location.city`, …), else custom property |
| change | event, `unique_id` = change id, which Klaviyo records once; `backfill` (no flows) where it is sent again |
| erasure | data privacy deletion job, for each profile that has one of the identifiers |

A list takes Klaviyo's own profile ids: a profile is imported first, and its id kept for an hour. A field
that is null empties a custom property; a profile attribute is left as it is. Subscriptions are never
touched: the bulk subscription call would lift suppressions [S].

Answers: a 409 of an import names the profile that has the identifiers already: that profile is taken, and
written without them. Errors of a list with `source.pointer` refuse the items that they name. 429 is retried
by `Retry-After`. 401, 403 and 404 (of a list) pause, and so does 410, a retired revision.

Limits [S]: requests per second and minute, see `LIMITS`; a list call takes 1,000 profiles; a profile 100 KB.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Annotated, Any, Literal, TypeVar
from urllib.parse import quote

import msgspec
from pydantic import Field, model_validator

from connectors.answers import judge, result
from connectors.batches import identified, in_turns, worst
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

MAX_PROFILES = 1000
"""Profiles per call on a list."""

LIMITS: Mapping[str, Sequence[Window]] = MappingProxyType(
    {
        "profile-import": (Window(75, 1), Window(750, 60)),
        "list-add": (Window(10, 1), Window(150, 60)),
        "list-remove": (Window(10, 1), Window(150, 60)),
        "events": (Window(350, 1), Window(3500, 60)),
        "profiles": (Window(75, 1), Window(750, 60)),
        "deletion": (Window(3, 1), Window(60, 60)),
        "accounts": (Window(1, 1), Window(15, 60)),
    }
)
"""Per account and endpoint: burst and steady [S; `deletion` and `accounts`: the SDK's documentation]."""

ATTRIBUTES = frozenset({"phone_number", "first_name", "last_name", "organization", "locale", "title", "image"})
LOCATION = frozenset(
    {"address1", "address2", "city", "country", "latitude", "longitude", "region", "zip", "timezone", "ip"}
)
"""What a profile has besides custom properties; a location's parts are written `location.<part>`."""

JSON_API = "application/vnd.api+json"
IMPORT_CAP = 256 * 1024
"""A profile of 100 KB comes back whole, with what others wrote to it."""

_MADE_UP = "01REHEARSAL"
_POINTER = re.compile(r"/data/([0-9]{1,9})(?:/|$)")


class Identity(CommonIdentity):
    """By which identifiers Klaviyo finds a profile."""

    phone_number: ProfileField | None = Field(None, description="The profile field with the number, in E.164.")


class Event(Strict):
    """The metrics that are recorded. Each once per change."""

    entered: Annotated[str, Field(min_length=1, max_length=127)] | None = None
    exited: Annotated[str, Field(min_length=1, max_length=127)] | None = None

    @model_validator(mode="after")
    def _says_something(self) -> Event:
        if self.entered is None and self.exited is None:
            raise ValueError("name a metric for `entered`, `exited` or both")
        return self

    def metric(self, change: Change) -> str | None:
        return self.entered if change.entered else self.exited


class Target(Strict):
    """What a segment is in Klaviyo."""

    list: Annotated[str, Field(pattern=r"^[A-Za-z0-9]{1,64}$")] | None = Field(None, description="A list's id.")
    property: Annotated[str, Field(min_length=1, max_length=200)] | None = Field(
        None, description="A custom property that is true for members and false for others."
    )
    event: Event | None = Field(None, description="Metrics to record when a customer enters or leaves.")

    @model_validator(mode="after")
    def _is_something(self) -> Target:
        if self.list is None and self.property is None and self.event is None:
            raise ValueError("give a `list`, a `property` or an `event`")
        return self


class Config(Hosted):
    """A Klaviyo account's options."""

    platform: Literal["klaviyo"] = "klaviyo"
    api_key: SecretReference = Field(description="A private API key (`pk_…`).")
    segments: Annotated[Mapping[SegmentName, Target], Field(min_length=1)] = Field(description="What each segment is.")
    identity: Identity = Field(Identity(), description="How profiles are found.")
    fields: Mapping[ProfileField, Annotated[str, Field(min_length=1, max_length=200)]] = Field(
        {}, description="Our profile field: their attribute or custom property."
    )
    revision: str = Field("2026-07-15", pattern=r"^\d{4}-\d{2}-\d{2}(\.\w+)?$", description="Revision of the API.")
    batch_size: int = Field(100, ge=1, le=MAX_PROFILES, description="Changes per call on a list, at most.")

    @model_validator(mode="after")
    def _is_usable(self) -> Config:
        for theirs in self.fields.values():
            if theirs.startswith("location.") and theirs.removeprefix("location.") not in LOCATION:
                raise ValueError(f"fields: a location has {', '.join(sorted(LOCATION))}")
        return self


def connect(config: Config, environ: Mapping[str, str], user_agent: str) -> Klaviyo:
    """Raises SecretMissing."""
    key = config.api_key.read(environ).get_secret_value()
    base = config.base("https://a.klaviyo.com")
    headers = {
        "authorization": f"Klaviyo-API-Key {key}",
        "revision": config.revision,
        "accept": JSON_API,
        "user-agent": user_agent,
    }
    return Klaviyo(config, base, headers, endpoint=origin(base), account=fingerprint("klaviyo", key), hidden=(key,))


@dataclass
class _Customer:
    """A change on its way: whose it is, and what became of it so far."""

    change: Change
    target: Target
    identifiers: Mapping[str, str]
    id: str | None = None
    """Klaviyo's."""
    known: bool = False
    """Whether the id was remembered, and may be out of date."""
    clash: bool = False
    """Whether the identifiers are several profiles': the id alone is used."""
    failure: Result | None = None

    @property
    def key(self) -> str:
        return self.change.customer_id

    @property
    def known_by(self) -> tuple[tuple[str, str], ...]:
        """What the id was said of: with another e-mail address it is asked for again."""
        return tuple(self.identifiers.items())


@dataclass(frozen=True)
class Klaviyo(Connector):
    """An account of Klaviyo's."""

    config: Config
    base: str
    headers: Mapping[str, str] = field(repr=False)
    endpoint: str
    account: str
    hidden: Sequence[str] = field(repr=False, default=())
    limits: Mapping[str, Sequence[Window]] = field(repr=False, default_factory=lambda: LIMITS)
    ids: Remembered = field(default_factory=Remembered)

    def group(self, change: Change) -> str:
        target = self.config.segments.get(change.segment)
        return f"{target.list} {change.action}" if target is not None and target.list is not None else ""

    def deliver(self, changes: Sequence[Change], now: float) -> Steps:
        return identified(changes, lambda change: self._customer(change, now), lambda found: self._deliver(found, now))

    def erase(self, customers: Sequence[Change], now: float) -> Steps:
        for one in customers:
            self.ids.forget(one.customer_id)
        return identified(customers, self._identifiers, lambda found: self._erase(found, now))

    def ping(self, now: float) -> Request:
        return self._request("GET", "/api/accounts", "accounts")

    def rehearse(self, request: Request) -> Response:
        if request.method == "GET":
            return Response(200, {}, _encode({"data": [{"type": "profile", "id": _MADE_UP}]}))
        if request.limit == "profile-import":
            return Response(200, {}, _encode({"data": {"type": "profile", "id": _MADE_UP}}))
        return Response(202 if request.limit in ("events", "deletion") else 204, {}, b"")

    # A delivery: profiles, then the list, then events, so that a flow that an event starts sees the rest.

    def _deliver(self, customers: Sequence[_Customer], now: float) -> Steps:
        seen: set[tuple[str, str]] = set()
        for one in customers:
            mine = {(name, value.casefold()) for name, value in one.identifiers.items()}
            if mine & seen:  # one profile, whose requests would race
                one.failure = Result(Outcome.RETRY, "same_profile", after=0.0)
            seen |= mine
        yield from self._import_profiles([one for one in customers if one.failure is None], now)
        yield from self._write_list([one for one in customers if one.failure is None and one.target.list], now)
        yield from self._record_events([one for one in customers if one.failure is None], now)
        return [one.failure or DELIVERED for one in customers]

    def _import_profiles(self, customers: Sequence[_Customer], now: float) -> _Stage:
        turn = self.config.concurrency
        writing = [one for one in customers if self._has_content(one) or (one.target.list and one.id is None)]
        for one, request, answer in (yield from _ask(writing, self._import, turn)):
            self._take(one, request, answer, now)
        clashing = [one for one in writing if one.clash and self._has_content(one)]
        for one, request, answer in (yield from _ask(clashing, self._import, turn)):
            self._take(one, request, answer, now)

    def _take(self, one: _Customer, request: Request, answer: Answer, now: float) -> None:
        """Read the answer of an import."""
        one.known = False
        duplicate = _duplicate(answer)
        if duplicate is not None and not one.clash:
            one.id, one.clash = duplicate, True
        elif not isinstance(answer, Response) or not 200 <= answer.status < 300:
            one.failure = self._judge(request, answer, now)
        elif (imported := _id_of(answer)) is None:
            one.failure = Result(Outcome.RETRY, "unreadable_answer", answer.status, None, answer.excerpt(), request)
        else:
            one.id = imported
        if one.id is not None and one.failure is None and one.id != _MADE_UP:
            self.ids.put(one.key, one.id, now, one.known_by)

    def _write_list(self, members: Sequence[_Customer], now: float) -> _Stage:
        if not members:
            return
        entered = members[0].change.entered
        request = self._request(
            "POST" if entered else "DELETE",
            f"/api/lists/{members[0].target.list}/relationships/profiles",
            "list-add" if entered else "list-remove",
            {"data": [{"type": "profile", "id": one.id} for one in members]},
        )
        (answer,) = yield (request,)
        if isinstance(answer, Response) and 200 <= answer.status < 300:
            return
        if isinstance(answer, Response) and answer.status in (400, 404, 409, 422):
            named = _named(answer)
            blamed = {one.change.id for index, one in enumerate(members) if index in named}
            stale = {one.change.id for one in members if one.known and (not blamed or one.change.id in blamed)}
            if blamed or stale:
                for one in members:
                    if one.change.id in stale:  # merged or deleted since: the next attempt imports it again
                        self.ids.forget(one.key)
                    elif one.change.id in blamed:
                        one.failure = result(Outcome.REFUSED, request, answer, now)
                        continue
                    one.failure = Result(Outcome.RETRY, "batch_refused", answer.status, 0.0, answer.excerpt(), request)
                return
        for one in members:
            one.failure = self._judge(request, answer, now, len(members))

    def _record_events(self, customers: Sequence[_Customer], now: float) -> _Stage:
        telling = [one for one in customers if one.target.event and one.target.event.metric(one.change)]
        for one, request, answer in (yield from _ask(telling, self._event, self.config.concurrency)):
            if not isinstance(answer, Response) or not 200 <= answer.status < 300:
                one.failure = self._judge(request, answer, now)

    def _erase(self, found: Sequence[Mapping[str, str]], now: float) -> Steps:
        """Look up who has one of the identifiers, and have each of them deleted."""
        turn = self.config.concurrency
        searched = [(index, name, value) for index, known in enumerate(found) for name, value in known.items()]
        results: list[list[Result]] = [[DELIVERED] for _ in found]
        doomed: dict[tuple[int, str], None] = {}
        for (index, _, _), request, answer in (yield from _ask(searched, lambda of: self._search(of[1], of[2]), turn)):
            ids = _ids_of(answer)
            if ids is not None:
                doomed.update({(index, profile): None for profile in ids})
            elif isinstance(answer, Response) and 200 <= answer.status < 300:
                results[index].append(Result(Outcome.RETRY, "unreadable_answer", answer.status, request=request))
            else:
                results[index].append(self._judge(request, answer, now))
        for (index, _), request, answer in (yield from _ask(list(doomed), lambda of: self._deletion(of[1]), turn)):
            if not isinstance(answer, Response) or answer.status != 404:  # 404: gone meanwhile
                results[index].append(self._judge(request, answer, now))
        return [worst(each) for each in results]

    # Requests.

    def _import(self, one: _Customer) -> Request:
        """Create or update one profile; only what it says is changed."""
        attributes: dict[str, Any] = {} if one.clash else dict(one.identifiers)
        properties: dict[str, Any] = {}
        if one.target.property is not None:
            properties[one.target.property] = one.change.entered
        for theirs, value in fields_of(one.change, self.config.fields).items():
            if theirs.startswith("location."):
                if value is not None:
                    attributes.setdefault("location", {})[theirs.removeprefix("location.")] = _text(value)
            elif theirs in ATTRIBUTES:
                if value is not None:
                    attributes.setdefault(theirs, _text(value))
            else:
                properties[theirs] = value
        if properties:
            attributes["properties"] = properties
        data: dict[str, Any] = {"type": "profile", "attributes": attributes}
        if one.clash:
            data["id"] = one.id
        return self._request("POST", "/api/profile-import", "profile-import", {"data": data})

    def _event(self, one: _Customer) -> Request:
        """Record one event. Never in bulk: one repeated `unique_id` makes a whole bulk request fail [S]."""
        assert one.target.event is not None
        change = one.change
        profile: dict[str, Any] = {"type": "profile", "attributes": {} if one.clash else dict(one.identifiers)}
        if one.clash:
            profile["id"] = one.id
        attributes = {
            "properties": {
                **fields_of(change, self.config.fields),
                "segment": change.segment,
                "action": change.action,
                "sequence": change.sequence,
            },
            "time": change.at,
            "unique_id": change.id,
            "backfill": change.origin != "live",
            "metric": {"data": {"type": "metric", "attributes": {"name": one.target.event.metric(change)}}},
            "profile": {"data": profile},
        }
        return self._request("POST", "/api/events", "events", {"data": {"type": "event", "attributes": attributes}})

    def _search(self, name: str, value: str) -> Request:
        condition = quote(f"equals({name},{msgspec.json.encode(value).decode()})", safe="")
        return self._request("GET", f"/api/profiles?filter={condition}&fields%5Bprofile%5D=id", "profiles")

    def _deletion(self, profile: str) -> Request:
        data = {
            "type": "data-privacy-deletion-job",
            "attributes": {"profile": {"data": {"type": "profile", "id": profile, "attributes": {}}}},
        }
        return self._request("POST", "/api/data-privacy-deletion-jobs", "deletion", {"data": data})

    def _request(self, method: str, path: str, limit: str, document: Any = None) -> Request:
        headers = self.headers if document is None else {**self.headers, "content-type": JSON_API}
        body = b"" if document is None else _encode(document)
        return Request(method, self.base + path, headers, body, limit, cap=IMPORT_CAP)

    # Reading.

    def _customer(self, change: Change, now: float) -> _Customer | None:
        identifiers = self._identifiers(change)
        target = self.config.segments.get(change.segment)
        if identifiers is None or target is None:
            return None
        customer = _Customer(change, target, identifiers)
        customer.id = self.ids.get(customer.key, now, customer.known_by)
        customer.known = customer.id is not None
        return customer

    def _identifiers(self, change: Change) -> Mapping[str, str] | None:
        return identity_of(change, self.config.identity) or None

    def _has_content(self, one: _Customer) -> bool:
        return one.target.property is not None or bool(self.config.fields)

    def _judge(self, request: Request, answer: Answer, now: float, items: int = 1) -> Result:
        if isinstance(answer, Response) and answer.status == 410:
            return result(Outcome.PAUSE, request, answer, now, "revision_retired")
        return judge(request, answer, now, items)


_Stage = Generator[Sequence[Request], Sequence[Answer], None]
Of = TypeVar("Of")


def _ask(
    about: Sequence[Of], ask: Callable[[Of], Request], at_once: int
) -> Generator[Sequence[Request], Sequence[Answer], list[tuple[Of, Request, Answer]]]:
    """One request about each, with its answer."""
    requests = [ask(one) for one in about]
    answers = yield from in_turns(requests, at_once)
    return list(zip(about, requests, answers, strict=True))


def _encode(document: Any) -> bytes:
    return msgspec.json.encode(document)


def _text(value: Any) -> str:
    """A value for an attribute of Klaviyo's own: they are all text, but for coordinates, which may be."""
    return value if isinstance(value, str) else _encode(value).decode()


def _errors(answer: Answer) -> list[Mapping[str, Any]]:
    document = answer.json() if isinstance(answer, Response) else None
    errors = document.get("errors") if isinstance(document, dict) else None
    return [error for error in errors if isinstance(error, dict)] if isinstance(errors, list) else []


def _duplicate(answer: Answer) -> str | None:
    """The profile that a 409 says has the identifiers already."""
    if isinstance(answer, Response) and answer.status == 409:
        for error in _errors(answer):
            meta = error.get("meta")
            profile = meta.get("duplicate_profile_id") if isinstance(meta, dict) else None
            if isinstance(profile, str) and profile:
                return profile
    return None


def _named(answer: Answer) -> set[int]:
    """The items that the errors of a call on a list point to."""
    named = set()
    for error in _errors(answer):
        source = error.get("source")
        pointer = source.get("pointer") if isinstance(source, dict) else None
        match = _POINTER.match(pointer) if isinstance(pointer, str) else None
        if match is not None:
            named.add(int(match[1]))
    return named


def _id_of(answer: Response) -> str | None:
    document = answer.json()
    data = document.get("data") if isinstance(document, dict) else None
    profile = data.get("id") if isinstance(data, dict) else None
    return profile if isinstance(profile, str) and profile else None


def _ids_of(answer: Answer) -> list[str] | None:
    """The profiles that a search found; None where it did not succeed."""
    if not isinstance(answer, Response) or not 200 <= answer.status < 300:
        return None
    document = answer.json()
    data = document.get("data") if isinstance(document, dict) else None
    if not isinstance(data, list) or not all(isinstance(one, dict) and isinstance(one.get("id"), str) for one in data):
        return None
    return [one["id"] for one in data]
