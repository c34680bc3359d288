"""Customer.io: manual segments, or attributes of people, by the Track API.

    destinations:
      customerio:
        platform: customerio
        site_id: {env: CUSTOMERIO_SITE_ID}
        api_key: {env: CUSTOMERIO_API_KEY}
        region: eu
        segments:
          vip: {segment: 7}                              # a manual segment's id
          abandoned_cart:
            attribute: cart_abandoned                    # and, or, a boolean attribute
            events: {entered: cart_abandoned}            # opt-in; repeats are recognised
        fields: {cart_value: cart_value}

| ours | Customer.io's |
|---|---|
| customer | person, by `id`, or by `email` where `identity.email` is set |
| in the segment | `segment`: `add_customers` or `remove_customers`; `attribute`: true or false |
| profile field | attribute; null removes it |
| change (opt-in) | event at the change's instant, with an id made of the change's |
| erasure | `delete`, or `suppress`, which also refuses the person for ever |

Attributes and events go by `/api/v2/batch`: a 207 names the items it refused, by `batch_index`. A segment's
200 says nothing of items: ids that Customer.io does not know it ignores, and a removal works only for
people who have an `id` [S]. Both are queued, and applied later.

Limits: 1,000 ids per segment request [S]; 500 KB per batch, 32 KB per item [S]. Customer.io names 1,000
requests/s and may drop what exceeds it, elsewhere 100: we keep to 100 [S]. Its 429 names no time.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType
from typing import Annotated, Any, Literal

import msgspec
from pydantic import Field, model_validator

from connectors.answers import judge, result
from connectors.batches import blamed, identified, named, suspected, unreadable, worst
from connectors.changes import Change
from connectors.exchange import Answer, Request, Response, Steps, origin
from connectors.mapping import Events, Identity, check_identity, fields_of, identity_of
from connectors.options import Hosted, ProfileField, SegmentName, Strict
from connectors.platforms import Connector
from connectors.rates import Window
from connectors.results import DELIVERED, Outcome, Result
from connectors.secrets import SecretReference, fingerprint

MAX_IDS = 1_000
MAX_BATCH_BYTES = 500_000
MAX_ITEM_BYTES = 32_000

HOSTS = {"us": "https://track.customer.io", "eu": "https://track-eu.customer.io"}

_Name = Annotated[str, Field(min_length=1, max_length=150)]
_CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


class Target(Strict):
    """What a segment is at Customer.io; at least one of these."""

    segment: int | None = Field(None, ge=1, le=2_147_483_647, description="The id of a manual segment.")
    attribute: _Name | None = Field(None, description="A boolean attribute of people.")
    events: Events[_Name] = Field(Events[_Name](), description="Events besides, by action.")

    @model_validator(mode="after")
    def _is_something(self) -> Target:
        if self.segment is None and self.attribute is None and not self.events:
            raise ValueError("give `segment`, `attribute` or `events`")
        return self


class Config(Hosted):
    """A Customer.io workspace's options."""

    platform: Literal["customerio"] = "customerio"
    site_id: SecretReference = Field(description="The Track API's site id.")
    api_key: SecretReference = Field(description="The Track API's key.")
    region: Literal["us", "eu"] = Field("us", description="Where the account is.")
    identity: Identity = Field(Identity(), description="By `external_id` (a person's `id`), or by `email` if given.")
    segments: Annotated[Mapping[SegmentName, Target], Field(min_length=1)] = Field(
        description="What each segment is there."
    )
    fields: Mapping[ProfileField, _Name] = Field({}, description="Profile fields and the attributes they set.")
    erasure: Literal["delete", "suppress"] = Field(
        "delete", description="`suppress` also refuses whatever is sent of the person later."
    )
    batch_size: int = Field(MAX_IDS, ge=1, le=MAX_IDS, description="People per request, at most.")

    @model_validator(mode="after")
    def _is_usable(self) -> Config:
        check_identity(self.identity)
        return self


