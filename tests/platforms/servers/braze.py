"""Braze's `/users/track` and `/users/delete`: custom attributes by user, per-item errors in a 201, a fatal 400."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, ClassVar

from aiohttp import web

from tests.platforms.changes import NOW
from tests.platforms.servers import PlatformServer, customer_of

MAX_OBJECTS = 75
MAX_DELETED = 50
IDENTIFIERS = ("external_id", "email")


class BrazeServer(PlatformServer):
    """`users` holds the custom attributes by identifier, `events` every event that was ever taken."""

    platform = "braze"
    environ: ClassVar = {"BRAZE_API_KEY": "5f4dcc3b-5aa7-65d6-1d83-27deb882cf99"}
    max_items = 50

    def __init__(self) -> None:
        super().__init__()
        self.users: dict[str, dict[str, Any]] = {}
        self.events: list[dict[str, Any]] = []
        self.array_limit = 25

    def options(self) -> dict[str, Any]:
        return {
            "platform": "braze",
            "api_key": {"env": "BRAZE_API_KEY"},
            "base_url": self.url,
            "segments": {"vip": {"attribute": "is_vip"}, "cart": {"array": "live_segments"}},
            "fields": {"cart_value": "cart_value"},
            "batch_size": self.max_items,
        }

    def routes(self) -> Iterable[web.AbstractRouteDef]:
        return [
            web.post("/users/track", self._track),
            web.post("/users/delete", self._delete),
            web.get("/segments/list", self._segments),
        ]

    def authorized(self, request: web.Request, body: bytes) -> bool:
        return request.headers.get("authorization") == f"Bearer {self.environ['BRAZE_API_KEY']}"

    def unauthorized(self) -> web.Response:
        return web.json_response({"message": "Invalid API Key"}, status=401)

    def throttle(self, wait: float) -> web.Response:
        headers = {
            "X-RateLimit-Limit": "3000",
            "X-RateLimit-Remaining": "0",
            "X-RateLimit-Reset": f"{NOW + wait:.0f}",
        }
        return web.json_response({"message": "Rate limit exceeded"}, status=429, headers=headers)

    def members(self, segment: str) -> set[str]:
        return {
            customer_of(user)
            for user, attributes in self.users.items()
            if (
                attributes.get("is_vip") is True if segment == "vip" else segment in attributes.get("live_segments", [])
            )
        }

    async def _track(self, request: web.Request) -> web.Response:
        document = json.loads(await request.read())
        arrays = {name: document.pop(name, []) for name in ("attributes", "events", "purchases")}
        if document or not any(arrays.values()):
            return _fatal("Valid data must be provided in the 'attributes', 'events', or 'purchases' fields.")
        if sum(map(len, arrays.values())) > MAX_OBJECTS:
            return _fatal("Request contains too many objects.")
        errors = []
        for array, objects in arrays.items():
            for index, item in enumerate(objects):
                problem = self._problem(array, item)
                if problem:
                    errors.append({"type": problem, "input_array": array, "index": index})
                elif array == "events":
                    self.events.append(item)
                else:
                    self._set(item)
        taken = {f"{array}_processed": len(objects) for array, objects in arrays.items() if objects}
        if len(errors) == sum(map(len, arrays.values())):
            return _fatal("Valid data must be provided.", errors)
        return web.json_response({"message": "success", **taken, **({"errors": errors} if errors else {})}, status=201)

    def _problem(self, array: str, item: dict[str, Any]) -> str:
        identifiers = [name for name in IDENTIFIERS if name in item]
        if len(identifiers) != 1 or not isinstance(item[identifiers[0]], str):
            return "'external_id', 'braze_id', 'user_alias', 'email' or 'phone' is required"
        if customer_of(item[identifiers[0]]) in self.refused:
            return "provided external_id is blacklisted and disallowed"
        if array == "events" and not {"name", "time"} <= item.keys():
            return "'name' and 'time' are required"
        return ""

    def _set(self, item: dict[str, Any]) -> None:
        (identifier,) = (item[name] for name in IDENTIFIERS if name in item)
        if item.get("_update_existing_only") and identifier not in self.users:
            return
        attributes = self.users.setdefault(identifier, {})
        for name, value in item.items():
            if name in IDENTIFIERS or name == "_update_existing_only":
                continue
            if value is None:
                attributes.pop(name, None)
            elif isinstance(value, dict) and value.keys() <= {"add", "remove"}:
                kept = [old for old in attributes.get(name, []) if old not in value.get("remove", [])]
                added = value.get("add", [])
                attributes[name] = [*(old for old in kept if old not in added), *added][: self.array_limit]
            else:
                attributes[name] = value

    async def _delete(self, request: web.Request) -> web.Response:
        document = json.loads(await request.read())
        if len(document) != 1 or not set(document) <= {"external_ids", "email_addresses"}:
            return _fatal("Exactly one of the identifiers must be given.")
        (users,) = document.values()
        if not 1 <= len(users) <= MAX_DELETED:
            return _fatal("Between 1 and 50 users may be deleted.")
        for user in users:
            self.users.pop(user, None)
            self.erased.add(customer_of(user))
        return web.json_response({"deleted": len(users), "message": "success"}, status=201)

    async def _segments(self, request: web.Request) -> web.Response:
        return web.json_response({"message": "success", "segments": []})


def _fatal(message: str, errors: list[dict[str, Any]] | None = None) -> web.Response:
    return web.json_response({"message": message, **({"errors": errors} if errors else {})}, status=400)
