"""Books on a real broker: applied, told, taken back, and the same in every partition whoever interferes."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest
import pytest_asyncio

from schemas.facts import FACT_HEADER
from stream.core.partition import book_of
from stream.core.segments import load_book, version
from stream.core.time import format_iso, parse_iso
from stream.definitions import apply_definitions, spread, writing
from stream.history import read_history
from stream.settings import Settings
from tests.installation import Installation, installation
from tests.integration.conftest import Broker

FIRST = """# the first book, with a comment that the file keeps
attributes: {city: text}
segments:
  viewer: {sql: view_count >= 1, description: has looked}
  buyer: {sql: order_count >= 1}
"""
SECOND = FIRST.replace("view_count >= 1", "view_count >= 2").replace("buyer", "customer")
DAY_ONE = parse_iso("2026-03-02T10:00:00Z")
MINUTE = 60_000_000


@pytest_asyncio.fixture(loop_scope="session")
async def here(broker: Broker, tmp_path: Path) -> AsyncIterator[Installation]:
    """An installation with two partitions."""
    async with installation(broker.address, tmp_path, embedded=broker.kind == "tansu") as made:
        yield made


async def said(here: Installation, *arguments: object, code: int = 0) -> str:
    """What a command prints, standard output and then errors; it ends with ``code``."""
    command = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "stream", *map(str, arguments)),
        env=here.environment | {"USER": "ada", "COLUMNS": "240"},
        cwd=here.directory,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await command.communicate()
    assert command.returncode == code, (out + err).decode()
    return (out + err).decode()


def file(here: Installation, text: str, name: str = "segments.yaml") -> Path:
    path = here.directory / name
    path.write_text(text, "utf-8")
    return path


def settings_of(here: Installation, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """The settings that the installation's commands have."""
    for name, value in here.environment.items():
        if name.startswith("LIVESEGMENTS_"):
            monkeypatch.setenv(name, value)
    return Settings()


async def in_force(here: Installation) -> list[str]:
    """The version that each partition of the log ends with."""
    newest: dict[int, str] = {}
    for record in await here.read("events"):
        if (FACT_HEADER, b"definitions") in record.headers:
            newest[record.partition] = book_of(record.value).version
    return [newest.get(partition, "none") for partition in range(here.partitions)]


async def see(here: Installation, customer: str, at: int, **event: Any) -> None:
    """An event at its own time."""
    value = {"customer_id": customer, "event_type": "product_view", "timestamp": format_iso(at), **event}
    await here.send([(at, customer.encode(), orjson.dumps(value))])


@pytest.mark.asyncio(loop_scope="session")
async def test_a_book_is_applied_told_changed_and_taken_back(here: Installation) -> None:
    """Every version with its time, author and comment; the file of an old one comes back as it was."""
    first, second = version(load_book(FIRST)), version(load_book(SECOND))
    assert await said(here, "segments", "history") == "no book has been applied yet\n"
    assert "no book has been applied yet" in await said(here, "segments", "list", code=1)
    assert (await said(here, "segments", "diff", file(here, FIRST))).startswith("from nothing to ")
    answer = await said(here, "segments", "apply", file(here, FIRST), "--comment", "a start")
    assert answer.startswith(f"version {first} written to 2 partitions\nwarning: ")

    answer = await said(here, "segments", "list")
    assert [line.split()[:1] for line in answer.splitlines()[:2]] == [["buyer"], ["viewer"]]
    assert f"2 segments, version {first}, in force, applied 20" in answer
    assert answer.endswith(" by ada: a start\n")

    assert "+ customer" in await said(here, "segments", "diff", file(here, SECOND), "--exit-code", code=1)
    answer = await said(here, "segments", "apply", file(here, SECOND))
    assert answer.startswith(f"version {second} written to 2 partitions, in place of {first}\n")
    answer = await said(here, "segments", "history", "viewer")
    assert [line.split()[0] for line in answer.splitlines() if line[0] != " "] == [second, first]
    assert "- view_count >= 1" in answer
    assert f"since version {first}" in await said(here, "segments", "show", "viewer", "--version", first[:6])

    old = await said(here, "segments", "show", "--version", first[:8])
    assert old == FIRST
    await said(here, "segments", "apply", file(here, old), "--comment", "back")
    versions = json.loads(await said(here, "segments", "history", "--json"))
    assert [each["version"] for each in versions] == [first, second, first]
    assert [each.get("replaces") for each in versions] == [second, first, None]
    assert [each["comment"] for each in versions] == ["back", "", "a start"]
    assert {each["author"] for each in versions} == {"ada"}
    assert await in_force(here) == [first, first]


@pytest.mark.asyncio(loop_scope="session")
async def test_the_same_book_again_is_no_new_version_and_moves_nobody(here: Installation) -> None:
    """It says so; and not one change leaves."""
    await here.apply(FIRST, DAY_ONE)
    worker = await here.start_worker()
    await see(here, "ann", DAY_ONE + MINUTE)
    await here.all_in([worker])
    assert len(await here.changes()) == 1
    answer = await said(here, "segments", "apply", file(here, "# other words\n" + FIRST))
    assert answer.startswith(f"nothing changes: version {version(load_book(FIRST))} is in force already, applied 20")
    assert len(json.loads(await said(here, "segments", "history", "--json"))) == 1
    await here.all_in([worker])
    assert len(await here.changes()) == 1
    assert {len(point.editions) for point in (await here.checkpoints()).values()} == {1}


