"""A segment change as the deliverer holds it: what steers delivery, and its bytes, never rewritten."""

from __future__ import annotations

from dataclasses import dataclass, field

import msgspec


class UnreadableChange(ValueError):
    """A record of `segment-changes` that is no segment change; the message says why."""


class _Fields(msgspec.Struct):
    id: str
    customer_id: str
    segment: str
    action: str
    at: str
    sequence: int


@dataclass(frozen=True, slots=True)
class Change:
    id: str
    customer_id: str
    segment: str
    action: str
    at: str
    sequence: int
    raw: bytes = field(repr=False)
    """The record's value, byte for byte."""
    partition: int = 0
    offset: int = 0
    logged_at: float = 0.0
    """Unix seconds at which the record was written to the topic."""


_decoder = msgspec.json.Decoder(_Fields)


def read_change(value: bytes | None, *, partition: int = 0, offset: int = 0, logged_at: float = 0.0) -> Change:
    """Read a record's value. Raises UnreadableChange."""
    if value is None:
        raise UnreadableChange("the record has no value")
    try:
        fields = _decoder.decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UnreadableChange(str(error)) from None
    if not fields.id or "." in fields.id or not fields.id.isascii() or not fields.id.isprintable():
        raise UnreadableChange("the change has no usable id")
    return Change(
        fields.id, fields.customer_id, fields.segment, fields.action, fields.at, fields.sequence,
        value, partition, offset, logged_at,
    )  # fmt: skip
