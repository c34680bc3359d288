"""The registry of topics: the one source for the app, the manifests, the documentation and the tests.

A topic of customers has as many partitions as ``events``, and a record is in the partition of its customer everywhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from pydantic import BaseModel

from schemas.changes import Erasure, SegmentChange
from schemas.definitions import AppliedBook
from schemas.deliveries import DestinationState, Receipt, Redelivery
from schemas.events import Event
from schemas.facts import Definitions, Tick
from schemas.rejections import DeadLetter, RejectedRecord

Role = Literal["log", "refused", "output", "state", "record"]
_DAY = 24 * 3600 * 1000  # ms
# Refused records carry the original in base64: a record of Kafka's default limit of 1 MiB becomes 1.4 MB.
_ROOM_FOR_BASE64 = {"max.message.bytes": "2097152"}


@dataclass(frozen=True)
class Topic:
    """One topic. ``config`` are Kafka's topic settings besides ``cleanup.policy``."""

    name: str
    role: Role
    #: A number, or as many as ``events`` has.
    partitions: Literal["events"] | int
    #: What the key is.
    key: str
    #: The contracts of the value; none where the format is internal.
    value: tuple[type[BaseModel], ...]
    cleanup: Literal["delete", "compact"]
    config: Mapping[str, str] = field(default_factory=dict)
    description: str = ""

    def settings(self) -> dict[str, str]:
        """Everything to create the topic with."""
        return {"cleanup.policy": self.cleanup, **self.config}


EVENTS = Topic(
    name="events",
    role="log",
    partitions=12,
    key="customer_id (definitions and ticks: none)",
    value=(Event, Definitions, Tick),
    cleanup="delete",
    config={"message.timestamp.type": "LogAppendTime", "retention.ms": str(90 * _DAY)},
    description="The customer log: every fact, in the order that every replay sees. What producers write.",
)
EVENTS_REJECTED = Topic(
    name="events-rejected",
    role="refused",
    partitions="events",
    key="the original key",
    value=(RejectedRecord,),
    cleanup="delete",
    config={"retention.ms": str(30 * _DAY), **_ROOM_FOR_BASE64},
    description="Events that were refused, bots among them, with the reason and the original bytes.",
)
SEGMENT_CHANGES = Topic(
    name="segment-changes",
    role="output",
    partitions="events",
    key="customer_id",
    value=(SegmentChange, Erasure),
    cleanup="delete",
    config={"retention.ms": str(30 * _DAY)},
    description="Who entered and left which segment, when and why. What consumers read.",
)
STATE = Topic(
    name="state",
    role="state",
    partitions="events",
    key="internal",
    value=(),
    cleanup="compact",
    # The lag: what a paused owner writes behind a newer record is seen and written over before compaction keeps it.
    # The size: a customer's record at all of its bounds has some 3 MB.
    config={
        "min.cleanable.dirty.ratio": "0.1",
        "min.compaction.lag.ms": "3600000",
        "max.message.bytes": "8388608",
    },
    description="Changelog of the customers' records and the checkpoints: a cache of the log, internal.",
)
DEAD_LETTERS = Topic(
    name="dead-letters",
    role="refused",
    partitions="events",
    key="the original key",
    value=(RejectedRecord, DeadLetter),
    cleanup="delete",
    config={"retention.ms": str(30 * _DAY), **_ROOM_FOR_BASE64},
    description="Records of the log that are no facts, and segment changes that a destination will not get, "
    "with the reason and the original.",
)
DELIVERIES = Topic(
    name="deliveries",
    role="output",
    partitions="events",
    key="customer_id",
    value=(Receipt,),
    cleanup="delete",
    config={"retention.ms": str(30 * _DAY)},
    description="A receipt for every segment change that is done with at a destination.",
)
REDELIVERIES = Topic(
    name="redeliveries",
    role="output",
    partitions="events",
    key="customer_id",
    value=(Redelivery,),
    cleanup="delete",
    config={"retention.ms": str(30 * _DAY)},
    description="Changes that a destination is to be sent again. Read behind those that are live.",
)
DESTINATION_STATES = Topic(
    name="destination-states",
    role="record",
    partitions=1,
    key="destination, or destination/replica",
    value=(DestinationState,),
    cleanup="compact",
    description="How each destination stands, and what an operator ordered.",
)

DEFINITIONS = Topic(
    name="definitions",
    role="record",
    partitions=1,  # one order for all versions: which one is the newest is decided here
    key="none",
    value=(AppliedBook,),
    cleanup="delete",
    # The whole book and its file, kept for ever.
    config={"retention.ms": "-1", "retention.bytes": "-1", "max.message.bytes": "2097152"},
    description="Every version of the book of segments that was put in force, by whom, when and why.",
)

TOPICS: tuple[Topic, ...] = (
    EVENTS,
    EVENTS_REJECTED,
    SEGMENT_CHANGES,
    STATE,
    DEAD_LETTERS,
    DELIVERIES,
    REDELIVERIES,
    DESTINATION_STATES,
    DEFINITIONS,
)


def name(topic: Topic, prefix: str = "") -> str:
    """The topic's name on the broker."""
    return prefix + topic.name


def partitions(topic: Topic, events: int | None = None) -> int:
    """How many partitions the topic has, if ``events`` has that many (its default where None)."""
    count = EVENTS.partitions if events is None else events
    if topic.partitions == "events" or topic is EVENTS:
        assert isinstance(count, int)
        return count
    return topic.partitions
