"""Iterable: static lists, or fields of user profiles.

    destinations:
      iterable:
        platform: iterable
        api_key: {env: ITERABLE_API_KEY}
        region: eu
        identity: {email: email}              # in a project that knows users by e-mail address
        segments:
          vip: {list: 4711}
          abandoned_cart:
            field: cart_abandoned             # and, or, a boolean field of the profile
            events: {entered: cartAbandoned}  # opt-in; repeats are recognised
        fields: {cart_value: cartValue}

| ours | Iterable's |
|---|---|
| customer | user, by `userId`, or by `email` where `identity.email` is set |
| in the segment | `list`: `lists/subscribe` or `lists/unsubscribe`; `field`: true or false |
| profile field | field of the profile; null empties it |
| change (opt-in) | event at the change's instant, with its id: a repeat updates it |
| erasure | `DELETE users/…`, or `users/forget`, which also refuses the user for ever |

Fields go by `users/bulkUpdate` only, events by `events/trackBulk`: Iterable handles bulk and single updates
apart, and mixing them for one user loses the order [S]. Answers: a 200 names the users it refused in
`failedUpdates`; who was not found when leaving a list, has left it. 409 is contention: retried [S]. 401
and 403 pause.

Limits: `bulkUpdate` 5 requests/s per project, 4 MB [S]; for lists nothing is published: the same is assumed,
1,000 users [C]. Events 10/s [S], deletion 100/s, `forget` 3/s and 1,000 a day [S]. A 429 names no time.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType
from typing import Annotated, Any, Literal
from urllib.parse import quote

import msgspec
from pydantic import Field, model_validator

from connectors.answers import judge, result
from connectors.batches import identified, in_turns, named, suspected, unreadable, worst
from connectors.changes import Change
from connectors.exchange import Answer, Request, Response, Steps, origin
from connectors.mapping import Events, Identity, check_identity, fields_of, identity_of
from connectors.options import Hosted, ProfileField, SegmentName, Strict
from connectors.platforms import Connector
from connectors.rates import Window
from connectors.results import DELIVERED, Outcome, Result
from connectors.secrets import SecretReference, fingerprint

MAX_USERS = 1_000
MAX_BYTES = 4_000_000
AT_ONCE = 10
"""Deletions at a time: Iterable deletes one user per request."""

HOSTS = {"us": "https://api.iterable.com", "eu": "https://api.eu.iterable.com"}

_Name = Annotated[str, Field(min_length=1, max_length=255)]
_NO_PATH = frozenset({".", ".."})
"""As a part of a path they mean another path: such a user can only be forgotten."""
_GONE = frozenset({"NotFound", "UnknownEmailError", "UnknownUserIdError", "ForgottenUserError"})
"""Codes of a deletion's answer that say: there is no such user [S, the codes; U, which of them is used]."""
_LIST = re.compile(r"\blist\b.*(not found|does not exist|invalid|unknown)|\b(invalid|unknown|no such) list", re.I)
"""How a 400 speaks of the list and not of its users [U]."""


class Target(Strict):
    """What a segment is at Iterable; at least one of these."""

    list: int | None = Field(None, ge=1, description="The id of a static list.")
    field: _Name | None = Field(None, description="A boolean field of the user's profile.")
    events: Events[_Name] = Field(Events[_Name](), description="Custom events besides, by action.")

    @model_validator(mode="after")
    def _is_something(self) -> Target:
        if self.list is None and self.field is None and not self.events:
            raise ValueError("give `list`, `field` or `events`")
        return self


