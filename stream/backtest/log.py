"""The past as the events topic has it: a backtest on the log itself, which reads and writes nothing else.

Partitions are read one after the other, each with its own log time, as workers do. Nothing that is told of a backtest
depends on which partition comes first, so that they need not be brought into one order.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from aiokafka.structs import ConsumerRecord

from schemas import topics
from schemas.facts import FACT_HEADER, FactKind
from stream.backtest.run import Backtest
from stream.engine.reading import Reading
from stream.interpreter import InMemoryRecord
from stream.settings import Settings
from stream.sources import Tell

_TICK = FactKind.TICK.value.encode()
_LOG_APPEND_TIME = 1


async def feed_log(
    backtest: Backtest, settings: Settings, partitions: int, since: int, until: int | None, tell: Tell
) -> None:
    """All events from ``since`` to ``until`` (µs of log time) in a log of so many partitions. Raises ``KafkaError``.

    Definition books of the log are passed over. So are its ticks, unless its records have their producers' times:
    there they bound how far those are believed.
    """
    topic = topics.name(topics.EVENTS, settings.topic_prefix)
    async with Reading.of(settings.kafka()) as reading:
        for number in range(partitions):
            first, end = await reading.span(topic, number)
            start = await reading.offset_at(topic, number, since // 1000)
            start = first if start is None else start
            begun = False
            async for records in reading.records(topic, number, start, end):
                # A broker that cannot look a time up gives the log from its first record on.
                begun = begun or any(record.timestamp * 1000 >= since for record in records)
                if begun:
                    backtest.feed([*_wanted(records, since, until)], number, partitions)
                tell((number + min(1.0, (records[-1].offset - start + 1) / (end - start))) / partitions)
                if until is not None and _ends(records[-1], until):
                    break


def _wanted(records: Iterable[ConsumerRecord], since: int, until: int | None) -> Iterator[InMemoryRecord]:
    for record in records:
        at = record.timestamp * 1000
        if at < since or (until is not None and at > until):
            continue
        kind = dict(record.headers).get(FACT_HEADER)
        if kind is not None and (kind != _TICK or record.timestamp_type == _LOG_APPEND_TIME):
            continue
        # Offset 0 is the book's.
        yield InMemoryRecord(
            record.offset + 1, record.timestamp, record.key, record.value, record.headers, record.timestamp_type
        )


def _ends(record: ConsumerRecord, until: int) -> bool:
    """Whether nothing that follows is of ``until`` or before; a producer's own time says that of itself alone."""
    return bool(record.timestamp_type == _LOG_APPEND_TIME and record.timestamp * 1000 > until)
