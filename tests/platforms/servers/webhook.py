"""A receiver of signed webhooks that keeps the membership it was told."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, ClassVar

from aiohttp import web
from standardwebhooks.webhooks import Webhook as Oracle

from tests.platforms.servers import PlatformServer

SECRET = "whsec_" + base64.b64encode(b"0123456789abcdef0123456789abcdef").decode()
PATH = "/hooks/T0PS3CRETPATH"


class WebhookServer(PlatformServer):
    platform = "webhook"
    environ: ClassVar = {"WEBHOOK_SECRET": SECRET}
    max_items = 100
    silent = True
    pings = False
    anonymous = None

    def __init__(self) -> None:
        super().__init__()
        self._segments: dict[str, set[str]] = {}

    def options(self) -> dict[str, Any]:
        return {
            "platform": "webhook",
            "url": self.url + PATH,
            "secret": {"env": "WEBHOOK_SECRET"},
            "segments": list(self.segments),
            "batch_size": self.max_items,
        }

    def routes(self) -> Iterable[web.AbstractRouteDef]:
        return [web.post(PATH, self._take)]

    def authorized(self, request: web.Request, body: bytes) -> bool:
        """By the official library's own signature at the request's timestamp: tests choose their time."""
        headers = request.headers
        stamp = datetime.fromtimestamp(int(headers["webhook-timestamp"]), UTC)
        expected = Oracle(SECRET).sign(headers["webhook-id"], stamp, body.decode())
        return expected in headers["webhook-signature"].split(" ")

    def throttle(self, wait: float) -> web.Response:
        return web.Response(status=429, headers={"retry-after": f"{wait:.0f}"})

    def members(self, segment: str) -> set[str]:
        return self._segments.get(segment, set())

    async def _take(self, request: web.Request) -> web.Response:
        document = await request.json()
        data = document["data"]
        if document["type"] == "customer.erased":
            self.erased.add(data["customer_id"])
            for members in self._segments.values():
                members.discard(data["customer_id"])
            return web.Response(status=204)
        changes = data if isinstance(data, list) else [data]
        if any(change["customer_id"] in self.refused for change in changes):
            return web.json_response({"error": "not acceptable here"}, status=422)
        for change in changes:
            members = self._segments.setdefault(change["segment"], set())
            (members.add if change["action"] == "entered" else members.discard)(change["customer_id"])
        return web.Response(status=204)