class Config(Hosted):
    """An Iterable project's options."""

    platform: Literal["iterable"] = "iterable"
    api_key: SecretReference = Field(description="A server-side API key.")
    region: Literal["us", "eu"] = Field("us", description="Where the project is.")
    identity: Identity = Field(Identity(), description="By `external_id` (`userId`), or by `email` if given.")
    segments: Annotated[Mapping[SegmentName, Target], Field(min_length=1)] = Field(
        description="What each segment is there."
    )
    fields: Mapping[ProfileField, _Name] = Field({}, description="Profile fields and the fields they set.")
    update_existing_only: bool = Field(
        False, description="Add only users that Iterable has to a list (projects that know users by `userId`)."
    )
    prefer_user_id: bool = Field(
        False, description="Create users that Iterable has not by `userId` in a project that knows them by e-mail."
    )
    erasure: Literal["delete", "forget"] = Field(
        "delete", description="`forget` also refuses whatever is sent of the user later; 1,000 a day."
    )
    batch_size: int = Field(MAX_USERS, ge=1, le=MAX_USERS, description="Users per request, at most.")
    batch_bytes: int = Field(1_000_000, ge=1_000, le=MAX_BYTES // 2, description="Bytes of changes per request.")

    @model_validator(mode="after")
    def _is_usable(self) -> Config:
        check_identity(self.identity)
        return self


def connect(config: Config, environ: Mapping[str, str], user_agent: str) -> Iterable:
    """Raises SecretMissing."""
    key = config.api_key.read(environ).get_secret_value()
    base = config.base(HOSTS[config.region])
    return Iterable(config, base, key, user_agent, origin(base), fingerprint(base, key), (key,))


@dataclass(frozen=True)
class _Item:
    change: Change
    user: str
    """Its identifier."""


@dataclass(frozen=True)
class Iterable(Connector):
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
            "users": (Window(5, 1.0),),
            "lists": (Window(5, 1.0),),
            "events": (Window(10, 1.0),),
            "delete": (Window(100, 1.0),),
            "forget": (Window(3, 1.0), Window(1_000, 86_400.0)),
            "other": (Window(100, 1.0),),
        }
    )

    @property
    def _kind(self) -> Literal["email", "userId"]:
        return "email" if self.config.identity.email is not None else "userId"

    def group(self, change: Change) -> str:
        target = self.config.segments.get(change.segment)
        return "" if target is None or target.list is None else f"{change.action} {target.list}"

    def deliver(self, changes: Sequence[Change], now: float) -> Steps:
        return identified(changes, self._item, lambda items: self._deliver(items, now))

    def erase(self, customers: Sequence[Change], now: float) -> Steps:
        return identified(customers, self._item, lambda items: self._erase(items, now))

    def ping(self, now: float) -> Request:
        return Request("GET", f"{self.base}/api/lists", self._headers(), b"", "other")

    def rehearse(self, request: Request) -> Response:
        if "/api/lists" in request.url or request.url.endswith(("/bulkUpdate", "/trackBulk")):
            return Response(200, {}, b'{"successCount":1,"failCount":0}')
        return Response(200, {}, b'{"code":"Success","msg":""}')

    def _item(self, change: Change) -> _Item | None:
        name = "email" if self._kind == "email" else "external_id"
        user = identity_of(change, self.config.identity).get(name)
        return _Item(change, user) if user is not None else None

    def _deliver(self, items: Sequence[_Item], now: float) -> Steps:
        """Fields, the list and events at once: none of them changes what the others do."""
        requests: list[tuple[Request, bool]] = []  # and whether users who are not found are where they should be
        users = [user for item in items if (user := self._fields(item))]
        if users:
            requests.append((self._post("/api/users/bulkUpdate", {"users": users}, "users"), False))
        target = self.config.segments.get(items[0].change.segment)
        if target is not None and target.list is not None:
            requests.append(self._move(target.list, items))
        events = [event for item in items if (event := self._event(item))]
        if events:
            requests.append((self._post("/api/events/trackBulk", {"events": events}, "events"), False))
        if not requests:
            return [DELIVERED] * len(items)
        answers = yield [request for request, _ in requests]
        found = [
            self._read(items, request, answer, now, left=left)
            for (request, left), answer in zip(requests, answers, strict=True)
        ]
        return [worst(of) for of in zip(*found, strict=True)]

    def _fields(self, item: _Item) -> dict[str, Any]:
        target = self.config.segments.get(item.change.segment)
        fields = fields_of(item.change, self.config.fields)
        if target is not None and target.field is not None:
            fields[target.field] = item.change.entered
        if not fields:
            return {}
        return {**self._user(item), **self._preference(), "dataFields": fields}

    def _event(self, item: _Item) -> dict[str, Any]:
        change = item.change
        target = self.config.segments.get(change.segment)
        name = target.events.of(change) if target is not None else None
        if name is None:
            return {}
        return {
            **self._user(item),
            "eventName": name,
            "id": change.id,
            "createdAt": int(datetime.fromisoformat(change.at).timestamp()),
            "dataFields": {"segment": change.segment},
        }

    def _move(self, list_id: int, items: Sequence[_Item]) -> tuple[Request, bool]:
        if not items[0].change.entered:
            body: dict[str, Any] = {"listId": list_id, "subscribers": [self._user(item) for item in items]}
            return self._post("/api/lists/unsubscribe", body, "lists"), True
        body = {"listId": list_id, "subscribers": [{**self._user(item), **self._preference()} for item in items]}
        if self.config.update_existing_only:
            body["updateExistingUsersOnly"] = True
        return self._post("/api/lists/subscribe", body, "lists"), False

    def _user(self, item: _Item) -> dict[str, Any]:
        return {self._kind: item.user}

    def _preference(self) -> dict[str, bool]:
        return {"preferUserId": True} if self.config.prefer_user_id and self._kind == "userId" else {}

    def _read(
        self, items: Sequence[_Item], request: Request, answer: Answer, now: float, *, left: bool
    ) -> list[Result]:
        """What an answer says about each of `items`; `left` is set where a user who is not found is done."""
        count = len(items)
        if isinstance(answer, Response) and answer.status == 200:
            return _read_users([item.user for item in items], request, answer, now, left=left)
        if isinstance(answer, Response) and answer.status == 409:
            return [result(Outcome.RETRY, request, answer, now)] * count
        if isinstance(answer, Response) and answer.status == 400 and _LIST.search(_message(answer)):
            return [result(Outcome.PAUSE, request, answer, now, "list_refused")] * count
        found = judge(request, answer, now, count)
        if isinstance(answer, Response) and found.outcome is Outcome.REFUSED:
            found = result(Outcome.REFUSED, request, answer, now, _code(answer))
        return [found] * count

    def _erase(self, items: Sequence[_Item], now: float) -> Steps:
        named_so = [item for item in items if self.config.erasure == "forget" or item.user not in _NO_PATH]
        requests = [self._forget(item) if self.config.erasure == "forget" else self._delete(item) for item in named_so]
        answers = yield from in_turns(requests, AT_ONCE)
        read = {
            item.user: _read_deletion(request, answer, now)
            for item, request, answer in zip(named_so, requests, answers, strict=True)
        }
        return [read.get(item.user, Result.refused("unusable_id")) for item in items]

    def _delete(self, item: _Item) -> Request:
        place = "" if self._kind == "email" else "byUserId/"
        url = f"{self.base}/api/users/{place}{quote(item.user, safe='')}"
        return Request("DELETE", url, self._headers(), b"", "delete")

    def _forget(self, item: _Item) -> Request:
        return self._post("/api/users/forget", self._user(item), "forget")

    def _post(self, path: str, body: Mapping[str, Any], limit: str) -> Request:
        headers = {**self._headers(), "content-type": "application/json"}
        return Request("POST", self.base + path, headers, msgspec.json.encode(body), limit, cap=1024 * 1024)

    def _headers(self) -> dict[str, str]:
        return {"api-key": self.key, "accept": "application/json", "user-agent": self.user_agent}


