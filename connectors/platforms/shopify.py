"""Shopify: customer tags, for stores whose e-mails are sent from Shopify's own segments.

    destinations:
      store:
        platform: shopify
        shop: acme                             # acme.myshopify.com
        client_id: {env: SHOPIFY_CLIENT_ID}    # of an app of the Dev Dashboard; an older app has
        client_secret: {env: SHOPIFY_CLIENT_SECRET}   # an `access_token` instead
        segments:
          abandoned_cart: {tag: cart-abandoned}
          vip: {tag: vip}

| ours | theirs |
|---|---|
| customer | found by `identity.email`, or named by `identity.external_id` (Shopify's own customer id) |
| entered / exited | `tagsAdd` / `tagsRemove` of the segment's `tag` |
| erasure | `customerRequestDataErasure` |

One request holds the mutations of a parcel, each under a name of its own; tags are idempotent. Who has no
account in the store cannot be tagged: entering is refused (`customer_not_found`), leaving is done.

Answers come with 200 [D]: `THROTTLED` is retried once the bucket of points holds enough, which each
answer tells; `ACCESS_DENIED` pauses; `userErrors` refuse the customer they are about. 401 renews the token, or
pauses; 402, 403, 404 and 423 (a store that is frozen or locked) pause. Limits: a mutation costs 10 points, and
100 come back each second (Advanced 200, Plus 1,000); one request may cost 1,000 [D].
"""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Annotated, Any, Literal, NamedTuple

import msgspec
from pydantic import Field, model_validator

from connectors.answers import judge, result
from connectors.batches import identified, refused, suspected, unreadable
from connectors.changes import Change
from connectors.exchange import Answer, Request, Response, Steps, origin
from connectors.mapping import Identity, identity_of
from connectors.options import Hosted, ProfileField, SegmentName, Strict
from connectors.platforms import Connector
from connectors.rates import Window
from connectors.remembered import Remembered
from connectors.results import DELIVERED, Outcome, Result
from connectors.secrets import SecretReference, fingerprint
from connectors.tokens import Tokens, form_request, forms_of, rehearsed

MUTATION_POINTS = 10
LOOKUP_POINTS = 1
TOKEN_SECONDS = 86_399.0
REMEMBERED_CUSTOMERS = 100_000
REMEMBERED_SECONDS = 86_400.0
CUSTOMER = "gid://shopify/Customer/"

SHOP_WRONG = frozenset({402, 403, 404, 423})
SECURITY_REJECTION = 430
"""Shopify's own status: too many requests that look malicious [D]."""
_LARGEST = 1e9
"""Points of a query's cost; more is no cost."""

_ALIAS = re.compile(r"(\w+):(customerByIdentifier|tagsAdd|tagsRemove|customerRequestDataErasure)\(")


class StoreIdentity(Identity):
    """By which profile fields a store knows a customer."""

    email: ProfileField | None = Field("email", description="The profile field with the e-mail address.")
    external_id: ProfileField | None = Field(None, description="The profile field with Shopify's customer id.")


class Target(Strict):
    """What a segment is there."""

    tag: str = Field(pattern=r"^[^,\s]([^,]{0,253}[^,\s])?$", description="A customer tag.")


class Config(Hosted):
    """A store's options."""

    platform: Literal["shopify"] = "shopify"
    shop: str = Field(
        pattern=r"^[a-z0-9][a-z0-9-]{0,62}$", description="The store: what stands before `.myshopify.com`."
    )
    api_version: str = Field("2026-10", pattern=r"^20\d\d-(01|04|07|10)$", description="Of the Admin API.")
    client_id: SecretReference | None = Field(None, description="Client ID of the app, by reference.")
    client_secret: SecretReference | None = Field(None, description="Its client secret, by reference.")
    access_token: SecretReference | None = Field(None, description="Admin API access token of an older custom app.")
    identity: StoreIdentity = Field(StoreIdentity(), description="How the store knows a customer.")
    segments: Annotated[Mapping[SegmentName, Target], Field(min_length=1)] = Field(
        description="The segments, and what each is there."
    )
    points_per_second: int = Field(100, ge=1, le=10_000, description="What the store's plan gives back in a second.")
    batch_size: int = Field(10, ge=1, le=50, description="Customers per request, at most.")
    concurrency: int = Field(4, ge=1, le=32, description="Requests in flight at once.")

    @model_validator(mode="after")
    def _is_usable(self) -> Config:
        if self.identity.email is None and self.identity.external_id is None:
            raise ValueError("identity: give `email` or `external_id`")
        given = (self.client_id is not None, self.client_secret is not None, self.access_token is not None)
        if given not in ((True, True, False), (False, False, True)):
            raise ValueError("access_token: give either it, or `client_id` and `client_secret`")
        return self


