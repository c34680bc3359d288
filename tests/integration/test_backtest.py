"""A backtest on the log itself: what a worker decided; and from any instant on, what a file would give."""

from __future__ import annotations

import asyncio
import json
import sys
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest
import pytest_asyncio

from stream.backtest.figures import figures
from stream.backtest.run import Backtest
from stream.core.config import CoreSettings
from stream.core.routing import partition_of
from stream.core.time import format_iso
from stream.sources import SourceRecord
from tests.conformance.scenarios import BOOK, MINUTE, START, UNTIL, merged
from tests.installation import Installation, installation
from tests.integration.conftest import Broker


@pytest_asyncio.fixture(loop_scope="session")
async def here(broker: Broker, tmp_path: Path) -> AsyncIterator[Installation]:
    """An installation with three partitions, and a book that nobody asks for in its log."""
    async with installation(broker.address, tmp_path, embedded=broker.kind == "tansu", partitions=3) as made:
        (tmp_path / "book.yaml").write_text(BOOK, "utf-8")
        yield made


async def backtest(here: Installation, *arguments: str, code: int = 0) -> str:
    command = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "stream", "segments", "backtest", "book.yaml", *arguments),
        env=here.environment,
        cwd=here.directory,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await command.communicate()
    assert command.returncode == code, (out + err).decode()
    return (out + err).decode()


async def misplace(here: Installation, at: int) -> None:
    """A purchase without an id, in a partition that is not its customer's: a worker sends it again."""
    customer = b"stray"
    wrong = (partition_of("stray", 3) + 1) % 3
    value = orjson.dumps(
        {"customer_id": "stray", "event_type": "purchase", "price": 300.0, "timestamp": format_iso(at)}
    )
    await here.producer.send(f"{here.prefix}events", value, key=customer, partition=wrong, timestamp_ms=at // 1000)
    await here.producer.flush()


@pytest.mark.asyncio(loop_scope="session")
async def test_a_backtest_on_the_log_says_what_the_worker_said(here: Installation) -> None:
    """Record for record: refused, repeated, broken and moved ones are counted as the worker counted them."""
    await here.apply("segments: {other: {sql: view_count > 0}}", START - 20 * MINUTE)
    await here.apply(BOOK, START - 10 * MINUTE)
    worker = await here.start_worker()
    await here.send(merged())
    await misplace(here, START + 10 * 60 * MINUTE)
    await here.all_in([worker])
    await here.tick(UNTIL)
    await here.producer.flush()
    await here.all_in([worker])
    said = Counter((each["segment"], each["action"]) for each in map(orjson.loads, await here.changes()))
    data: dict[str, Any] = json.loads(await backtest(here, "--from-log", format_iso(START), "--json"))
    found: Counter[tuple[str, str]] = Counter()
    for name, segment in data["segments"].items():
        found.update({(name, "entered"): segment["entries"], (name, "exited"): segment["exits"]})
    assert +found == said
    assert data["to"] == format_iso(UNTIL)
    assert (data["read"], data["changes"]) == (len(merged()) + 1, said.total())


@pytest.mark.asyncio(loop_scope="session")
async def test_from_an_instant_on_the_log_is_as_a_file_that_begins_there(here: Installation) -> None:
    """And ends where it is told to."""
    await here.send(merged())
    await here.tick(UNTIL)
    await here.producer.flush()
    since, until = START + 2 * MINUTE, START + 90 * MINUTE
    run = Backtest(BOOK, CoreSettings())
    run.feed_file([SourceRecord(*record) for record in merged() if record[0] >= since], until)
    span = ("--from-log", format_iso(since), "--until", format_iso(until))
    data = json.loads(await backtest(here, *span, "--json"))
    assert data == figures(run.finish(until)) | {"from": data["from"]}
    assert "none published" in await backtest(here, *span)


@pytest.mark.asyncio(loop_scope="session")
async def test_a_time_without_events_is_told(here: Installation) -> None:
    assert "there is no event in that time" in await backtest(here, "--from-log", "2026-03-02T10:00:00Z", code=1)
