"""A business unit of Salesforce Marketing Cloud: tokens, one data extension, its three ways in, contact deletion."""

from __future__ import annotations

import json
import math
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar
from xml.etree import ElementTree

from aiohttp import web

from tests.platforms.servers import PlatformServer, customer_of

ENVELOPE = "{http://schemas.xmlsoap.org/soap/envelope/}"
API = "{http://exacttarget.com/wsdl/partnerAPI}"
TYPE = "{http://www.w3.org/2001/XMLSchema-instance}type"
BODY_BYTES = 5_000_000
PAGE = 50

DATA_EXTENSION = "Live Segments"
KEY = "SubscriberKey"
COLUMNS: Mapping[str, Any] = {
    "Vip": bool,
    "Cart": bool,
    "Version": int,
    "ChangedAt": str,
    "CartValue": float,
    "Email": str,
}

Row = Mapping[str, Any]


@dataclass
class Job:
    rows: Sequence[Row]
    questions: int = 0
    results: list[dict[str, Any]] = field(default_factory=list)


class MarketingCloudServer(PlatformServer):
    platform = "salesforce_marketing_cloud"
    environ: ClassVar = {"SFMC_CLIENT_ID": "l39h7x8kczcr8x0jqhdr8wb3", "SFMC_CLIENT_SECRET": "rR7b+q/8z&Nl=mWq4tZ2XtHA"}
    max_items = 50
    tokens_at = "/v2/token"
    anonymous: ClassVar = {"identity": {"external_id": "email"}}
    mode: ClassVar = "sync"

    def __init__(self) -> None:
        super().__init__()
        self.rows: dict[str, dict[str, Any]] = {}
        """By primary key."""
        self.jobs: dict[str, Job] = {}
        self.writes: list[str] = []
        """The keys of the rows in the order in which they were written."""
        self.states = ["", "Pending"]
        """What a job says of itself before it is complete; empty: nothing yet."""
        self.deadlocked: set[str] = set()
        """Customers whose row meets another writer once."""
        self.account_id = "7281698"
        self._valid: set[str] = set()
        self._soap = False

    def options(self) -> dict[str, Any]:
        return {
            "platform": "salesforce_marketing_cloud",
            "subdomain": "mc-test",
            "base_url": self.url,
            "client_id": {"env": "SFMC_CLIENT_ID"},
            "client_secret": {"env": "SFMC_CLIENT_SECRET"},
            "account_id": int(self.account_id),
            "mode": self.mode,
            "segments": {
                "vip": {"data_extension": DATA_EXTENSION, "column": "Vip"},
                "cart": {"data_extension": DATA_EXTENSION, "column": "Cart"},
            },
            "version_column": "Version",
            "changed_at_column": "ChangedAt",
            "batch_size": self.max_items,
        }

    def routes(self) -> Iterable[web.AbstractRouteDef]:
        key = "key:{key}"
        return [
            web.post(self.tokens_at, self._token),
            web.get("/platform/v1/tokenContext", self._context),
            web.post(f"/hub/v1/dataevents/{key}/rowset", self._rowset),
            web.put(f"/data/v1/async/dataextensions/{key}/rows", self._upsert),
            web.get("/data/v1/async/{job}/status", self._status),
            web.get("/data/v1/async/{job}/results", self._results),
            web.post("/contacts/v1/contacts/actions/delete", self._delete),
            web.post("/Service.asmx", self._service),
        ]

    def authorized(self, request: web.Request, body: bytes) -> bool:
        self._soap = request.path == "/Service.asmx"
        if self._soap:
            token = ElementTree.fromstring(body).findtext(f"{ENVELOPE}Header/{{http://exacttarget.com}}fueloauth")
            return token in self._valid
        return request.headers.get("authorization", "").removeprefix("Bearer ") in self._valid

    def unauthorized(self) -> web.Response:
        if self._soap:
            return _fault("q0:Security", "Token Expired")
        return web.json_response({"message": "Not Authorized", "errorcode": 0, "documentation": ""}, status=401)

    def throttle(self, wait: float) -> web.Response:
        if self._soap:
            return _fault("soap:Server", "Rate limit exceeded")
        seconds = math.ceil(wait)
        said = {"message": "Rate limit exceeded", "errorcode": 50100, "retryAfter": seconds}
        return web.json_response(said, status=429, headers={"retry-after": str(seconds)})

    def revoke(self) -> None:
        self._valid.clear()

    def members(self, segment: str) -> set[str]:
        column = {"vip": "Vip", "cart": "Cart"}[segment]
        return {customer_of(key) for key, row in self.rows.items() if row.get(column) is True}

    # Its handlers.

    async def _token(self, request: web.Request) -> web.Response:
        asked = await request.json()
        given = (asked.get("client_id"), asked.get("client_secret"))
        if given != tuple(self.environ.values()) or asked.get("account_id") != self.account_id:
            said = {"error": "invalid_client", "error_description": "Invalid client ID. Use the client ID in ..."}
            return web.json_response(said, status=401)
        assert asked["grant_type"] == "client_credentials"
        token = f"token-{len(self.requests)}"
        self._valid.add(token)
        rest = {"rest_instance_url": self.url + "/", "soap_instance_url": self.url + "/"}
        return web.json_response({"access_token": token, "token_type": "Bearer", "expires_in": 1079, **rest})

    async def _context(self, _: web.Request) -> web.Response:
        return web.json_response({"organization": {"id": int(self.account_id)}})

    def _write(self, row: Row) -> str:
        """What is wrong with a row; empty if it was written."""
        key = row.get(KEY)
        if not isinstance(key, str) or not key:
            return f"Primary key '{KEY}' does not allow NULL values."
        if customer_of(key) in self.refused:
            return "String or binary data would be truncated in column 'Vip'."
        values = {name: value for name, value in row.items() if name != KEY}
        for name, value in values.items():
            if name not in COLUMNS:
                return f"'{name}' is not a valid column."
            if value is not None and not isinstance(value, COLUMNS[name]):
                return f"Column '{name}' has the wrong type."
        if customer_of(key) in self.deadlocked:
            self.deadlocked.discard(customer_of(key))
            return (
                "Transaction was deadlocked on lock resources and has been chosen as the victim. Rerun the transaction."
            )
        self.rows.setdefault(key, {}).update(values)
        self.writes.append(key)
        return ""

    def _unknown(self, request: web.Request) -> web.Response | None:
        if request.match_info["key"] == DATA_EXTENSION:
            return None
        return web.json_response({"message": "Not Found", "errorcode": 404}, status=404)

    async def _rowset(self, request: web.Request) -> web.Response:
        """Writes the rows before the first bad one, and none after it; says what was wrong, not with which."""
        body = await request.read()
        rows = json.loads(body)
        if (unknown := self._unknown(request)) is not None:
            return unknown
        if len(body) > BODY_BYTES:
            return web.json_response({"message": "Request too large"}, status=413)
        if not isinstance(rows, list) or any(set(row) != {"keys", "values"} for row in rows):
            return web.json_response({"message": "Parameter is invalid.", "errorcode": 10001}, status=400)
        for row in rows:
            wrong = self._write(row["keys"] | row["values"])
            if wrong:
                said: dict[str, Any] = {"message": "Unable to save rows for data extension ID 41", "errorcode": 10006}
                if "deadlocked" not in wrong:
                    said["additionalErrors"] = [{"message": wrong, "errorcode": 10000}]
                return web.json_response(said, status=400)
        return web.json_response(rows)

    async def _upsert(self, request: web.Request) -> web.Response:
        if (unknown := self._unknown(request)) is not None:
            return unknown
        body = await request.json()
        if set(body) != {"items"} or not 0 < len(body["items"]) <= 30_000:
            said = [{"resultType": "Error", "resultCode": "InvalidRequest", "message": "Invalid items."}]
            return web.json_response({"requestId": str(uuid.uuid4()), "resultMessages": said}, status=400)
        job = str(uuid.uuid4())
        self.jobs[job] = Job(body["items"])
        return web.json_response({"requestId": job, "resultMessages": []}, status=202)

    async def _status(self, request: web.Request) -> web.Response:
        name = request.match_info["job"]
        job = self.jobs.get(name)
        if job is None:
            return web.json_response({"message": "Not Found"}, status=404)
        state = self.states[job.questions] if job.questions < len(self.states) else "Complete"
        job.questions += 1
        answer: dict[str, Any] = {"requestId": str(uuid.uuid4()), "resultMessages": []}
        if state:
            answer["status"] = {"requestStatus": state, "requestId": name, "hasErrors": False}
        if state == "Complete":
            if not job.results:
                wrongs = [self._write(row) for row in job.rows]
                job.results = [
                    {"errorCode": 2, "message": wrong, "status": "Error"} if wrong else {"message": "", "status": "OK"}
                    for wrong in wrongs
                ]
            bad = any(one["status"] == "Error" for one in job.results)
            answer["status"] |= {"hasErrors": bad, "resultStatus": "Has Errors" if bad else "OK"}
        return web.json_response(answer)

    async def _results(self, request: web.Request) -> web.Response:
        job = self.jobs[request.match_info["job"]]
        page = int(request.query.get("page", "1"))
        items = job.results[(page - 1) * PAGE : page * PAGE]
        return web.json_response({"page": page, "pageSize": PAGE, "count": len(job.results), "items": items})

    async def _delete(self, request: web.Request) -> web.Response:
        body = await request.json()
        assert request.query["type"] == "keys" and body["DeleteOperationType"] == "ContactAndAttributes"
        for key in body["values"]:
            self.rows.pop(key, None)
            self.erased.add(customer_of(key))
        return web.json_response({"operationInitiated": True, "operationID": 2, "resultMessages": []})

    async def _service(self, request: web.Request) -> web.Response:
        message = ElementTree.fromstring(await request.read()).find(f"{ENVELOPE}Body")
        assert message is not None
        action = message[0]
        if request.headers["soapaction"] == "GetSystemStatus":
            assert action.tag == f"{API}SystemStatusRequestMsg"
            return _envelope("<SystemStatusResponseMsg><OverallStatus>OK</OverallStatus></SystemStatusResponseMsg>")
        assert (request.headers["soapaction"], action.tag) == ("Update", f"{API}UpdateRequest")
        option = action.find(f"{API}Options/{API}SaveOptions/{API}SaveOption")
        assert option is not None and option.findtext(f"{API}SaveAction") == "UpdateAdd"
        results = []
        for ordinal, one in enumerate(action.findall(f"{API}Objects")):
            assert one.get(TYPE) == "DataExtensionObject"
            assert [child.tag for child in one] == [f"{API}{name}" for name in ("CustomerKey", "Properties", "Keys")]
            pairs = [*one.iterfind(f"{API}Properties/{API}Property"), *one.iterfind(f"{API}Keys/{API}Key")]
            row = {pair.findtext(f"{API}Name", ""): pair.findtext(f"{API}Value", "") for pair in pairs}
            wrong = "No such data extension" if one.findtext(f"{API}CustomerKey") != DATA_EXTENSION else ""
            results.append((ordinal, wrong or self._write(_typed(row))))
        bad = any(wrong for _, wrong in results)
        said = "".join(
            f"<Results><StatusCode>{'Error' if wrong else 'OK'}</StatusCode><StatusMessage>"
            f"{wrong or 'Updated DataExtensionObject'}</StatusMessage><OrdinalID>{ordinal}</OrdinalID></Results>"
            for ordinal, wrong in reversed(results)
        )
        overall = "Has Errors" if bad else "OK"
        return _envelope(f"<UpdateResponse>{said}<OverallStatus>{overall}</OverallStatus></UpdateResponse>")


