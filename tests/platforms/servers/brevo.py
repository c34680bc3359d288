"""Brevo's contacts: a batch that is for contacts that there are, and all or nothing; one at a time else."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from aiohttp import web

from tests.platforms.servers import PlatformServer, customer_of

KEY = "xkeysib-0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef-AbCdEfGhIjKlMnOp"
LIST = 42
MAX_CONTACTS = 100
ADDRESS = re.compile(r"[\w.!#$%&'*+/=?^`{|}~-]+@[\w-]+(\.[\w-]+)+", re.ASCII)

FIELDS = {
    "batch": {"email", "id", "sms", "attributes", "listIds", "unlinkListIds", "ext_id"},
    "create": {"email", "ext_id", "attributes", "listIds", "updateEnabled"},
    "update": {"ext_id", "attributes", "listIds", "unlinkListIds"},
}
"""What may be said of a contact, by call; less the blocklists and merging, which are not ours to set."""


@dataclass
class Contact:
    id: int
    email: str | None
    ext_id: str | None
    attributes: dict[str, Any] = field(default_factory=dict)
    lists: set[int] = field(default_factory=set)
    blocked: bool = False
    """Whether campaigns leave it out; it no longer does once it has another address."""


class Refusal(Exception):
    """An answer that ends a request."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.answer = _error(status, code, message)


