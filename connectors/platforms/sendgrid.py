"""SendGrid Marketing: lists of contacts, or custom fields.

    destinations:
      sendgrid:
        platform: sendgrid
        api_key: {env: SENDGRID_API_KEY}
        region: eu
        segments:
          vip: {list: 6d04a6e3-0f3a-4a4e-9f7b-6a1f6f0c1c52}
          abandoned_cart: {field: e7_T}             # and, or, a custom field's id: the text `true` or `false`
        fields: {cart_value: e8_N, first_name: first_name}

| ours | SendGrid's |
|---|---|
| customer | contact, by e-mail address; with `identity.external_id` that goes along |
| entered | `PUT contacts` with the list; the import job is awaited |
| left | the contacts' ids are searched for, and taken off the list; who is no contact has left |
| profile field | custom field, or `first_name` and the like; null leaves it as it was |
| erasure | `DELETE contacts`; the job is awaited |

One bad contact rejects a whole PUT: where the answer (or the job) names nobody, halves find it. 429 is
retried by `X-RateLimit-Reset`. 401, 403, 404 of a list pause.

Limits: 30,000 contacts or 6 MB per PUT; 100 addresses per search [S]. Rates are not published: PUT 3 in 2 s
and 600 a minute for the rest is what users report [U].
"""

from __future__ import annotations

import re
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Annotated, Any, Literal, get_args
from urllib.parse import quote, urlencode

import msgspec
from pydantic import Field, model_validator

from connectors.answers import judge, result
from connectors.batches import blamed, identified, refused, suspected, unreadable
from connectors.changes import Change
from connectors.exchange import Answer, Request, Response, Steps, origin
from connectors.mapping import Identity, fields_of, identity_of
from connectors.options import Hosted, ProfileField, SegmentName, Strict
from connectors.platforms import Connector
from connectors.rates import Window
from connectors.remembered import Remembered
from connectors.results import DELIVERED, Outcome, Result
from connectors.scalars import scalar
from connectors.secrets import SecretReference, fingerprint

SEARCHED = 100
"""Addresses per search, and contact ids per removal: those are in the URL."""
WAITS = (1.0, 1.0, 2.0, 3.0, 5.0, 8.0, *(15.0,) * 19)
"""Seconds between the questions whether a job is done: five minutes, then the parcel is sent again."""

LONGEST_WAIT = 60.0
"""Seconds that the answer to such a question may make the next one wait."""

HOSTS = {"global": "https://api.sendgrid.com", "eu": "https://api.eu.sendgrid.com"}

OwnField = Literal[
    "address_line_1", "address_line_2", "city", "country", "first_name", "last_name", "postal_code",
    "state_province_region",
]  # fmt: skip
"""Fields of a contact that are not custom [S]."""

_FieldId = Annotated[str, Field(pattern=r"^[a-z]{1,2}[0-9]{1,6}(_[A-Z])?$")]
_CONTACT = re.compile(r"contacts\W*([0-9]{1,9})(?![0-9])")


class EmailIdentity(Identity):
    """SendGrid knows contacts by their e-mail address; all identifiers that a contact has must go along."""

    email: ProfileField = Field("email", description="The profile field with the e-mail address.")
    external_id: ProfileField | None = Field(None, description="The profile field that is the contact's external id.")


class Target(Strict):
    """What a segment is at SendGrid; at least one of these."""

    list: Annotated[str, Field(pattern=r"^[0-9a-fA-F-]{36}$")] | None = Field(None, description="A list's id.")
    field: _FieldId | None = Field(None, description="The id of a custom text field.")

    @model_validator(mode="after")
    def _is_something(self) -> Target:
        if self.list is None and self.field is None:
            raise ValueError("give `list` or `field`")
        return self


class Config(Hosted):
    """A SendGrid account's options."""

    platform: Literal["sendgrid"] = "sendgrid"
    api_key: SecretReference = Field(description="An API key with full access to Marketing.")
    region: Literal["global", "eu"] = Field("global", description="Where the account (or subuser) is.")
    identity: EmailIdentity = Field(EmailIdentity(), description="Where the e-mail address is.")
    segments: Annotated[Mapping[SegmentName, Target], Field(min_length=1)] = Field(
        description="What each segment is there."
    )
    fields: Mapping[ProfileField, _FieldId | OwnField] = Field(
        {}, description="Profile fields and the contact's fields they set: ids of custom fields, or names."
    )
    batch_size: int = Field(100, ge=1, le=1000, description="Contacts per request, at most.")


