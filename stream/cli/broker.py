"""The broker as a command meets it: a plain line where it does not answer, refuses, or lacks a topic."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Iterator
from contextlib import contextmanager

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaConnectionError, KafkaError, UnknownTopicOrPartitionError

from schemas import topics
from stream.cli.console import USAGE, fail
from stream.settings import Settings, SettingsUnusable

#: Longest that each broker may take to answer, seconds.
ANSWER_SECONDS = 5.0


def reach(settings: Settings, needed: Collection[topics.Topic] = ()) -> dict[str, int]:
    """The topics of the broker with their partitions; ends the command where none answers or one is missing.

    Asked for before anything is started: a client that names a missing topic would have the broker make it,
    with a configuration that is not ours.
    """
    logger = logging.getLogger("aiokafka")
    heard = _Heard()
    speaks, logger.propagate = logger.propagate, False
    level = logger.level
    logger.setLevel(logging.WARNING)  # whatever the log level is: the reason is for the error message
    logger.addHandler(heard)
    try:
        with broker_errors(settings.kafka_bootstrap_servers):
            try:
                found = asyncio.run(_topics(settings))
            except KafkaConnectionError:
                why = "; ".join(dict.fromkeys(heard.reasons)) or f"no answer within {ANSWER_SECONDS:g} s"
                fail(f"no Kafka broker answers at {settings.kafka_bootstrap_servers}: {why}")
    finally:
        logger.removeHandler(heard)
        logger.propagate = speaks
        logger.setLevel(level)
    missing = sorted({topics.name(topic, settings.topic_prefix) for topic in needed} - found.keys())
    if missing:
        fail(f"the topics are not there: {', '.join(missing)}: run `livesegments topics create` first")
    return found


def same_partitions(settings: Settings, found: dict[str, int]) -> None:
    """End the command unless the log has as many partitions as the settings say: customers would stray."""
    name = topics.name(topics.EVENTS, settings.topic_prefix)
    if found[name] != settings.partitions:
        fail(f"topic {name} has {found[name]} partitions, and the settings say {settings.partitions}")


@contextmanager
def broker_errors(servers: str) -> Iterator[None]:
    """Turns what a missing or unwilling broker raises into one plain line."""
    try:
        yield
    except SettingsUnusable as error:
        fail(str(error), USAGE)
    except UnknownTopicOrPartitionError:
        fail("the topics are not there: run `livesegments topics create` first")
    except KafkaConnectionError:
        fail(f"no Kafka broker answers at {servers}")
    except KafkaError as error:
        fail(f"Kafka: {error}")


async def _topics(settings: Settings) -> dict[str, int]:
    admin = AIOKafkaAdminClient(**settings.kafka(), request_timeout_ms=round(ANSWER_SECONDS * 1000))
    try:
        await admin.start()
        return {topic["topic"]: len(topic["partitions"]) for topic in await admin.describe_topics()}
    finally:
        await admin.close()


class _Heard(logging.Handler):
    """Keeps what aiokafka logs while it connects: why it could not is in there, and in no exception."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.reasons: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """The last argument of aiokafka's lines is the error; of a timeout it is empty."""
        reason = record.args[-1] if isinstance(record.args, tuple) and record.args else record.getMessage()
        self.reasons.append(str(reason) or f"no answer within {ANSWER_SECONDS:g} s")