@pytest.mark.asyncio(loop_scope="session")
async def test_a_new_version_moves_whom_it_moves_and_says_so(here: Installation) -> None:
    """Cause `definition`, at the version's instant in the partition; members of a removed segment leave it."""
    await here.apply(FIRST, DAY_ONE)
    worker = await here.start_worker()
    await see(here, "ann", DAY_ONE + MINUTE)
    await see(here, "bob", DAY_ONE + MINUTE, event_type="purchase", price=10)
    await here.all_in([worker])
    await here.apply(SECOND, DAY_ONE + 5 * MINUTE)
    await here.all_in([worker])
    changes = [orjson.loads(change) for change in await here.changes()]
    moved = {(c["customer_id"], c["action"], c["segment"]) for c in changes if c["cause"]["kind"] == "definition"}
    assert moved == {("ann", "exited", "viewer"), ("bob", "exited", "buyer"), ("bob", "entered", "customer")}
    assert {c["definition_version"] for c in changes if c["cause"]["kind"] == "definition"} == {
        version(load_book(SECOND))
    }


@pytest.mark.asyncio(loop_scope="session")
async def test_an_interrupted_command_is_finished_by_giving_it_again(
    here: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The version stands in the history, and one partition has not got it: the next time it does."""
    settings = settings_of(here, monkeypatch)
    await apply_definitions(settings, FIRST)
    first, second = version(load_book(FIRST)), version(load_book(SECOND))
    (fact,) = [r.value for r in await here.read("events") if r.partition == 1]
    await apply_definitions(settings, SECOND)
    # As if the command had ended between the two partitions.
    headers = [(FACT_HEADER, b"definitions")]
    await here.producer.send_and_wait(f"{here.prefix}events", fact, partition=1, headers=headers)
    assert await in_force(here) == [second, first]
    assert (await apply_definitions(settings, SECOND)).already
    assert await in_force(here) == [second, second]
    assert len((await read_history(settings)).versions) == 2


@pytest.mark.asyncio(loop_scope="session")
async def test_of_two_who_apply_at_once_the_later_in_the_history_has_the_last_word(
    here: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the slower of them writes to the partitions after the faster has done."""
    settings = settings_of(here, monkeypatch)
    await apply_definitions(settings, FIRST)
    slow = (await read_history(settings)).newest
    assert slow is not None
    await apply_definitions(settings, SECOND)
    async with writing(settings) as writes:
        assert await spread(settings, writes, slow) == 2
    assert await in_force(here) == [version(load_book(SECOND))] * 2


@pytest.mark.asyncio(loop_scope="session")
async def test_whoever_applies_at_once_all_partitions_end_with_the_same_book(
    here: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And all of them stand in the history."""
    settings = settings_of(here, monkeypatch)
    books = [FIRST.replace("view_count >= 1", f"view_count >= {least}") for least in range(1, 7)]
    await asyncio.gather(*(apply_definitions(settings, book, f"author {n}") for n, book in enumerate(books)))
    history = await read_history(settings)
    assert {applied.version for applied in history.versions} == {version(load_book(book)) for book in books}
    assert history.newest is not None
    assert await in_force(here) == [history.newest.version] * 2


@pytest.mark.asyncio(loop_scope="session")
async def test_nothing_is_written_of_a_book_that_does_not_compile(here: Installation) -> None:
    """Neither into the history nor into the log."""
    answer = await said(here, "segments", "apply", file(here, "segments: {a: {sql: nope > 1}}"), code=1)
    assert 'there is no column "nope"' in answer
    assert await said(here, "segments", "history") == "no book has been applied yet\n"
    assert await here.read("events") == []


@pytest.mark.asyncio(loop_scope="session")
async def test_a_strangers_record_does_not_take_the_history_away(here: Installation) -> None:
    """It is passed over, with a warning that says where it stands."""
    await said(here, "segments", "apply", file(here, FIRST))
    await here.producer.send_and_wait(f"{here.prefix}definitions", b"hello", partition=0)
    answer = await said(here, "segments", "list")
    assert f"version {version(load_book(FIRST))}, in force" in answer
    assert f"warning: passed over what is no book in topic {here.prefix}definitions, at offset 1" in answer


@pytest.mark.asyncio(loop_scope="session")
async def test_explain_tells_programs_why_and_everybody_what_is_not_there(here: Installation) -> None:
    """The event that decided, as of the checkpoint's log time; a plain line where there is nothing to explain."""
    await here.apply(FIRST, DAY_ONE)
    assert "has no checkpoint yet: has a worker run?" in await said(here, "explain", "ann", code=1)
    worker = await here.start_worker()
    await see(here, "ann", DAY_ONE + MINUTE, event_id="v1")
    await here.tick(DAY_ONE + 2 * MINUTE)
    await here.all_in([worker])
    told = json.loads(await said(here, "explain", "ann", "--json"))
    assert (told["customer_id"], told["as_of"]) == ("ann", format_iso(DAY_ONE + 2 * MINUTE))
    assert told["version"] == version(load_book(FIRST))
    viewer, buyer = told["segments"]
    assert (viewer["segment"], viewer["member"], viewer["since"]) == ("viewer", True, format_iso(DAY_ONE + MINUTE))
    assert viewer["last_change"] == orjson.loads((await here.changes())[0])
    assert viewer["last_change"]["cause"]["event_id"] == "v1"
    assert viewer["condition"]["values"] == {"view_count": 1}
    assert (buyer["segment"], buyer["member"], buyer["last_change"]) == ("buyer", False, None)
    assert buyer["condition"]["truth"] is False
    answer = await said(here, "explain", "bob", code=1)
    assert answer.startswith("error: customer 'bob' is unknown: no event of theirs had been taken in by 2026-")
    assert "has no segment 'view': did you mean viewer?" in await said(here, "explain", "ann", "view", code=1)
