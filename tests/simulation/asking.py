"""How the oracle is asked, which shares nothing with the engine: the engine's words and settings in its own."""

from __future__ import annotations

from functools import lru_cache

import orjson

from stream.core.config import CoreSettings
from stream.core.partition import book_of
from stream.core.time import parse_iso
from tests.simulation.books import fact
from tests.simulation.oracle import CONDITIONS, Oracle, Said


@lru_cache
def _names() -> dict[str, str]:
    """The engine's names of what it can fill; they are hashes, and an oracle cannot guess them."""
    books = {
        text: book_of(fact({"attributes": {"age": "integer"}, "segments": {"a": {"sql": text}}})) for text in CONDITIONS
    }
    return {memory.key: text for text, book in books.items() for memory in book.memories}


def oracle_of(number: int, partitions: int, settings: CoreSettings) -> Oracle:
    """One that has read nothing of the partition yet."""
    return Oracle(
        number,
        partitions,
        rate_limit=settings.rate_limit,
        rate_width=settings.rate_width,
        dedup_horizon=settings.dedup_horizon,
        content_horizon=settings.content_horizon,
        future=settings.limits.future_us,
        skew=settings.clock_skew,
        names=_names(),
    )


def decided(value: bytes) -> Said:
    """What a change on the topic says."""
    change = orjson.loads(value)
    since = change.get("complete_since")
    return Said(
        change["customer_id"],
        change["sequence"],
        change["segment"],
        change["action"],
        parse_iso(change["at"]),
        change["cause"]["kind"],
        None if since is None else parse_iso(since),
    )
