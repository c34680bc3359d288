"""Who is put to the test: the worker of livesegments, and a stock Faust app of the same job."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import yaml
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from schemas import topics
from stream.definitions import apply_definitions
from stream.settings import Settings
from stream.topics import create_topics
from tests.faults.crafted import NOTES
from tests.faults.stock_rules import RATE_LIMIT, RATE_SECONDS
from tests.simulation import books

Name = Literal["ours", "stock"]
PARTITIONS = 4
SESSION_SECONDS, REBALANCE_SECONDS = 6.0, 10.0
CHECKPOINT_SECONDS = 2.0
STALL_SECONDS = 15.0


def _book(**conditions: str) -> dict[str, Any]:
    return {
        "attributes": {"age": "integer", **dict.fromkeys(NOTES, "text")},
        "segments": {name: {"description": "", "sql": sql} for name, sql in sorted(conditions.items())},
    }


#: The conditions are those that the oracle knows.
FIRST_BOOK = _book(
    cart_left=books.CART, keen=books.KEEN, quiet=books.QUIET, vip=books.VIP, seeking=books.SEEKING, young=books.YOUNG
)
#: In force from the middle of the run on: a threshold moves, a segment goes, one comes whose window is filled.
SECOND_BOOK = _book(
    cart_left=books.CART, keen=books.KEEN, quiet=books.QUIET, vip=books.RICH, seeking=books.SEEKING, busy=books.BUSY
)


@dataclass(frozen=True)
class Contestant:
    """One of the two, with its topics behind a prefix."""

    name: Name
    prefix: str

    @property
    def ours(self) -> bool:
        """Whether it is livesegments."""
        return self.name == "ours"

    @property
    def group(self) -> str:
        """Its consumer group."""
        return f"{self.prefix}livesegments" if self.ours else f"{self.prefix}stock"

    @property
    def events(self) -> str:
        """The log that it reads."""
        return f"{self.prefix}events"

    @property
    def changes(self) -> str:
        """Where it says what it found."""
        return f"{self.prefix}segment-changes"

    @property
    def state(self) -> list[str]:
        """The topics that its state is in."""
        if self.ours:
            return [f"{self.prefix}state"]
        return [f"{self.prefix}stock-{table}-changelog" for table in ("customers", "seen", "rates")]

    @property
    def arguments(self) -> list[str]:
        """What a worker is started with."""
        return ["ours", "worker"] if self.ours else ["stock", "worker", "--loglevel", "warn", "--without-web"]

    def values(self, servers: str) -> dict[str, str]:
        """The settings of a worker of ours; the same for every command and for the verdict."""
        return {
            "kafka_bootstrap_servers": servers,
            "topic_prefix": self.prefix,
            "partitions": str(PARTITIONS),
            "checkpoint_seconds": str(CHECKPOINT_SECONDS),
            "session_timeout_seconds": str(SESSION_SECONDS),
            "rebalance_timeout_seconds": str(REBALANCE_SECONDS),
            "stall_seconds": str(STALL_SECONDS),
            "rate_limit": str(RATE_LIMIT),
            "rate_window_seconds": str(RATE_SECONDS),
            "metrics_port": "0",
        }

    def settings(self, servers: str) -> Settings:
        """The same as an object."""
        return Settings(**self.values(servers))  # type: ignore[arg-type]  # pydantic reads the texts

    def environment(self, servers: str) -> dict[str, str]:
        """The environment of a worker that reaches Kafka at ``servers``."""
        mine = {name: value for name, value in os.environ.items() if not name.startswith(("LIVESEGMENTS_", "FAULTS_"))}
        if self.ours:
            return mine | {f"LIVESEGMENTS_{name.upper()}": value for name, value in self.values(servers).items()}
        return mine | {
            "STOCK_PREFIX": self.prefix,
            "STOCK_BROKER": servers,
            "STOCK_PARTITIONS": str(PARTITIONS),
            "STOCK_SESSION_SECONDS": str(SESSION_SECONDS),
        }

    def configuration(self, topic: str) -> dict[str, str]:
        """The settings of a topic as it is created."""
        for known in topics.TOPICS:
            if self.ours and topics.name(known, self.prefix) == topic:
                return known.settings()
        return {"cleanup.policy": "compact" if topic in self.state else "delete"}

    async def prepare(self, servers: str) -> None:
        """Create its topics, and put the first book in force."""
        if self.ours:
            settings = self.settings(servers)
            await create_topics(settings)
            await apply_definitions(settings, written(FIRST_BOOK))
            return
        admin = AIOKafkaAdminClient(bootstrap_servers=servers)
        await admin.start()
        try:
            names = [self.events, self.changes, f"{self.prefix}dead-letters", *self.state]
            made = [NewTopic(name, PARTITIONS, 1, topic_configs=self.configuration(name)) for name in names]
            await admin.create_topics(made)
        finally:
            await admin.close()

    async def second_book(self, servers: str) -> None:
        """Put the second book in force. The stock app's rules are in its code and stay."""
        if self.ours:
            await apply_definitions(self.settings(servers), written(SECOND_BOOK))


def written(book: Mapping[str, Any]) -> str:
    """A book as a file."""
    return yaml.safe_dump(dict(book), width=1000)
