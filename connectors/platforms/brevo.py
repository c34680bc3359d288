"""Brevo (formerly Sendinblue): lists of contacts, or contact attributes.

    destinations:
      brevo:
        platform: brevo
        api_key: {env: BREVO_API_KEY}
        segments:
          vip: {list: 42}                              # a list's id
          abandoned_cart: {attribute: ABANDONED_CART}  # and, or, an attribute of type boolean
        fields: {cart_value: CART_VALUE, first_name: FNAME}

| ours | Brevo's |
|---|---|
| customer | contact, by e-mail address; by `ext_id` with `identity.external_id` |
| entered | `listIds`, the attribute true; who is no contact becomes one |
| left | `unlinkListIds`, the attribute false; who is no contact has left |
| profile field | attribute; null is "", which no type but text has; a list of texts is a list |
| erasure | `DELETE contacts/{identifier}` |

By address, `contacts/batch` writes lists and attributes of many in one request, of contacts that there are [S].
Where one is unknown it answers 404, `document_not_found`, and writes nothing; its message names the places ("No
contact found for indexes 3,4") [U]. What they count from nobody documents, so a place decides nothing: who is named
is sent alone (`POST contacts` with `updateEnabled`, or `PUT contacts/{identifier}`), the others in another batch.

By `ext_id` everybody is sent alone: `PUT contacts/{identifier}`, and whoever enters and is unknown `POST contacts`.
Only that has the address: a contact that is given another one is no longer blocklisted [S].

Not used: `contacts/import`, a job that leaves Booleans as they are [U]; `lists/{id}/contacts/add`, for at most 150
contacts that there are [S], which answers the same of one who is on the list and of one who is unknown [U].

Answers: 201 and 204 are done, whatever their body. A value that is not of its attribute's type is ignored [S], and so
is an attribute that there is not ([D], for imports). A 400 to many is sent in halves; to one it is refused with Brevo's
message, unless the list is missing, for which we ask then (how Brevo says that is not documented): that pauses, like
codes of the account, 401, 402, 403, and a 404 without `document_not_found`. 425 is retried [S], 429 after
`x-sib-ratelimit-reset` seconds [D].

Limits: 10, 20 or 60 requests a second by plan for all below /v3/contacts [D] (3,600 times that an hour is the same). No
size of a batch is documented: 100 is our choice, others send 50 and 500 [U].

[D] Brevo's documentation, [S] its SDK (brevo-python 5.1), [U] what users and their code report.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Annotated, Any, Literal
from urllib.parse import quote

import msgspec
from pydantic import Field, model_validator

from connectors.answers import judge, result
from connectors.batches import identified, in_turns, refused
from connectors.changes import Change
from connectors.exchange import Answer, Request, Response, Steps, origin
from connectors.mapping import Identity as CommonIdentity
from connectors.mapping import check_identity, fields_of, identity_of
from connectors.options import Hosted, ProfileField, SegmentName, Strict
from connectors.platforms import Connector
from connectors.rates import Window
from connectors.results import DELIVERED, Outcome, Result
from connectors.retry import retry_after
from connectors.scalars import scalar
from connectors.secrets import SecretReference, fingerprint

MAX_CONTACTS = 100
RATES: Mapping[str, int] = MappingProxyType({"general": 10, "advanced": 20, "extended": 60})
"""Requests per second for all below /v3/contacts, by what Brevo calls tiers [D]."""

BATCHES = 2
"""Batches of one attempt: the first is answered by who is unknown. What is left after the second is sent alone."""

ACCOUNT = frozenset({"account_under_validation", "not_enough_credits", "permission_denied", "unauthorized"})
"""Codes that speak of the account, whatever their status [D]."""
HEALING = frozenset({"account_in_process"})
"""Codes that speak of now [S]."""
UNKNOWN = "document_not_found"

UNUSABLE = Result.refused("unusable_id")

IDENTIFIERS = frozenset({"EMAIL", "EXT_ID"})
"""Attributes that say who a contact is: writing one would rename it [S]."""

NO_PATH = frozenset({".", ".."})
"""Identifiers that no encoding keeps from steering a path."""

NOT_ALLOWED = 405
"""What a deletion may be answered with [S]; of one contact, since all other requests have the same address."""

_PLACES = re.compile(r"\bindex(?:es)?\b\W*([0-9]{1,9}(?:\W+[0-9]{1,9})*)(?![0-9])")

AttributeName = Annotated[str, Field(pattern=r"^[A-Z0-9_-]{1,100}$")]


class Identity(CommonIdentity):
    """By which profile fields a contact is found: `external_id` where it is given, else `email`."""

    email: ProfileField | None = Field("email", description="The profile field with the e-mail address.")
    external_id: ProfileField | None = Field(None, description="The profile field that is the contact's EXT_ID.")

    @model_validator(mode="after")
    def _is_something(self) -> Identity:
        check_identity(self)
        return self


class Target(Strict):
    """What a segment is at Brevo; at least one of these."""

    list: int | None = Field(None, ge=1, description="A list's id.")
    attribute: AttributeName | None = Field(None, description="A contact attribute of type boolean.")

    @model_validator(mode="after")
    def _is_something(self) -> Target:
        if self.list is None and self.attribute is None:
            raise ValueError("give `list` or `attribute`")
        return self


class Config(Hosted):
    """A Brevo account's options."""

    platform: Literal["brevo"] = "brevo"
    api_key: SecretReference = Field(description="An API key with the permission All on contacts.")
    plan: Literal["general", "advanced", "extended"] = Field(
        "general", description="The account's rate limits: `advanced` from Professional, `extended` as agreed."
    )
    identity: Identity = Field(Identity(), description="How contacts are found.")
    segments: Annotated[Mapping[SegmentName, Target], Field(min_length=1)] = Field(description="What each segment is.")
    fields: Mapping[ProfileField, AttributeName] = Field({}, description="Our profile field: their contact attribute.")
    batch_size: int = Field(MAX_CONTACTS, ge=1, le=MAX_CONTACTS, description="Contacts per request, at most.")

    @model_validator(mode="after")
    def _renames_nobody(self) -> Config:
        attributes = [*self.fields.values(), *(target.attribute for target in self.segments.values())]
        if not IDENTIFIERS.isdisjoint(attributes):
            raise ValueError("fields, segments: EMAIL and EXT_ID are who a contact is; see `identity`")
        return self


