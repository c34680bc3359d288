"""Creating the topics of the registry."""

from __future__ import annotations

from dataclasses import dataclass

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaError, TopicAlreadyExistsError, for_code

from schemas import topics as registry
from stream.settings import Settings


class TopicsDiffer(RuntimeError):
    """A topic is there already, with another number of partitions than the settings say."""


@dataclass(frozen=True, slots=True)
class Made:
    """What became of one topic."""

    name: str
    partitions: int
    created: bool


async def create_topics(settings: Settings) -> list[Made]:
    """Create what is missing; what is there is left as it is.

    Raises ``TopicsDiffer``, and ``KafkaError`` where the broker refuses. A topic's partitions must not change once it
    holds customers: every customer would move.
    """
    admin = AIOKafkaAdminClient(**settings.kafka())
    await admin.start()
    try:
        wanted = {registry.name(topic, settings.topic_prefix): topic for topic in registry.TOPICS}
        known = {d["topic"]: len(d["partitions"]) for d in await admin.describe_topics() if d["topic"] in wanted}
        made = []
        for name, topic in wanted.items():
            count = registry.partitions(topic, settings.partitions)
            there = known.get(name)
            if there is not None and there != count:
                raise TopicsDiffer(f"topic {name} has {there} partitions, and the settings say {count}")
            made.append(Made(name, count, there is None and await _create(admin, name, count, topic, settings)))
        return made
    finally:
        await admin.close()


async def _create(admin: AIOKafkaAdminClient, name: str, count: int, topic: registry.Topic, settings: Settings) -> bool:
    new = NewTopic(name, count, settings.replication_factor, topic_configs=topic.settings())
    answer = await admin.create_topics([new])
    for _, code, *rest in answer.topic_errors:
        error = for_code(code)
        if error is TopicAlreadyExistsError:
            return False
        if code:
            raise error(f"topic {name}: {rest[0] if rest and rest[0] else error.description}")
    return True


__all__ = ["KafkaError", "Made", "TopicsDiffer", "create_topics"]
