"""What the deliverer writes to Kafka: a receipt per finished change, and the dead letters."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import msgspec

from connectors.changes import Change

LARGEST_DEAD_LETTER = 900_000
"""Bytes. A broker refuses more than 1 MB by default: beyond this the change is named by its offset only."""


@dataclass(frozen=True, slots=True)
class Source:
    """Where a record stands on `segment-changes`."""

    topic: str
    partition: int
    offset: int


def receipt(change: Change, *, destination: str, status: str, attempts: int, latency_ms: float, now: float) -> bytes:
    """The end of a change at a destination, for the topic `deliveries`.

    `status` is `delivered` or `dead_lettered`; `latency_ms` runs from the change's record on `segment-
    changes` to this end, at `now` (Unix seconds).
    """
    return _dumps(
        {
            "id": change.id,
            "destination": destination,
            "status": status,
            "attempts": attempts,
            "latency_ms": round(latency_ms, 3),
            "at": _iso(now),
            "customer_id": change.customer_id,
            "segment": change.segment,
            "sequence": change.sequence,
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
) -> bytes:
    """A change that was given up, for the topic `dead-letters`.

    `reason` is `refused`, `retries_exhausted` or `unreadable_change`. The change stands in `change`; bytes
    that are no JSON stand in `payload` as base64.
    """
    letter: dict[str, Any] = {
        "destination": destination,
        "reason": reason,
        "detail": detail,
        "status": status,
        "response": response,
        "attempts": attempts,
        "source": {"topic": source.topic, "partition": source.partition, "offset": source.offset},
        "at": _iso(now),
    }
    if value is not None and len(value) <= LARGEST_DEAD_LETTER // 2:
        try:
            msgspec.json.decode(value)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            letter["payload"] = base64.b64encode(value).decode()
        else:
            letter["change"] = msgspec.Raw(value)
    return _dumps(letter)


def _dumps(record: dict[str, Any]) -> bytes:
    return msgspec.json.encode(record)


def _iso(now: float) -> str:
    return datetime.fromtimestamp(now, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