def connect(config: Config, environ: Mapping[str, str], user_agent: str) -> SendGrid:
    """Raises SecretMissing."""
    key = config.api_key.read(environ).get_secret_value()
    base = config.base(HOSTS[config.region])
    return SendGrid(config, base, key, user_agent, origin(base), fingerprint(base, key), (key,))


@dataclass(frozen=True)
class _Item:
    change: Change
    email: str
    """In lower case, as SendGrid keeps it."""
    external_id: str | None


@dataclass(frozen=True)
class SendGrid(Connector):
    """Builds and reads; holds the key, and does not show it. Remembers contacts' ids."""

    config: Config = field(repr=False)
    base: str
    key: str = field(repr=False)
    user_agent: str
    endpoint: str
    account: str
    hidden: Sequence[str] = field(repr=False, default=())
    limits = MappingProxyType({"contacts": (Window(3, 2.0),), "other": (Window(600, 60.0),)})
    _ids: Remembered = field(repr=False, compare=False, default_factory=Remembered)

    def group(self, change: Change) -> str:
        target = self.config.segments.get(change.segment)
        return "" if target is None or target.list is None else f"{change.action} {target.list}"

    def deliver(self, changes: Sequence[Change], now: float) -> Steps:
        return identified(changes, self._item, lambda items: self._deliver(items, now))

    def erase(self, customers: Sequence[Change], now: float) -> Steps:
        return identified(customers, self._item, lambda items: self._erase(items, now))

    def ping(self, now: float) -> Request:
        return self._request("GET", "/v3/marketing/contacts/count")

    def rehearse(self, request: Request) -> Response:
        if request.url.endswith("/search/emails"):
            emails = msgspec.json.decode(request.body)["emails"]
            found = {email: {"contact": {"id": f"id-of-contact-{n}"}} for n, email in enumerate(emails, 1)}
            return Response(200, {}, msgspec.json.encode({"result": found}))
        if request.method == "GET":
            return Response(200, {}, b'{"status":"completed"}')
        return Response(202, {}, b'{"job_id":"rehearsal"}')

    def _item(self, change: Change) -> _Item | None:
        found = identity_of(change, self.config.identity)
        return _Item(change, found["email"].lower(), found.get("external_id")) if "email" in found else None

    def _deliver(self, items: Sequence[_Item], now: float) -> Steps:
        target = self.config.segments.get(items[0].change.segment)
        list_id = None if target is None else target.list
        if list_id is not None and not items[0].change.entered:
            return (yield from self._leave(list_id, items, now))
        return (yield from self._put(list_id, items, now))

    # Contacts are written.

    def _put(self, list_id: str | None, items: Sequence[_Item], now: float) -> Steps:
        """Upsert the contacts, onto the list if there is one, and await the job."""
        contacts = {item.email: self._contact(item) for item in items}
        places = list(contacts)
        if list_id is None and not any(len(contact) > 1 for contact in contacts.values()):
            return [DELIVERED] * len(items)
        body = {**({"list_ids": [list_id]} if list_id else {}), "contacts": list(contacts.values())}
        request = self._request("PUT", "/v3/marketing/contacts", body, limit="contacts")
        (answer,) = yield (request,)
        results: Sequence[Result] = _read_put(len(contacts), request, answer, now)
        if results[0].outcome is Outcome.DELIVERED:
            results = yield from self._await(_document(answer)["job_id"], request, len(contacts), now)
        by_email = dict(zip(places, results, strict=True))
        return [by_email[item.email] for item in items]

    def _contact(self, item: _Item) -> dict[str, Any]:
        """Two customers with one address are one contact, the last of them."""
        target = self.config.segments.get(item.change.segment)
        fields = {
            name: value for name, value in fields_of(item.change, self.config.fields).items() if value is not None
        }
        own = {name: _text(value) for name, value in fields.items() if name in get_args(OwnField)}
        custom = {name: _text(value) for name, value in fields.items() if name not in own}
        if target is not None and target.field is not None:
            custom[target.field] = _text(item.change.entered)
        external = {"external_id": item.external_id} if item.external_id is not None else {}
        return {"email": item.email, **external, **own, **({"custom_fields": custom} if custom else {})}

    def _await(self, job: str, request: Request, count: int, now: float, *, kept: bool = True) -> Steps:
        """Ask until the job that `request` began is done: whether its contacts are good is known only then.

        `kept` says that SendGrid documents a status for such a job. Where it does not, a 404 is an end.
        """
        asked = 0.0
        for wait in WAITS:
            path = f"/v3/marketing/contacts/imports/{quote(job, safe='')}"
            question = replace(self._request("GET", path), wait=max(wait, asked))
            (answer,) = yield (question,)
            found = judge(question, answer, now)
            if found.status == 404 and not kept:
                return [DELIVERED] * count
            if found.outcome is Outcome.PAUSE and found.status != 404:  # it may be asked for before it is there
                return [found] * count
            state = _document(answer).get("status") if found.outcome is Outcome.DELIVERED else None
            if state == "completed":
                return [DELIVERED] * count
            if state in ("errored", "failed") and isinstance(answer, Response):
                return suspected(request, answer, now, count, f"job_{state}")
            asked = min(found.after or 0.0, LONGEST_WAIT)
        return [Result(Outcome.RETRY, "job_unfinished", after=asked or None, request=request)] * count

    # Contacts are taken off a list, or deleted.

    def _leave(self, list_id: str, items: Sequence[_Item], now: float) -> Steps:
        """Find the contacts, write their fields, take them off the list. Who is no contact has left."""
        results: list[Result] = []
        for start in range(0, len(items), SEARCHED):
            results.extend((yield from self._leave_some(list_id, items[start : start + SEARCHED], now)))
        return results

    def _leave_some(self, list_id: str, items: Sequence[_Item], now: float) -> Steps:
        writes = any(len(self._contact(item)) > (2 if item.external_id is not None else 1) for item in items)
        for remembered in (True, False):
            ids, failed = yield from self._find(items, now, remembered=remembered)
            if failed is not None:
                return failed
            present = [item for item in items if item.email in ids]
            if not present:
                return [DELIVERED] * len(items)
            if writes and remembered:
                written = yield from self._put(None, present, now)
                if any(found.outcome is not Outcome.DELIVERED for found in written):
                    by_email = dict(zip((item.email for item in present), written, strict=True))
                    return [by_email.get(item.email, DELIVERED) for item in items]
            query = urlencode({"contact_ids": ",".join(sorted(ids.values()))})
            request = self._request("DELETE", f"/v3/marketing/lists/{list_id}/contacts?{query}")
            (answer,) = yield (request,)
            if not isinstance(answer, Response) or answer.status != 404:
                found = judge(request, answer, now)
                if found.outcome is not Outcome.DELIVERED:
                    return [found] * len(items)
                return (yield from self._removal(request, answer, len(items), now, kept=False))
            for item in items:  # an id that is no longer one, or no such list
                self._ids.forget(item.email)
        place = self._request("GET", f"/v3/marketing/lists/{list_id}")
        (answer,) = yield (place,)
        found = judge(place, answer, now)
        if found.outcome is Outcome.DELIVERED:
            found = Result(Outcome.RETRY, "contacts_changed", 404, request=request)
        return [found] * len(items)

    def _erase(self, items: Sequence[_Item], now: float) -> Steps:
        results: list[Result] = []
        for start in range(0, len(items), SEARCHED):
            results.extend((yield from self._erase_some(items[start : start + SEARCHED], now)))
        return results

    def _erase_some(self, items: Sequence[_Item], now: float) -> Steps:
        ids, failed = yield from self._find(items, now, remembered=False)
        for item in items:
            self._ids.forget(item.email)
        if failed is not None or not ids:
            return failed or [DELIVERED] * len(items)
        query = urlencode({"ids": ",".join(sorted(ids.values()))})
        request = self._request("DELETE", f"/v3/marketing/contacts?{query}")
        (answer,) = yield (request,)
        found = judge(request, answer, now)
        if found.status == 404:  # one of them went in between
            found = Result(Outcome.RETRY, "contacts_changed", 404, request=request)
        if found.outcome is not Outcome.DELIVERED:
            return [found] * len(items)
        return (yield from self._removal(request, answer, len(items), now, kept=True))

    def _removal(self, request: Request, answer: Answer, count: int, now: float, *, kept: bool) -> Steps:
        """Await what a removal began, so that a later change of the customer cannot be overtaken by it."""
        document = _document(answer)
        job = document.get("job_id")
        if isinstance(job, str) and job:
            return (yield from self._await(job, request, count, now, kept=kept))
        if isinstance(answer, Response) and answer.body and not document:
            return unreadable(request, answer, count)
        return [DELIVERED] * count

    def _find(
        self, items: Sequence[_Item], now: float, *, remembered: bool
    ) -> Generator[Sequence[Request], Sequence[Answer], tuple[dict[str, str], list[Result] | None]]:
        """The contacts' ids by address, without those who are none; or the results, where that failed."""
        emails = dict.fromkeys(item.email for item in items)
        known = {email: self._ids.get(email, now) for email in emails} if remembered else {}
        ids = {email: found for email, found in known.items() if found is not None}
        unknown = [email for email in emails if email not in ids]
        if not unknown:
            return ids, None
        request = self._request("POST", "/v3/marketing/contacts/search/emails", {"emails": unknown})
        (answer,) = yield (request,)
        found = judge(request, answer, now, len(items))
        document = _document(answer)
        if found.status == 404 and document:  # an answer of the search: no contact has any of these addresses
            return ids, None
        if found.outcome is not Outcome.DELIVERED or not isinstance(answer, Response):
            return ids, [found] * len(items)
        contacts = document.get("result")
        if not isinstance(contacts, dict):
            return ids, unreadable(request, answer, len(items))
        for email in unknown:
            contact = contacts.get(email)
            contact = contact.get("contact") if isinstance(contact, dict) else None
            if isinstance(contact, dict) and isinstance(contact.get("id"), str):
                ids[email] = contact["id"]
                self._ids.put(email, contact["id"], now)
        return ids, None

    def _request(self, method: str, path: str, body: Mapping[str, Any] | None = None, limit: str = "other") -> Request:
        headers = {
            "authorization": f"Bearer {self.key}",
            "accept": "application/json",
            "user-agent": self.user_agent,
        }
        raw = b""
        if body is not None:
            headers["content-type"] = "application/json"
            raw = msgspec.json.encode(body)
        return Request(method, self.base + path, headers, raw, limit, cap=1024 * 1024)


