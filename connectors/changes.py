"""A segment change as the deliverer holds it: what steers delivery, and its bytes, never rewritten."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import msgspec

Origin = Literal["live", "replay", "resync"]
"""Why a change is sent: it just happened, somebody asked for it again, or all memberships are sent anew."""

ERASED = "erased"
"""The action of what is no change of membership: the customer is to be forgotten."""


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
    origin: Origin = "live"
    _document: list[Mapping[str, Any]] = field(default_factory=list, repr=False, compare=False)

    @property
    def entered(self) -> bool:
        return self.action == "entered"

    @property
    def document(self) -> Mapping[str, Any]:
        """The whole change (`schemas.changes.SegmentChange` as JSON has it), decoded when first asked for."""
        if not self._document:
            self._document.append(msgspec.json.decode(self.raw))
        return self._document[0]

    def value(self, name: str) -> Any:
        """A field for a platform: `customer_id`, or what the change's profile has under that name; None if
        neither.
        """
        if name == "customer_id":
            return self.customer_id
        profile = self.document.get("profile")
        return profile.get(name) if isinstance(profile, dict) else None


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