def _code(answer: Response) -> str:
    document = answer.json()
    code = document.get("code") if isinstance(document, dict) else None
    return code if isinstance(code, str) else ""


def _message(answer: Response) -> str:
    document = answer.json()
    return str(document.get("msg", "")) if isinstance(document, dict) else ""


def _read_users(users: Sequence[str], request: Request, answer: Response, now: float, *, left: bool) -> list[Result]:
    """What a 200 says: `failedUpdates` names users by why they failed, in lists like `invalidEmails`."""
    document = answer.json()
    if not isinstance(document, dict):
        return unreadable(request, answer, len(users))
    disallowed = document.get("disallowedEventNames")
    if disallowed:  # the project does not take such events, whoever they are about
        return [result(Outcome.PAUSE, request, answer, now, "event_disallowed")] * len(users)
    failed = document.get("failedUpdates")
    reasons: dict[str, str] = {}
    for why, names in {**document, **(failed if isinstance(failed, dict) else {})}.items():
        if why.endswith(("Emails", "UserIds")) and isinstance(names, list):
            reasons.update({str(name).lower(): why for name in names})
    by_index = {index: reasons[user.lower()] for index, user in enumerate(users) if user.lower() in reasons}
    fail_count = document.get("failCount")
    unnamed = len(by_index) < len(users) and isinstance(fail_count, int) and fail_count > len(by_index)
    if left:
        by_index = {i: why for i, why in by_index.items() if not why.startswith(("notFound", "forgotten"))}
    rest = DELIVERED
    if unnamed:
        rest = suspected(request, answer, now, len(users) - len(by_index), "failed_update", named=len(by_index))[0]
    return named(request, answer, now, len(users), by_index, rest)


def _read_deletion(request: Request, answer: Answer, now: float) -> Result:
    """Deleting whom Iterable has not is done."""
    if isinstance(answer, Response) and answer.status in (400, 404) and _code(answer) in _GONE:
        return DELIVERED
    return judge(request, answer, now)