def _typed(row: Mapping[str, str]) -> dict[str, Any]:
    """Columns' values by their types, as the platform reads their text."""
    words = {"true": True, "false": False}
    return {
        name: words[text] if COLUMNS.get(name) is bool else COLUMNS.get(name, str)(text) for name, text in row.items()
    }


def _envelope(content: str, status: int = 200) -> web.Response:
    name = content[1 : content.index(">")]
    body = content.replace(f"<{name}>", f'<{name} xmlns="http://exacttarget.com/wsdl/partnerAPI">', 1)
    return web.Response(
        status=status,
        text='<?xml version="1.0" encoding="utf-8"?><soap:Envelope xmlns:soap='
        f'"http://schemas.xmlsoap.org/soap/envelope/"><soap:Body>{body}</soap:Body></soap:Envelope>',
        content_type="text/xml",
    )


def _fault(code: str, text: str) -> web.Response:
    fault = f"<soap:Fault><faultcode>{code}</faultcode><faultstring>{text}</faultstring></soap:Fault>"
    return web.Response(
        status=500,
        text='<?xml version="1.0" encoding="utf-8"?><soap:Envelope xmlns:soap='
        f'"http://schemas.xmlsoap.org/soap/envelope/"><soap:Body>{fault}</soap:Body></soap:Envelope>',
        content_type="text/xml",
    )
