"""What became of changes at the destinations: receipts, dead letters, and what a destination has still to get."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError
from aiokafka.structs import ConsumerRecord

from schemas import topics
from schemas.instants import parse_iso
from stream.core.routing import partition_of
from stream.engine.reading import Reading
from stream.settings import Settings

#: Offsets of one partition in which the newest receipts are looked for.
_LATEST = 2_000
#: How long a broker may take to find the coordinator of a group.
_COORDINATOR_SECONDS = 10.0

Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which receipts or dead letters are meant; None is any. Instants in µs."""

    destination: str | None = None
    status: str | None = None
    customer: str | None = None
    segment: str | None = None
    since: int | None = None
    until: int | None = None
    id: str | None = None

    def partitions(self, count: int) -> Iterable[int]:
        """Where they can be, of ``count`` partitions."""
        return range(count) if self.customer is None else (partition_of(self.customer, count),)

    def receipt(self, receipt: Document) -> bool:
        """Whether a receipt is meant."""
        return (
            self.status in (None, receipt["status"])
            and self.destination in (None, receipt["destination"])
            and self.customer in (None, receipt["customer_id"])
            and self.segment in (None, receipt["segment"])
            and self.id in (None, receipt["id"])
            and self.within(receipt["at"])
        )

    def letter(self, letter: Document) -> bool:
        """Whether a dead letter is meant."""
        change = letter["change"] if isinstance(letter.get("change"), dict) else {}
        return (
            self.destination in (None, letter["destination"])
            and self.customer in (None, change.get("customer_id"))
            and self.segment in (None, change.get("segment"))
            and self.id in (None, change.get("id"))
            and self.within(letter["at"])
        )

    def within(self, at: str) -> bool:
        """Whether an instant (ISO 8601) lies from ``since`` to before ``until``."""
        instant = parse_iso(at)
        return (self.since is None or instant >= self.since) and (self.until is None or instant < self.until)


class _Letter(msgspec.Struct):
    """The change in a dead letter, or in a redelivery, as the bytes that it is."""

    change: msgspec.Raw = msgspec.Raw(b"null")


@dataclass(frozen=True, slots=True)
class Buried:
    """A dead letter, with the bytes of its change: None where it holds none (too large, or no JSON)."""

    letter: Document
    change: bytes | None


@dataclass(frozen=True, slots=True)
class Waiting:
    """What a destination has not finished, by its consumer group; None where it has not begun."""

    changes: int | None
    redeliveries: int | None


async def newest_receipts(settings: Settings, partitions: int, wanted: Wanted, limit: int) -> list[Document]:
    """The newest receipts that are meant, the newest first. Raises ``KafkaError``."""
    topic = topics.name(topics.DELIVERIES, settings.topic_prefix)
    found: list[Document] = []
    async with Reading.of(settings.kafka()) as reading:
        for partition in wanted.partitions(partitions):
            mine: list[Document] = []
            async for records in reading.backwards(topic, partition):
                receipts = [receipt for record in records if (receipt := _receipt(record)) is not None]
                mine += [receipt for receipt in reversed(receipts) if wanted.receipt(receipt)]
                earlier = receipts and wanted.since is not None and parse_iso(receipts[0]["at"]) < wanted.since
                if len(mine) >= limit or earlier:
                    break
            found += mine[:limit]
    return sorted(found, key=lambda receipt: parse_iso(receipt["at"]), reverse=True)[:limit]


async def last_receipts(settings: Settings, partitions: int) -> dict[str, Document]:
    """The last receipt of each destination that has one among the latest of the partitions. Raises ``KafkaError``."""
    topic = topics.name(topics.DELIVERIES, settings.topic_prefix)
    found: dict[str, Document] = {}
    async with Reading.of(settings.kafka()) as reading:
        for partition in range(partitions):
            first, end = await reading.span(topic, partition)
            async for records in reading.records(topic, partition, max(first, end - _LATEST), end):
                for record in records:
                    receipt = _receipt(record)
                    if receipt is None:
                        continue
                    known = found.get(receipt["destination"])
                    if known is None or parse_iso(receipt["at"]) >= parse_iso(known["at"]):
                        found[receipt["destination"]] = receipt
    return found


async def receipts_of(
    settings: Settings, partitions: int, wanted: Wanted, looked: Callable[[int], None] = lambda records: None
) -> list[Document]:
    """All receipts that are meant, oldest first. Raises ``KafkaError``."""
    found: list[Document] = []
    needle = None if wanted.id is None else wanted.id.encode()
    async for record in _records(settings, topics.DELIVERIES, partitions, wanted, looked):
        if needle is None or needle in record.value:
            receipt = _receipt(record)
            if receipt is not None and wanted.receipt(receipt):
                found.append(receipt)
    return sorted(found, key=lambda receipt: parse_iso(receipt["at"]))


