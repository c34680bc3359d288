"""A segment change as the deliverer holds it: what steers delivery, and its bytes, never rewritten."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, Protocol, TypeVar

import msgspec

Origin = Literal["live", "replay", "resync"]
"""Why a change is sent: it just happened, somebody asked for it again, or all memberships are sent anew."""

ERASED = "erased"
"""The action of what is no change of membership: the customer is to be forgotten."""


def instant_key(at: str) -> str:
    """Sorts instants as `schemas` writes them: without the Z, a whole second comes before its fractions."""
    return at.removesuffix("Z")


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
    topic: str = ""
    """Where its record stands, at `partition` and `offset`: `segment-changes` or `redeliveries`."""
    even_if_returned: bool = False
    """Of an erasure that is sent again: also where something newer of the customer was sent since."""
    _document: list[Mapping[str, Any]] = field(default_factory=list, repr=False, compare=False)

    @property
    def entered(self) -> bool:
        return self.action == "entered"

    @property
    def document(self) -> Mapping[str, Any]:
        """The whole change (`schemas.changes.SegmentChange` as JSON has it), decoded when first asked for."""
        if not self._document:
            self._document.append(_whole(self.raw))
        return self._document[0]

    def value(self, name: str) -> Any:
        """A field for a platform: `customer_id`, or what the change's profile has under that name; None if
        neither.
        """
        if name == "customer_id":
            return self.customer_id
        profile = self.document.get("profile")
        return profile.get(name) if isinstance(profile, dict) else None


def _whole(raw: bytes) -> Mapping[str, Any]:
    """JSON that was read before. A number beyond every float is null: the rest is not to be lost for it."""
    try:
        document: Mapping[str, Any] = msgspec.json.decode(raw)
    except msgspec.ValidationError:
        document = json.loads(raw, parse_int=_number, parse_float=_number)
    return document


def _number(text: str) -> int | float | None:
    number = float(text)
    if not math.isfinite(number):
        return None
    return int(text) if text.lstrip("-").isdigit() and abs(number) < 2.0**63 else number


_decoder = msgspec.json.Decoder(_Fields)


def read_change(
    value: bytes | None,
    *,
    partition: int = 0,
    offset: int = 0,
    logged_at: float = 0.0,
    origin: Origin = "live",
    topic: str = "",
) -> Change:
    """Read a record's value. Raises UnreadableChange."""
    fields = _read(_decoder, value)
    return Change(
        fields.id, fields.customer_id, fields.segment, fields.action, fields.at, fields.sequence,
        value or b"", partition, offset, logged_at, origin, topic,
    )  # fmt: skip


class _Erasure(msgspec.Struct):
    id: str
    customer_id: str
    at: str


_erasures = msgspec.json.Decoder(_Erasure)


def read_erasure(
    value: bytes | None,
    *,
    partition: int = 0,
    offset: int = 0,
    logged_at: float = 0.0,
    origin: Origin = "live",
    topic: str = "",
    even_if_returned: bool = False,
) -> Change:
    """Read the value of a record that says `fact: erasure` (`schemas.changes.Erasure`). Raises UnreadableChange."""
    fields = _read(_erasures, value)
    return Change(
        fields.id, fields.customer_id, "", ERASED, fields.at, 0,
        value or b"", partition, offset, logged_at, origin, topic, even_if_returned,
    )  # fmt: skip


class _Redelivery(msgspec.Struct):
    destination: str
    origin: Literal["replay", "resync"]
    change: msgspec.Raw
    fact: Literal["erasure"] | None = None
    even_if_returned: bool = False


_redeliveries = msgspec.json.Decoder(_Redelivery)


def read_redelivery(
    value: bytes | None, *, partition: int = 0, offset: int = 0, logged_at: float = 0.0, topic: str = ""
) -> tuple[str, Change]:
    """Read a record of `redeliveries`: the destination that it is for, and the change or erasure.

    Raises UnreadableChange.
    """
    if value is None:
        raise UnreadableChange("the record has no value")
    try:
        record = _redeliveries.decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UnreadableChange(str(error)) from None
    raw, place = bytes(record.change), {"partition": partition, "offset": offset}
    if record.fact is None:
        change = read_change(raw, **place, logged_at=logged_at, origin=record.origin, topic=topic)
    elif record.origin == "replay":
        change = read_erasure(
            raw,
            **place,
            logged_at=logged_at,
            origin="replay",
            topic=topic,
            even_if_returned=record.even_if_returned,
        )
    else:
        raise UnreadableChange(f"an erasure is no part of a {record.origin}")
    return record.destination, change


class _Named(Protocol):
    id: str
    at: str


_Record = TypeVar("_Record", bound=_Named)


def _read(decoder: msgspec.json.Decoder[_Record], value: bytes | None) -> _Record:
    if value is None:
        raise UnreadableChange("the record has no value")
    try:
        fields = decoder.decode(value)
        value.decode()  # what the decoder skips it does not look at, and a platform may ask for it
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UnreadableChange(str(error)) from None
    try:
        aware = datetime.fromisoformat(fields.at).tzinfo is not None
    except ValueError:
        aware = False
    if not aware:
        raise UnreadableChange("the change's `at` is no instant")
    if not fields.id or "." in fields.id or not fields.id.isascii() or not fields.id.isprintable():
        raise UnreadableChange("the change has no usable id")
    return fields