def connect(config: Config, environ: Mapping[str, str], user_agent: str) -> Shopify:
    """Read the secrets and be ready to build requests. Raises SecretMissing, ValueError."""
    base = config.base(f"https://{config.shop}.myshopify.com")
    token, tokens = "", None
    if config.client_id is not None and config.client_secret is not None:
        client_id = config.client_id.read(environ).get_secret_value()
        client_secret = config.client_secret.read(environ).get_secret_value()
        asked = {"client_id": client_id, "client_secret": client_secret}
        request = form_request(f"{base}/admin/oauth/access_token", asked, user_agent, "token")
        tokens = Tokens(request, client_id, client_secret, lifetime=TOKEN_SECONDS)
        account = fingerprint(base, client_id)
    else:
        assert config.access_token is not None
        token = config.access_token.read(environ).get_secret_value()
        account = fingerprint(base, token)
    return Shopify(
        config=config,
        url=f"{base}/admin/api/{config.api_version}/graphql.json",
        token=token,
        tokens=tokens,
        user_agent=user_agent,
        limits=MappingProxyType(
            {
                "token": (Window(10, 60.0),),
                "graphql": (Window(max(1, config.points_per_second // MUTATION_POINTS), 1.0),),
            }
        ),
        endpoint=origin(base),
        account=account,
    )


class Item(NamedTuple):
    change: Change
    gid: str
    """Shopify's global id; empty where only the e-mail address is known."""
    email: str


class Call(NamedTuple):
    """One field of a request's document: `name(argument: $variable, …){selection}`."""

    name: str
    arguments: Mapping[str, tuple[str, Any]]
    """By argument: the variable's type and value."""
    selection: str


@dataclass
class Bucket:
    """The points that were left at the last answer. Others of the app's processes take from it, too."""

    available: float = 0.0
    maximum: float = 0.0
    restore: float = 0.0
    at: float = 0.0

    def take(self, points: float, now: float) -> float:
        """Seconds until it holds as many, which are then taken; 0 where nothing is known of it."""
        if self.restore <= 0:
            return 0.0
        held = min(self.maximum, self.available + self.restore * max(0.0, now - self.at)) - points
        self.available, self.at = held, max(now, self.at)
        return max(0.0, -held / self.restore)

    def note(self, cost: Any, now: float) -> float | None:
        """Read an answer's `extensions.cost`; the seconds until what it was asked could be paid, if it says so."""
        told = cost.get("throttleStatus") if isinstance(cost, dict) else None
        available, maximum, restore = (
            _number(told, name) for name in ("currentlyAvailable", "maximumAvailable", "restoreRate")
        )
        if available is None or maximum is None or not restore:
            return None
        self.available, self.maximum, self.restore, self.at = available, maximum, restore, now
        asked = _number(cost, "requestedQueryCost")
        return None if asked is None else max(0.1, (asked - available) / restore)


@dataclass(frozen=True)
class Shopify(Connector):
    """Builds and reads; holds secrets, and shows none of them."""

    config: Config = field(repr=False)
    url: str = field(repr=False)
    token: str = field(repr=False)
    tokens: Tokens | None = field(repr=False)
    user_agent: str
    limits: Mapping[str, Sequence[Window]] = field(repr=False)
    endpoint: str
    account: str
    bucket: Bucket = field(repr=False, default_factory=Bucket)
    customers: Remembered = field(
        repr=False, default_factory=lambda: Remembered(REMEMBERED_CUSTOMERS, REMEMBERED_SECONDS)
    )
    """Global ids by e-mail address."""

    @property
    def hidden(self) -> Sequence[str]:  # it grows with the tokens
        return forms_of(self.token) if self.tokens is None else self.tokens.hidden

    def prepare(self, now: float) -> Steps | None:
        return None if self.tokens is None else self.tokens.prepare(now)

    def deliver(self, changes: Sequence[Change], now: float) -> Steps:
        return identified(changes, self._item, lambda items: self._tag(items, now))

    def erase(self, customers: Sequence[Change], now: float) -> Steps:
        """Ask for the erasure of their data: Shopify carries it out after its own period [D]."""
        return identified(customers, self._item, lambda items: self._forget(items, now))

    def ping(self, now: float) -> Request:
        return self._request({"query": "{shop{id}}"})

    def rehearse(self, request: Request) -> Response:
        if request.url.endswith("/oauth/access_token"):
            return rehearsed()
        data: dict[str, Any] = {
            alias: {"id": f"{CUSTOMER}1"} if name == "customerByIdentifier" else {"userErrors": []}
            for alias, name in _ALIAS.findall(msgspec.json.decode(request.body)["query"])
        }
        return Response(200, {}, msgspec.json.encode({"data": data}))

    def _item(self, change: Change) -> Item | None:
        identity = identity_of(change, self.config.identity)
        gid, email = _gid(identity.get("external_id", "")), identity.get("email", "")
        if change.action != "erased" and change.segment not in self.config.segments:
            return None
        return Item(change, gid, email) if gid or email else None

    def _tag(self, items: Sequence[Item], now: float) -> Steps:
        def call(item: Item, gid: str) -> Call:
            tags = [self.config.segments[item.change.segment].tag]
            name = "tagsAdd" if item.change.entered else "tagsRemove"
            return Call(name, {"id": ("ID!", gid), "tags": ("[String!]!", tags)}, "userErrors{message}")

        return (yield from self._for_each(items, call, lambda item: not item.change.entered, now))

    def _forget(self, items: Sequence[Item], now: float) -> Steps:
        def call(_: Item, gid: str) -> Call:
            return Call("customerRequestDataErasure", {"customerId": ("ID!", gid)}, "userErrors{code message}")

        return (yield from self._for_each(items, call, lambda _: True, now))

    def _for_each(
        self, items: Sequence[Item], call: Callable[[Item, str], Call], gone_is_done: Callable[[Item], bool], now: float
    ) -> Steps:
        """One mutation for each customer, in one request, after one for the ids that are not known."""
        emails = dict.fromkeys(item.email for item in items if not item.gid)
        known = {email: gid for email in emails if (gid := self.customers.get(email, now))}
        asked = [email for email in emails if email not in known]
        if asked:
            found_ids = yield from self._look_up(asked, now)
            if isinstance(found_ids, Result):
                return [found_ids] * len(items)
            known |= found_ids
        gids = [item.gid or known.get(item.email, "") for item in items]
        absent = Result.refused("customer_not_found")
        results = [absent if not gone_is_done(item) else DELIVERED for item in items]
        places = [place for place, gid in enumerate(gids) if gid]
        if places:
            calls = [call(items[place], gids[place]) for place in places]
            mutated = yield from self._mutate(calls, now)
            for place, found in zip(places, mutated, strict=True):
                item = items[place]
                if "does not exist" in found.reason or found.reason.startswith("DOES_NOT_EXIST"):
                    remembered = not item.gid and item.email not in asked
                    self.customers.forget(item.email)
                    found = DELIVERED if gone_is_done(item) else found
                    if remembered:  # under another id by now, perhaps: merged, or made anew
                        found = replace(found, outcome=Outcome.RETRY, after=0.0, reason="customer_id_outdated")
                results[place] = found
        return results

    def _look_up(
        self, emails: Sequence[str], now: float
    ) -> Generator[Sequence[Request], Sequence[Answer], Mapping[str, str] | Result]:
        """The ids of those who have an account, by e-mail address; or a result for all where that failed."""
        calls = [
            Call("customerByIdentifier", {"identifier": ("CustomerIdentifierInput!", {"emailAddress": email})}, "id")
            for email in emails
        ]
        request = self._document("query", calls, LOOKUP_POINTS, now)
        (answer,) = yield (request,)
        data = self._data(request, answer, now, len(emails))
        if isinstance(data, Result):
            return data
        assert isinstance(answer, Response)
        told = [data.get(f"c{place}", 0) for place in range(len(emails))]
        if not all(one is None or (isinstance(one, dict) and _gid(one.get("id"))) for one in told):
            return unreadable(request, answer, 1)[0]
        found = {email: str(one["id"]) for email, one in zip(emails, told, strict=True) if one is not None}
        for email, gid in found.items():
            self.customers.put(email, gid, now)
        return found

    def _mutate(self, calls: Sequence[Call], now: float) -> Steps:
        request = self._document("mutation", calls, MUTATION_POINTS, now)
        (answer,) = yield (request,)
        data = self._data(request, answer, now, len(calls))
        if isinstance(data, Result):
            return [data] * len(calls)
        assert isinstance(answer, Response)
        return [self._of_call(data.get(f"c{place}"), request, answer, now) for place in range(len(calls))]

    def _of_call(self, one: Any, request: Request, answer: Response, now: float) -> Result:
        errors = one.get("userErrors") if isinstance(one, dict) else None
        if not isinstance(errors, list):
            return unreadable(request, answer, 1)[0]
        if not errors:
            return DELIVERED
        first = errors[0] if isinstance(errors[0], dict) else {}
        told = [str(first[name]) for name in ("code", "message") if first.get(name)]
        return refused(request, answer, now, ": ".join(told) or "user_error")

    def _document(self, operation: str, calls: Sequence[Call], points: int, now: float) -> Request:
        """One request for all calls: each has an alias, and variables of its own, so that no value is syntax."""
        declared, fields, variables = [], [], {}
        for place, call in enumerate(calls):
            passed = []
            for argument, (kind, value) in call.arguments.items():
                variable = f"{argument}{place}"
                declared.append(f"${variable}:{kind}")
                passed.append(f"{argument}:${variable}")
                variables[variable] = value
            fields.append(f"c{place}:{call.name}({','.join(passed)}){{{call.selection}}}")
        query = f"{operation}({','.join(declared)}){{{' '.join(fields)}}}"
        request = self._request({"query": query, "variables": variables})
        return replace(request, wait=self.bucket.take(points * len(calls), now))

    def _request(self, document: Mapping[str, Any]) -> Request:
        headers = {
            "content-type": "application/json",
            "user-agent": self.user_agent,
            "x-shopify-access-token": self.token if self.tokens is None else self.tokens.current,
        }
        return Request("POST", self.url, headers, msgspec.json.encode(document), "graphql", cap=1024 * 1024)

    def _data(self, request: Request, answer: Answer, now: float, items: int) -> Mapping[str, Any] | Result:
        """The answer's data by alias, or what it says of the request as a whole."""
        if not isinstance(answer, Response):
            return judge(request, answer, now)
        if answer.status == 401:
            outcome = Outcome.PAUSE
            if self.tokens is not None:
                outcome = self.tokens.refuse(request.headers["x-shopify-access-token"], now)
            return result(outcome, request, answer, now)
        if answer.status in SHOP_WRONG:
            return result(Outcome.PAUSE, request, answer, now)
        if answer.status == SECURITY_REJECTION:
            return result(Outcome.RETRY, request, answer, now, throttled=True)
        if not 200 <= answer.status < 300:
            return judge(request, answer, now, items)
        document = answer.json()
        document = document if isinstance(document, dict) else {}
        extensions = document.get("extensions")
        payable = self.bucket.note(extensions.get("cost") if isinstance(extensions, dict) else None, now)
        errors = document.get("errors")
        for error in errors if isinstance(errors, list) else ():
            if isinstance(error, dict):
                return self._of_error(error, payable, request, answer, now, items)
        data = document.get("data")
        return data if isinstance(data, dict) else unreadable(request, answer, items)[0]

    def _of_error(
        self,
        error: Mapping[str, Any],
        payable: float | None,
        request: Request,
        answer: Response,
        now: float,
        items: int,
    ) -> Result:
        """A top-level error. Whatever else was done is idempotent: all are sent again."""
        about = error.get("extensions")
        code = about.get("code") if isinstance(about, dict) else None
        if code == "THROTTLED":
            found = result(Outcome.RETRY, request, answer, now, "throttled", throttled=True)
            return replace(found, after=payable)
        if code in ("ACCESS_DENIED", "SHOP_INACTIVE"):
            return result(Outcome.PAUSE, request, answer, now, str(code).lower())
        if code in ("INTERNAL_SERVER_ERROR", "TIMEOUT"):
            return result(Outcome.RETRY, request, answer, now, str(code).lower())
        return suspected(request, answer, now, items, str(error.get("message") or code or "error"))[0]


def _gid(value: Any) -> str:
    """A customer's global id, from one, or from the number in it; else empty."""
    number = str(value).removeprefix(CUSTOMER) if isinstance(value, str | int) else ""
    return f"{CUSTOMER}{number}" if number.isascii() and number.isdigit() else ""


def _number(document: Any, name: str) -> float | None:
    found = document.get(name) if isinstance(document, dict) else None
    return float(found) if isinstance(found, int | float) and 0 <= found <= _LARGEST else None
