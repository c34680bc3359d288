"""The gate: records of foreign topics, said in our words and re-keyed into `events`.

A topic has a mapping from paths in its JSON to our fields. The offset that a record came from travels with it
(header ``origin``) and becomes its event id where it states none, so that moving it twice is harmless.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final, NamedTuple, Protocol

import msgspec
from aiokafka.structs import ConsumerRecord
from pydantic_core import PydanticCustomError

from schemas.events import MAX_EVENT_TYPE, Event
from schemas.facts import ORIGIN_HEADER
from schemas.instants import format_iso
from schemas.rejections import DeadLetterReason, RejectionReason
from schemas.scalars import not_too_deep, text
from stream.core.output import DEAD_LETTERED, REJECTED
from stream.core.routing import partition_of
from stream.engine.partitions import Batch
from stream.engine.topics import TopicNames

PASSED: Final = "passed"
PROPERTIES: Final = "properties."
FIELDS: Final = frozenset(Event.model_fields)


@dataclass(frozen=True)
class ForeignTopic:
    """How one topic's JSON becomes our events.

    ``fields`` maps dotted paths (``user.id``, ``items.0.sku``) to our fields or to ``properties.<name>``.
    ``event_type`` is the type of all records, unless a path is mapped to it; ``event_types`` then renames
    values that neither we nor Segment nor GA4 know. A record without a timestamp happened when Kafka got it.

    ``ValueError`` for a mapping that cannot give an event.
    """

    name: str
    event_type: str | None
    fields: Mapping[str, str]
    event_types: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))

    def __post_init__(self) -> None:
        targets = list(self.fields.values())
        unknown = [t for t in targets if t not in FIELDS - {"properties"} and not _is_property(t)]
        if unknown:
            raise ValueError(f"{self.name}: {', '.join(sorted(unknown))} is none of our fields")
        if repeated := sorted({t for t in targets if targets.count(t) > 1}):
            raise ValueError(f"{self.name}: more than one path for {', '.join(repeated)}")
        if "customer_id" not in targets:
            raise ValueError(f"{self.name}: no path is mapped to customer_id")
        if (self.event_type is None) == ("event_type" not in targets):
            raise ValueError(f"{self.name}: state event_type, or map a path to it, and not both")


class Mapped(NamedTuple):
    """A record for `events`."""

    customer_id: str
    value: bytes


class Unmappable(Exception):
    """A record that gives no event. ``ending`` is ``rejected`` or ``dead_lettered``, as in the core."""

    def __init__(self, reason: RejectionReason | DeadLetterReason, detail: str) -> None:
        super().__init__(f"{reason.value}: {detail}")
        self.ending = DEAD_LETTERED if isinstance(reason, DeadLetterReason) else REJECTED
        self.reason = reason
        self.detail = detail


def map_record(value: bytes | None, timestamp_ms: int, topic: ForeignTopic) -> Mapped:
    """One foreign record in our words. ``timestamp_ms`` is Kafka's. Raises ``Unmappable``.

    Values stay as they are, but for the customer id, which is the key, and the type: whether the others fit
    is for the customer agent to say, which sees the event next.
    """
    source = _object(value)
    event: dict[str, Any] = {}
    properties: dict[str, Any] = {}
    for path, target in topic.fields.items():
        found = _at(source, path)
        if found is not None:
            if _is_property(target):
                properties[target.removeprefix(PROPERTIES)] = found
            else:
                event[target] = found
    customer_id = _text(event.get("customer_id"), "customer_id", RejectionReason.MISSING_CUSTOMER_ID)
    kind = topic.event_type
    if kind is None:
        kind = _text(event.get("event_type"), "event_type", RejectionReason.MISSING_EVENT_TYPE, MAX_EVENT_TYPE)
        kind = topic.event_types.get(kind, kind)
    event["customer_id"], event["event_type"] = customer_id, kind
    if 0 <= timestamp_ms <= _LAST_MS:
        event.setdefault("timestamp", format_iso(timestamp_ms * 1000))
    if properties:
        event["properties"] = properties
    return Mapped(customer_id, msgspec.json.encode(event))


#: The end of the year 9999: what a producer's clock says beyond it is no time.
_LAST_MS = 253_402_300_799_999


class Acknowledged(Protocol):
    """A record on its way."""

    async def acknowledged(self) -> int:
        """Wait until Kafka has it, or raise why not."""
        ...


class Sender(Protocol):
    """What the gate needs of the engine's writes."""

    async def send(
        self,
        topic: str,
        partition: int,
        key: bytes | None,
        value: bytes | None,
        headers: Sequence[tuple[str, bytes]] = (),
    ) -> Acknowledged:
        """Queue one record."""
        ...


