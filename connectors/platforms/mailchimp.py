"""Mailchimp: static segments of an audience, or tags.

    destinations:
      mailchimp:
        platform: mailchimp
        api_key: {env: MAILCHIMP_API_KEY}     # its end names the data centre: …-us21
        list: a1b2c3d4e5                      # the audience's id
        segments:
          vip: {segment: 4711}                # a static segment's id: up to 500 members per request
          abandoned_cart: {tag: Cart left}    # a tag's name: one request per member
        fields: {cart_value: CARTVAL}

| ours | Mailchimp's |
|---|---|
| customer | member of the audience, by e-mail address (by the MD5 of its lower case in paths) |
| in the segment | `segment`: `members_to_add` or `members_to_remove`; `tag`: `active` or `inactive` |
| profile field | merge field of the member |
| sent again (replay, resync) | tags with `is_syncing`: no automation starts |
| erasure | `actions/delete-permanent` |

Nobody is ever subscribed: who is not in the audience is refused (`not_in_audience`) when entering, and done
when leaving. Answers: a 200 of a segment lists the addresses it refused in `errors`. A 404 of a member is
told from a missing audience by asking for the audience. 429, and a 403 without a JSON body, mean too fast
and name no time; a 403 with one pauses, like 401 and 404.

Limits: 10 connections at once per user, over all its keys; no rate is published [3]. 500 members per
request [S]. The answer shows every member: a batch whose answer exceeds 1 MiB is sent again in halves.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import msgspec
from pydantic import Field, model_validator

from connectors.answers import judge, result
from connectors.batches import blamed, identified, in_turns, named, refused, suspected, unreadable
from connectors.changes import Change
from connectors.exchange import Answer, Request, Response, Steps, origin
from connectors.mapping import Identity, fields_of, identity_of
from connectors.options import Hosted, ProfileField, SegmentName, Strict
from connectors.platforms import Connector
from connectors.results import DELIVERED, Outcome, Result
from connectors.scalars import scalar
from connectors.secrets import SecretReference, fingerprint

MAX_MEMBERS = 500
MAX_CONNECTIONS = 10
AT_ONCE = 5
"""Requests of one parcel at a time, where it needs one per member: several parcels share the connections."""

_DATA_CENTRE = re.compile(r"-([a-z]{2,4}[0-9]{1,3})$")
_ITEM = re.compile(r"members_to_(?:add|remove)\D+([0-9]{1,9})(?![0-9])")
_ALREADY = re.compile(r"already", re.IGNORECASE)
_ABSENT = re.compile(r"\bnot (in|on|a|an|part|found|subscribed)\b|does(n't| not) exist|isn't", re.IGNORECASE)
"""How `errors` of a segment's 200 say that the state is what we want; their wording is not documented [U]."""


class EmailIdentity(Identity):
    """Mailchimp knows members by their e-mail address only."""

    email: ProfileField = Field("email", description="The profile field with the e-mail address.")
    external_id: None = None


class Target(Strict):
    """What a segment is at Mailchimp: one of these."""

    segment: int | None = Field(None, ge=1, description="The id of a static segment (of a tag: the tag's id).")
    tag: Annotated[str, Field(min_length=1, max_length=100)] | None = Field(
        None, description="A tag's name; it is created when first needed."
    )

    @model_validator(mode="after")
    def _is_one(self) -> Target:
        if (self.segment is None) == (self.tag is None):
            raise ValueError("give `segment` or `tag`")
        return self


class Config(Hosted):
    """A Mailchimp audience's options."""

    platform: Literal["mailchimp"] = "mailchimp"
    api_key: SecretReference = Field(description="An API key; its end names the data centre.")
    list: Annotated[str, Field(pattern=r"^[A-Za-z0-9]{1,32}$")] = Field(description="The audience's id.")
    identity: EmailIdentity = Field(EmailIdentity(), description="Where the e-mail address is.")
    segments: Annotated[Mapping[SegmentName, Target], Field(min_length=1)] = Field(
        description="What each segment is there."
    )
    fields: Mapping[ProfileField, Annotated[str, Field(pattern=r"^[A-Z0-9_]{1,10}$")]] = Field(
        {}, description="Profile fields and the merge fields they set: one more request per member."
    )
    batch_size: int = Field(100, ge=1, le=MAX_MEMBERS, description="Members per request, at most.")
    concurrency: int = Field(MAX_CONNECTIONS, ge=1, le=MAX_CONNECTIONS, description="Connections at once.")


