"""An organisation in Adobe Experience Platform: an authenticated inlet, datasets, Privacy Service."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

from aiohttp import web

from tests.platforms.servers import PlatformServer, customer_of

INLET = "9b0cb233972f3b0092992284c7353f5eead496218e8441a79b25e9421ea127f5"
ORGANIZATION = "5C1328435BF324E90A49402A@AdobeOrg"
SCHEMA = "https://ns.adobe.com/acme/schemas/8c1b0d2e"
BODY_BYTES = 1_000_000
PROFILES, CART_PROFILES, EVENTS = "5da9452f7de80400007jc52a", "5da9452f7de80400007jc52b", "5da9452f7de80400007jc52c"


class ExperiencePlatformServer(PlatformServer):
    platform = "adobe_experience_platform"
    environ: ClassVar = {
        "AEP_CLIENT_ID": "7eA4f5b6c1d84dbea5cbd9e2a0ff3f7b",
        "AEP_CLIENT_SECRET": "p8e-0Lf7c&fJ+4xK/S1zUQ9dA=",
    }
    max_items = 100
    tokens_at = "/ims/token/v3"
    pings = False
    throttle_tells = False

    def __init__(self) -> None:
        super().__init__()
        self.profiles: dict[str, dict[str, dict[str, Any]]] = {PROFILES: {}, CART_PROFILES: {}}
        """What each dataset says of a profile, by primary identity."""
        self.events: dict[str, dict[str, Any]] = {}
        """Experience events by their `_id`."""
        self.privacy_jobs: list[dict[str, Any]] = []
        self._valid: set[str] = set()
        self._had_header = False

    def options(self) -> dict[str, Any]:
        return {
            "platform": "adobe_experience_platform",
            "inlet": INLET,
            "base_url": self.url,
            "oauth": {"client_id": {"env": "AEP_CLIENT_ID"}, "client_secret": {"env": "AEP_CLIENT_SECRET"}},
            "organization": ORGANIZATION,
            "schema_id": SCHEMA,
            "dataset": PROFILES,
            "flow": "69f188b6-af07-4587-8061-e94d34637b41",
            "segments": {
                "vip": {"property": "_acme.segments.vip"},
                "cart": {"property": "_acme.segments.cart", "dataset": CART_PROFILES},
            },
            "privacy": {"regulation": "gdpr"},
            "batch_size": self.max_items,
        }

    def routes(self) -> Iterable[web.AbstractRouteDef]:
        return [
            web.post(self.tokens_at, self._token),
            web.post(f"/collection/batch/{INLET}", self._collect),
            web.post("/data/core/privacy/jobs", self._forget),
        ]

    def authorized(self, request: web.Request, body: bytes) -> bool:
        self._had_header = "authorization" in request.headers
        return request.headers.get("authorization", "").removeprefix("Bearer ") in self._valid

    def unauthorized(self) -> web.Response:
        return web.json_response({"message": "invalid or missing token"}, status=403 if self._had_header else 401)

    def throttle(self, wait: float) -> web.Response:
        return web.json_response({"message": "Too many requests"}, status=429)

    def revoke(self) -> None:
        self._valid.clear()

    def members(self, segment: str) -> set[str]:
        dataset = {"vip": PROFILES, "cart": CART_PROFILES}[segment]
        return {
            customer_of(identity)
            for identity, entity in self.profiles[dataset].items()
            if entity.get("_acme", {}).get("segments", {}).get(segment) is True
        }

    # Its handlers.

    async def _token(self, request: web.Request) -> web.Response:
        asked = await request.post()
        if (asked.get("client_id"), asked.get("client_secret")) != tuple(self.environ.values()):
            said = {"error": "invalid_client", "error_description": "invalid client_secret parameter"}
            return web.json_response(said, status=401)
        assert asked["grant_type"] == "client_credentials" and "openid" in str(asked["scope"])
        token = f"eyJhbGciOiJSUzI1NiJ9.{len(self.requests)}"
        self._valid.add(token)
        return web.json_response({"access_token": token, "token_type": "bearer", "expires_in": 86399})

    async def _collect(self, request: web.Request) -> web.Response:
        if len(await request.read()) > BODY_BYTES:
            return web.json_response({"message": "Payload too large"}, status=413)
        if request.headers.get("x-sandbox-name") != "prod":
            return web.json_response({"message": "no such sandbox"}, status=400)
        said = []
        for number, message in enumerate((await request.json())["messages"]):
            wrong = self._take(message)
            if wrong:
                said.append({"statusCode": 400, "message": f"inletId: [{INLET}] imsOrgId: [{ORGANIZATION}] {wrong}"})
            else:
                said.append({"xactionId": f"1565650704337:2124:92:{number}"})
        answer = {"inletId": INLET, "batchId": "1565638336649:1750:244", "responses": said}
        return web.json_response(answer, status=207)

    def _take(self, message: Mapping[str, Any]) -> str:
        header, body = message["header"], message["body"]
        if header.get("imsOrgId") != ORGANIZATION:
            return "Message has an absent or wrong ims org in the header"
        merge = header.get("operations") == {"data": "merge"}
        entity = body if merge else body.get("xdmEntity", {})
        if not merge and header.get("schemaRef") != body.get("xdmMeta", {}).get("schemaRef"):
            return "Message has unknown xdm format"
        primary = [
            one["id"] for found in entity.get("identityMap", {}).values() for one in found if one.get("primary") is True
        ]
        if len(primary) != 1 or customer_of(primary[0]) in self.refused:
            return "Message has unknown xdm format"
        if "eventType" in entity:
            self.events.setdefault(entity["_id"], entity)
        elif merge:
            _merge(self.profiles[header["datasetId"]].setdefault(primary[0], {}), entity)
        else:
            self.profiles[header["datasetId"]][primary[0]] = entity
        return ""

    async def _forget(self, request: web.Request) -> web.Response:
        job = await request.json()
        assert request.headers["x-api-key"] == self.environ["AEP_CLIENT_ID"]
        assert request.headers["x-gw-ims-org-id"] == ORGANIZATION
        assert job["companyContexts"] == [{"namespace": "imsOrgID", "value": ORGANIZATION}]
        self.privacy_jobs.append(job)
        for user in job["users"]:
            assert user["action"] == ["delete"] and 1 <= len(user["userIDs"]) <= 9
            for identity in user["userIDs"]:
                self.erased.add(customer_of(identity["value"]))
                for profiles in self.profiles.values():
                    profiles.pop(identity["value"], None)
        jobs = [{"jobId": "6fc09b53", "customer": {"user": {"key": user["key"]}}} for user in job["users"]]
        return web.json_response({"jobs": jobs, "requestStatus": 1, "totalRecords": len(jobs)}, status=202)


def _merge(into: dict[str, Any], what: Mapping[str, Any]) -> None:
    for name, value in what.items():
        if isinstance(value, dict) and isinstance(into.get(name), dict):
            _merge(into[name], value)
        else:
            into[name] = value
