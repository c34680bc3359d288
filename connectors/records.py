"""What the deliverer writes to Kafka: a receipt per finished change, and the dead letters."""

from __future__ import annotations

import base64
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

import msgspec

from connectors.changes import Change
from connectors.exchange import Request, origin
from connectors.secrets import redact

LARGEST_DEAD_LETTER = 900_000
"""Bytes. A broker refuses more than 1 MB by default: beyond this the change is named by its offset only."""

REQUEST_CHARACTERS = 2_000


@dataclass(frozen=True, slots=True)
class Source:
    """Where a record stands on `segment-changes`."""

    topic: str
    partition: int
    offset: int


def receipt(change: Change, *, destination: str, status: str, attempts: int, latency_ms: float, now: float) -> bytes:
    """The end of a change at a destination, for the topic `deliveries`.

    `status` is one of `schemas.deliveries.Receipt`'s; `latency_ms` runs from the change's record on `segment-
    changes` to this end, at `now` (Unix seconds).
    """
    return _dumps(
        {
            "id": change.id,
            "destination": destination,
            "status": status,
            "attempts": attempts,
            "latency_ms": round(latency_ms, 3),
            "at": iso(now),
            "customer_id": change.customer_id,
            "segment": change.segment,
            "sequence": change.sequence,
            "origin": change.origin,
            "offset": change.offset if change.origin == "live" else None,
        }
    )


def dead_letter(
    value: bytes | None,
    *,
    source: Source,
    destination: str,
    reason: str,
    detail: str,
    status: int | None,
    response: str,
    attempts: int,
    now: float,
    request: dict[str, str] | None = None,
) -> bytes:
    """A change that was given up, for the topic `dead-letters`.

    `reason` is `refused`, `retries_exhausted` or `unreadable_change`; `request` is of `sent`. The change
    stands in `change`; bytes that are no JSON stand in `payload` as base64.
    """
    letter: dict[str, Any] = {
        "destination": destination,
        "reason": reason,
        "detail": detail,
        "status": status,
        "response": response,
        "request": request,
        "attempts": attempts,
        "source": {"topic": source.topic, "partition": source.partition, "offset": source.offset},
        "at": iso(now),
    }
    if value is not None and len(value) <= LARGEST_DEAD_LETTER // 2:
        try:
            msgspec.json.decode(value)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            letter["payload"] = base64.b64encode(value).decode()
        else:
            letter["change"] = msgspec.Raw(value)
    return _dumps(letter)


def sent(request: Request, hidden: Collection[str]) -> dict[str, str]:
    """What of a request a dead letter keeps: no headers, the beginning of its body, nothing that is hidden."""
    place = origin(request.url)  # not a secret, even where the whole of the URL is
    # Cut after redacting: a secret that the cut would halve must be found.
    longest = max((len(secret) for secret in hidden), default=0)
    body = request.body[: (REQUEST_CHARACTERS + longest) * 4].decode("utf-8", "replace")
    return {
        "method": request.method,
        "url": place + redact(request.url.removeprefix(place), hidden),
        "body": redact(body, hidden)[:REQUEST_CHARACTERS],
    }


def _dumps(record: dict[str, Any]) -> bytes:
    return msgspec.json.encode(record)


@lru_cache(maxsize=16)  # a parcel's receipts have one instant
def iso(now: float) -> str:
    """Unix seconds as `schemas` writes instants."""
    return datetime.fromtimestamp(now, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
