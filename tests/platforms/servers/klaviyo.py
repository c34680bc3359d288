"""Klaviyo: profiles by identifiers, lists by profile ids, events that are recorded once."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from aiohttp import web

from tests.platforms.servers import PlatformServer, customer_of

KEY = "pk_0123456789abcdef0123456789abcdef01"
LIST = "VRgFBd"
IDENTIFIERS = ("email", "external_id", "phone_number")
JSON_API = "application/vnd.api+json"


@dataclass
class Profile:
    id: str
    attributes: dict[str, Any] = field(default_factory=dict)
    properties: dict[str, Any] = field(default_factory=dict)

    @property
    def customer(self) -> str:
        return str(self.attributes.get("external_id") or customer_of(self.attributes["email"]))


class KlaviyoServer(PlatformServer):
    """As revision 2026-07-15 is documented: https://developers.klaviyo.com/en/reference/api_overview."""

    platform = "klaviyo"
    environ: ClassVar[Mapping[str, str]] = {"KLAVIYO_API_KEY": KEY}
    max_items = 200

    def __init__(self) -> None:
        super().__init__()
        self.profiles: dict[str, Profile] = {}
        self.lists: dict[str, set[str]] = {LIST: set()}
        self.events: list[dict[str, Any]] = []
        """Those that were recorded: their attributes, and the id of the profile."""
        self._made = 0

    def options(self) -> dict[str, Any]:
        return {
            "platform": "klaviyo",
            "api_key": {"env": "KLAVIYO_API_KEY"},
            "base_url": self.url,
            "identity": {"email": "email"},
            "segments": {"vip": {"list": LIST}, "cart": {"property": "in_cart"}},
            "batch_size": self.max_items,
        }

    def routes(self) -> Iterable[web.AbstractRouteDef]:
        return [
            web.post("/api/profile-import", self._import),
            web.post("/api/lists/{list}/relationships/profiles", self._members),
            web.delete("/api/lists/{list}/relationships/profiles", self._members),
            web.post("/api/events", self._event),
            web.get("/api/profiles", self._search),
            web.post("/api/data-privacy-deletion-jobs", self._delete),
            web.get("/api/accounts", self._accounts),
        ]

    def authorized(self, request: web.Request, body: bytes) -> bool:
        return request.headers.get("authorization") == f"Klaviyo-API-Key {KEY}"

    def unauthorized(self) -> web.Response:
        return _errors(401, "not_authenticated", "Missing or invalid private key.", parameter="authorization")

    def throttle(self, wait: float) -> web.Response:
        return _errors(429, "throttled", f"Expected available in {wait:.0f} seconds.", {"retry-after": f"{wait:.0f}"})

    def members(self, segment: str) -> set[str]:
        if segment == "vip":
            return {self.profiles[profile].customer for profile in self.lists[LIST]}
        return {profile.customer for profile in self.profiles.values() if profile.properties.get("in_cart") is True}

    def add(self, **identifiers: str) -> Profile:
        """A profile that is there already."""
        self._made += 1
        profile = Profile(f"01H{self._made:023d}", dict(identifiers))
        self.profiles[profile.id] = profile
        return profile

    # The calls.

    async def _import(self, request: web.Request) -> web.Response:
        document, failure = await _document(request, limit=100_000)
        if failure is not None:
            return failure
        data = document["data"]
        given = dict(data["attributes"])
        properties = given.pop("properties", {})
        if given.get("external_id") in self.refused:
            return _errors(400, "invalid", "This profile cannot be.", pointer="/data/attributes/external_id")
        if not _is_address(given.get("email", "a@example.com")):
            return _errors(400, "invalid", "Invalid email address", pointer="/data/attributes/email")
        found = self._holders(given)
        if data.get("id"):
            if found - {data["id"]} or data["id"] not in self.profiles:
                return self._conflict(found)
            found = {data["id"]}
        if len(found) > 1:
            return self._conflict(found)
        if not found and not any(name in given for name in IDENTIFIERS):
            return _errors(400, "invalid", "One of email, phone_number, external_id is needed", pointer="/data")
        profile = self.profiles[found.pop()] if found else self.add()
        created = not profile.attributes
        profile.attributes.update(given)
        profile.properties.update(properties)
        document = {"data": _row(profile)}
        return _answer(201 if created else 200, document)

    def _holders(self, given: Mapping[str, Any]) -> set[str]:
        return {
            profile.id
            for profile in self.profiles.values()
            if any(name in given and profile.attributes.get(name) == given[name] for name in IDENTIFIERS)
        }

    def _conflict(self, found: set[str]) -> web.Response:
        """https://github.com/klaviyo/klaviyo-api-node/issues/75"""
        return _errors(
            409,
            "duplicate_profile",
            "A profile already exists with one of these identifiers.",
            pointer="/data/attributes",
            meta={"duplicate_profile_id": min(found)},
        )

    async def _members(self, request: web.Request) -> web.Response:
        document, failure = await _document(request)
        if failure is not None:
            return failure
        members = self.lists.get(request.match_info["list"])
        if members is None:
            return _errors(404, "not_found", f"A list with id {request.match_info['list']} does not exist.")
        ids = [one["id"] for one in document["data"]]
        if len(ids) > 1000:
            return _errors(400, "invalid", "At most 1000 profiles.", pointer="/data")
        for index, one in enumerate(ids):
            if one not in self.profiles:
                return _errors(400, "invalid", f"Profile {one} does not exist.", pointer=f"/data/{index}/id")
        (members.update if request.method == "POST" else members.difference_update)(ids)
        return web.Response(status=204)

    async def _event(self, request: web.Request) -> web.Response:
        document, failure = await _document(request, limit=5_000_000)
        if failure is not None:
            return failure
        attributes = document["data"]["attributes"]
        given = attributes["profile"]["data"]
        found = {given["id"]} if given.get("id") else self._holders(given["attributes"])
        profile = self.profiles[min(found)] if found else self.add(**given["attributes"])
        recorded = {**attributes, "profile": profile.id}
        if not any(
            (one["profile"], one["metric"], one["unique_id"])
            == (profile.id, attributes["metric"], attributes["unique_id"])
            for one in self.events
        ):
            self.events.append(recorded)
        return web.Response(status=202)

    async def _search(self, request: web.Request) -> web.Response:
        match = re.fullmatch(r'equals\((email|external_id|phone_number),(".*")\)', request.query["filter"])
        if match is None:
            return _errors(400, "invalid", "Invalid filter", parameter="filter")
        found = self._holders({match[1]: json.loads(match[2])})
        return _answer(200, {"data": [_row(self.profiles[one]) for one in sorted(found)], "links": {}})

    async def _delete(self, request: web.Request) -> web.Response:
        document, failure = await _document(request)
        if failure is not None:
            return failure
        profile = self.profiles.pop(document["data"]["attributes"]["profile"]["data"]["id"], None)
        if profile is None:
            return _errors(404, "not_found", "No such profile")
        self.erased.add(profile.customer)
        for members in self.lists.values():
            members.discard(profile.id)
        return web.Response(status=202)

    async def _accounts(self, request: web.Request) -> web.Response:
        return _answer(200, {"data": [{"type": "account", "id": "AbC123", "attributes": {}}]})