Count = Callable[[str, str, str], None]
"""Called for each record with the foreign topic, how it ended, and why (empty where it passed)."""


def gate(
    topic: ForeignTopic, *, sender: Sender, names: TopicNames, partitions: int, count: Count
) -> Callable[[Batch], Awaitable[None]]:
    """What processes the batches of one foreign topic. It returns once all that it sent is acknowledged.

    An error of a write leaves it, and ends the process: the batch is then read again.
    """

    async def forward(record: ConsumerRecord) -> Acknowledged:
        place = f"{record.topic}/{record.partition}/{record.offset}".encode()
        try:
            mapped = map_record(record.value, record.timestamp, topic)
        except Unmappable as error:
            count(topic.name, error.ending, error.reason.value)
            into = names.dead_letters if error.ending == DEAD_LETTERED else names.rejected
            return await sender.send(into, record.partition % partitions, record.key, _refusal(record, error))
        count(topic.name, PASSED, "")
        key = mapped.customer_id.encode()
        at = partition_of(mapped.customer_id, partitions)
        return await sender.send(names.events, at, key, mapped.value, [(ORIGIN_HEADER, place)])

    async def process(batch: Batch) -> None:
        for sent in [await forward(record) for part in batch.parts for record in part]:
            await sent.acknowledged()

    return process


def _object(value: bytes | None) -> dict[str, Any]:
    if value is None:
        raise Unmappable(DeadLetterReason.TOMBSTONE, "the value is null")
    try:
        source = msgspec.json.decode(value)
        not_too_deep(source)
    except RecursionError:
        raise Unmappable(DeadLetterReason.TOO_DEEP, "nested deeper than any parser goes") from None
    except PydanticCustomError as error:
        raise Unmappable(DeadLetterReason.TOO_DEEP, error.message()) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        try:
            value.decode()
        except UnicodeDecodeError as undecodable:
            raise Unmappable(DeadLetterReason.NOT_UTF8, str(undecodable)) from None
        raise Unmappable(DeadLetterReason.NOT_JSON, str(error)) from None
    if not isinstance(source, dict):
        raise Unmappable(DeadLetterReason.NOT_AN_OBJECT, f"a JSON {type(source).__name__}")
    return source


def _at(source: Any, path: str) -> Any:
    """The value at a dotted path; None if there is none."""
    for step in path.split("."):
        if isinstance(source, dict):
            source = source.get(step)
        elif isinstance(source, list) and step.isdecimal() and int(step) < len(source):
            source = source[int(step)]
        else:
            return None
    return source


def _text(value: Any, name: str, missing: RejectionReason, limit: int | None = None) -> str:
    try:
        kept = text(value) if limit is None else text(value, limit)
    except PydanticCustomError as error:
        raise Unmappable(RejectionReason[error.type.upper()], f"{name}: {error.message()}") from None
    if kept is None:
        raise Unmappable(missing, f"{name} is missing, null or blank")
    return kept


def _is_property(target: str) -> bool:
    return len(target) > len(PROPERTIES) and target.startswith(PROPERTIES)


def _refusal(record: ConsumerRecord, error: Unmappable) -> bytes:
    """A ``schemas.rejections.RejectedRecord``."""
    return msgspec.json.encode(
        {
            "topic": record.topic,
            "partition": record.partition,
            "offset": record.offset,
            "reason": error.reason.value,
            "detail": error.detail,
            "payload": None if record.value is None else b64encode(record.value).decode(),
            "key": None if record.key is None else b64encode(record.key).decode(),
            "log_time": format_iso(record.timestamp * 1000 if 0 <= record.timestamp <= _LAST_MS else 0),
        }
    )
