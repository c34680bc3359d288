"""Putting a definition book in force: one fact in every partition of the log."""

from __future__ import annotations

from schemas import topics
from schemas.facts import FACT_HEADER, FactKind
from stream.core.partition import book_of
from stream.engine.writes import Writes
from stream.interpreter import definitions
from stream.settings import Settings


async def apply_definitions(settings: Settings, text: str, author: str = "", comment: str = "") -> tuple[str, int]:
    """Write the book in ``text`` (YAML) to every partition; returns its version and the number of partitions.

    Nothing is written unless the whole book compiles. Raises ``DefinitionErrors``, ``KafkaError``.
    """
    fact = definitions(text, author, comment)
    version = book_of(fact).version
    writes = Writes(settings.kafka(), idempotence=settings.kafka_idempotence)
    await writes.start()
    try:
        events = topics.name(topics.EVENTS, settings.topic_prefix)
        count = await writes.partitions(events)
        headers = [(FACT_HEADER, FactKind.DEFINITIONS.value.encode())]
        for sent in [await writes.send(events, partition, None, fact, headers) for partition in range(count)]:
            await sent.acknowledged()
    finally:
        await writes.stop()
    return version, count
