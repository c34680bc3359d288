"""Mailchimp's audience: members by the hash of their address, static segments, tags, a bare 403 when pressed."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterable
from typing import Any, ClassVar

from aiohttp import web

from tests.platforms.servers import PlatformServer, customer_of

LIST = "a1b2c3d4e5"
SEGMENT = 4711
MAX_MEMBERS = 500
ADDRESS = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")


class MailchimpServer(PlatformServer):
    """Everybody whom `is_member` accepts is in the audience: tests take that from `strangers`."""

    platform = "mailchimp"
    environ: ClassVar = {"MAILCHIMP_API_KEY": "0123456789abcdef0123456789abcdef-us21"}
    max_items = 500
    anonymous: ClassVar = {}
    throttle_tells = False

    def __init__(self) -> None:
        super().__init__()
        self.strangers: set[str] = set()
        """Customers who are not in the audience."""
        self.segment: set[str] = set()
        """Addresses in the static segment."""
        self.tags: dict[str, set[str]] = {}
        """Hashes by tag."""
        self.merge_fields: dict[str, dict[str, Any]] = {}
        self.automations: list[tuple[str, str]] = []
        """Tags and hashes whose new tag may have started an automation."""
        self.list_exists = True
        self.weight = 0
        """Bytes that every member of an answer weighs."""

    def options(self) -> dict[str, Any]:
        return {
            "platform": "mailchimp",
            "api_key": {"env": "MAILCHIMP_API_KEY"},
            "list": LIST,
            "base_url": self.url,
            "segments": {"vip": {"segment": SEGMENT}, "cart": {"tag": "Cart left"}},
            "batch_size": self.max_items,
        }

    def routes(self) -> Iterable[web.AbstractRouteDef]:
        audience = f"/3.0/lists/{LIST}"
        return [
            web.get("/3.0/ping", self._ping),
            web.get(audience, self._audience),
            web.post(f"{audience}/segments/{{segment}}", self._segment),
            web.post(f"{audience}/members/{{hash}}/tags", self._tags),
            web.patch(f"{audience}/members/{{hash}}", self._patch),
            web.post(f"{audience}/members/{{hash}}/actions/delete-permanent", self._delete),
        ]

    def authorized(self, request: web.Request, body: bytes) -> bool:
        scheme, _, credentials = request.headers.get("authorization", "").partition(" ")
        _, _, key = base64.b64decode(credentials).decode().partition(":")
        return scheme == "Basic" and key == self.environ["MAILCHIMP_API_KEY"]

    def unauthorized(self) -> web.Response:
        return _problem(401, "API Key Invalid", "Your API key may be invalid.")

    def throttle(self, wait: float) -> web.Response:
        return web.Response(status=403, text="<html>Forbidden</html>", content_type="text/html")

    def members(self, segment: str) -> set[str]:
        if segment == "vip":
            return {customer_of(address) for address in self.segment}
        known = {_hash(f"{customer}@example.com"): customer for customer in self._seen}
        return {known[found] for found in self.tags.get("Cart left", ())}

    @property
    def _seen(self) -> set[str]:
        """The customers that tests speak of: hashes cannot be read backwards."""
        return {f"c{number}" for number in range(1_000)}

    def _is_member(self, member: str) -> bool:
        gone = self.strangers | self.erased
        return member not in {_hash(f"{customer}@example.com") for customer in gone}

    async def _ping(self, request: web.Request) -> web.Response:
        return web.json_response({"health_status": "Everything's Chimpy!"})

    async def _audience(self, request: web.Request) -> web.Response:
        if not self.list_exists:
            return _problem(404, "Resource Not Found", "The requested resource could not be found.")
        return web.json_response({"id": LIST})

    async def _segment(self, request: web.Request) -> web.Response:
        if request.match_info["segment"] != str(SEGMENT) or not self.list_exists:
            return _problem(404, "Resource Not Found", "The requested resource could not be found.")
        document = json.loads(await request.read())
        if not document or not document.keys() <= {"members_to_add", "members_to_remove"}:
            return _problem(400, "Invalid Resource", "Unknown or no fields.")
        for name, addresses in document.items():
            if len(addresses) > MAX_MEMBERS:
                return _problem(400, "Bad Request", f"{name} may contain at most {MAX_MEMBERS} items.")
            bad = [place for place, address in enumerate(addresses) if not ADDRESS.fullmatch(address)]
            if bad:
                fields = [{"field": f"{name}.item:{place}", "message": "not a valid address"} for place in bad]
                return _problem(400, "Invalid Resource", "The resource submitted could not be validated.", fields)
        done: dict[str, list[str]] = {"members_to_add": [], "members_to_remove": []}
        errors: list[dict[str, Any]] = []
        for address in document.get("members_to_add", []):
            if customer_of(address) in self.refused or not self._is_member(_hash(address)):
                errors.append({"email_addresses": [address], "error": "Email address is not subscribed to the list"})
            elif address in self.segment:
                errors.append({"email_addresses": [address], "error": "Email address is already in the segment"})
            else:
                self.segment.add(address)
                done["members_to_add"].append(address)
        for address in document.get("members_to_remove", []):
            if address not in self.segment:
                errors.append({"email_addresses": [address], "error": "Email address is not in the segment"})
            else:
                self.segment.discard(address)
                done["members_to_remove"].append(address)
        return web.json_response(
            {
                "members_added": [self._shown(address) for address in done["members_to_add"]],
                "members_removed": [self._shown(address) for address in done["members_to_remove"]],
                "errors": errors,
                "total_added": len(done["members_to_add"]),
                "total_removed": len(done["members_to_remove"]),
                "error_count": len(errors),
            }
        )

    def _shown(self, address: str) -> dict[str, Any]:
        return {"id": _hash(address), "email_address": address, "_links": "x" * self.weight}

    async def _tags(self, request: web.Request) -> web.Response:
        member = request.match_info["hash"]
        if not self.list_exists or not self._is_member(member):
            return _problem(404, "Resource Not Found", "The requested resource could not be found.")
        if member in {_hash(f"{customer}@example.com") for customer in self.refused}:
            return _problem(400, "Member In Compliance State", "The member cannot be changed by the API.")
        document = json.loads(await request.read())
        for tag in document["tags"]:
            members = self.tags.setdefault(tag["name"], set())
            if tag["status"] == "active" and member not in members:
                members.add(member)
                if not document.get("is_syncing"):
                    self.automations.append((tag["name"], member))
            elif tag["status"] == "inactive":
                members.discard(member)
        return web.Response(status=204)

    async def _patch(self, request: web.Request) -> web.Response:
        member = request.match_info["hash"]
        if not self.list_exists or not self._is_member(member):
            return _problem(404, "Resource Not Found", "The requested resource could not be found.")
        document = json.loads(await request.read())
        if document.keys() != {"merge_fields"}:
            return _problem(400, "Invalid Resource", "Only merge fields are changed here.")
        self.merge_fields.setdefault(member, {}).update(document["merge_fields"])
        return web.json_response({"id": member})

    async def _delete(self, request: web.Request) -> web.Response:
        member = request.match_info["hash"]
        if not self.list_exists or not self._is_member(member):
            return _problem(404, "Resource Not Found", "The requested resource could not be found.")
        customer = next((one for one in self._seen if _hash(f"{one}@example.com") == member), member)
        self.erased.add(customer)
        self.segment.discard(f"{customer}@example.com")
        for members in self.tags.values():
            members.discard(member)
        return web.Response(status=204)


def _hash(address: str) -> str:
    return hashlib.md5(address.lower().encode(), usedforsecurity=False).hexdigest()


def _problem(status: int, title: str, detail: str, errors: list[dict[str, str]] | None = None) -> web.Response:
    document = {"type": "https://mailchimp.com/developer/marketing/docs/errors/", "title": title, "status": status}
    document |= {"detail": detail, "instance": "00000000-0000-0000-0000-000000000000"}
    return web.json_response(
        document | ({"errors": errors} if errors else {}), status=status, content_type="application/problem+json"
    )