def _text(value: Any) -> str:
    """The value of a field: SendGrid takes text for all types [S]."""
    plain = scalar(value)
    return plain if isinstance(plain, str) else msgspec.json.encode(plain).decode()


def _document(answer: Answer) -> dict[str, Any]:
    """The object that an answer is; empty if it is none."""
    document = answer.json() if isinstance(answer, Response) else None
    return document if isinstance(document, dict) else {}


def _read_put(count: int, request: Request, answer: Answer, now: float) -> list[Result]:
    """What the answer to a PUT says about its `count` contacts, before the job has begun."""
    if not isinstance(answer, Response):
        return [judge(request, answer, now)] * count
    if 200 <= answer.status < 300:
        job = _document(answer).get("job_id")
        return [DELIVERED] * count if isinstance(job, str) and job else unreadable(request, answer, count)
    errors = _document(answer).get("errors")
    if answer.status != 400 or not isinstance(errors, list):
        return [judge(request, answer, now, count)] * count
    reasons: dict[int, str] = {}
    first = ""
    for error in errors:
        found = error if isinstance(error, dict) else {"message": error}
        where = str(found.get("field", ""))
        reason = str(found.get("message", "invalid"))
        if where.startswith("list_ids"):
            return [result(Outcome.PAUSE, request, answer, now, "list_refused")] * count
        place = _CONTACT.search(where)
        if place is not None:
            reasons[int(place[1])] = reason
        first = first or reason
    if count == 1 and not reasons:
        return [refused(request, answer, now, first or "http_400")]
    return blamed(request, answer, now, count, reasons)
