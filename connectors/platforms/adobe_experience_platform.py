"""Adobe Experience Platform: streaming ingestion, the way into its profiles, Journey Optimizer and Campaign.

    destinations:
      adobe:
        platform: adobe_experience_platform
        inlet: {env: AEP_INLET_ID}            # of the HTTP API source's streaming endpoint
        oauth:                                # where the inlet is authenticated
          client_id: {env: AEP_CLIENT_ID}
          client_secret: {env: AEP_CLIENT_SECRET}
        sandbox: prod
        organization: 5C1328435BF324E90A49402A@AdobeOrg
        schema_id: https://ns.adobe.com/acme/schemas/8c1b0d2e
        dataset: 5da9452f7de80400007jc52a
        flow: 69f188b6-af07-4587-8061-e94d34637b41
        updates: partial
        segments:
          vip: {property: _acme.segments.vip}
          abandoned_cart: {property: _acme.segments.abandonedCart}
        fields: {cart_value: _acme.cart.value}

| ours | theirs |
|---|---|
| customer | `identityMap`: `external_id` and `email` in their namespaces; the first that is known is primary |
| entered / exited | true / false at the XDM path `property` |
| change (opt-in) | an experience event of the `eventType` `event`; its `_id` is the change's, `timestamp` its instant |
| `fields` | XDM paths; what is unknown is left out |
| erasure | a privacy job (`privacy`) |

`updates: whole` sends XDM: each message is all that its dataset says of the customer, so every `property`
needs a dataset of its own. `updates: partial` marks messages to be merged by the flow's Data Prep mapping, into
profiles only and not into the data lake [D].

Answers: 207 has a result for each message [S]. A message with 400 is refused, one that names the
organisation pauses; 413 sends the halves apart; 429, 5xx are retried. Of authenticated inlets 401 and 403
(an invalid or expired token [D]) renew the token. What is wrong with the data is found out after the answer and ends
in the dataset's failed batches, not here. Limits: 1 MB per request [S], 1,000 requests/s [D].
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from types import MappingProxyType
from typing import Annotated, Any, Literal
from urllib.parse import quote, urlsplit

import msgspec
from pydantic import Field, model_validator

from connectors.answers import judge, result
from connectors.batches import identified, unreadable
from connectors.changes import Change
from connectors.exchange import Answer, Request, Response, Steps, origin
from connectors.mapping import Identity, check_identity, fields_of, identity_of
from connectors.options import Hosted, ProfileField, SegmentName, Strict
from connectors.platforms import Connector, nothing
from connectors.rates import Window
from connectors.results import DELIVERED, Outcome, Result, outcome_of
from connectors.secrets import SecretReference, fingerprint
from connectors.tokens import Tokens, form_request, rehearsed

BODY_BYTES = 1_000_000
"""Largest body [S]."""
TOKEN_SECONDS = 86_399.0
COLLECTION = "https://dcs.adobedc.net"
PLATFORM = "https://platform.adobe.io"
IMS = "https://ims-na1.adobelogin.com"
SCOPES = "openid,AdobeID,read_organizations,additional_info.projectedProductContext,session"
RESERVED = frozenset({"_id", "eventType", "identityMap", "timestamp"})
STANDARD_NAMESPACES = frozenset({"adcloud", "core", "ecid", "email", "gaid", "idfa", "phone", "tntid", "waid"})

LIMITS = MappingProxyType(
    {
        "token": (Window(10, 60.0),),
        "collection": (Window(1_000, 1.0),),
        "privacy": (Window(60, 60.0),),
    }
)

Id = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.@:-]{1,200}$")]
Path = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*$", max_length=500)]
Namespace = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,100}$")]
_XDM = re.compile(r"^https://ns\.adobe\.com/\S{1,300}$")


class OAuth(Strict):
    """An OAuth server-to-server credential of the Developer Console."""

    client_id: SecretReference
    client_secret: SecretReference
    scopes: str = Field(SCOPES, pattern=r"^[A-Za-z0-9_.,-]+$", description="As the project lists them.")


class Privacy(Strict):
    """How an erasure becomes a job of Privacy Service."""

    regulation: str = Field(
        pattern=r"^[a-z]{3,10}(_[a-z]{3})?$", description="Under which law it is asked for: gdpr, ccpa, …"
    )
    include: list[Id] = Field(
        ["AdobeCloudPlatform", "Identity", "profileService"], min_length=1, description="The products to delete from."
    )


class Target(Strict):
    """What a segment is there; at least one of `property` and `event`."""

    property: Path | None = Field(None, description="XDM path of a Boolean: true for members.")
    event: Annotated[str, Field(min_length=1, max_length=200)] | None = Field(
        None, description="`eventType` of an experience event, sent instead of a record."
    )
    dataset: Id | None = Field(None, description="Another dataset than the destination's.")
    flow: Id | None = Field(None, description="Its dataflow.")
    schema_id: str | None = Field(None, pattern=_XDM.pattern, description="Its schema.")

    @model_validator(mode="after")
    def _is_something(self) -> Target:
        if self.property is None and self.event is None:
            raise ValueError("give `property` or `event`")
        return self


class Config(Hosted):
    """A streaming endpoint's options."""

    platform: Literal["adobe_experience_platform"] = "adobe_experience_platform"
    inlet: Id | SecretReference = Field(repr=False, description="ID of the streaming endpoint; a secret if it is open.")
    oauth: OAuth | None = Field(None, description="For authenticated inlets, and for `privacy`.")
    sandbox: str = Field("prod", pattern=r"^[a-z0-9-]{1,100}$", description="The sandbox's name.")
    organization: str = Field(pattern=r"^[A-Za-z0-9]{1,100}@AdobeOrg$", description="The organisation's ID.")
    schema_id: str = Field(pattern=_XDM.pattern, description="The schema's `$id`.")
    schema_version: str = Field("1", pattern=r"^[0-9.]{1,20}$", description="The schema's version.")
    dataset: Id = Field(description="The dataset's ID.")
    flow: Id = Field(description="The dataflow's ID.")
    updates: Literal["whole", "partial"] = Field(
        "whole", description="Whether a message is all that its dataset says of a customer, or is merged."
    )
    privacy: Privacy | None = Field(None, description="Forward erasures to Privacy Service.")
    identity: Identity = Field(Identity(), description="How the platform knows a customer.")
    external_id_namespace: Namespace = Field("CRMID", description="Identity namespace of `external_id`.")
    email_namespace: Namespace = Field("Email", description="Identity namespace of `email`.")
    fields: Mapping[ProfileField, Path] = Field({}, description="Profile fields and the XDM paths that they go to.")
    segments: Annotated[Mapping[SegmentName, Target], Field(min_length=1)] = Field(
        description="The segments, and what each is there."
    )
    batch_size: int = Field(100, ge=1, le=1000, description="Messages per request, at most.")
    batch_bytes: int = Field(200_000, ge=1_000, le=900_000, description="Bytes of changes per request, at most.")

    @model_validator(mode="after")
    def _is_usable(self) -> Config:
        check_identity(self.identity)
        if self.privacy is not None and self.oauth is None:
            raise ValueError("privacy: needs `oauth`")
        for name, target in self.segments.items():
            _check_paths(name, [*self.fields.values(), *([target.property] if target.property else [])])
        records = [target.dataset or self.dataset for target in self.segments.values() if target.event is None]
        if self.updates == "whole" and len(set(records)) < len(records):
            raise ValueError("segments: with whole updates each `property` needs a `dataset` of its own")
        return self


