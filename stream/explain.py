"""Why a customer is, or is not, in a segment: from the state, the book and the changes that a partition has on Kafka.

Nothing is asked of a worker. What is shown is as of the partition's last checkpoint, some seconds ago, and says so.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from difflib import get_close_matches
from typing import Any

import msgspec

from schemas import topics
from schemas.changes import is_change
from stream.core.changes import Change
from stream.core.customer import Customer
from stream.core.explanation import CustomerExplained, explained
from stream.core.partition import Partition
from stream.core.routing import partition_of
from stream.core.state import CHECKPOINT, Loader, customer_key
from stream.core.time import format_iso
from stream.engine.reading import Reading
from stream.settings import Settings


class NotExplained(LookupError):
    """There is nothing to explain; the message says why."""


async def explain(
    settings: Settings,
    partitions: int,
    customer_id: str,
    segment: str | None = None,
    looked: Callable[[int], None] = lambda records: None,
) -> CustomerExplained:
    """Explain all segments of a customer, or one. ``partitions`` is how many the log has.

    ``looked`` is told how many changes of the partition have been passed over so far. Raises ``NotExplained``,
    ``KafkaError``.
    """
    number = partition_of(customer_id, partitions)
    async with Reading.of(settings.kafka()) as reading:
        state = topics.name(topics.STATE, settings.topic_prefix)
        partition = await _load(reading, state, number, partitions, customer_id, settings)
        customer = partition.customers.get(customer_id)
        if customer is None:
            at = format_iso(partition.log_time)
            raise NotExplained(f"customer {customer_id!r} is unknown: no event of theirs had been taken in by {at}")
        edition = partition.membership.edition
        if edition is None:
            raise NotExplained("no book of segments is in force yet: `livesegments segments apply` does it")
        if segment is not None and segment not in edition.book.by_name:
            near = ", ".join(get_close_matches(segment, edition.book.by_name, n=3))
            hint = f": did you mean {near}?" if near else ""
            raise NotExplained(f"version {edition.book.version}, in force, has no segment {segment!r}{hint}")
        if customer.book > edition.number:
            raise NotExplained("a checkpoint is just being written: ask again")
        names = list(edition.book.by_name) if segment is None else [segment]
        pending: list[Change] = []
        partition.membership.catch_up(customer, partition.log_time, pending)
        changes = topics.name(topics.SEGMENT_CHANGES, settings.topic_prefix)
        left = await _changes(reading, changes, number, customer, names, looked)
    said = left + [msgspec.json.decode(change.value) for change in pending]
    return explained(partition, customer, edition, names, said)


async def _load(
    reading: Reading, topic: str, number: int, partitions: int, customer_id: str, settings: Settings
) -> Partition:
    """The partition as of its checkpoint, with this one customer in it."""
    loader, wanted = Loader(), (customer_key(customer_id), CHECKPOINT)
    async for records in reading.records(topic, number, *await reading.span(topic, number)):
        for record in records:
            if record.key in wanted:
                loader.apply(record.key, record.value)
    partition, _, checkpoint = loader.finish(number, partitions, settings.core())
    if checkpoint is None:
        raise NotExplained(f"partition {number} has no checkpoint yet: has a worker run?")
    return partition


async def _changes(
    reading: Reading,
    topic: str,
    number: int,
    customer: Customer,
    segments: Collection[str],
    looked: Callable[[int], None],
) -> list[dict[str, Any]]:
    """The customer's changes, oldest first, as far back as the newest of each of ``segments``."""
    if not customer.sequence:
        return []
    key = customer.customer_id.encode("utf-8", "surrogatepass")
    missing, passed = set(segments), 0
    found: list[dict[str, Any]] = []
    async for records in reading.backwards(topic, number):
        for record in reversed(records):
            if record.key == key:
                if not is_change(record.headers):
                    return found[::-1]  # forgotten: what came before is not of who they are now
                change = msgspec.json.decode(record.value)
                found.append(change)
                missing.discard(change["segment"])
        passed += len(records)
        looked(passed)
        # Numbers have no gaps: before the first there is nothing.
        if not missing or (found and min(change["sequence"] for change in found) == 1):
            break
    return found[::-1]