async def letters_of(
    settings: Settings, partitions: int, wanted: Wanted, looked: Callable[[int], None] = lambda records: None
) -> list[Buried]:
    """All dead letters of destinations that are meant, oldest first. Raises ``KafkaError``."""
    found: list[Buried] = []
    needle = None if wanted.id is None else wanted.id.encode()
    async for record in _records(settings, topics.DEAD_LETTERS, partitions, wanted, looked):
        if record.value is None or (needle is not None and needle not in record.value):
            continue
        letter = msgspec.json.decode(record.value)
        if "destination" in letter and wanted.letter(letter):  # the others are records of the log
            found.append(Buried(letter, _change_in(record.value)))
    return sorted(found, key=lambda each: parse_iso(each.letter["at"]))


async def original(settings: Settings, letter: Document) -> bytes | None:
    """The change in the record that a dead letter names as its source; None where the topic no longer has it."""
    source = letter["source"]
    topic, partition, offset = source["topic"], source["partition"], source["offset"]
    async with Reading.of(settings.kafka()) as reading:
        first, end = await reading.span(topic, partition)
        if offset < first:
            return None
        async for records in reading.records(topic, partition, offset, min(end, offset + 1)):
            for record in records:
                if record.offset == offset and record.value is not None:
                    again = topic == topics.name(topics.REDELIVERIES, settings.topic_prefix)
                    return _change_in(record.value) if again else bytes(record.value)
    return None


async def waiting(settings: Settings, partitions: int, names: Iterable[str]) -> dict[str, Waiting]:
    """How many records each destination has not finished, at most: what follows its commits. Raises ``KafkaError``."""
    wanted = [topics.name(topic, settings.topic_prefix) for topic in (topics.SEGMENT_CHANGES, topics.REDELIVERIES)]
    async with Reading.of(settings.kafka()) as reading:
        ends = {(topic, part): await reading.span(topic, part) for topic in wanted for part in range(partitions)}
    admin = AIOKafkaAdminClient(**settings.kafka())
    parts = [TopicPartition(*place) for place in ends]
    found: dict[str, Waiting] = {}
    try:
        await admin.start()
        for name in names:
            commits = await _commits(admin, group_of(settings, name), parts)
            found[name] = Waiting(*(_behind(commits, ends, topic, partitions) for topic in wanted))
    finally:
        await admin.close()
    return found


async def _commits(
    admin: AIOKafkaAdminClient, group: str, parts: Sequence[TopicPartition]
) -> dict[TopicPartition, Any]:
    """A group's commits. A broker that has never been asked for any first makes the topic that holds them."""
    give_up_at = time.monotonic() + _COORDINATOR_SECONDS
    while True:
        try:
            commits: dict[TopicPartition, Any] = await admin.list_consumer_group_offsets(group, partitions=parts)
        except KafkaError as error:
            if not error.retriable or time.monotonic() > give_up_at:
                raise
            await asyncio.sleep(0.2)
        else:
            return commits


def group_of(settings: Settings, destination: str) -> str:
    """A destination's consumer group."""
    return f"{group_prefix(settings)}{destination}"


def group_prefix(settings: Settings) -> str:
    """What the consumer groups of all destinations begin with."""
    return f"{settings.topic_prefix}{settings.group}-deliver-"


def _behind(
    commits: dict[TopicPartition, Any], ends: dict[tuple[str, int], tuple[int, int]], topic: str, partitions: int
) -> int | None:
    behind, begun = 0, False
    for part in range(partitions):
        first, end = ends[topic, part]
        commit = commits.get(TopicPartition(topic, part))
        if commit is not None and commit.offset >= 0:
            begun = True
            behind += max(0, end - max(first, commit.offset))
    return behind if begun else None


async def _records(
    settings: Settings, topic: topics.Topic, partitions: int, wanted: Wanted, looked: Callable[[int], None]
) -> AsyncIterator[ConsumerRecord]:
    name, read = topics.name(topic, settings.topic_prefix), 0
    async with Reading.of(settings.kafka()) as reading:
        for partition in wanted.partitions(partitions):
            first, end = await reading.span(name, partition)
            if wanted.since is not None:  # written after it ended: nothing that is meant stands before
                first = max(first, await reading.offset_at(name, partition, wanted.since // 1000) or first)
            async for records in reading.records(name, partition, first, end):
                for record in records:
                    yield record
                read += len(records)
                looked(read)


def _change_in(value: bytes) -> bytes | None:
    raw = bytes(msgspec.json.decode(value, type=_Letter).change)
    return None if raw == b"null" else raw


def _receipt(record: ConsumerRecord) -> Document | None:
    """A record of `deliveries`; None for what is no receipt."""
    try:
        found = msgspec.json.decode(record.value or b"null")
    except msgspec.DecodeError:
        return None
    return found if isinstance(found, dict) and {"id", "destination", "status", "at"} <= found.keys() else None
