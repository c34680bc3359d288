"""Segment changes as CloudEvents 1.0 over HTTP: structured, batched, and binary. Pure.

Source: https://github.com/cloudevents/spec (core, JSON format, HTTP protocol binding; the extensions
`partitionkey` and `sequence`). The event's data is the change's record, byte for byte.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from urllib.parse import quote

import msgspec

from connectors.changes import Change

STRUCTURED = "application/cloudevents+json"
BATCH = "application/cloudevents-batch+json"

_PRINTABLE = "".join(chr(code) for code in range(0x21, 0x7F) if chr(code) not in '"%')
"""What stands in a header as it is; the rest is percent-encoded (HTTP binding, 3.1.3.2)."""


def attributes(change: Change, source: str, kind: str) -> Mapping[str, str]:
    """The context attributes; `id` and `source` together are the event's identity in every repeat."""
    named = {
        "specversion": "1.0",
        "id": change.id,
        "source": source,
        "type": kind,
        "subject": change.customer_id,
        "time": change.at,
        "datacontenttype": "application/json",
        "partitionkey": change.customer_id,
        "sequence": f"{change.sequence:020d}",  # as text it sorts by its number
    }
    return {name: value for name, value in named.items() if value}


def structured(change: Change, source: str, kind: str) -> bytes:
    """The event as one JSON object."""
    head = msgspec.json.encode(attributes(change, source, kind))
    return b'%b,"data":%b}' % (head[:-1], change.raw)


def batch(changes: Sequence[Change], source: str, kinds: Sequence[str]) -> bytes:
    """Several events as a JSON array."""
    return b"[%b]" % b",".join(structured(one, source, kind) for one, kind in zip(changes, kinds, strict=True))


def headers(change: Change, source: str, kind: str) -> Mapping[str, str]:
    """The headers of the binary mode; the body is the change's record."""
    named = attributes(change, source, kind)
    return {f"ce-{name}": quote(named[name], safe=_PRINTABLE) for name in named if name != "datacontenttype"}