def _check_paths(segment: str, paths: list[str]) -> None:
    """No path leads into another's value, or into what is ours to say."""
    if RESERVED & {path.partition(".")[0] for path in paths}:
        raise ValueError(f"segments: of {segment!r} an XDM path begins with one of {', '.join(sorted(RESERVED))}")
    for one, next_one in pairwise(sorted(paths, key=lambda path: path.split("."))):
        if f"{next_one}.".startswith(f"{one}."):
            raise ValueError(f"segments: of {segment!r} one XDM path is part of another")


def connect(config: Config, environ: Mapping[str, str], user_agent: str) -> ExperiencePlatform:
    """Read the secrets and be ready to build requests. Raises SecretMissing, ValueError."""
    inlet = config.inlet if isinstance(config.inlet, str) else config.inlet.read(environ).get_secret_value()
    collection, platform, ims = (config.base(host) for host in (COLLECTION, PLATFORM, IMS))
    tokens, client_id = None, ""
    if config.oauth is not None:
        client_id = config.oauth.client_id.read(environ).get_secret_value()
        client_secret = config.oauth.client_secret.read(environ).get_secret_value()
        asked = {"client_id": client_id, "client_secret": client_secret, "scope": config.oauth.scopes}
        tokens = Tokens(
            form_request(f"{ims}/ims/token/v3", asked, user_agent, "token"),
            client_id,
            client_secret,
            lifetime=TOKEN_SECONDS,
        )
    return ExperiencePlatform(
        config=config,
        url=f"{collection}/collection/batch/{quote(inlet, safe='')}",
        inlet=inlet,
        jobs_url=f"{platform}/data/core/privacy/jobs",
        api_key=client_id,
        user_agent=user_agent,
        tokens=tokens,
        endpoint=origin(collection),
        account=fingerprint(collection, config.organization, inlet),
    )


