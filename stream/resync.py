"""The present membership of every customer, said again for one destination: from the state, not from the past.

Members are said as entered, at the instant of their entry; whoever left as exited, as far back as `segment-changes`
still knows. Each says what is true of the customer as of their last change (its ``sequence``), with the profile that
they have now; so it is never newer than what is still on its way, and never overtakes it. Read partition by partition,
as of the partition's last checkpoint; nothing is asked of a worker.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import msgspec
from aiokafka.structs import ConsumerRecord

from schemas import topics
from schemas.changes import is_change
from stream.core.changes import Change, change_id, profile_of
from stream.core.customer import Customer
from stream.core.membership import Edition
from stream.core.partition import Partition
from stream.core.state import Loader
from stream.core.time import format_iso, parse_iso
from stream.engine.reading import Reading
from stream.settings import Settings

#: Customers and records between two signs of life.
_OFTEN = 10_000

Wants = Callable[[str], bool]
"""Whether a segment is asked for."""
Exits = dict[tuple[str, str], int]
"""Customer and segment -> the instant (µs) of an exit that no entry followed."""


class _Fields(msgspec.Struct):
    customer_id: str
    segment: str
    action: str
    at: str
    sequence: int


_fields = msgspec.json.Decoder(_Fields).decode


@dataclass(slots=True)
class PartitionState:
    """What one partition says: changes as bytes by customer, each customer's in the order of their instants."""

    number: int
    as_of: int | None
    """Log time (µs) of the checkpoint; None where there is none yet, and nothing is known."""
    changes: list[tuple[str, bytes]] = field(default_factory=list)
    """Customer and change."""
    entered: int = 0
    exited: int = 0


async def present(
    settings: Settings,
    partitions: int,
    wants: Wants,
    looked: Callable[[int, int], None] = lambda partition, records: None,
) -> AsyncIterator[PartitionState]:
    """Every partition's present memberships in the segments that are wanted. ``partitions`` is how many the log has.

    ``looked`` is told how many records of which partition have been read so far. Holds one partition in memory. Raises
    ``KafkaError``.
    """
    async with Reading.of(settings.kafka()) as reading:
        for number in range(partitions):
            yield await _partition(settings, reading, number, partitions, wants, looked)


async def _partition(
    settings: Settings,
    reading: Reading,
    number: int,
    partitions: int,
    wants: Wants,
    looked: Callable[[int, int], None],
) -> PartitionState:
    loader, read = Loader(), 0
    async for records in _all(reading, topics.name(topics.STATE, settings.topic_prefix), number):
        for record in records:
            loader.apply(record.key, record.value)
        read += len(records)
        looked(number, read)
    partition, _, checkpoint = loader.finish(number, partitions, settings.core())
    if checkpoint is None:
        return PartitionState(number, None)
    left: Exits = {}
    async for records in _all(reading, topics.name(topics.SEGMENT_CHANGES, settings.topic_prefix), number):
        for record in records:
            if is_change(record.headers):
                note(left, record.value, wants)
        read += len(records)
        looked(number, read)
    return said(partition, left, wants)


async def _all(reading: Reading, topic: str, number: int) -> AsyncIterator[list[ConsumerRecord]]:
    async for records in reading.records(topic, number, *await reading.span(topic, number)):
        yield records


def note(left: Exits, value: bytes, wants: Wants) -> None:
    """Take in a record of `segment-changes`: the last word of each customer and segment counts."""
    change = _fields(value)
    if not wants(change.segment):
        return
    place = (change.customer_id, change.segment)
    if change.action == "exited":
        left[place] = parse_iso(change.at)
    else:
        left.pop(place, None)


def said(partition: Partition, left: Exits, wants: Wants) -> PartitionState:
    """What a partition's state says of its customers.

    A customer whom the state does not know is not spoken of, whatever is known of an exit: they are forgotten.
    """
    edition = partition.membership.edition
    found = PartitionState(partition.number, partition.log_time)
    if edition is None:
        return found
    exits: dict[str, dict[str, int]] = {}
    for (name, segment), at in left.items():
        exits.setdefault(name, {})[segment] = at
    for customer in partition.customers.values():
        pending: list[Change] = []
        partition.membership.catch_up(customer, partition.log_time, pending)
        for change in pending:  # said since the checkpoint, or about to be: it is in the customer's number
            if change.action == "exited" and wants(change.segment):
                exits.setdefault(customer.customer_id, {})[change.segment] = change.at
        members = {name: at for name, at in (customer.members or {}).items() if wants(name)}
        gone = {name: at for name, at in exits.get(customer.customer_id, {}).items() if name not in members}
        states = [(at, name, True) for name, at in members.items()] + [(at, name, False) for name, at in gone.items()]
        found.changes += [
            (customer.customer_id, value) for value in _values(customer, edition, sorted(states), partition)
        ]
        found.entered += len(members)
        found.exited += len(gone)
    return found


def _values(
    customer: Customer, edition: Edition, states: list[tuple[int, str, bool]], partition: Partition
) -> Iterator[bytes]:
    """The changes that say these states: instant, segment, whether the customer is in."""
    if not states:
        return
    book, name, sequence = edition.book, customer.customer_id, customer.sequence
    profile = profile_of(customer, book.attributes)
    for at, segment, entered in states:
        action = "entered" if entered else "exited"
        defined = book.by_name.get(segment)
        value: dict[str, Any] = {
            # Not the id of the change that this repeats: it says what is so now, in other bytes.
            "id": change_id(name, segment, f"resync {action}", sequence, at, book.version),
            "customer_id": name,
            "segment": segment,
            "action": action,
            "at": format_iso(at),
            "sequence": sequence,
            "definition_version": book.version,
            "cause": {"kind": "resync"},
            "evidence": defined.evidence(customer, partition.log_time) if defined is not None else {},
            "profile": profile,
            "code": partition.settings.code,
        }
        since = edition.complete_since(defined, at) if defined is not None and defined.memories else None
        if since is not None:
            value["complete_since"] = format_iso(since)
        yield msgspec.json.encode(value)