def connect(config: Config, environ: Mapping[str, str], user_agent: str) -> CustomerIO:
    """Raises SecretMissing."""
    site = config.site_id.read(environ).get_secret_value()
    key = config.api_key.read(environ).get_secret_value()
    base = config.base(HOSTS[config.region])
    basic = base64.b64encode(f"{site}:{key}".encode()).decode()
    return CustomerIO(config, base, basic, user_agent, origin(base), fingerprint(base, site), (site, key, basic))


@dataclass(frozen=True)
class _Item:
    change: Change
    person: str
    """Its identifier."""


@dataclass(frozen=True)
class CustomerIO(Connector):
    """Builds and reads; holds the credentials, and does not show them."""

    config: Config = field(repr=False)
    base: str
    basic: str = field(repr=False)
    user_agent: str
    endpoint: str
    account: str
    hidden: Sequence[str] = field(repr=False, default=())
    limits = MappingProxyType({"track": (Window(100, 1.0),)})

    @property
    def _kind(self) -> Literal["email", "id"]:
        return "email" if self.config.identity.email is not None else "id"

    def group(self, change: Change) -> str:
        target = self.config.segments.get(change.segment)
        return "" if target is None or target.segment is None else f"{change.action} {target.segment}"

    def deliver(self, changes: Sequence[Change], now: float) -> Steps:
        return identified(changes, self._item, lambda items: self._deliver(items, now))

    def erase(self, customers: Sequence[Change], now: float) -> Steps:
        return identified(customers, self._item, lambda items: self._erase(items, now))

    def ping(self, now: float) -> Request:
        return self._request("GET", "/api/v1/accounts/region")

    def rehearse(self, request: Request) -> Response:
        return Response(200, {}, b"{}")

    def _item(self, change: Change) -> _Item | None:
        if self._kind == "email":
            person = identity_of(change, self.config.identity).get("email")
        else:
            person = identity_of(change, self.config.identity).get("external_id")
        return _Item(change, person) if person is not None else None

    def _deliver(self, items: Sequence[_Item], now: float) -> Steps:
        """Attributes first, so that what a campaign shows is there when the segment starts it."""
        results: Sequence[Result] = yield from self._batch([self._operations(item) for item in items], now)
        target = self.config.segments.get(items[0].change.segment)
        if target is None or target.segment is None:
            return results
        left = [index for index, found in enumerate(results) if found.outcome is Outcome.DELIVERED]
        if not left:
            return results
        people = [items[index].person for index in left]
        verb = "add_customers" if items[0].change.entered else "remove_customers"
        path = f"/api/v1/segments/{target.segment}/{verb}?id_type={self._kind}"
        request = self._request("POST", path, msgspec.json.encode({"ids": people}))
        (answer,) = yield (request,)
        moved = _read_segment(len(people), request, answer, now)
        return [moved if index in set(left) else found for index, found in enumerate(results)]

    def _erase(self, items: Sequence[_Item], now: float) -> Steps:
        operations = [[{**self._person(item), "action": self.config.erasure}] for item in items]
        return (yield from self._batch(operations, now))

    def _operations(self, item: _Item) -> list[dict[str, Any]]:
        """What a change is in a batch."""
        change = item.change
        target = self.config.segments.get(change.segment)
        attributes = fields_of(change, self.config.fields)
        if target is not None and target.attribute is not None:
            attributes[target.attribute] = change.entered
        found: list[dict[str, Any]] = []
        if attributes:
            found.append({**self._person(item), "action": "identify", "attributes": attributes})
        name = target.events.of(change) if target is not None else None
        if name is not None:
            event = {
                "action": "event",
                "name": name,
                "id": event_id(change),
                "timestamp": int(_at(change).timestamp()),
                "attributes": {"segment": change.segment, "change_id": change.id},
            }
            found.append({**self._person(item), **event})
        return found

    def _person(self, item: _Item) -> dict[str, Any]:
        return {"type": "person", "identifiers": {self._kind: item.person}}

    def _batch(self, operations: Sequence[Sequence[Mapping[str, Any]]], now: float) -> Steps:
        """Send each item's operations, in as few requests as the limits of bytes allow."""
        results: list[list[Result]] = [[] for _ in operations]
        parts: list[list[tuple[int, bytes]]] = []
        size = MAX_BATCH_BYTES
        for index, of in enumerate(operations):
            for encoded in map(msgspec.json.encode, of):
                if len(encoded) > MAX_ITEM_BYTES:
                    results[index].append(Result.refused("too_large"))
                    continue
                size += len(encoded) + 1
                if size >= MAX_BATCH_BYTES:
                    parts.append([])
                    size = len(_ENVELOPE % b"") + len(encoded)
                parts[-1].append((index, encoded))
        requests = [
            self._request("POST", "/api/v2/batch", _ENVELOPE % b",".join(encoded for _, encoded in part))
            for part in parts
        ]
        answers = (yield requests) if requests else ()
        for part, request, answer in zip(parts, requests, answers, strict=True):
            customers = [index for index, _ in part]
            for index, found in zip(customers, _read_batch(customers, request, answer, now), strict=True):
                results[index].append(found)
        return [worst(of) if of else DELIVERED for of in results]

    def _request(self, method: str, path: str, body: bytes = b"") -> Request:
        headers = {
            "authorization": f"Basic {self.basic}",
            "accept": "application/json",
            "user-agent": self.user_agent,
        }
        if body:
            headers["content-type"] = "application/json"
        return Request(method, self.base + path, headers, body, "track", cap=1024 * 1024)


