"""SendGrid's Marketing contacts: everything is a job that is done later, and one bad contact rejects a whole PUT."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, ClassVar

from aiohttp import web

from tests.platforms.changes import NOW
from tests.platforms.servers import PlatformServer, customer_of

LIST = "6d04a6e3-0f3a-4a4e-9f7b-6a1f6f0c1c52"
MAX_CONTACTS = 30_000
MAX_BYTES = 6_000_000
MAX_SEARCHED = 100
MAX_URL = 8_000


@dataclass
class Job:
    """What was asked for; `left` counts down with every request that comes, and at 0 it is applied."""

    id: str
    kind: str
    apply: Callable[[], int]
    """Returns how many contacts it could not do."""
    left: int
    status: str = "pending"
    failed: int = 0


@dataclass
class Contact:
    id: str
    email: str
    fields: dict[str, Any] = field(default_factory=dict)
    lists: set[str] = field(default_factory=set)


class SendGridServer(PlatformServer):
    """`contacts` holds them by address; jobs take `slow` requests until they are applied."""

    platform = "sendgrid"
    environ: ClassVar = {"SENDGRID_API_KEY": "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"}
    anonymous: ClassVar = {}
    max_items = 100

    def __init__(self) -> None:
        super().__init__()
        self.contacts: dict[str, Contact] = {}
        self.jobs: dict[str, Job] = {}
        self.slow = 1
        self.names_items = False
        """Whether a 400 says which contact is bad."""
        self.spoiled: set[str] = set()
        """Customers whom a PUT takes and its job cannot do."""
        self.keeps_removals = True
        """Whether the job of a removal from a list has a status."""

    def options(self) -> dict[str, Any]:
        return {
            "platform": "sendgrid",
            "api_key": {"env": "SENDGRID_API_KEY"},
            "base_url": self.url,
            "segments": {"vip": {"list": LIST}, "cart": {"field": "e7_T"}},
            "fields": {"cart_value": "e8_N"},
            "batch_size": self.max_items,
        }

    def routes(self) -> Iterable[web.AbstractRouteDef]:
        return [
            web.put("/v3/marketing/contacts", self._put),
            web.delete("/v3/marketing/contacts", self._delete),
            web.get("/v3/marketing/contacts/count", self._count),
            web.get("/v3/marketing/contacts/imports/{job}", self._job),
            web.post("/v3/marketing/contacts/search/emails", self._search),
            web.delete("/v3/marketing/lists/{list}/contacts", self._leave),
            web.get("/v3/marketing/lists/{list}", self._list),
        ]

    def authorized(self, request: web.Request, body: bytes) -> bool:
        self._tick()
        return request.headers.get("authorization") == f"Bearer {self.environ['SENDGRID_API_KEY']}"

    def unauthorized(self) -> web.Response:
        return _errors(401, {"field": None, "message": "authorization required"})

    def throttle(self, wait: float) -> web.Response:
        headers = {"X-RateLimit-Limit": "600", "X-RateLimit-Remaining": "0", "X-RateLimit-Reset": f"{NOW + wait:.0f}"}
        answer = _errors(429, {"field": None, "message": "too many requests"})
        answer.headers.update(headers)
        return answer

    def members(self, segment: str) -> set[str]:
        return {
            customer_of(email)
            for email, contact in self.contacts.items()
            if (LIST in contact.lists if segment == "vip" else contact.fields.get("e7_T") == "true")
        }

    def _tick(self) -> None:
        for job in self.jobs.values():
            if job.status == "pending":
                job.left -= 1
                if job.left <= 0:
                    job.failed = job.apply()
                    job.status = "errored" if job.failed else "completed"

    def _begin(self, kind: str, apply: Callable[[], int]) -> web.Response:
        job = Job(str(uuid.uuid5(uuid.NAMESPACE_OID, str(len(self.jobs)))), kind, apply, self.slow)
        self.jobs[job.id] = job
        return web.json_response({"job_id": job.id}, status=202)

    async def _put(self, request: web.Request) -> web.Response:
        body = await request.read()
        document = json.loads(body)
        contacts = document["contacts"]
        if len(body) > MAX_BYTES or not 1 <= len(contacts) <= MAX_CONTACTS:
            return _errors(413, {"field": "contacts", "message": "too many contacts"})
        if set(document.get("list_ids", [])) - {LIST}:
            return _errors(400, {"field": "list_ids", "message": "list does not exist"})
        addresses = [contact["email"] for contact in contacts]
        if len(set(addresses)) < len(addresses):
            return _errors(400, {"field": "contacts", "message": "an address is there twice"})
        bad = [place for place, address in enumerate(addresses) if not self._is_good(address)]
        if bad and self.names_items:
            return _errors(400, *({"field": f"contacts[{n}].email", "message": "not a valid email"} for n in bad))
        if bad:
            return _errors(400, {"field": "contacts", "message": "one or more emails are invalid"})

        def apply() -> int:
            good = [one for one in contacts if customer_of(one["email"]) not in self.spoiled]
            for one in good:
                address = one["email"].lower()
                contact = self.contacts.setdefault(address, Contact(_id_of(address), address))
                contact.fields |= {name: one[name] for name in one.keys() - {"email", "custom_fields"}}
                contact.fields |= one.get("custom_fields", {})
                contact.lists |= set(document.get("list_ids", []))
            return len(contacts) - len(good)

        return self._begin("upsert", apply)

    def _is_good(self, address: str) -> bool:
        return address.isascii() and not set(' "\\?') & set(address) and customer_of(address) not in self.refused

    async def _job(self, request: web.Request) -> web.Response:
        job = self.jobs.get(request.match_info["job"])
        if job is None or (job.kind == "removal" and not self.keeps_removals):
            return _errors(404, {"message": "no such job"})
        results = {"requested_count": 1, "errored_count": job.failed}
        return web.json_response({"id": job.id, "status": job.status, "job_type": job.kind, "results": results})

    async def _search(self, request: web.Request) -> web.Response:
        addresses = json.loads(await request.read())["emails"]
        if not 1 <= len(addresses) <= MAX_SEARCHED or any(not self._is_good(address) for address in addresses):
            return _errors(400, {"field": "emails", "message": "invalid"})
        found = {
            address: {"contact": self._shown(self.contacts[address])}
            if address in self.contacts
            else {"error": "contact not found"}
            for address in addresses
        }
        if not any("contact" in one for one in found.values()):
            return _errors(404, {"message": "no contacts found"})
        return web.json_response({"result": found})

    def _shown(self, contact: Contact) -> dict[str, Any]:
        moments = {"created_at": "2026-03-02T15:25:47Z", "updated_at": "2026-03-30T15:26:16Z"}
        return {
            "id": contact.id,
            "email": contact.email,
            "list_ids": sorted(contact.lists),
            "segment_ids": [],
        } | moments

    async def _leave(self, request: web.Request) -> web.Response:
        ids = self._ids(request, "contact_ids")
        if request.match_info["list"] != LIST or ids is None:
            return _errors(404, {"message": "The specified list or contact does not exist."})

        def apply() -> int:
            for contact in self.contacts.values():
                if contact.id in ids:
                    contact.lists.discard(LIST)
            return 0

        return self._begin("removal", apply)

    async def _delete(self, request: web.Request) -> web.Response:
        ids = self._ids(request, "ids")
        if ids is None:
            return _errors(404, {"message": "contact does not exist"})

        def apply() -> int:
            gone = [address for address, contact in self.contacts.items() if contact.id in ids]
            for address in gone:
                del self.contacts[address]
                self.erased.add(customer_of(address))
            return 0

        return self._begin("delete", apply)

    def _ids(self, request: web.Request, name: str) -> set[str] | None:
        """The ids of the query; None where one of them is nobody's."""
        if len(str(request.raw_path)) > MAX_URL:
            raise web.HTTPRequestURITooLong
        ids = set(request.query[name].split(","))
        return ids if ids <= {contact.id for contact in self.contacts.values()} else None

    async def _list(self, request: web.Request) -> web.Response:
        if request.match_info["list"] != LIST:
            return _errors(404, {"message": "not found"})
        return web.json_response({"id": LIST, "name": "VIP", "contact_count": len(self.members("vip"))})

    async def _count(self, request: web.Request) -> web.Response:
        return web.json_response({"contact_count": len(self.contacts)})


def _id_of(address: str) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_URL, address))


def _errors(status: int, *errors: dict[str, Any]) -> web.Response:
    return web.json_response({"errors": list(errors)}, status=status)
