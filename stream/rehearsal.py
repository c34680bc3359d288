"""The requests that a destination would be sent for one change, and what a change for that may look like. No I/O.

A conversation is carried to its end with the answers that the platform gives when all is well
(``Connector.rehearse``). What is shown of a request is without its secrets.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import quote, quote_plus

import orjson
from pydantic import BaseModel

from connectors.changes import Change, UnreadableChange, read_change
from connectors.exchange import Request, Steps
from connectors.options import Options
from connectors.platforms import Connector
from connectors.results import Outcome, Result
from connectors.secrets import redact
from stream.core.changes import CODE, change_id

Action = Literal["entered", "exited"]

#: A conversation of more turns than this does not end.
MOST_TURNS = 100
_AT = "2026-03-02T10:30:00Z"
_VERSION = "0" * 16
#: What the profile of every change has, as some customer may have it.
_PROFILE: Mapping[str, Any] = {
    "last_viewed_product": "camera-7",
    "recent_view_category": "Electronics",
    "cart_value": 49.9,
    "cart_items": 1.0,
    "order_count": 2,
    "total_spent": 310.5,
    "last_order_at": "2026-02-11T18:04:00Z",
}


class NotRehearsed(ValueError):
    """There is nothing to show; the message says why."""


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """All requests in their order, and what the last answers mean for the change."""

    requests: tuple[Request, ...]
    result: Result


def sample(options: Options, segment: str | None, action: Action, given: Mapping[str, Any] | None = None) -> Change:
    """A change of ``segment`` (else of the first that the destination names) as the stream writes it.

    ``given`` says what is different: a whole change, or some of its fields. Its ``profile``, where it has one, is all
    that is known of the customer; without one everything is known that the destination asks for. Raises
    ``NotRehearsed``.
    """
    said = dict(given or {})
    name = segment or said.get("segment") or first_segment(options)
    if not options.wants(name):
        raise NotRehearsed(f"the destination does not want segment {name!r}")
    customer, sequence = said.get("customer_id", "ann"), said.get("sequence", 1)
    change = {
        "id": "",
        "customer_id": customer,
        "segment": name,
        "action": action,
        "at": _AT,
        "sequence": sequence,
        "definition_version": _VERSION,
        "cause": {"kind": "time"},
        "evidence": {},
        "profile": {**_PROFILE, **_asked(options)},
        "code": CODE,
        **said,
    }
    change |= {"segment": name, "action": action}
    if not said.get("id"):
        change["id"] = change_id(str(customer), name, action, 1, 0, _VERSION)
    try:
        return read_change(orjson.dumps(change))
    except UnreadableChange as error:
        raise NotRehearsed(f"this is no segment change: {error}") from None


def first_segment(options: Options) -> str:
    """The first segment that the destination names; ``abandoned_cart`` where it takes all."""
    return "abandoned_cart" if options.segments == "all" else next(iter(options.segments))


def _asked(options: Options) -> dict[str, Any]:
    """Made-up values of the profile fields that the destination names: in its identity, and to be sent along."""
    found: dict[str, Any] = {}
    identity, fields = getattr(options, "identity", None), getattr(options, "fields", None)
    if isinstance(identity, BaseModel):
        for theirs in type(identity).model_fields:
            ours = getattr(identity, theirs)
            if isinstance(ours, str) and ours != "customer_id":
                found[ours] = "ann@example.com" if "mail" in theirs else "+15005550006" if "phone" in theirs else "ann"
    for ours in fields if isinstance(fields, Mapping) else ():
        if ours != "customer_id" and ours not in _PROFILE:
            found.setdefault(str(ours), "ann@example.com" if "mail" in str(ours) else "example")
    return found


def rehearse(connector: Connector, change: Change, now: float) -> Rehearsal:
    """What would be sent at ``now`` (Unix seconds), the fetching of a token included. Raises ``NotRehearsed``."""
    requests: list[Request] = []
    result = Result(Outcome.DELIVERED)
    for steps in (connector.prepare(now), connector.deliver([change], now)):
        if steps is None:
            continue
        result = _carry(steps, connector, requests)
        if result.outcome is not Outcome.DELIVERED:
            break
    return Rehearsal(tuple(requests), result)


def _carry(steps: Steps, connector: Connector, requests: list[Request]) -> Result:
    try:
        asked = next(steps)
        for _ in range(MOST_TURNS):
            requests += asked
            asked = steps.send([connector.rehearse(request) for request in asked])
    except StopIteration as end:
        (result,) = end.value
        assert isinstance(result, Result)
        return result
    raise NotRehearsed(f"the conversation did not end within {MOST_TURNS} turns: a defect of the platform's module")


def hide(text: str, hidden: Iterable[str]) -> str:
    """``text`` without the hidden strings, in all the forms that URLs, forms and JSON give them."""
    forms = {
        form
        for secret in hidden
        for form in (secret, quote(secret), quote(secret, safe=""), quote_plus(secret), json.dumps(secret)[1:-1])
    }
    return redact(text, forms)


def shown(request: Request, connector: Connector) -> dict[str, Any]:
    """A request for people and programs, without secrets; a body that is no text is told by its length."""
    hidden = tuple(connector.hidden)
    try:
        body = request.body.decode()
    except UnicodeDecodeError:
        body = f"({len(request.body):,} bytes that are no text)"
    place = connector.endpoint if request.url.startswith(connector.endpoint) else ""  # what logs may say
    return {
        "method": request.method,
        "url": place + hide(request.url.removeprefix(place), hidden),
        "headers": {name: hide(value, hidden) for name, value in request.headers.items()},
        "body": hide(body, hidden),
        "after_seconds": request.wait,
    }