@dataclass(frozen=True)
class Item:
    change: Change
    identities: Mapping[str, str]
    """By namespace, the primary first."""


@dataclass(frozen=True)
class ExperiencePlatform(Connector):
    """Builds and reads; holds secrets, and shows none of them."""

    config: Config = field(repr=False)
    url: str = field(repr=False)
    inlet: str = field(repr=False)
    jobs_url: str = field(repr=False)
    api_key: str = field(repr=False)
    user_agent: str
    tokens: Tokens | None = field(repr=False)
    endpoint: str
    account: str
    limits = LIMITS

    @property
    def hidden(self) -> Sequence[str]:  # it grows with the tokens
        return (self.inlet, *(self.tokens.hidden if self.tokens is not None else ()))

    def prepare(self, now: float) -> Steps | None:
        return None if self.tokens is None else self.tokens.prepare(now)

    def deliver(self, changes: Sequence[Change], now: float) -> Steps:
        return identified(changes, self._item, lambda items: self._collect(items, now))

    def erase(self, customers: Sequence[Change], now: float) -> Steps:
        privacy = self.config.privacy
        if privacy is None:
            return nothing(customers, "erasure_not_supported")
        return identified(customers, self._item, lambda items: self._forget(items, privacy, now))

    def rehearse(self, request: Request) -> Response:
        path = urlsplit(request.url).path
        if path.endswith("/ims/token/v3"):
            return rehearsed()
        if path.endswith("/privacy/jobs"):
            return Response(202, {}, b'{"jobs":[],"requestStatus":1}')
        messages = msgspec.json.decode(request.body)["messages"]
        answer = {"responses": [{"xactionId": f"rehearsed:{number}"} for number in range(len(messages))]}
        return Response(207, {}, msgspec.json.encode(answer))

    def _item(self, change: Change) -> Item | None:
        config = self.config
        identity = identity_of(change, config.identity)
        namespaces = {"external_id": config.external_id_namespace, "email": config.email_namespace}
        found = {space: identity[name] for name, space in namespaces.items() if name in identity}
        return Item(change, found) if found else None

    # Ingestion.

    def _collect(self, items: Sequence[Item], now: float) -> Steps:
        messages = [self._message(item) for item in items]
        places = [place for place, message in enumerate(messages) if message is not None]
        results = [DELIVERED] * len(items)
        if places:
            sent = yield from self._send([messages[place] for place in places], now)
            for place, found in zip(places, sent, strict=True):
                results[place] = found
        return results

    def _send(self, messages: Sequence[Any], now: float) -> Steps:
        body = msgspec.json.encode({"messages": messages})
        headers = {
            "content-type": "application/json",
            "user-agent": self.user_agent,
            "x-sandbox-name": self.config.sandbox,
            **self._authorization(),
        }
        request = Request("POST", self.url, headers, body, limit="collection", cap=1024 * 1024)
        if len(body) > BODY_BYTES:
            outcome = Outcome.REFUSED if len(messages) == 1 else Outcome.SPLIT
            return [Result(outcome, "too_large", request=request)] * len(messages)
        (answer,) = yield (request,)
        if not isinstance(answer, Response) or not 200 <= answer.status < 300:
            return [self._judge(request, answer, now, len(messages))] * len(messages)
        document = answer.json()
        listed = document.get("responses") if isinstance(document, dict) else None
        if not isinstance(listed, list) or len(listed) != len(messages):
            return unreadable(request, answer, len(messages))
        return [self._of_message(one, request, answer, now) for one in listed]

    def _message(self, item: Item) -> dict[str, Any] | None:
        """The message for a change; None where there is nothing to say."""
        config, change = self.config, item.change
        target = config.segments.get(change.segment)
        if target is None or (target.event is not None and change.origin == "resync"):
            return None  # what is sent anew because all is sent anew did not happen anew
        entity: dict[str, Any] = {}
        if target.event is not None:
            entity |= {"_id": change.id, "timestamp": change.at, "eventType": target.event}
        spaces = enumerate(item.identities.items())
        entity["identityMap"] = {space: [{"id": found, "primary": not place}] for place, (space, found) in spaces}
        for path, value in fields_of(change, config.fields).items():
            if value is not None:
                _put(entity, path, value)
        if target.property is not None:
            _put(entity, target.property, change.entered)
        header: dict[str, Any] = {
            "imsOrgId": config.organization,
            "datasetId": target.dataset or config.dataset,
            "flowId": target.flow or config.flow,
        }
        if config.updates == "partial" and target.event is None:
            return {"header": header | {"operations": {"data": "merge"}}, "body": entity}
        schema = {
            "id": target.schema_id or config.schema_id,
            "contentType": f"application/vnd.adobe.xed-full+json;version={config.schema_version}",
        }
        header |= {"schemaRef": schema, "source": {"name": "livesegments"}}
        return {"header": header, "body": {"xdmMeta": {"schemaRef": schema}, "xdmEntity": entity}}

    def _authorization(self) -> dict[str, str]:
        return {} if self.tokens is None else {"authorization": f"Bearer {self.tokens.current}"}

    def _judge(self, request: Request, answer: Answer, now: float, items: int = 1) -> Result:
        if isinstance(answer, Response) and answer.status in (401, 403):
            return result(self._refused_token(request, now), request, answer, now)
        return judge(request, answer, now, items)

    def _refused_token(self, request: Request, now: float) -> Outcome:
        if self.tokens is None:
            return Outcome.PAUSE
        return self.tokens.refuse(request.headers["authorization"].removeprefix("Bearer "), now)

    def _of_message(self, one: Any, request: Request, answer: Response, now: float) -> Result:
        """One message's own result."""
        if not isinstance(one, dict):
            return unreadable(request, answer, 1)[0]
        status, message = one.get("statusCode"), str(one.get("message") or "")
        if status is None and "xactionId" in one:
            return DELIVERED
        if not isinstance(status, int):
            return unreadable(request, answer, 1)[0]
        outcome = outcome_of(status)
        if status in (401, 403):
            outcome = self._refused_token(request, now)
        elif outcome is Outcome.REFUSED and re.search(r"\bims org\b", message, re.IGNORECASE):
            outcome = Outcome.PAUSE
        reason = f"{status}: {message}"[:200] if outcome is Outcome.REFUSED else f"http_{status}"
        found = result(outcome, request, answer, now, reason)
        return found if outcome is Outcome.DELIVERED else replace(found, status=status, excerpt=message[:500])

    # Erasure.

    def _forget(self, items: Sequence[Item], privacy: Privacy, now: float) -> Steps:
        users = [
            {
                "key": item.change.customer_id,
                "action": ["delete"],
                "userIDs": [
                    {"namespace": space, "value": found, "type": _kind(space)}
                    for space, found in item.identities.items()
                ],
            }
            for item in items
        ]
        document = {
            "companyContexts": [{"namespace": "imsOrgID", "value": self.config.organization}],
            "users": users,
            "include": privacy.include,
            "regulation": privacy.regulation,
        }
        headers = {
            "content-type": "application/json",
            "user-agent": self.user_agent,
            "x-api-key": self.api_key,
            "x-gw-ims-org-id": self.config.organization,
            **self._authorization(),
        }
        request = Request("POST", self.jobs_url, headers, msgspec.json.encode(document), limit="privacy")
        (answer,) = yield (request,)
        if isinstance(answer, Response) and 200 <= answer.status < 300:
            said = answer.json()
            if not isinstance(said, dict) or not isinstance(said.get("jobs"), list):
                return unreadable(request, answer, len(items))
        return [self._judge(request, answer, now, len(items))] * len(items)


def _kind(namespace: str) -> str:
    return "standard" if namespace.casefold() in STANDARD_NAMESPACES else "custom"


def _put(entity: dict[str, Any], path: str, value: Any) -> None:
    *parents, last = path.split(".")
    for parent in parents:
        entity = entity.setdefault(parent, {})
    entity[last] = value
