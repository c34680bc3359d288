"""Customer.io's Track API: manual segments, and batches with a 207 that names what was refused."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable
from typing import Any, ClassVar

from aiohttp import web

from tests.platforms.servers import PlatformServer, customer_of

SEGMENT = 7
MAX_IDS = 1_000
MAX_BATCH_BYTES = 500_000
MAX_ITEM_BYTES = 32_000
ULID = re.compile(r"[0-7][0-9A-HJKMNP-TV-Z]{25}")


class CustomerIOServer(PlatformServer):
    """`people` holds attributes by identifier, `events` what was taken by its id: a repeat is the same event."""

    platform = "customerio"
    environ: ClassVar = {"CUSTOMERIO_SITE_ID": "c8f3a9d2b7e6", "CUSTOMERIO_API_KEY": "9a0b1c2d3e4f5a6b7c8d"}
    max_items = 1_000
    silent = True
    throttle_tells = False

    def __init__(self) -> None:
        super().__init__()
        self.people: dict[str, dict[str, Any]] = {}
        self.segment: set[str] = set()
        self.events: dict[str, dict[str, Any]] = {}
        self.suppressed: set[str] = set()

    def options(self) -> dict[str, Any]:
        return {
            "platform": "customerio",
            "site_id": {"env": "CUSTOMERIO_SITE_ID"},
            "api_key": {"env": "CUSTOMERIO_API_KEY"},
            "base_url": self.url,
            "segments": {"vip": {"segment": SEGMENT}, "cart": {"attribute": "cart_abandoned"}},
            "fields": {"cart_value": "cart_value"},
            "batch_size": self.max_items,
        }

    def routes(self) -> Iterable[web.AbstractRouteDef]:
        return [
            web.get("/api/v1/accounts/region", self._region),
            web.post("/api/v1/segments/{segment}/{verb}", self._segment),
            web.post("/api/v2/batch", self._batch),
        ]

    def authorized(self, request: web.Request, body: bytes) -> bool:
        right = f"{self.environ['CUSTOMERIO_SITE_ID']}:{self.environ['CUSTOMERIO_API_KEY']}"
        return request.headers.get("authorization") == "Basic " + base64.b64encode(right.encode()).decode()

    def unauthorized(self) -> web.Response:
        return web.json_response({"meta": {"error": "Unauthorized"}}, status=401)

    def throttle(self, wait: float) -> web.Response:
        return web.json_response({"meta": {"error": "too many requests"}}, status=429)

    def members(self, segment: str) -> set[str]:
        if segment == "vip":
            return {customer_of(person) for person in self.segment}
        return {customer_of(person) for person, of in self.people.items() if of.get("cart_abandoned") is True}

    async def _region(self, request: web.Request) -> web.Response:
        return web.json_response({"url": "track.customer.io", "data_center": "us", "environment_id": 1})

    async def _segment(self, request: web.Request) -> web.Response:
        if request.match_info["segment"] != str(SEGMENT):
            return web.json_response({"meta": {"errors": ["segment not found"]}}, status=400)
        document = json.loads(await request.read())
        ids = document.pop("ids", [])
        if document or not 1 <= len(ids) <= MAX_IDS or request.query.get("id_type", "id") not in ("id", "email"):
            return web.json_response({"meta": {"errors": ["ids: between 1 and 1000"]}}, status=400)
        if any(customer_of(person) in self.refused for person in ids):
            return web.json_response({"meta": {"errors": ["id is invalid"]}}, status=400)
        people = {person for person in ids if person not in self.suppressed}
        if request.match_info["verb"] == "add_customers":
            self.segment |= people
        else:
            self.segment -= people
        return web.json_response({})

    async def _batch(self, request: web.Request) -> web.Response:
        body = await request.read()
        if len(body) >= MAX_BATCH_BYTES:
            return web.json_response({"errors": [{"reason": "too_large", "message": "at most 500kb"}]}, status=400)
        document = json.loads(body)
        if document.keys() != {"batch"} or not document["batch"]:
            return web.json_response({"errors": [{"reason": "required", "field": "batch"}]}, status=400)
        errors = []
        for index, operation in enumerate(document["batch"]):
            problem = self._apply(operation)
            if problem:
                errors.append({"batch_index": index, **problem})
        return web.json_response({"errors": errors} if errors else {}, status=207 if errors else 200)

    def _apply(self, operation: dict[str, Any]) -> dict[str, str] | None:
        """What is wrong with an operation; else it is applied."""
        identifiers = operation.get("identifiers", {})
        if operation.get("type") != "person" or len(identifiers) != 1 or not identifiers.keys() <= {"id", "email"}:
            return {"reason": "invalid", "field": "identifiers", "message": "one identifier is required"}
        if len(json.dumps(operation).encode()) > MAX_ITEM_BYTES:
            return {"reason": "too_large", "field": "", "message": "at most 32kb"}
        (person,) = identifiers.values()
        if customer_of(person) in self.refused:
            return {"reason": "invalid", "field": "id", "message": "id is not acceptable"}
        if operation["action"] in ("delete", "suppress"):
            self.people.pop(person, None)
            self.segment.discard(person)
            self.erased.add(customer_of(person))
            if operation["action"] == "suppress":
                self.suppressed.add(person)
        elif operation["action"] == "identify" and person not in self.suppressed:
            attributes = self.people.setdefault(person, {})
            for name, value in operation["attributes"].items():
                attributes[name] = value
        elif operation["action"] == "event":
            if not ULID.fullmatch(operation["id"]):
                return {"reason": "invalid", "field": "id", "message": "not a ULID"}
            self.events.setdefault(operation["id"], operation)
        elif operation["action"] != "identify":
            return {"reason": "invalid", "field": "action", "message": "unknown action"}
        return None