class BrevoServer(PlatformServer):
    """As the API v3 is documented, and, for the 404 of a batch, as its users report it."""

    platform = "brevo"
    environ: ClassVar[Mapping[str, str]] = {"BREVO_API_KEY": KEY}
    anonymous: ClassVar[Mapping[str, Any]] = {}
    max_items = MAX_CONTACTS
    silent = True
    creates = True

    def __init__(self) -> None:
        super().__init__()
        self.contacts: list[Contact] = []
        self.lists = {LIST}
        self.attributes: dict[str, type | tuple[type, ...]] = {
            "IN_CART": bool,
            "CART_VALUE": (int, float),
            "TAGS": list,
            "FNAME": str,
        }
        """Their types, by name. Values of another type are ignored, like attributes that there are not."""
        self.first_place = 0
        """What the places in the message of a batch's 404 count from."""
        self.names_places = True
        """Whether that message names places at all."""
        self.kept: set[str] = set()
        """External ids of contacts that may not be deleted."""
        self.merges = True
        """Whether a contact that is known by its address only is given the external id that comes with it."""
        self._made = 0

    def options(self) -> dict[str, Any]:
        return {
            "platform": "brevo",
            "api_key": {"env": "BREVO_API_KEY"},
            "base_url": self.url,
            "segments": {"vip": {"list": LIST}, "cart": {"attribute": "IN_CART"}},
            "fields": {"cart_value": "CART_VALUE"},
            "batch_size": self.max_items,
        }

    def routes(self) -> Iterable[web.AbstractRouteDef]:
        return [
            web.post("/v3/contacts", _answering(self._create)),
            web.post("/v3/contacts/batch", _answering(self._batch)),
            web.get("/v3/contacts/lists", self._lists),
            web.get("/v3/contacts/lists/{list}", self._list),
            web.put("/v3/contacts/{identifier}", _answering(self._update)),
            web.delete("/v3/contacts/{identifier}", _answering(self._delete)),
        ]

    def authorized(self, request: web.Request, body: bytes) -> bool:
        return request.headers.get("api-key") == KEY

    def unauthorized(self) -> web.Response:
        return _error(401, "unauthorized", "Key not found")

    def throttle(self, wait: float) -> web.Response:
        answer = _error(429, "too_many_requests", "You have exceeded your rate limit.")
        answer.headers.update(
            {"x-sib-ratelimit-limit": "10", "x-sib-ratelimit-remaining": "0", "x-sib-ratelimit-reset": f"{wait:.0f}"}
        )
        return answer

    def members(self, segment: str) -> set[str]:
        return {
            _customer(one)
            for one in self.contacts
            if (LIST in one.lists if segment == "vip" else one.attributes.get("IN_CART") is True)
        }

    def named(self, name: str) -> Contact | None:
        """The contact with that e-mail address or external id."""
        return self._found("email", name) or self._found("ext_id", name)

    def _found(self, kind: str, value: Any) -> Contact | None:
        for one in self.contacts:
            held = getattr(one, kind)
            if value is not None and held is not None and str(held).casefold() == str(value).casefold():
                return one
        return None

    # The calls.

    async def _batch(self, request: web.Request) -> web.Response:
        items = (await request.json())["contacts"]
        if not 1 <= len(items) <= MAX_CONTACTS:
            raise Refusal(400, "out_of_range", "Too many contacts")
        for item in items:
            self._check(item, "batch")
            if sum(kind in item for kind in ("email", "id", "sms")) != 1:
                raise Refusal(400, "invalid_parameter", "Pass one of email, id or sms")
        found = [self._found("email", item["email"]) for item in items]
        missing = [str(place) for place, one in enumerate(found, self.first_place) if one is None]
        if missing:
            said = f"No contact found for indexes {','.join(missing)}" if self.names_places else "Contacts not found"
            raise Refusal(404, "document_not_found", said)
        if len({one.id for one in found if one is not None}) < len(items):
            raise Refusal(400, "duplicate_parameter", "A contact is there twice")
        for item, one in zip(items, found, strict=True):
            assert one is not None
            self._write(one, item)
        return web.Response(status=204)

    async def _create(self, request: web.Request) -> web.Response:
        item = await request.json()
        self._check(item, "create")
        by_id, by_email = self._found("ext_id", item.get("ext_id")), self._found("email", item.get("email"))
        another = by_email if by_email is not by_id and "ext_id" in item else None
        if another is not None and (by_id is not None or another.ext_id is not None or not self.merges):
            said = "Unable to update contact, email is already associated with another Contact"
            raise Refusal(400, "duplicate_parameter", said)
        one = by_id or by_email
        if one is not None and not item.get("updateEnabled"):
            raise Refusal(400, "duplicate_parameter", "Contact already exist")
        if one is None:
            if not item.get("email") and not item.get("ext_id"):
                raise Refusal(400, "missing_parameter", "Pass email, ext_id or SMS")
            self._made += 1
            made = Contact(self._made, item.get("email"), item.get("ext_id"))
            self._write(made, item)
            self.contacts.append(made)
            return web.json_response({"id": made.id}, status=201)
        if "email" in item and one is not by_email:
            one.email, one.blocked = item["email"], False
        one.ext_id = item.get("ext_id", one.ext_id)
        self._write(one, item)
        return web.Response(status=204)

    async def _update(self, request: web.Request) -> web.Response:
        item = await request.json()
        self._check(item, "update")
        self._write(self._addressed(request), item)
        return web.Response(status=204)

    async def _delete(self, request: web.Request) -> web.Response:
        one = self._addressed(request)
        if one.ext_id in self.kept:
            raise Refusal(405, "method_not_allowed", "Contact can not be deleted")
        self.contacts.remove(one)
        self.erased.add(_customer(one))
        return web.Response(status=204)

    async def _lists(self, request: web.Request) -> web.Response:
        return web.json_response({"count": len(self.lists), "lists": [{"id": number} for number in self.lists]})

    async def _list(self, request: web.Request) -> web.Response:
        if int(request.match_info["list"]) not in self.lists:
            return _error(404, "document_not_found", "List ID does not exist")
        return web.json_response({"id": int(request.match_info["list"]), "name": "VIP"})

    def _addressed(self, request: web.Request) -> Contact:
        kinds = {"email_id": "email", "ext_id": "ext_id", "contact_id": "id"}
        one = self._found(kinds[request.query["identifierType"]], request.match_info["identifier"])
        if one is None:
            raise Refusal(404, "document_not_found", "Contact does not exist")
        return one

    def _check(self, item: Mapping[str, Any], call: str) -> None:
        unknown = item.keys() - FIELDS[call]
        if unknown:
            raise Refusal(400, "invalid_parameter", f"{sorted(unknown)} are not known")
        email = item.get("email")
        if email is not None and (not ADDRESS.fullmatch(email) or customer_of(email) in self.refused):
            raise Refusal(400, "invalid_parameter", "Invalid email address")
        if item.get("ext_id") in self.refused:
            raise Refusal(400, "invalid_parameter", "Invalid ext_id")
        named = [*item.get("listIds", []), *item.get("unlinkListIds", [])]
        if any(not isinstance(number, int) or number not in self.lists for number in named):
            raise Refusal(400, "invalid_parameter", "Invalid list ids")

    def _write(self, one: Contact, item: Mapping[str, Any]) -> None:
        one.lists |= set(item.get("listIds", []))
        one.lists -= set(item.get("unlinkListIds", []))
        for name, value in item.get("attributes", {}).items():
            if name in self.attributes and isinstance(value, self.attributes[name]):
                one.attributes[name] = value


def _answering(handler: Callable[[web.Request], Any]) -> Callable[[web.Request], Any]:
    async def answer(request: web.Request) -> web.Response:
        try:
            answered: web.Response = await handler(request)
        except Refusal as refusal:
            return refusal.answer
        except json.JSONDecodeError:
            return _error(400, "bad_request", "Input must be a valid JSON object")
        return answered

    return answer


def _customer(contact: Contact) -> str:
    return contact.ext_id or customer_of(contact.email or "")


def _error(status: int, code: str, message: str) -> web.Response:
    return web.json_response({"code": code, "message": message}, status=status)
