"""The ledger from the receipts: what `deliveries` says was delivered to one destination."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec
from aiokafka import AIOKafkaConsumer, TopicPartition

from connectors.ledger import Erasure, Mark, Store

logger = logging.getLogger(__name__)


class _Receipt(msgspec.Struct):
    id: str
    destination: str
    status: str
    customer_id: str
    segment: str
    sequence: int
    at: datetime
    latency_ms: float
    offset: int | None = None
    origin: str = "live"


_decoder = msgspec.json.Decoder(_Receipt)


async def rebuild(
    kafka: Mapping[str, Any],
    topic: str,
    destination: str,
    store: Store,
    starts: Mapping[int, int],
    committed: Mapping[int, int],
) -> None:
    """Mark in the store what `topic` (`deliveries`) says, by partition from these offsets to its end.

    Raises KafkaError, and `redis.exceptions.RedisError` where the store does not answer: then it begins again.
    """
    places = {TopicPartition(topic, partition): offset for partition, offset in starts.items()}
    async with AIOKafkaConsumer(**kafka, enable_auto_commit=False, auto_offset_reset="earliest") as consumer:
        consumer.assign(list(places))
        beginnings = await consumer.beginning_offsets(list(places))
        ends = await consumer.end_offsets(list(places))
        for place, offset in places.items():
            consumer.seek(place, max(offset, beginnings[place]) if offset <= ends[place] else beginnings[place])
        read = 0
        while open_ := [place for place in places if await consumer.position(place) < ends[place]]:
            records = await consumer.getmany(*open_, timeout_ms=500, max_records=10_000)
            for place, batch in records.items():
                marks = [mark for record in batch if (mark := mark_of(record.value, destination, place.partition))]
                read += len(batch)
                if marks:
                    await store.mark(marks)
        for place in places:
            await store.rebuilt(place.partition, ends[place], committed.get(place.partition, 0))
    if read:
        logger.info("destination %s: its ledger is read from %d receipts", destination, read)


def mark_of(value: bytes | None, destination: str, partition: int) -> Mark | None:
    """What a receipt adds to the destination's ledger."""
    if value is None or destination.encode() not in value:
        return None
    try:
        receipt = _decoder.decode(value)
    except msgspec.DecodeError:
        return None  # not ours: nobody's ledger has a line for it
    if receipt.destination != destination:
        return None
    live = receipt.origin == "live"
    if receipt.status == "delivered":
        return Mark(partition, receipt.customer_id, receipt.segment, receipt.sequence, live=live)
    if receipt.segment == "" and (receipt.status == "erased" or (receipt.status == "dead_lettered" and live)):
        # The customer's numbers begin again behind an erasure, whether or not the platform would have it. Its
        # record was written hardly later than the instant that it bears.
        at = datetime.fromtimestamp(receipt.at.timestamp() - receipt.latency_ms / 1000, UTC)
        text = at.isoformat(timespec="microseconds").replace("+00:00", "Z")
        offset = -1 if receipt.offset is None else receipt.offset
        erasure = Erasure(offset, text, begun=receipt.status == "dead_lettered", id=receipt.id)
        return Mark(partition, receipt.customer_id, "", 0, erasure, live)
    return None
