"""One broker of each kind for all integration tests; each test has topics and groups of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest
import pytest_asyncio

from stream.embedded.kafka import kafka
from stream.embedded.tansu import tansu


@dataclass(frozen=True)
class Broker:
    """A broker that runs, and what its clients must know."""

    kind: str
    address: str
    #: As short as the broker allows: the embedded one delays a join by half of it.
    session_seconds: float

    @property
    def client(self) -> dict[str, Any]:
        """Keyword arguments of any aiokafka client."""
        return {"bootstrap_servers": self.address}


@pytest_asyncio.fixture(
    scope="session", loop_scope="session", params=["tansu", pytest.param("kafka", marks=pytest.mark.kafka)]
)
async def broker(request: pytest.FixtureRequest) -> AsyncIterator[Broker]:
    """The embedded broker, and Apache Kafka under the mark ``kafka``."""
    kind: str = request.param
    async with (tansu if kind == "tansu" else kafka)() as address:
        yield Broker(kind, address, session_seconds=3.0)
