"""HubSpot: contacts by a unique property, static lists by record ids."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

from aiohttp import web

from tests.platforms.servers import PlatformServer, customer_of

TOKEN = "pat-na1-01234567-89ab-cdef-0123-456789abcdef"
LIST = "42"
MAX_CONTACTS = 100


class HubSpotServer(PlatformServer):
    """As the CRM API v3 is documented: https://developers.hubspot.com/docs/api-reference."""

    platform = "hubspot"
    environ: ClassVar[Mapping[str, str]] = {"HUBSPOT_ACCESS_TOKEN": TOKEN}
    max_items = MAX_CONTACTS
    anonymous: ClassVar[Mapping[str, Any]] = {}

    def __init__(self) -> None:
        super().__init__()
        self.contacts: dict[str, dict[str, str]] = {}
        """Properties by record id."""
        self.properties = {"email", "in_cart", "cart_value", "external_customer_id", "tags", "firstname"}
        self.unique = {"email", "external_customer_id"}
        self.lists: dict[str, set[str]] = {LIST: set()}
        self.policy = "TEN_SECONDLY_ROLLING"
        self._made = 100

    def options(self) -> dict[str, Any]:
        return {
            "platform": "hubspot",
            "access_token": {"env": "HUBSPOT_ACCESS_TOKEN"},
            "base_url": self.url,
            "segments": {"vip": {"list": LIST}, "cart": {"property": "in_cart"}},
        }

    def routes(self) -> Iterable[web.AbstractRouteDef]:
        routes = [web.get("/account-info/v3/details", self._details)]
        for objects, lists in (("/crm/v3/objects", "/crm/v3/lists"), ("/crm/objects/2026-03", "/crm/lists/2026-03")):
            routes += [
                web.post(f"{objects}/contacts/batch/upsert", self._upsert),
                web.post(f"{objects}/contacts/batch/read", self._read),
                web.post(f"{objects}/contacts/gdpr-delete", self._delete),
                web.put(f"{lists}/{{list}}/memberships/add-and-remove", self._members),
            ]
        return routes

    def authorized(self, request: web.Request, body: bytes) -> bool:
        return request.headers.get("authorization") == f"Bearer {TOKEN}"

    def unauthorized(self) -> web.Response:
        return _error(401, "INVALID_AUTHENTICATION", "Authentication credentials not found.")

    def throttle(self, wait: float) -> web.Response:
        headers = {
            "x-hubspot-ratelimit-interval-milliseconds": "10000",
            "x-hubspot-ratelimit-max": "190",
            "x-hubspot-ratelimit-remaining": "0",
        }
        said = {"status": "error", "message": "too fast", "errorType": "RATE_LIMIT", "policyName": self.policy}
        return web.json_response(said, status=429, headers=headers)

    throttle_tells = False

    def members(self, segment: str) -> set[str]:
        if segment == "vip":
            return {self._customer(self.contacts[record]) for record in self.lists[LIST]}
        return {self._customer(contact) for contact in self.contacts.values() if contact.get("in_cart") == "true"}

    def _customer(self, contact: Mapping[str, str]) -> str:
        return contact.get("external_customer_id") or customer_of(contact["email"])

    def forget(self, customer: str) -> None:
        """Somebody deletes a contact by hand."""
        for record, contact in list(self.contacts.items()):
            if self._customer(contact) == customer:
                del self.contacts[record]
                for members in self.lists.values():
                    members.discard(record)

    def _holder(self, name: str, value: str) -> str | None:
        for record, contact in self.contacts.items():
            if contact.get(name, "").casefold() == value.casefold():
                return record
        return None

    # The calls.

    async def _upsert(self, request: web.Request) -> web.Response:
        inputs = (await request.json())["inputs"]
        if len(inputs) > MAX_CONTACTS:
            return _error(400, "VALIDATION_ERROR", f"The maximum number of inputs is {MAX_CONTACTS}.")
        if len({one["id"].casefold() for one in inputs}) < len(inputs):
            return _error(400, "VALIDATION_ERROR", "Duplicate IDs found in batch input.")
        results: list[dict[str, Any]] = []
        errors: list[dict[str, Any]] = []
        for one in inputs:
            fault = self._fault_of(one)
            if fault is not None:
                errors.append(
                    {**fault, "status": "error", "context": {"objectWriteTraceId": [one["objectWriteTraceId"]]}}
                )
                continue
            record = self._holder(one["idProperty"], one["id"])
            new = record is None
            if record is None:
                self._made += 1
                record = str(self._made)
                self.contacts[record] = {one["idProperty"]: one["id"]}
            self.contacts[record].update(one["properties"])
            results.append(
                {
                    "id": record,
                    "new": new,
                    "properties": {"hs_object_id": record, **one["properties"]},
                    "objectWriteTraceId": one["objectWriteTraceId"],
                }
            )
        results.reverse()  # in no order that could be relied on
        document: dict[str, Any] = {"status": "COMPLETE", "results": results}
        if errors:
            document |= {"numErrors": len(errors), "errors": errors}
        return web.json_response(document, status=207 if errors else 200)

    def _fault_of(self, one: Mapping[str, Any]) -> dict[str, str] | None:
        if one["idProperty"] not in self.unique:
            return {"category": "VALIDATION_ERROR", "message": f"{one['idProperty']} is not a unique property"}
        if customer_of(one["id"]) in self.refused:
            return {"category": "VALIDATION_ERROR", "message": "Property values were not valid"}
        for name, value in one["properties"].items():
            if name not in self.properties:
                fault = {"isValid": False, "error": "PROPERTY_DOESNT_EXIST", "name": name}
                return {
                    "category": "VALIDATION_ERROR",
                    "message": f"Property values were not valid: [{json.dumps(fault)}]",
                }
            if not isinstance(value, str):
                return {"category": "VALIDATION_ERROR", "message": f"{name} is not a string"}
        address = one["id"] if one["idProperty"] == "email" else one["properties"].get("email", "a@example.com")
        if not re.fullmatch(r"[\w.!#$%&'*+/=?^`{|}~-]+@[\w-]+(\.[\w-]+)+", address, re.ASCII):
            return {"category": "VALIDATION_ERROR", "message": "Email address is invalid (INVALID_EMAIL)"}
        return None

    async def _members(self, request: web.Request) -> web.Response:
        members = self.lists.get(request.match_info["list"])
        if members is None:
            return _error(404, "OBJECT_NOT_FOUND", "List does not exist.")
        document = await request.json()
        add, remove = document["recordIdsToAdd"], document["recordIdsToRemove"]
        missing = [record for record in [*add, *remove] if record not in self.contacts]
        added = [record for record in add if record in self.contacts and record not in members]
        removed = [record for record in remove if record in members]
        members.update(added)
        members.difference_update(removed)
        return web.json_response({"recordsIdsAdded": added, "recordIdsRemoved": removed, "recordIdsMissing": missing})

    async def _read(self, request: web.Request) -> web.Response:
        document = await request.json()
        if len(document["inputs"]) > MAX_CONTACTS:
            return _error(400, "VALIDATION_ERROR", f"The maximum number of inputs is {MAX_CONTACTS}.")
        results = []
        for one in document["inputs"]:
            record = self._holder(document["idProperty"], one["id"])
            if record is not None:
                asked = {name: self.contacts[record].get(name) for name in document["properties"]}
                always = {"createdate": "2026-01-02T03:04:05Z", "hs_object_id": record}
                results.append({"id": record, "properties": {**always, **asked}})
        absent = len(document["inputs"]) - len(results)
        answer: dict[str, Any] = {"status": "COMPLETE", "results": results}
        if absent:
            answer |= {"numErrors": 1, "errors": [{"status": "error", "category": "OBJECT_NOT_FOUND", "message": "…"}]}
        return web.json_response(answer, status=207 if absent else 200)

    async def _delete(self, request: web.Request) -> web.Response:
        record = (await request.json())["objectId"]
        contact = self.contacts.pop(record, None)
        if contact is None:
            return _error(404, "OBJECT_NOT_FOUND", "resource not found")
        self.erased.add(self._customer(contact))
        for members in self.lists.values():
            members.discard(record)
        return web.Response(status=204)

    async def _details(self, request: web.Request) -> web.Response:
        return web.json_response({"portalId": 1234567, "accountType": "STANDARD"})


def _error(status: int, category: str, message: str) -> web.Response:
    said = {"status": "error", "message": message, "correlationId": "aeb5f871-7f07-4993-9211-075dc63e7cbf"}
    return web.json_response({**said, "category": category}, status=status)