async def _document(request: web.Request, limit: int = 1_000_000) -> tuple[Any, web.Response | None]:
    """The request's body, or how a request that is not as it should be is answered."""
    body = await request.read()
    if not re.fullmatch(r"\d{4}-\d{2}-\d{2}", request.headers.get("revision", "")):
        return None, _errors(400, "missing_revision", "A revision is required.", parameter="revision")
    if request.headers["revision"] < "2024-10-15":
        return None, _errors(410, "revision_retired", "This revision is retired.", parameter="revision")
    if request.headers.get("content-type") != JSON_API:
        return None, _errors(415, "unsupported_media_type", "Unsupported media type")
    if len(body) > limit:
        return None, _errors(413, "payload_too_large", f"At most {limit} bytes")
    return json.loads(body), None


def _row(profile: Profile) -> dict[str, Any]:
    links = {"self": f"https://a.klaviyo.com/api/profiles/{profile.id}/"}
    return {"type": "profile", "id": profile.id, "attributes": {**profile.attributes, "location": {}}, "links": links}


def _is_address(text: str) -> bool:
    return re.fullmatch(r"[\w.!#$%&'*+/=?^`{|}~-]+@[\w-]+(\.[\w-]+)+", text, re.ASCII) is not None


def _answer(status: int, document: Any) -> web.Response:
    headers = {"ratelimit-limit": "750, 75;w=1, 750;w=60", "ratelimit-remaining": "700", "ratelimit-reset": "42"}
    return web.Response(status=status, body=json.dumps(document), headers=headers, content_type=JSON_API)


def _errors(
    status: int,
    code: str,
    detail: str,
    headers: Mapping[str, str] | None = None,
    meta: Mapping[str, Any] | None = None,
    **source: str,
) -> web.Response:
    error = {"id": "1", "status": status, "code": code, "title": code, "detail": detail, "source": source}
    document = {"errors": [{**error, "meta": dict(meta or {})}]}
    return web.Response(status=status, body=json.dumps(document), headers=headers or {}, content_type=JSON_API)
