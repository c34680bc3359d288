"""Law of docs/versions.md: what it shows is what the commands say, on a real broker and a worker."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import orjson
import pytest
import pytest_asyncio

from stream.core.time import parse_iso
from tests.installation import Installation, installation
from tests.integration.conftest import Broker
from tests.unit.markdown import blocks, commands

PAGE = Path(__file__).parents[2] / "docs" / "versions.md"
HOUR = 3_600_000_000
FIRST_APPLIED = parse_iso("2026-03-02T09:00:00Z")
ASKED = parse_iso("2026-03-02T13:40:00Z")
#: The clock of whoever applies; all else on the page is log time, which the test sets.
_APPLIED = re.compile(r"applied \d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")


@pytest_asyncio.fixture(loop_scope="session")
async def here(broker: Broker, tmp_path: Path) -> AsyncIterator[Installation]:
    """An installation with two partitions."""
    async with installation(broker.address, tmp_path, embedded=broker.kind == "tansu") as made:
        yield made


async def shell(here: Installation, line: str) -> str:
    """What a line prints, errors included."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    command = await asyncio.create_subprocess_exec(
        *("sh", "-c", f"exec 2>&1 </dev/null; {line}"),
        env=here.environment | {"USER": "maria", "PATH": path},
        cwd=here.directory,
        stdout=asyncio.subprocess.PIPE,
    )
    out, _ = await command.communicate()
    return out.decode()


async def what_happened(here: Installation, lines: str) -> None:
    """The events of the page, each at its own time, and some time after them."""
    events = [orjson.loads(line) for line in lines.splitlines()]
    await here.send(
        (parse_iso(event["timestamp"]), event["customer_id"].encode(), orjson.dumps(event)) for event in events
    )
    await here.tick(ASKED)
    await here.producer.flush()


@pytest.mark.asyncio(loop_scope="session")
async def test_the_page_says_what_the_commands_say(here: Installation) -> None:
    """Every `$` line is run, in order, beside the files of the page; versions are applied an hour apart."""
    files = {block.name: block.text for block in blocks(PAGE) if block.name is not None}
    for name, text in files.items():
        (here.directory / name).write_text(text, "utf-8")
    worker = await here.start_worker()
    clock, happened = FIRST_APPLIED, False
    for block in blocks(PAGE, "session"):
        for command in commands(block):
            if "segments apply" in command.line:
                await here.tick(clock)
                await here.producer.flush()
                clock += HOUR
            elif "explain" in command.line and not happened:
                await what_happened(here, files["events.jsonl"])
                await here.all_in([worker])
                happened = True
            said = await shell(here, command.line)
            assert _APPLIED.sub("applied …", said) == _APPLIED.sub("applied …", command.output), command.line
    assert happened
