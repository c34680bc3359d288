"""Laws of the commands about delivery, on a real broker: what they tell is so, and what they order happens."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_OID, uuid5

import msgspec
import pytest
import pytest_asyncio
import redis.asyncio
import yaml
from aiokafka.structs import ConsumerRecord
from typer.testing import CliRunner, Result

from schemas.changes import ERASURE, Erasure, SegmentChange
from schemas.deliveries import DestinationState, Receipt, Redelivery
from schemas.facts import FACT_HEADER
from schemas.rejections import DeadLetter, SentRequest, Source, UndeliveredReason
from stream.cli.app import app
from stream.core.routing import partition_of
from stream.core.time import format_iso, parse_iso
from stream.demo.children import Child, running
from stream.embedded.kafka import kafka
from stream.embedded.redis import redis_server
from tests.installation import PATIENCE, Installation, installation
from tests.integration.conftest import Broker
from tests.receiver import PATH, Answer, Received, Receiver, accept, receiving, sequences

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
DAY = parse_iso("2026-03-02T10:00:00Z")
MINUTE = 60_000_000
BOOK = """
attributes: {email: text}
segments:
  viewer: {sql: view_count >= 1}
  fresh: {sql: last_viewed_at > now() - INTERVAL '1 hour'}
"""


@pytest_asyncio.fixture(loop_scope="session")
async def here(broker: Broker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Installation]:
    """An installation with two partitions and two destinations that nothing listens at; commands run in its folder."""
    async with installed(broker, tmp_path, monkeypatch) as made:
        yield made


@asynccontextmanager
async def installed(broker: Broker, directory: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Installation]:
    """What ``here`` is, on a broker of one's choice."""
    for name in os.environ:
        if name.upper().startswith("LIVESEGMENTS_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(directory)
    async with installation(broker.address, directory, embedded=broker.kind == "tansu") as made:
        made.environment["CRM_SECRET"] = SECRET
        declare(made, crm={}, zapier={"segments": ["viewer"]})
        yield made


def declare(here: Installation, url: str = "https://hooks.example.com/x", **destinations: Mapping[str, Any]) -> None:
    """Destinations of the platform webhook, with these options besides."""
    common = {"platform": "webhook", "url": url, "secret": {"env": "CRM_SECRET"}}
    content = {"destinations": {name: common | dict(options) for name, options in destinations.items()}}
    (here.directory / "destinations.yaml").write_text(yaml.safe_dump(content), "utf-8")


async def said(here: Installation, *arguments: object, code: int = 0) -> str:
    """What a command prints, standard output and then errors; it ends with ``code``. In a thread, with its own loop."""
    result = await run(here, *arguments)
    assert result.exit_code == code, result.output
    return result.stdout + result.stderr


async def run(here: Installation, *arguments: object) -> Result:
    """A command's result; what it raises is a failure of the test."""
    environment = here.environment | {"USER": "ada", "COLUMNS": "240"}
    result = await asyncio.to_thread(CliRunner().invoke, app, [str(each) for each in arguments], env=environment)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert SECRET not in result.output
    return result


def a_change(customer: str, sequence: int, segment: str = "viewer") -> dict[str, Any]:
    """A change as the stream writes it."""
    return {
        "id": uuid5(NAMESPACE_OID, f"{customer}/{sequence}").hex,
        "customer_id": customer,
        "segment": segment,
        "action": "entered" if sequence % 2 else "exited",
        "at": format_iso(DAY + sequence * MINUTE),
        "sequence": sequence,
        "definition_version": "0" * 16,
        "cause": {"kind": "time"},
        "evidence": {},
        "profile": {},
        "code": "2",
    }


def an_erasure(customer: str) -> dict[str, Any]:
    """As it stands on the topic, beside the header that says so."""
    name = uuid5(NAMESPACE_OID, f"{customer}/erasure").hex
    return {"id": name, "customer_id": customer, "at": "2026-03-02T11:30:00Z", "profile": {"email": "a@b.c"}}


async def write(here: Installation, topic: str, customer: str, value: bytes) -> None:
    """A record in its customer's partition."""
    partition = partition_of(customer, here.partitions)
    await here.producer.send_and_wait(f"{here.prefix}{topic}", value, key=customer.encode(), partition=partition)


async def end(
    here: Installation, change: Mapping[str, Any], status: str, minute: int, destination: str = "crm"
) -> None:
    """A receipt, as a deliverer writes it."""
    receipt = Receipt(
        id=change["id"],
        destination=destination,
        status=status,
        attempts=2,
        latency_ms=1234.5,
        at=datetime(2026, 3, 2, 12, tzinfo=UTC) + timedelta(minutes=minute),
        customer_id=change["customer_id"],
        segment=change["segment"],
        sequence=change["sequence"],
    )
    await write(here, "deliveries", change["customer_id"], receipt.model_dump_json().encode())


async def bury(
    here: Installation,
    change: Mapping[str, Any] | None,
    minute: int,
    destination: str = "crm",
    customer: str = "ann",
    source: Source | None = None,
    reason: UndeliveredReason = UndeliveredReason.REFUSED,
) -> None:
    """A dead letter, as a deliverer writes it."""
    letter = DeadLetter(
        destination=destination,
        reason=reason,
        detail="http_422",
        status=422,
        response='{"error": "no such list"}',
        request=SentRequest(method="POST", url="https://hooks.example.com/**********", body='{"type":"x"}'),
        attempts=1,
        source=source or Source(topic=f"{here.prefix}segment-changes", partition=0, offset=7),
        at=datetime(2026, 3, 2, 12, tzinfo=UTC) + timedelta(minutes=minute),
        change=dict(change) if change is not None else None,
    )
    customer = change["customer_id"] if change is not None else customer
    await write(here, "dead-letters", customer, letter.model_dump_json(exclude_none=True).encode())


async def redeliveries(here: Installation) -> list[Redelivery]:
    """What stands on the topic, each in its customer's partition and under its key."""
    found = []
    for record in await here.read("redeliveries"):
        redelivery = Redelivery.model_validate_json(record.value)
        customer = redelivery.change.customer_id
        assert (record.key, record.partition) == (customer.encode(), partition_of(customer, here.partitions))
        found.append(redelivery)
    return found


# -- deliveries ---------------------------------------------------------------------------------------------


@pytest.mark.asyncio(loop_scope="session")
async def test_receipts_are_listed_newest_first_and_by_what_is_asked(here: Installation) -> None:
    """By destination, ending, customer, segment, time; as many as are asked for; over all partitions."""
    for minute, customer in enumerate(["ann", "bob", "cem", "dan", "eva"]):
        await end(here, a_change(customer, 1), "delivered", minute)
    await end(here, a_change("ann", 2), "dead_lettered", 5)
    await end(here, a_change("bob", 3, "fresh"), "superseded", 6, "zapier")
    await write(here, "deliveries", "ann", b"what a stranger wrote")

    async def listed(*arguments: object) -> list[tuple[str, int, str]]:
        found = json.loads(await said(here, "deliveries", "list", "--json", *arguments))
        return [(each["customer_id"], each["sequence"], each["status"]) for each in found]

    everything = await listed()
    assert [customer for customer, _, _ in everything] == ["bob", "ann", "eva", "dan", "cem", "bob", "ann"]
    assert await listed("--limit", 3) == everything[:3]
    assert await listed("--customer", "ann") == [("ann", 2, "dead_lettered"), ("ann", 1, "delivered")]
    assert await listed("--status", "superseded") == await listed("--destination", "zapier") == everything[:1]
    assert await listed("--segment", "fresh") == everything[:1]
    assert await listed("--since", "2026-03-02T12:04:00Z") == everything[:3]
    lines = (await said(here, "deliveries", "list", "--limit", 2)).splitlines()
    assert lines[0].split()[:5] == ["2026-03-02T12:06:00Z", "superseded", "zapier", "bob", "fresh"]
    assert lines[0].endswith("2 attempts, 1.2 s")
    assert lines[2] == "the newest 2; --limit shows more"
    assert await said(here, "deliveries", "list", "--customer", "nobody") == "no receipt\n"
    assert "is no ISO 8601 instant" in await said(here, "deliveries", "list", "--since", "noon", code=2)


@pytest.mark.asyncio(loop_scope="session")
async def test_one_change_is_shown_with_its_ends_everywhere_and_why_it_was_given_up(here: Installation) -> None:
    """Its receipts in order, the request and the answer."""
    change = a_change("ann", 1)
    await end(here, change, "delivered", 1, "zapier")
    await end(here, change, "dead_lettered", 2)
    await bury(here, change, 2)
    await end(here, a_change("ann", 2), "delivered", 3)
    text = await said(here, "deliveries", "show", change["id"])
    assert [line.split()[1:3] for line in text.splitlines()[:2]] == [["delivered", "zapier"], ["dead_lettered", "crm"]]
    for part in (
        "crm  given up 2026-03-02T12:02:00Z, refused: http_422, status 422",
        "request  POST https://hooks.example.com/**********",
        '{"type":"x"}',
        'answer   {"error": "no such list"}',
        f"source   {here.prefix}segment-changes, partition 0, offset 7",
    ):
        assert part in text
    assert a_change("ann", 2)["id"] not in text
    shown = json.loads(await said(here, "deliveries", "show", change["id"], "--customer", "ann", "--json"))
    assert [each["destination"] for each in shown["receipts"]] == ["zapier", "crm"]
    assert [each["change"] for each in shown["dead_letters"]] == [change]
    assert "nothing is known of change 'c0ffee'" in await said(here, "deliveries", "show", "c0ffee", code=1)


@pytest.mark.asyncio(loop_scope="session")
async def test_what_was_given_up_is_sent_again_to_whom_it_was_meant_for(here: Installation) -> None:
    """By id, destination, customer or time; each change once, in its own bytes; a dry run writes nothing."""
    for minute, customer in enumerate(["ann", "bob", "cem"]):
        await bury(here, a_change(customer, 1), minute)
    await bury(here, a_change("ann", 1), 3)  # again, and given up again
    await bury(here, a_change("ann", 2), 4, "zapier")
    await bury(here, a_change("ann", 2), 5, "gone")
    assert "say what to send again" in await said(here, "deliveries", "replay", code=2)
    assert "no destination 'crn': did you mean crm?" in await said(
        here, "deliveries", "replay", "--destination", "crn", code=2
    )
    text = await said(here, "deliveries", "replay", "--since", "2026-03-02T12:01:00Z", "--dry-run")
    assert "3 changes would be sent again to crm\n1 change would be sent again to zapier\n" in text
    assert "warning: left out what gone did not get: destinations.yaml has no such destination" in text
    assert await redeliveries(here) == []

    await said(here, "deliveries", "replay", a_change("ann", 1)["id"])
    (again,) = await redeliveries(here)
    assert (again.destination, again.origin, again.change.customer_id) == ("crm", "replay", "ann")
    (record,) = await here.read("redeliveries")
    raw = bytes(msgspec.json.decode(record.value, type=dict[str, msgspec.Raw])["change"])
    assert json.loads(raw) == a_change("ann", 1)

    assert await said(here, "deliveries", "replay", "--until", "2026-03-02T12:03:00Z", "--destination", "crm") == (
        "3 changes on the way again to crm\n"
    )
    assert sorted(each.change.customer_id for each in (await redeliveries(here))) == ["ann", "ann", "bob", "cem"]
    assert await said(here, "deliveries", "replay", "c0ffee", code=1) == "error: no dead letter of 'c0ffee'\n"


@pytest.mark.asyncio(loop_scope="session")
async def test_a_change_that_no_dead_letter_could_hold_is_fetched_from_where_it_stands(here: Installation) -> None:
    """And what is no change, or is no longer there, is named and left out."""
    change, other = a_change("ann", 1), a_change("bob", 1)
    places = []
    for value in (json.dumps(change).encode(), b"no change"):
        part = partition_of("ann", here.partitions)
        sent = await here.producer.send_and_wait(f"{here.prefix}segment-changes", value, partition=part)
        places.append(Source(topic=f"{here.prefix}segment-changes", partition=part, offset=sent.offset))
    again = {"destination": "crm", "origin": "replay", "change": other}
    part = partition_of("bob", here.partitions)
    sent = await here.producer.send_and_wait(f"{here.prefix}redeliveries", json.dumps(again).encode(), partition=part)
    places.append(Source(topic=f"{here.prefix}redeliveries", partition=part, offset=sent.offset))
    for minute, place in enumerate(places):
        await bury(here, None, minute, source=place)
    text = await said(here, "deliveries", "replay", "--destination", "crm")
    assert "2 changes on the way again to crm" in text
    assert f"left out {places[1].topic}, partition {places[1].partition}, offset {places[1].offset}, for crm" in text
    assert {each.change.id for each in await redeliveries_under_keys(here)} == {change["id"], other["id"]}


@pytest.mark.asyncio(loop_scope="session")
async def test_an_erasure_is_asked_for_again_as_what_it_is(here: Installation) -> None:
    """In its own bytes, once. That it may delete what came since has to be said of one, by its id. A change that is
    broken is no erasure.
    """
    erasure = an_erasure("ann")
    broken = {key: value for key, value in a_change("cem", 1).items() if key != "sequence"}
    await bury(here, erasure, 1)
    await bury(here, broken, 2, reason=UndeliveredReason.UNREADABLE_CHANGE)
    await bury(here, erasure, 3)  # again, and given up again
    await bury(here, a_change("bob", 1), 4)
    await bury(here, a_change("bob", 2), 5)
    text = await said(here, "deliveries", "replay", "--destination", "crm", "--dry-run")
    assert f"{erasure['id']}  crm  erasure of ann  asked for 2026-03-02T11:30:00Z  refused" in text
    assert "2 changes and 1 erasure would be sent again to crm\n" in text
    assert await redeliveries(here) == []
    text = await said(here, "deliveries", "replay", "--destination", "crm")
    assert f"left out {here.prefix}segment-changes, partition 0, offset 7, for crm: it is no segment change" in text
    assert text.count("left out") == 1
    assert "2 changes and 1 erasure on the way again to crm\nan erasure ends as superseded where something" in text
    (again,) = [each for each in await redeliveries(here) if each.fact == "erasure"]
    assert (again.origin, again.even_if_returned, again.change) == ("replay", False, Erasure.model_validate(erasure))

    for arguments, error in (
        (("--customer", "ann"), "say of which erasure, by its ID"),
        ((a_change("bob", 1)["id"],), "is a change, and --even-if-returned is for erasures"),
    ):
        assert error in await said(here, "deliveries", "replay", *arguments, "--even-if-returned", code=2)
    assert len(await redeliveries(here)) == 3
    text = await said(here, "deliveries", "replay", erasure["id"], "--even-if-returned")
    assert text == "1 erasure on the way again to crm\n"
    assert [each.even_if_returned for each in await redeliveries(here) if each.fact] == [False, True]
    records = [msgspec.json.decode(record.value) for record in await here.read("redeliveries")]
    assert [each["change"] for each in records if each.get("fact")] == [erasure, erasure]
    assert all(each.keys() == {"destination", "origin", "change"} for each in records if not each.get("fact"))


async def redeliveries_under_keys(here: Installation) -> Sequence[Redelivery]:
    """Those that the command wrote: the test's own has no key."""
    return [Redelivery.model_validate_json(record.value) for record in await here.read("redeliveries") if record.key]


# -- destinations -------------------------------------------------------------------------------------------


async def stands(here: Installation, *arguments: object, code: int = 1) -> dict[str, dict[str, Any]]:
    """What ``destinations status`` says, by destination."""
    found = json.loads(await said(here, "destinations", "status", "--json", *arguments, code=code))
    return {each["destination"]: each for each in found["destinations"]}


async def report(here: Installation, state: str, reason: str = "", replica: str = "a", name: str = "crm") -> None:
    """What a replica of the deliverer says."""
    now = datetime.now(UTC)
    value = DestinationState(
        destination=name, state=state, reason=reason, since=now, by="deliverer", replica=replica, at=now
    )
    topic = f"{here.prefix}destination-states"
    await here.producer.send_and_wait(topic, value.model_dump_json().encode(), key=f"{name}/{replica}".encode())


@pytest.mark.kafka
@pytest.mark.asyncio(loop_scope="session")
async def test_status_waits_for_a_broker_that_no_group_has_asked_yet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It first makes the topic of the groups' commits, and until then has no coordinator for any."""
    async with kafka() as address, installed(Broker("kafka", address, 3.0), tmp_path, monkeypatch) as here:
        assert {each["state"] for each in (await stands(here)).values()} == {"no deliverer"}


@pytest.mark.asyncio(loop_scope="session")
async def test_status_tells_how_each_destination_stands(here: Installation) -> None:
    """State and reason, the worst of the replicas, what waits, the last receipt; and that there is no Redis."""
    assert {each["state"] for each in (await stands(here)).values()} == {"no deliverer"}
    for customer in ("ann", "bob", "cem"):
        await write(here, "segment-changes", customer, json.dumps(a_change(customer, 1)).encode())
    await report(here, "active")
    await report(here, "paused", "http_401", "b")
    await report(here, "active", name="zapier")
    await end(here, a_change("ann", 1), "delivered", 1)
    await end(here, a_change("bob", 1), "dead_lettered", 2)
    found = await stands(here)
    assert (found["crm"]["state"], found["crm"]["reason"], found["crm"]["replicas"]) == (
        "paused",
        "http_401",
        ["a", "b"],
    )
    assert found["crm"]["last_receipt"]["customer_id"] == "bob"
    assert (found["crm"]["waiting"], found["zapier"]["state"], found["zapier"]["last_receipt"]) == (
        None,
        "active",
        None,
    )
    text = await said(here, "destinations", "status", code=1)
    assert "crm (webhook)  paused since 20" in text
    assert ": http_401\n  nothing has been read yet; 2 deliverers\n  last receipt: dead_lettered 2026-03-02" in text
    assert "without Redis (LIVESEGMENTS_REDIS_URL)" in text
    assert (await stands(here, "zapier", code=0)).keys() == {"zapier"}


@pytest.mark.asyncio(loop_scope="session")
async def test_an_order_stands_until_another_says_otherwise(here: Installation) -> None:
    """Whoever gave it and why is told; a destination that is not declared is none."""
    await report(here, "active")
    assert "crm is paused by order" in await said(here, "destinations", "pause", "crm", "--reason", "their maintenance")
    assert "paused since 20" in (text := await said(here, "destinations", "status", "crm", code=1))
    assert ", by order: their maintenance" in text
    (record,) = [each for each in await states(here) if each.key == b"crm"]
    order = DestinationState.model_validate_json(record.value)
    assert (order.state, order.by, order.replica, order.reason) == ("paused", "operator", "ada", "their maintenance")
    await said(here, "destinations", "resume", "crm")
    assert (await stands(here, "crm", code=0))["crm"]["state"] == "active"
    assert "no destination 'crn': did you mean crm?" in await said(here, "destinations", "pause", "crn", code=2)


@pytest.mark.asyncio(loop_scope="session")
async def test_segments_that_are_not_in_force_are_named(here: Installation) -> None:
    """By `check --in-force`; before there is any book, too."""
    assert "no book of segments is in force yet" in await said(here, "destinations", "check", "--in-force")
    await here.apply(BOOK, DAY)
    declare(here, crm={"segments": ["viewer", "freshh"]})
    text = await said(here, "destinations", "check", "--in-force", "--strict", code=1)
    assert (
        "warning: destination crm: no segment 'freshh' is in the book, so nothing is sent: did you mean fresh?" in text
    )


@pytest.mark.asyncio(loop_scope="session")
async def test_resync_writes_the_present_membership_of_everybody(here: Installation) -> None:
    """From the state that a worker wrote: members as entered, who left as exited; only what the destination wants."""
    assert "no partition has a checkpoint yet" in await said(here, "destinations", "resync", "crm", code=1)
    await here.apply(BOOK, DAY)
    worker = await here.start_worker()
    log = []
    for minute, customer in enumerate(["ann", "bob", "cem", "dan"]):
        at = DAY + (1 + minute) * MINUTE
        event = {"customer_id": customer, "event_type": "product_view", "timestamp": format_iso(at)}
        log.append((at, customer.encode(), json.dumps(event).encode()))
    await here.send(log)
    await here.tick(DAY + 62 * MINUTE)  # ann and bob are no longer fresh
    await here.all_in([worker])
    text = await said(here, "destinations", "resync", "crm", "--dry-run")
    assert text == "6 memberships and 2 exits would be sent to crm\n"
    assert await redeliveries(here) == []

    text = await said(here, "destinations", "resync", "crm")
    assert text == "6 memberships and 2 exits are on their way to crm, behind live changes\n"
    found = await redeliveries(here)
    assert {(each.destination, each.origin) for each in found} == {("crm", "resync")}
    changes = [each.change for each in found if isinstance(each.change, SegmentChange)]
    assert [change.cause.kind for change in changes] == ["resync"] * len(found)
    assert sorted((each.customer_id, each.segment, each.action, each.sequence) for each in changes) == [
        ("ann", "fresh", "exited", 3),
        ("ann", "viewer", "entered", 3),
        ("bob", "fresh", "exited", 3),
        ("bob", "viewer", "entered", 3),
        ("cem", "fresh", "entered", 2),
        ("cem", "viewer", "entered", 2),
        ("dan", "fresh", "entered", 2),
        ("dan", "viewer", "entered", 2),
    ]
    assert "4 memberships and 0 exits" in await said(here, "destinations", "resync", "zapier")
    assert "2 memberships and 2 exits" in await said(here, "destinations", "resync", "crm", "--segment", "fresh")


# -- with a deliverer ---------------------------------------------------------------------------------------


@asynccontextmanager
async def delivering(here: Installation, receiver: Receiver, **options: Any) -> AsyncIterator[Child]:
    """A deliverer process, with `crm` at the receiver and, unless ``options`` say otherwise, all segments."""
    declare(here, receiver.url, crm={"allow_http": True, "allow_private_addresses": True, **options})
    async with running("deliverer", ["deliver"], here.environment, here.directory) as child:
        yield child


async def publish(here: Installation, *changes: Mapping[str, Any]) -> None:
    for change in changes:
        await write(here, "segment-changes", change["customer_id"], json.dumps(change).encode())


async def until(here: Installation, child: Child, holds: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """How `crm` stands, once it stands so."""
    deadline = time.monotonic() + PATIENCE
    while True:
        child.check()
        result = await run(here, "destinations", "status", "crm", "--json")
        (found,) = json.loads(result.stdout)["destinations"]
        if holds(found):
            assert isinstance(found, dict)
            return found
        assert time.monotonic() < deadline, found
        await asyncio.sleep(0.2)  # between two looks


async def receipts(here: Installation, customer: str) -> list[tuple[int, str, str]]:
    found = json.loads(await said(here, "deliveries", "list", "--json", "--customer", customer))
    return [(each["sequence"], each["status"], each["origin"]) for each in reversed(found)]


@pytest.mark.asyncio(loop_scope="session")
async def test_a_destination_stands_still_by_order_and_goes_on_where_it_stopped(here: Installation) -> None:
    """Nothing leaves meanwhile, nothing is lost, and the status says so all along."""
    async with receiving() as receiver, delivering(here, receiver) as child:
        await publish(here, a_change("ann", 1), a_change("bob", 1))
        await receiver.until(lambda: len(receiver.accepted) == 2)
        found = await until(here, child, lambda now: now["state"] == "active" and now["waiting"] == 0)
        assert (len(found["replicas"]), found["reason"]) == (1, "")
        assert "crm (webhook)  active since 20" in await said(here, "destinations", "status")

        await said(here, "destinations", "pause", "crm", "--reason", "lunch")
        await heeded(here, child)
        await publish(here, a_change("cem", 1))
        found = await until(here, child, lambda now: now["waiting"] == 1)
        assert (found["state"], found["by"], found["reason"]) == ("paused", "operator", "lunch")
        assert len(receiver.received) == 2

        await said(here, "destinations", "resume", "crm")
        await receiver.until(lambda: len(receiver.accepted) == 3)
        await until(here, child, lambda now: now["state"] == "active" and now["waiting"] == 0)
    assert sequences(receiver.received) == {"ann": [1], "bob": [1], "cem": [1]}


async def heeded(here: Installation, child: Child) -> None:
    """Wait until the deliverer itself says that it stands still by order: then nothing more leaves."""
    deadline = time.monotonic() + PATIENCE
    while True:
        child.check()
        if any(b"/" in record.key and b'"operator"' in (record.value or b"") for record in await states(here)):
            return
        assert time.monotonic() < deadline
        await asyncio.sleep(0.2)  # between two looks


async def states(here: Installation) -> list[ConsumerRecord]:
    """The records of `destination-states`, which has one partition."""
    return await replace(here, partitions=1).read("destination-states")


@pytest.mark.asyncio(loop_scope="session")
async def test_what_a_destination_refused_arrives_when_it_is_replayed(here: Installation) -> None:
    """With the same id and bytes; and a change that a newer one has overtaken is not sent any more."""

    def refuse(received: Received) -> Answer:
        good = received.changes[0]["sequence"] > 1
        return Answer() if good else Answer(422, body=b'{"error": "list is full"}')

    async with receiving(refuse) as receiver, delivering(here, receiver) as child:
        await publish(here, a_change("ann", 1), a_change("bob", 1), a_change("bob", 2))
        await receiver.until(lambda: len(receiver.received) == 3)
        await until(here, child, lambda now: now["waiting"] == 0)
        assert await receipts(here, "ann") == [(1, "dead_lettered", "live")]
        text = await said(here, "deliveries", "show", a_change("ann", 1)["id"])
        assert 'answer   {"error": "list is full"}' in text
        assert "request  POST " in text
        assert PATH not in text

        receiver.behaviour = accept
        assert "2 changes on the way again to crm" in await said(here, "deliveries", "replay", "--destination", "crm")
        await receiver.until(lambda: len(receiver.received) == 4)
        await until(here, child, lambda now: not now["waiting_again"] and now["waiting"] == 0)
        assert await receipts(here, "ann") == [(1, "dead_lettered", "live"), (1, "delivered", "replay")]
        assert await receipts(here, "bob") == [
            (1, "dead_lettered", "live"),
            (2, "delivered", "live"),
            (1, "superseded", "replay"),
        ]
    assert len(receiver.bodies()[a_change("ann", 1)["id"]]) == 1


async def forget(here: Installation, customer: str) -> None:
    """The customer is to be forgotten."""
    await here.producer.send_and_wait(
        f"{here.prefix}segment-changes",
        json.dumps(an_erasure(customer)).encode(),
        key=customer.encode(),
        partition=partition_of(customer, here.partitions),
        headers=[(FACT_HEADER, ERASURE.encode())],
    )


@pytest.mark.parametrize("shared", [True, False], ids=["redis", "memory"])
@pytest.mark.asyncio(loop_scope="session")
async def test_an_erasure_that_was_refused_is_done_when_it_is_replayed(here: Installation, shared: bool) -> None:
    """Once, and not where the customer came back: there it has to be meant, and is said. Whatever the ledger is."""
    gone: list[str] = []
    sent: list[tuple[str, int]] = []

    def until_mended(received: Received) -> Answer:
        (data,) = received.changes
        erased = json.loads(received.body)["type"] == "customer.erased"
        sent.append((data["customer_id"], 0 if erased else data["sequence"]))
        if erased and not mended:
            return Answer(422, body=b"no right to delete")
        if erased:
            gone.append(data["customer_id"])
        return Answer()

    async def settled() -> None:
        await until(here, child, lambda now: now["waiting"] == 0 and not now["waiting_again"])

    async def replayed(*arguments: str) -> None:
        before = len(await redeliveries(here))
        await said(here, "deliveries", "replay", *arguments)
        assert len(await redeliveries(here)) > before
        await settled()

    mended = False
    async with receiving(until_mended) as receiver, redis_server() as url:
        if shared:
            here.environment["LIVESEGMENTS_REDIS_URL"] = url
        async with delivering(here, receiver, segments=["viewer"]) as child:
            for customer in ("ann", "bob"):
                await publish(here, a_change(customer, 1), a_change(customer, 2))
            await receiver.until(lambda: len(receiver.received) == 4)
            for customer in ("ann", "bob"):
                await forget(here, customer)
            await publish(here, a_change("bob", 1) | {"id": "b" * 32, "at": "2026-03-02T11:31:00Z"})
            await receiver.until(lambda: len(receiver.received) == 7)
            await settled()

            mended = True
            await replayed("--destination", "crm")
            await replayed("--destination", "crm")
        async with delivering(here, receiver, segments=["viewer"]) as child:
            await replayed("--customer", "ann")
            assert gone == ["ann"]
            text = await said(here, "deliveries", "show", an_erasure("bob")["id"])
            assert "not sent again: something newer of the customer was sent since" in text
            assert f"`deliveries replay {an_erasure('bob')['id']} --even-if-returned` does" in text
            await replayed(an_erasure("bob")["id"], "--even-if-returned")
            await replayed(an_erasure("bob")["id"], "--even-if-returned")
            assert gone == ["ann", "bob"]
            assert "not sent again" not in await said(here, "deliveries", "show", an_erasure("bob")["id"])
            await publish(here, a_change("bob", 2) | {"id": "c" * 32, "at": "2026-03-02T11:32:00Z"})
            await receiver.until(lambda: len(receiver.received) == 10)
            await settled()
    assert [number for name, number in sent if name == "ann"] == [1, 2, 0, 0]
    assert [number for name, number in sent if name == "bob"] == [1, 2, 0, 1, 0, 2]
    assert [end for end in await receipts(here, "ann") if not end[0]] == [
        (0, "dead_lettered", "live"),
        (0, "erased", "replay"),
        (0, "erased", "replay"),
        (0, "erased", "replay"),
    ]
    assert [end for end in await receipts(here, "bob") if not end[0]] == [
        (0, "dead_lettered", "live"),
        (0, "superseded", "replay"),
        (0, "superseded", "replay"),
        (0, "erased", "replay"),
        (0, "erased", "replay"),
    ]


@pytest.mark.asyncio(loop_scope="session")
async def test_deliverers_share_the_redis_of_the_settings(here: Installation) -> None:
    """What was sent is remembered there; its URL, which may hold a password, is said nowhere."""
    async with redis_server() as url, receiving() as receiver:
        here.environment["LIVESEGMENTS_REDIS_URL"] = secret = url.replace("redis://", "redis://:ev1l-passw0rd@")
        async with redis.asyncio.from_url(url) as client:
            await client.config_set("requirepass", "ev1l-passw0rd")
        async with delivering(here, receiver) as child, redis.asyncio.from_url(secret) as client:
            await publish(here, a_change("ann", 1))
            await receiver.until(lambda: len(receiver.accepted) == 1)
            await until(here, child, lambda now: now["state"] == "active" and now["waiting"] == 0)
            keys = await client.keys("livesegments:ledger:*")
            assert any(f"{here.prefix}livesegments-deliver-crm".encode() in key for key in keys)
            assert "without Redis" not in await said(here, "destinations", "status")
            await redis_says(here, True, None, "Redis answers")
        log = child.log.read_text()
        assert "no Redis" not in log
        assert "ev1l" not in log
        here.environment["LIVESEGMENTS_REDIS_URL"] = url.replace("redis://", "redis://:ev1l%2Dother@")
        await redis_says(here, False, "invalid username-password pair", "Redis does not answer: invalid")
    here.environment["LIVESEGMENTS_REDIS_URL"] = secret
    await redis_says(here, False, "Error 111 connecting to 127.0.0.1", "deliveries wait for it")
    here.environment["LIVESEGMENTS_REDIS_URL"] = "redis://:ev1l-passw0rd@127.0.0.1:p0rt/0"
    await redis_says(here, False, "its URL cannot be read", "its URL cannot be read")
    del here.environment["LIVESEGMENTS_REDIS_URL"]
    await redis_says(here, None, None, "without Redis (LIVESEGMENTS_REDIS_URL)")


async def redis_says(here: Installation, answers: bool | None, error: str | None, text: str) -> None:
    """How ``destinations status`` finds Redis, for programs and people; how the destinations stand decides the code."""
    for arguments in ((), ("--json",)):
        result = await run(here, "destinations", "status", *arguments)
        assert "ev1l" not in result.output
        if not arguments:
            assert text in result.output
            assert result.exit_code == (1 if "no deliverer" in result.output else 0)
            continue
        found = json.loads(result.stdout)
        assert result.exit_code == (0 if all(each["state"] == "active" for each in found["destinations"]) else 1)
        assert (found["redis"], found["redis_answers"]) == (answers is not None, answers)
        assert (found["redis_error"] is None) if error is None else (error in found["redis_error"])


@pytest.mark.asyncio(loop_scope="session")
async def test_a_receiver_that_lost_all_is_filled_again(here: Installation) -> None:
    """By a resync, with what is so now; what happens afterwards comes after it."""
    await here.apply(BOOK, DAY)
    worker = await here.start_worker()

    async def look(customer: str, minute: int) -> None:
        at = DAY + minute * MINUTE
        event = {"customer_id": customer, "event_type": "product_view", "timestamp": format_iso(at)}
        await here.send([(at, customer.encode(), json.dumps(event).encode())])

    wanted = ["viewer", "fresh", "freshest"]
    async with receiving() as receiver, delivering(here, receiver, segments=wanted) as child:
        await look("ann", 1)
        await look("bob", 30)
        await here.tick(DAY + 70 * MINUTE)
        await here.all_in([worker])
        await receiver.until(lambda: len(receiver.accepted) == 5)
        receiver.accepted.clear()
        await said(here, "destinations", "resync", "crm")
        await receiver.until(lambda: len(receiver.accepted) == 4)
        await look("ann", 71)
        await receiver.until(lambda: len(receiver.accepted) == 5)
        await until(here, child, lambda now: not now["waiting_again"] and now["waiting"] == 0)
    members: dict[str, set[str]] = {}
    for change in [change for received in receiver.accepted for change in received.changes]:
        of = members.setdefault(change["customer_id"], set())
        (of.add if change["action"] == "entered" else of.discard)(change["segment"])
    warning = "warning: destination crm: no segment 'freshest' is in the book, so nothing is sent: did you mean fresh?"
    assert warning in child.log.read_text()
    assert members == {"ann": {"viewer", "fresh"}, "bob": {"viewer", "fresh"}}
    assert [received.changes[0]["cause"]["kind"] for received in receiver.accepted] == ["resync"] * 4 + ["event"]
