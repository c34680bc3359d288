"""Iterable's project: users, static lists, and a 200 that names the users it refused."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, ClassVar

from aiohttp import web

from tests.platforms.servers import PlatformServer, customer_of

LIST = 4711
MAX_USERS = 1_000
MAX_BYTES = 4_000_000


class IterableServer(PlatformServer):
    """`users` holds profiles by identifier, `lists` the identifiers of each static list."""

    platform = "iterable"
    environ: ClassVar = {"ITERABLE_API_KEY": "f1e2d3c4b5a697887766554433221100"}
    anonymous: ClassVar = {}
    max_items = 1_000
    throttle_tells = False

    def __init__(self) -> None:
        super().__init__()
        self.users: dict[str, dict[str, Any]] = {}
        self.lists: dict[int, set[str]] = {LIST: set()}
        self.forgotten: set[str] = set()
        self.events: dict[str, dict[str, Any]] = {}
        """Events by their ids: a repeat updates."""
        self.disallowed: set[str] = set()

    def options(self) -> dict[str, Any]:
        return {
            "platform": "iterable",
            "api_key": {"env": "ITERABLE_API_KEY"},
            "base_url": self.url,
            "identity": {"email": "email"},
            "segments": {"vip": {"list": LIST}, "cart": {"field": "cart_abandoned"}},
            "fields": {"cart_value": "cartValue"},
            "batch_size": self.max_items,
        }

    def routes(self) -> Iterable[web.AbstractRouteDef]:
        return [
            web.get("/api/lists", self._all_lists),
            web.post("/api/lists/subscribe", self._subscribe),
            web.post("/api/lists/unsubscribe", self._unsubscribe),
            web.post("/api/users/bulkUpdate", self._update),
            web.post("/api/users/forget", self._forget),
            web.post("/api/events/trackBulk", self._track),
            web.delete("/api/users/byUserId/{user}", self._delete),
            web.delete("/api/users/{user}", self._delete),
        ]

    def authorized(self, request: web.Request, body: bytes) -> bool:
        return request.headers.get("api-key") == self.environ["ITERABLE_API_KEY"]

    def unauthorized(self) -> web.Response:
        return _answer(401, "BadApiKey", "Invalid API key")

    def throttle(self, wait: float) -> web.Response:
        return _answer(429, "RateLimitExceeded", "Too many requests")

    def members(self, segment: str) -> set[str]:
        if segment == "vip":
            return {customer_of(user) for user in self.lists[LIST]}
        return {customer_of(user) for user, fields in self.users.items() if fields.get("cart_abandoned") is True}

    async def _all_lists(self, request: web.Request) -> web.Response:
        lists = [{"id": one, "name": str(one), "createdAt": 0, "listType": "Standard"} for one in self.lists]
        return web.json_response({"lists": lists})

    async def _subscribe(self, request: web.Request) -> web.Response:
        document = json.loads(await request.read())
        members = self.lists.get(document["listId"])
        if members is None:
            return _answer(400, "BadParams", "Invalid list id")
        users, failed = self._readable(document["subscribers"])
        if document.get("updateExistingUsersOnly"):
            failed["notFound" + _kind_of(users)] = [
                _user_of(user) for user in users if _user_of(user) not in self.users
            ]
            users = [user for user in users if _user_of(user) in self.users]
        for user in users:
            self.users.setdefault(_user_of(user), {}).update(user.get("dataFields", {}))
            members.add(_user_of(user))
        return _updated(users, failed)

    async def _unsubscribe(self, request: web.Request) -> web.Response:
        document = json.loads(await request.read())
        members = self.lists.get(document["listId"])
        if members is None:
            return _answer(400, "BadParams", "Invalid list id")
        users, failed = self._readable(document["subscribers"])
        failed["notFound" + _kind_of(users)] = [_user_of(user) for user in users if _user_of(user) not in members]
        found = [user for user in users if _user_of(user) in members]
        members.difference_update(map(_user_of, found))
        return _updated(found, failed)

    async def _update(self, request: web.Request) -> web.Response:
        body = await request.read()
        if len(body) > MAX_BYTES:
            return _answer(413, "BatchTooLarge", "Request body too large")
        users, failed = self._readable(json.loads(body)["users"])
        for user in users:
            self.users.setdefault(_user_of(user), {}).update(user.get("dataFields", {}))
        return _updated(users, failed)

    async def _track(self, request: web.Request) -> web.Response:
        events, failed = self._readable(json.loads(await request.read())["events"])
        disallowed = sorted({event["eventName"] for event in events} & self.disallowed)
        if disallowed:
            body = {"successCount": 0, "failCount": len(events), "disallowedEventNames": disallowed}
            return web.json_response(body)
        for event in events:
            self.events[event["id"]] = event
        return _updated(events, failed)

    def _readable(self, users: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], dict[str, list[str]]]:
        """The users that are acceptable, and why the others are not."""
        if len(users) > MAX_USERS:
            raise web.HTTPBadRequest(text=json.dumps({"code": "BatchTooLarge", "msg": "at most 1000"}))
        failed: dict[str, list[str]] = {}
        good = []
        for user in users:
            name = _user_of(user)
            if name in self.forgotten:
                failed.setdefault("forgotten" + _kind_of([user]), []).append(name)
            elif customer_of(name) in self.refused:
                failed.setdefault("invalid" + _kind_of([user]), []).append(name)
            else:
                good.append(user)
        return good, failed

    async def _delete(self, request: web.Request) -> web.Response:
        user = request.match_info["user"]
        if user not in self.users and not any(user in members for members in self.lists.values()):
            return _answer(400, "UnknownEmailError", "No such user")
        self._remove(user)
        return _answer(200, "Success", "")

    async def _forget(self, request: web.Request) -> web.Response:
        user = _user_of(json.loads(await request.read()))
        self._remove(user)
        self.forgotten.add(user)
        return _answer(200, "Success", "")

    def _remove(self, user: str) -> None:
        self.users.pop(user, None)
        for members in self.lists.values():
            members.discard(user)
        self.erased.add(customer_of(user))


def _user_of(user: dict[str, Any]) -> str:
    (name,) = (user[kind] for kind in ("email", "userId") if kind in user)
    return str(name)


def _kind_of(users: list[dict[str, Any]]) -> str:
    return "UserIds" if users and "userId" in users[0] else "Emails"


def _updated(users: list[dict[str, Any]], failed: dict[str, list[str]]) -> web.Response:
    failed = {why: names for why, names in failed.items() if names}
    count = sum(map(len, failed.values()))
    document: dict[str, Any] = {"successCount": len(users), "failCount": count, "failedUpdates": failed}
    return web.json_response(document)


def _answer(status: int, code: str, message: str) -> web.Response:
    return web.json_response({"code": code, "msg": message}, status=status)