def connect(config: Config, environ: Mapping[str, str], user_agent: str) -> Mailchimp:
    """Raises SecretMissing; ValueError where the key does not name its data centre."""
    key = config.api_key.read(environ).get_secret_value()
    centre = _DATA_CENTRE.search(key)
    if centre is None and config.base_url is None:
        raise ValueError("api_key: expected a key that ends in its data centre, like -us21")
    base = config.base("" if centre is None else f"https://{centre[1]}.api.mailchimp.com")
    basic = base64.b64encode(f"livesegments:{key}".encode()).decode()
    return Mailchimp(config, base + "/3.0", basic, user_agent, origin(base), fingerprint(key), (key, basic))


@dataclass(frozen=True)
class _Item:
    change: Change
    email: str

    @property
    def hash(self) -> str:
        """The member's id in paths."""
        return hashlib.md5(self.email.lower().encode(), usedforsecurity=False).hexdigest()


@dataclass(frozen=True)
class Mailchimp(Connector):
    """Builds and reads; holds the key, and does not show it."""

    config: Config = field(repr=False)
    base: str
    basic: str = field(repr=False)
    user_agent: str
    endpoint: str
    account: str
    hidden: Sequence[str] = field(repr=False, default=())

    def group(self, change: Change) -> str:
        target = self.config.segments.get(change.segment)
        place = "" if target is None else f"segment {target.segment}" if target.segment else f"tag {target.tag}"
        return f"{change.action} {place}"

    def deliver(self, changes: Sequence[Change], now: float) -> Steps:
        return identified(changes, self._item, lambda items: self._deliver(items, now))

    def erase(self, customers: Sequence[Change], now: float) -> Steps:
        return identified(customers, self._item, lambda items: self._erase(items, now))

    def ping(self, now: float) -> Request:
        return self._request("GET", "/ping")

    def rehearse(self, request: Request) -> Response:
        if "/segments/" in request.url:
            return Response(200, {}, b'{"errors":[],"error_count":0}')
        return Response(204, {}, b"")

    def _item(self, change: Change) -> _Item | None:
        email = identity_of(change, self.config.identity).get("email")
        return _Item(change, email) if email is not None else None

    def _deliver(self, items: Sequence[_Item], now: float) -> Steps:
        """Merge fields first, so that what an automation shows is there when the segment starts it."""
        target = self.config.segments.get(items[0].change.segment)
        results = [DELIVERED] * len(items)
        if self.config.fields:
            requests = [self._merge(item) for item in items]
            results = list((yield from self._each(requests, items, now, entered=items[0].change.entered)))
        open_ = [index for index, found in enumerate(results) if found.outcome is Outcome.DELIVERED]
        if target is not None and open_:
            left = [items[index] for index in open_]
            if target.segment is not None:
                more = yield from self._move(target.segment, left, now)
            else:
                requests = [self._tag(str(target.tag), item) for item in left]
                more = yield from self._each(requests, left, now, entered=left[0].change.entered)
            for index, found in zip(open_, more, strict=True):
                results[index] = found
        return results

    def _move(self, segment: int, items: Sequence[_Item], now: float) -> Steps:
        """Put all of them into a static segment, or take all of them out."""
        entered = items[0].change.entered
        emails = [item.email for item in items]
        body = {"members_to_add" if entered else "members_to_remove": emails}
        request = self._request("POST", f"/lists/{self.config.list}/segments/{segment}", body)
        (answer,) = yield (request,)
        if isinstance(answer, Response) and answer.status == 200:
            return _read_segment(emails, entered, request, answer, now)
        if isinstance(answer, Response) and answer.status == 400:
            return blamed(request, answer, now, len(items), _reasons(answer))
        return [_judged(request, answer, now, len(items))] * len(items)

    def _each(self, requests: Sequence[Request], items: Sequence[_Item], now: float, *, entered: bool) -> Steps:
        """One request per member. Whoever is no member has not entered, and has left."""
        answers = yield from in_turns(requests, AT_ONCE)
        results = [_judged(request, answer, now) for request, answer in zip(requests, answers, strict=True)]
        missing = [
            index for index, answer in enumerate(answers) if isinstance(answer, Response) and answer.status == 404
        ]
        if missing:
            audience = self._request("GET", f"/lists/{self.config.list}?fields=id")
            (answer,) = yield (audience,)
            found = _judged(audience, answer, now)
            for index in missing:
                member = answers[index]
                if found.outcome is not Outcome.DELIVERED or not isinstance(member, Response):
                    results[index] = found
                elif entered:
                    results[index] = refused(requests[index], member, now, "not_in_audience")
                else:
                    results[index] = DELIVERED
        return results

    def _erase(self, items: Sequence[_Item], now: float) -> Steps:
        requests = [self._request("POST", f"{self._member(item)}/actions/delete-permanent") for item in items]
        return (yield from self._each(requests, items, now, entered=False))

    def _tag(self, tag: str, item: _Item) -> Request:
        status = "active" if item.change.entered else "inactive"
        syncing = {"is_syncing": True} if item.change.origin != "live" else {}
        return self._request(
            "POST", f"{self._member(item)}/tags", {"tags": [{"name": tag, "status": status}], **syncing}
        )

    def _merge(self, item: _Item) -> Request:
        fields = {name: _plain(value) for name, value in fields_of(item.change, self.config.fields).items()}
        return self._request("PATCH", self._member(item), {"merge_fields": fields})

    def _member(self, item: _Item) -> str:
        return f"/lists/{self.config.list}/members/{item.hash}"

    def _request(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Request:
        headers = {
            "authorization": f"Basic {self.basic}",
            "accept": "application/json",
            "user-agent": self.user_agent,
        }
        if body is None:
            return Request(method, self.base + path, headers, b"")
        headers["content-type"] = "application/json"
        return Request(method, self.base + path, headers, msgspec.json.encode(body), cap=1024 * 1024)


def _plain(value: Any) -> str | int | float:
    """A merge field's value: the empty string empties it."""
    plain = scalar(value)
    if plain is None:
        return ""
    return str(plain).lower() if isinstance(plain, bool) else plain


def _judged(request: Request, answer: Answer, now: float, items: int = 1) -> Result:
    """By its status, but that a 403 without a JSON body says too fast, and problems have a title."""
    if not isinstance(answer, Response):
        return judge(request, answer, now)
    document = answer.json()
    if answer.status == 403 and not isinstance(document, dict):
        return result(Outcome.RETRY, request, answer, now, "throttled", throttled=True)
    found = judge(request, answer, now, items)
    if found.outcome is Outcome.REFUSED and isinstance(document, dict):
        return refused(request, answer, now, str(document.get("detail") or document.get("title") or found.reason))
    return found


def _reasons(answer: Response) -> dict[int, str]:
    """What a 400 says about items: the path of an error's `field` has their number."""
    document = answer.json()
    errors = document.get("errors") if isinstance(document, dict) else None
    reasons: dict[int, str] = {}
    for error in errors if isinstance(errors, list) else []:
        place = _ITEM.search(str(error.get("field", ""))) if isinstance(error, dict) else None
        if place is not None:
            reasons[int(place[1])] = str(error.get("message", "invalid"))
    return reasons


def _read_segment(emails: Sequence[str], entered: bool, request: Request, answer: Response, now: float) -> list[Result]:
    """What a segment's 200 says: `errors` name addresses."""
    document = answer.json()
    if not isinstance(document, dict):
        return unreadable(request, answer, len(emails))
    errors = document.get("errors")
    reasons: dict[str, str] = {}
    unnamed = ""
    for error in errors if isinstance(errors, list) else []:
        text = str(error.get("error", "invalid")) if isinstance(error, dict) else str(error)
        if (_ALREADY if entered else _ABSENT).search(text):
            continue
        addresses = error.get("email_addresses") if isinstance(error, dict) else None
        if isinstance(addresses, list) and addresses:
            reasons.update({str(address).lower(): text for address in addresses})
        else:
            unnamed = unnamed or text
    by_index = {index: reasons[email.lower()] for index, email in enumerate(emails) if email.lower() in reasons}
    rest = DELIVERED
    if unnamed and len(by_index) < len(emails):
        rest = suspected(request, answer, now, len(emails) - len(by_index), unnamed, named=len(by_index))[0]
    return named(request, answer, now, len(emails), by_index, rest)