_ENVELOPE = b'{"batch":[%b]}'


def event_id(change: Change) -> str:
    """The ULID that Customer.io knows an event's repeats by: the change's instant, and a hash of its id."""
    milliseconds = int(_at(change).timestamp() * 1000)
    chance = hashlib.blake2b(change.id.encode(), digest_size=10).digest()
    number = (milliseconds << 80) | int.from_bytes(chance)
    return "".join(_CROCKFORD[(number >> shift) & 31] for shift in range(125, -1, -5))


def _at(change: Change) -> datetime:
    return datetime.fromisoformat(change.at)


def _read_segment(count: int, request: Request, answer: Answer, now: float) -> Result:
    """What an answer says about a segment request. A 400 that speaks of the segment is not about people [U]."""
    if isinstance(answer, Response) and answer.status == 400 and b"segment" in answer.body.lower():
        return result(Outcome.PAUSE, request, answer, now, "segment_refused")
    return judge(request, answer, now, count)


def _read_batch(customers: Sequence[int], request: Request, answer: Answer, now: float) -> list[Result]:
    """What an answer says about a batch's operations; `customers` says whom each of them is about."""
    count, people = len(customers), len(set(customers))
    if not isinstance(answer, Response) or answer.status not in (207, 400):
        return [judge(request, answer, now, people)] * count
    document = answer.json()
    errors = document.get("errors") if isinstance(document, dict) else None
    if answer.status == 207 and not isinstance(errors, list):
        return unreadable(request, answer, count)
    reasons: dict[int, str] = {}
    unnamed = ""
    for error in errors if isinstance(errors, list) else []:
        found = error if isinstance(error, dict) else {"message": error}
        text = ": ".join(str(found[name]) for name in ("reason", "field", "message") if found.get(name)) or "invalid"
        place = found.get("batch_index")
        if isinstance(place, int) and 0 <= place < count:
            reasons.setdefault(place, text)
        else:
            unnamed = unnamed or text
    if answer.status == 400 and not reasons:
        return [judge(request, answer, now, people)] * count
    if answer.status == 400:
        return blamed(request, answer, now, count, reasons)
    left = people - len({customers[index] for index in reasons})
    rest = DELIVERED
    if (unnamed or not reasons) and left:
        rest = suspected(request, answer, now, left, unnamed or "http_207", named=people - left)[0]
    return named(request, answer, now, count, reasons, rest)
