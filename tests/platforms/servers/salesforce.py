"""A Salesforce organisation: the token endpoint, contacts with an external id, and a daily limit of calls."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar
from urllib.parse import unquote

from aiohttp import web

from tests.platforms.servers import PlatformServer, customer_of

ROOT = "/services/data/v62.0"
FIELDS = {"Vip__c": bool, "Cart__c": bool, "Cart_Value__c": (int, float), "Cart_Items__c": int, "LastName": str}
EXTERNAL_ID = "Customer_Id__c"


class SalesforceServer(PlatformServer):
    platform = "salesforce"
    environ: ClassVar = {
        "SALESFORCE_CLIENT_ID": "3MVG9lKcPoNINVBIPJjdw1J9LLM82Hn",
        "SALESFORCE_CLIENT_SECRET": "7C3F/95+21A&40D0=B0A2",
    }
    max_items = 200
    tokens_at = "/services/oauth2/token"
    anonymous: ClassVar = {"identity": {"external_id": "email"}}

    def __init__(self) -> None:
        super().__init__()
        self.contacts: dict[str, dict[str, Any]] = {}
        """By external id."""
        self.locked: set[str] = set()
        """Customers whose record another transaction holds once."""
        self.calls = 0
        self.daily = 100_000
        self._valid: set[str] = set()

    def options(self) -> dict[str, Any]:
        return {
            "platform": "salesforce",
            "domain": "acme",
            "base_url": self.url,
            "client_id": {"env": "SALESFORCE_CLIENT_ID"},
            "client_secret": {"env": "SALESFORCE_CLIENT_SECRET"},
            "external_id_field": EXTERNAL_ID,
            "segments": {"vip": {"field": "Vip__c"}, "cart": {"field": "Cart__c"}},
            "batch_size": self.max_items,
        }

    def routes(self) -> Iterable[web.AbstractRouteDef]:
        return [
            web.post(self.tokens_at, self._token),
            web.get(f"{ROOT}/limits", self._limits),
            web.patch(f"{ROOT}/composite/sobjects/{{object}}/{{field}}", self._upsert),
            web.delete(f"{ROOT}/sobjects/{{object}}/{{field}}/{{key}}", self._delete),
        ]

    def authorized(self, request: web.Request, body: bytes) -> bool:
        return request.headers.get("authorization", "").removeprefix("Bearer ") in self._valid

    def unauthorized(self) -> web.Response:
        return _errors(401, "INVALID_SESSION_ID", "Session expired or invalid")

    def throttle(self, wait: float) -> web.Response:
        return _errors(403, "REQUEST_LIMIT_EXCEEDED", "TotalRequests Limit exceeded.")

    throttle_tells = False

    def revoke(self) -> None:
        self._valid.clear()

    def members(self, segment: str) -> set[str]:
        name = {"vip": "Vip__c", "cart": "Cart__c"}[segment]
        return {customer_of(key) for key, contact in self.contacts.items() if contact.get(name) is True}

    # Its handlers.

    async def _token(self, request: web.Request) -> web.Response:
        asked = await request.post()
        assert request.content_type == "application/x-www-form-urlencoded"
        if (asked.get("client_id"), asked.get("client_secret")) != tuple(self.environ.values()):
            said = {"error": "invalid_client", "error_description": "invalid client credentials"}
            return web.json_response(said, status=400)
        assert asked["grant_type"] == "client_credentials"
        token = f"00Dxx0000001gPL!{len(self.requests)}"
        self._valid.add(token)
        return web.json_response(
            {"access_token": token, "instance_url": self.url, "token_type": "Bearer", "issued_at": "1790000000000"}
        )

    def _count(self, answer: web.Response) -> web.Response:
        self.calls += 1
        answer.headers["Sforce-Limit-Info"] = f"api-usage={self.calls}/{self.daily}"
        return answer

    async def _limits(self, _: web.Request) -> web.Response:
        return self._count(web.json_response({"DailyApiRequests": {"Max": self.daily, "Remaining": self.daily}}))

    def _unknown(self, request: web.Request) -> web.Response | None:
        if (request.match_info["object"], request.match_info["field"]) == ("Contact", EXTERNAL_ID):
            return None
        return _errors(404, "NOT_FOUND", "The requested resource does not exist")

    async def _upsert(self, request: web.Request) -> web.Response:
        if (unknown := self._unknown(request)) is not None:
            return unknown
        body = await request.json()
        if set(body) != {"allOrNone", "records"} or body["allOrNone"] is not False:
            return _errors(400, "JSON_PARSER_ERROR", "Unexpected parameter encountered during deserialization")
        if len(body["records"]) > 200:
            return _errors(400, "LIMIT_EXCEEDED", "record limit reached. cannot submit more than 200 records")
        return self._count(web.json_response([self._save(dict(record)) for record in body["records"]]))

    def _save(self, record: dict[str, Any]) -> dict[str, Any]:
        assert record.pop("attributes") == {"type": "Contact"}
        key = record.pop(EXTERNAL_ID)
        customer = customer_of(key)
        if customer in self.refused:
            return _failed("FIELD_CUSTOM_VALIDATION_EXCEPTION", "Contacts of partners are not segmented")
        if customer in self.locked:
            self.locked.discard(customer)
            return _failed("UNABLE_TO_LOCK_ROW", "unable to obtain exclusive access to this record")
        for name, value in record.items():
            if name not in FIELDS:
                return _failed("INVALID_FIELD", f"No such column '{name}' on sobject of type Contact")
            if value is not None and not isinstance(value, FIELDS[name]):  # type: ignore[arg-type]
                return _failed("JSON_PARSER_ERROR", f"{name}: not the field's type")
        created = key not in self.contacts
        self.contacts.setdefault(key, {}).update(record)
        return {"id": "0032w00000EqIFkAAN", "success": True, "created": created, "errors": []}

    async def _delete(self, request: web.Request) -> web.Response:
        if (unknown := self._unknown(request)) is not None:
            return unknown
        key = unquote(request.match_info["key"])
        self.erased.add(customer_of(key))
        if self.contacts.pop(key, None) is None:
            return self._count(_errors(404, "NOT_FOUND", "The requested resource does not exist"))
        return self._count(web.Response(status=204))


def _failed(code: str, message: str) -> dict[str, Any]:
    return {"success": False, "errors": [{"statusCode": code, "message": message, "fields": []}]}


def _errors(status: int, code: str, message: str) -> web.Response:
    return web.json_response([{"message": message, "errorCode": code}], status=status)
