"""A Shopify store: access tokens, customers with tags, GraphQL that is paid for from a bucket of points."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

from aiohttp import web

from tests.platforms.servers import PlatformServer, customer_of

CALL = re.compile(r"(\w+):(\w+)\(([^)]*)\)\{([\w {}]*?)\}(?= |\}$)")
ARGUMENT = re.compile(r"(\w+):\$(\w+)")
DECLARED = re.compile(r"\$(\w+):([\w!\[\]]+)")
TYPES = {"id": "ID!", "tags": "[String!]!", "identifier": "CustomerIdentifierInput!", "customerId": "ID!"}
COSTS = {"customerByIdentifier": 1, "tagsAdd": 10, "tagsRemove": 10, "customerRequestDataErasure": 10}


class ShopifyServer(PlatformServer):
    platform = "shopify"
    environ: ClassVar = {
        "SHOPIFY_CLIENT_ID": "28737d7b5cf9a2ff0bd6e13c6d8aa8ab",
        "SHOPIFY_CLIENT_SECRET": "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",
    }
    max_items = 10
    tokens_at = "/admin/oauth/access_token"

    def __init__(self) -> None:
        super().__init__()
        self.ids: dict[str, str] = {}
        """Customers' global ids by e-mail address: everybody at example.com has an account."""
        self.tags: dict[str, set[str]] = {}
        """By global id."""
        self.maximum = 2000.0
        self.restore = 100.0
        self.available = 2000.0
        self.granted = True
        """Whether the app has the scopes."""
        self._at = 0.0
        self._valid = {"shpat_static0123456789"}

    def options(self) -> dict[str, Any]:
        return {
            "platform": "shopify",
            "shop": "acme",
            "base_url": self.url,
            "client_id": {"env": "SHOPIFY_CLIENT_ID"},
            "client_secret": {"env": "SHOPIFY_CLIENT_SECRET"},
            "segments": {"vip": {"tag": "vip"}, "cart": {"tag": "cart-abandoned"}},
            "batch_size": self.max_items,
        }

    def routes(self) -> Iterable[web.AbstractRouteDef]:
        return [web.post(self.tokens_at, self._token), web.post("/admin/api/2026-10/graphql.json", self._graphql)]

    def authorized(self, request: web.Request, body: bytes) -> bool:
        return request.headers.get("x-shopify-access-token") in self._valid

    def unauthorized(self) -> web.Response:
        said = "[API] Invalid API key or access token (unrecognized login or wrong password)"
        return web.json_response({"errors": said}, status=401)

    def throttle(self, wait: float) -> web.Response:
        return self._throttled(wait * self.restore, 0.0)

    def revoke(self) -> None:
        self._valid.clear()

    def members(self, segment: str) -> set[str]:
        tag = {"vip": "vip", "cart": "cart-abandoned"}[segment]
        return {customer_of(email) for email, gid in self.ids.items() if tag in self.tags.get(gid, ())}

    # Its handlers.

    async def _token(self, request: web.Request) -> web.Response:
        asked = await request.post()
        if (asked.get("client_id"), asked.get("client_secret")) != tuple(self.environ.values()):
            return web.json_response({"error": "application_cannot_be_found"}, status=400)
        assert asked["grant_type"] == "client_credentials"
        token = f"shpat_{len(self.requests):032x}"
        self._valid.add(token)
        return web.json_response({"access_token": token, "scope": "write_customers", "expires_in": 86399})

    async def _graphql(self, request: web.Request) -> web.Response:
        asked = await request.json()
        query, variables = asked["query"], asked.get("variables", {})
        if query == "{shop{id}}":
            return web.json_response({"data": {"shop": {"id": "gid://shopify/Shop/1"}}})
        assert dict(DECLARED.findall(query)).keys() == variables.keys()
        calls = CALL.findall(query)
        cost = sum(COSTS[name] for _, name, _, _ in calls)
        if cost > 1000:
            return _error("MAX_COST_EXCEEDED", f"Query cost is {cost}, which exceeds the single query max cost limit")
        now = asyncio.get_running_loop().time()
        self.available = min(self.maximum, self.available + self.restore * (now - self._at))
        self._at = now
        if cost > self.available:
            return self._throttled(cost, self.available)
        if not self.granted:
            return _error("ACCESS_DENIED", "Access denied for tagsAdd field.")
        self.available -= cost
        data = {}
        for alias, name, arguments, _ in calls:
            given = {argument: variables[variable] for argument, variable in ARGUMENT.findall(arguments)}
            declared = dict(DECLARED.findall(query))
            assert all(declared[variable] == TYPES[argument] for argument, variable in ARGUMENT.findall(arguments))
            data[alias] = getattr(self, f"_{name}")(**given)
        return web.json_response({"data": data, "extensions": self._cost(cost)})

    def _customerByIdentifier(self, identifier: Mapping[str, str]) -> dict[str, str] | None:
        email = identifier["emailAddress"]
        if not email.endswith("@example.com"):
            return None
        return {"id": self.ids.setdefault(email, f"gid://shopify/Customer/{7000 + len(self.ids)}")}

    def _wrong(self, gid: str) -> str:
        """What is wrong with a customer who is to be tagged."""
        email = next((email for email, known in self.ids.items() if known == gid), None)
        if email is None:
            return "Customer does not exist"
        return "Tags are invalid" if customer_of(email) in self.refused else ""

    def _tagsAdd(self, id: str, tags: list[str]) -> dict[str, Any]:
        wrong = self._wrong(id)
        if not wrong:
            self.tags.setdefault(id, set()).update(tags)
        return {"userErrors": [{"message": wrong}] if wrong else []}

    def _tagsRemove(self, id: str, tags: list[str]) -> dict[str, Any]:
        wrong = self._wrong(id)
        if not wrong:
            self.tags.setdefault(id, set()).difference_update(tags)
        return {"userErrors": [{"message": wrong}] if wrong else []}

    def _customerRequestDataErasure(self, customerId: str) -> dict[str, Any]:
        if self._wrong(customerId) == "Customer does not exist":
            return {"userErrors": [{"code": "DOES_NOT_EXIST", "message": "Customer does not exist"}]}
        self.erased.update(customer_of(email) for email, gid in self.ids.items() if gid == customerId)
        self.tags.pop(customerId, None)
        return {"userErrors": []}

    def _cost(self, requested: float) -> dict[str, Any]:
        status = {
            "maximumAvailable": self.maximum,
            "currentlyAvailable": self.available,
            "restoreRate": self.restore,
        }
        return {"cost": {"requestedQueryCost": requested, "actualQueryCost": requested, "throttleStatus": status}}

    def _throttled(self, requested: float, available: float) -> web.Response:
        cost = self._cost(requested)
        cost["cost"] |= {"actualQueryCost": None}
        cost["cost"]["throttleStatus"]["currentlyAvailable"] = available
        error = {"message": "Throttled", "extensions": {"code": "THROTTLED"}}
        return web.json_response({"errors": [error], "extensions": cost})


def _error(code: str, message: str) -> web.Response:
    return web.json_response({"errors": [{"message": message, "extensions": {"code": code}}], "data": None})