def connect(config: Config, environ: Mapping[str, str], user_agent: str) -> Brevo:
    """Raises SecretMissing."""
    key = config.api_key.read(environ).get_secret_value()
    base = config.base("https://api.brevo.com")
    headers = {"api-key": key, "accept": "application/json", "user-agent": user_agent}
    return Brevo(
        config,
        base + "/v3",
        headers,
        endpoint=origin(base),
        account=fingerprint("brevo", key),
        limits={"contacts": (Window(RATES[config.plan], 1.0),)},
        hidden=(key,),
    )


@dataclass
class _Contact:
    """A change on its way: whose it is, what is written, and what became of it."""

    entered: bool
    name: str
    """The identifier: an e-mail address, or our own id."""
    body: Mapping[str, Any]
    """Attributes and lists, without identifiers."""
    list: int | None
    email: str | None
    """To be given to a contact that is made, where it is found by something else."""
    unknown: bool = False
    """Whether an update found no such contact."""
    result: Result = DELIVERED


_Stage = Generator[Sequence[Request], Sequence[Answer], None]


@dataclass(frozen=True)
class Brevo(Connector):
    """Builds and reads; holds the key, and does not show it."""

    config: Config
    base: str
    headers: Mapping[str, str] = field(repr=False)
    endpoint: str
    account: str
    limits: Mapping[str, Sequence[Window]] = field(repr=False, default_factory=dict)
    hidden: Sequence[str] = field(repr=False, default=())

    def deliver(self, changes: Sequence[Change], now: float) -> Steps:
        return identified(changes, self._contact, lambda found: self._deliver(found, now))

    def erase(self, customers: Sequence[Change], now: float) -> Steps:
        return identified(customers, self._name, lambda names: self._erase(names, now))

    def ping(self, now: float) -> Request:
        """Not /v3/account: a key for contacts alone may not ask for that, and 100 an hour are all who may [D]."""
        return self._request("GET", "/contacts/lists?limit=1&offset=0")

    def rehearse(self, request: Request) -> Response:
        return Response(204, {}, b"")

    # A delivery: in a batch, and alone.

    def _deliver(self, contacts: Sequence[_Contact], now: float) -> Steps:
        alone: list[_Contact] = []
        rest = self._distinct(contacts)
        if self._by_address:
            for _ in range(BATCHES):
                if len(rest) < 2:
                    break
                unwritten, named = yield from self._batch(rest, now)
                alone += named
                rest = unwritten
        yield from self._alone([*alone, *rest], now)
        return [one.result for one in contacts]

    def _distinct(self, contacts: Sequence[_Contact]) -> list[_Contact]:
        """Those that are each another contact. What Brevo makes of one that is there twice is not documented."""
        seen: set[str] = set()
        for one in contacts:
            if one.name in NO_PATH:
                one.result = UNUSABLE
            elif one.name.casefold() in seen:
                one.result = Result(Outcome.RETRY, "same_contact", after=0.0)
            seen.add(one.name.casefold())
        return [one for one in contacts if one.result is DELIVERED]

    def _batch(
        self, contacts: list[_Contact], now: float
    ) -> Generator[Sequence[Request], Sequence[Answer], tuple[list[_Contact], list[_Contact]]]:
        """Write all at once; or return those that have to be written yet, and those that the answer names."""
        document = {"contacts": [{"email": one.name, **one.body} for one in contacts]}
        request = self._request("POST", "/contacts/batch", document)
        (answer,) = yield (request,)
        places = _places(answer)
        named = [one for place, one in enumerate(contacts) if place in places]
        if named:
            return [one for place, one in enumerate(contacts) if place not in places], named
        if isinstance(answer, Response) and answer.status == 404:  # an answer of the batch's, or of a wrong address
            return [], contacts
        for one in contacts:
            one.result = self._judge(request, answer, now, len(contacts))
        return [], []

    def _alone(self, contacts: Sequence[_Contact], now: float) -> _Stage:
        """One request each: whoever enters is upserted by address, or by `ext_id` updated, and made if unknown."""
        yield from self._update_each([one for one in contacts if not (one.entered and self._by_address)], now)
        made = [one for one in contacts if one.entered and (self._by_address or one.unknown)]
        requests = [self._upsert(one) for one in made]
        answers = yield from in_turns(requests, self.config.concurrency)
        for one, request, answer in zip(made, requests, answers, strict=True):
            one.result = self._judge(request, answer, now)
        yield from self._ask_for_lists(contacts, now)

    def _update_each(self, contacts: Sequence[_Contact], now: float) -> _Stage:
        requests = [self._update(one) for one in contacts]
        answers = yield from in_turns(requests, self.config.concurrency)
        for one, request, answer in zip(contacts, requests, answers, strict=True):
            one.unknown = _code(answer, 404) == UNKNOWN
            if not one.unknown:
                one.result = self._judge(request, answer, now)

    def _ask_for_lists(self, contacts: Sequence[_Contact], now: float) -> _Stage:
        """A contact is refused for what it is, or has left, only where the list that it should be on is there."""
        suspects = [
            one for one in contacts if one.result.outcome is Outcome.REFUSED or (one.unknown and not one.entered)
        ]
        lists = sorted({one.list for one in suspects if one.list is not None})
        questions = [self._request("GET", f"/contacts/lists/{number}") for number in lists]
        answers = yield from in_turns(questions, self.config.concurrency)
        for number, question, answer in zip(lists, questions, answers, strict=True):
            found = self._judge(question, answer, now)
            if found.outcome is Outcome.DELIVERED:
                continue
            if found.status == 404:
                found = replace(found, reason="list_missing")
            for one in suspects:
                if one.list == number:
                    one.result = found

    def _erase(self, names: Sequence[str], now: float) -> Steps:
        distinct = [name for name in dict.fromkeys(names) if name not in NO_PATH]
        requests = [self._request("DELETE", self._path(name)) for name in distinct]
        answers = yield from in_turns(requests, self.config.concurrency)
        results = {
            name: DELIVERED if _code(answer, 404) == UNKNOWN else self._judge_deletion(request, answer, now)
            for name, request, answer in zip(distinct, requests, answers, strict=True)
        }
        return [results.get(name, UNUSABLE) for name in names]

    # Requests.

    @property
    def _by_address(self) -> bool:
        return self.config.identity.external_id is None

    def _name(self, change: Change) -> str | None:
        return identity_of(change, self.config.identity).get("email" if self._by_address else "external_id")

    def _contact(self, change: Change) -> _Contact | None:
        name = self._name(change)
        target = self.config.segments.get(change.segment)
        if name is None or target is None:
            return None
        attributes = {theirs: attribute(value) for theirs, value in fields_of(change, self.config.fields).items()}
        if target.attribute is not None:
            attributes[target.attribute] = change.entered
        body: dict[str, Any] = {"attributes": attributes} if attributes else {}
        if target.list is not None:
            body["listIds" if change.entered else "unlinkListIds"] = [target.list]
        email = None if self._by_address else identity_of(change, self.config.identity).get("email")
        return _Contact(change.entered, name, body, target.list, email)

    def _upsert(self, one: _Contact) -> Request:
        who = {"email": one.name} if self._by_address else {"ext_id": one.name}
        besides = {} if one.email is None else {"email": one.email}
        return self._request("POST", "/contacts", {**who, **besides, **one.body, "updateEnabled": True})

    def _update(self, one: _Contact) -> Request:
        return self._request("PUT", self._path(one.name), one.body)

    def _path(self, name: str) -> str:
        """A contact's. Without the type, digits would be Brevo's own id of somebody else."""
        kind = "email_id" if self._by_address else "ext_id"
        return f"/contacts/{quote(name, safe='')}?identifierType={kind}"

    def _request(self, method: str, path: str, document: Any = None) -> Request:
        headers = self.headers if document is None else {**self.headers, "content-type": "application/json"}
        body = b"" if document is None else msgspec.json.encode(document)
        return Request(method, self.base + path, headers, body, "contacts")

    # Reading.

    def _judge_deletion(self, request: Request, answer: Answer, now: float) -> Result:
        if isinstance(answer, Response) and answer.status == NOT_ALLOWED:
            return refused(request, answer, now, _message(answer) or "not_allowed")
        return self._judge(request, answer, now)

    def _judge(self, request: Request, answer: Answer, now: float, items: int = 1) -> Result:
        judged = judge(request, answer, now, items)
        if not isinstance(answer, Response):
            return judged
        if answer.status == 429 and judged.after is None:
            return replace(judged, after=retry_after(answer.headers.get("x-sib-ratelimit-reset"), now))
        code = _code(answer, 400)
        if code in ACCOUNT:
            return result(Outcome.PAUSE, request, answer, now, code)
        if code in HEALING:
            return result(Outcome.RETRY, request, answer, now, code)
        if judged.outcome is Outcome.REFUSED:
            return refused(request, answer, now, _message(answer) or judged.reason)
        return judged


def attribute(value: Any) -> Any:
    """A value as Brevo's attributes take it: text, number, boolean, or a list of texts [S]."""
    if value is None:
        return ""
    if isinstance(value, list) and all(isinstance(one, str) for one in value):
        return value
    return scalar(value)


def _document(answer: Answer) -> Mapping[str, Any]:
    """The object that an answer is; empty if it is none."""
    document = answer.json() if isinstance(answer, Response) else None
    return document if isinstance(document, dict) else {}


def _message(answer: Answer) -> str:
    message = _document(answer).get("message")
    return message if isinstance(message, str) else ""


def _code(answer: Answer, status: int) -> str:
    """The code of an answer of that status; else empty."""
    code = _document(answer).get("code") if isinstance(answer, Response) and answer.status == status else None
    return code if isinstance(code, str) else ""


def _places(answer: Answer) -> frozenset[int]:
    """The places that a batch's refusal names."""
    if not isinstance(answer, Response) or answer.status not in (400, 404):
        return frozenset()
    found = _PLACES.search(_message(answer))
    return frozenset(int(number) for number in re.findall(r"[0-9]+", found[1])) if found else frozenset()
