"""Segment changes for the platforms' tests."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from typing import Any

from connectors.changes import Change, Origin, read_change

NOW = 1_790_000_000.0
"""When the tests' attempts are made: Unix seconds."""


def change(
    customer: str = "c1",
    segment: str = "vip",
    action: str = "entered",
    sequence: int = 1,
    *,
    origin: Origin = "live",
    profile: dict[str, Any] | None = None,
    **fields: Any,
) -> Change:
    """A change with an id that its content decides. The profile has an e-mail address, `fields` come on top;
    `profile` is all of it where given.
    """
    if profile is None:
        profile = {"email": f"{customer}@example.com", "cart_value": 59.98, "cart_items": 2, **fields}
    document = {
        "id": hashlib.blake2b(f"{customer}/{segment}/{action}/{sequence}".encode(), digest_size=16).hexdigest(),
        "customer_id": customer,
        "segment": segment,
        "action": action,
        "at": "2026-09-20T12:34:56.789012Z",
        "sequence": sequence,
        "definition_version": "0123456789abcdef",
        "cause": {"kind": "event", "event_id": "e1", "event_type": "purchase", "event_time": "2026-09-20T12:34:56Z"},
        "evidence": {"count(purchase)": 3},
        "profile": profile,
        "code": "1",
    }
    return replace(read_change(json.dumps(document, separators=(",", ":")).encode()), origin=origin)


def entered(*customers: str, segment: str = "vip", sequence: int = 1) -> list[Change]:
    return [change(customer, segment, "entered", sequence) for customer in customers]


def exited(*customers: str, segment: str = "vip", sequence: int = 2) -> list[Change]:
    return [change(customer, segment, "exited", sequence) for customer in customers]
