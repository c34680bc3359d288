"""``livesegments deliveries list | show | replay``: what became of changes at destinations, and sending them again."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from stream.cli.console import USAGE, err, fail, out, settings, warn
from stream.cli.declared import File, declared, named
from stream.cli.options import AsJson, Servers
from stream.cli.versions import print_json

if TYPE_CHECKING:
    from connectors.changes import Change
    from stream.deliveries import Buried, Document
    from stream.redelivery import Again
    from stream.settings import Settings

_SINCE = "something newer of the customer was sent since, and it would delete that, too"
_COLOURS = {"delivered": "green", "erased": "green", "superseded": "yellow", "dead_lettered": "red"}
#: Records between two signs of life.
_OFTEN = 100_000


class Status(StrEnum):
    """How a change ended at a destination."""

    delivered = "delivered"
    superseded = "superseded"
    dead_lettered = "dead_lettered"
    erased = "erased"


Destination = Annotated[str | None, typer.Option(help="Only of this destination.")]
Since = Annotated[str | None, typer.Option(metavar="INSTANT", help="What ended at this instant (ISO 8601) or later.")]
Until = Annotated[str | None, typer.Option(metavar="INSTANT", help="What ended before this instant (ISO 8601).")]
Customer = Annotated[str | None, typer.Option(help="Only of this customer; much quicker, where there are many.")]


def register(app: typer.Typer) -> None:
    """Hang the commands on ``livesegments deliveries``."""
    app.command("list")(list_receipts)
    app.command("show")(show)
    app.command("replay")(replay)


def list_receipts(
    destination: Destination = None,
    status: Annotated[Status | None, typer.Option(help="Only what ended so.")] = None,
    since: Since = None,
    customer: Customer = None,
    segment: Annotated[str | None, typer.Option(help="Only of this segment.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="So many at most, the newest.")] = 50,
    bootstrap_servers: Servers = None,
    as_json: AsJson = False,
) -> None:
    """List how changes ended at the destinations, the newest first.

    `delivered`: it arrived. `superseded`: not sent, since a newer one of the customer and segment took its place.
    `dead_lettered`: given up; `deliveries show ID` says why. `erased`: the platform was told to forget the customer.
    An erasure has no segment.
    """
    from schemas import topics
    from stream.cli.broker import broker_errors, reach
    from stream.deliveries import Wanted, newest_receipts

    wanted = Wanted(
        destination,
        None if status is None else status.value,
        customer,
        segment,
        None if since is None else _instant("--since", since),
    )
    made = settings(kafka_bootstrap_servers=bootstrap_servers)
    partitions = reach(made, [topics.DELIVERIES])[topics.name(topics.DELIVERIES, made.topic_prefix)]
    with broker_errors(made.kafka_bootstrap_servers):
        found = asyncio.run(newest_receipts(made, partitions, wanted, limit))
    if as_json:
        print_json(found)
        return
    if not found:
        out.print("no receipt")
    widest = max((len(each["destination"]) for each in found), default=0)
    for each in found:
        _print_receipt(each, widest)
    if len(found) == limit:
        err.print(f"the newest {limit}; --limit shows more")


def show(
    change: Annotated[str, typer.Argument(metavar="ID", help="Id of the segment change.")],
    customer: Customer = None,
    bootstrap_servers: Servers = None,
    as_json: AsJson = False,
) -> None:
    """Show what became of one change at every destination: its receipts, and why it was given up where it was.

    Of a change that was given up: the reason, the last request without its headers, and the beginning of the answer.
    Secrets were struck out before it was written. Receipts and dead letters are kept for 30 days.
    """
    from schemas import topics
    from stream.cli.broker import broker_errors, reach
    from stream.deliveries import Wanted, letters_of, receipts_of

    made = settings(kafka_bootstrap_servers=bootstrap_servers)
    found = reach(made, (topics.DELIVERIES, topics.DEAD_LETTERS))
    partitions = found[topics.name(topics.DELIVERIES, made.topic_prefix)]
    wanted = Wanted(id=change.strip(), customer=customer)

    async def read() -> tuple[list[Document], list[Buried]]:
        return (
            await receipts_of(made, partitions, wanted, _progress("receipts")),
            await letters_of(made, partitions, wanted, _progress("dead letters")),
        )

    with broker_errors(made.kafka_bootstrap_servers):
        receipts, letters = asyncio.run(read())
    if not receipts and not letters:
        fail(f"nothing is known of change {change!r}: it has not ended anywhere, or longer ago than receipts are kept")
    if as_json:
        print_json({"receipts": receipts, "dead_letters": [each.letter for each in letters]})
        return
    widest = max((len(each["destination"]) for each in receipts), default=0)
    last = {each["destination"]: each for each in receipts}
    for each in receipts:
        _print_receipt(each, widest)
        if each is last[each["destination"]] and _is_held_back(each):
            out.print(f"  not sent again: {_SINCE};")
            out.print(f"  `deliveries replay {escape(each['id'])} --even-if-returned` does")
    for buried in letters:
        _print_letter(buried.letter)


def replay(
    change: Annotated[
        str | None, typer.Argument(metavar="[ID]", help="Id of one change or erasure; without it, all that are meant.")
    ] = None,
    destination: Destination = None,
    since: Since = None,
    until: Until = None,
    customer: Customer = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only list what would be sent again.")] = False,
    even_if_returned: Annotated[
        bool,
        typer.Option(
            "--even-if-returned", help="With the ID of an erasure: delete also what was sent of the customer since."
        ),
    ] = False,
    destinations: File = None,
    bootstrap_servers: Servers = None,
) -> None:
    """Send again what was given up (dead letters): changes, behind those that are live, and erasures.

    Say which: one by its ID, or by destination, time or customer. Each goes only to the one that did not get it.
    Nothing old overwrites what is newer: a change that a newer one of the customer and segment has overtaken ends as
    `superseded`. What is sent again twice is the same twice, with the same id.

    An erasure ends as `superseded` where something newer of the customer was sent since: they may have come back, and
    platforms delete the whole contact. `deliveries show ID` says so. With --even-if-returned it is sent all the same;
    `destinations resync` then sends what they are now.
    """
    from schemas import topics
    from stream.cli.broker import broker_errors, reach
    from stream.deliveries import Wanted, letters_of

    if not (change or destination or since or until or customer):
        fail("say what to send again: an ID, --destination, --since, --until or --customer", USAGE)
    if even_if_returned and not change:
        fail("--even-if-returned deletes what a customer is now: say of which erasure, by its ID", USAGE)
    wanted = Wanted(
        destination=destination,
        customer=customer,
        since=None if since is None else _instant("--since", since),
        until=None if until is None else _instant("--until", until),
        id=change.strip() if change else None,
    )
    made = settings(destinations=destinations, kafka_bootstrap_servers=bootstrap_servers)
    file = declared(made.destinations)
    if destination is not None:
        named(file, destination, made.destinations)
    found = reach(made, (topics.DEAD_LETTERS, topics.REDELIVERIES, topics.SEGMENT_CHANGES))
    partitions = found[topics.name(topics.REDELIVERIES, made.topic_prefix)]
    with broker_errors(made.kafka_bootstrap_servers):
        letters = asyncio.run(letters_of(made, partitions, wanted, _progress("dead letters")))
        if not letters:
            fail(f"no dead letter of {change!r}" if change else "no dead letter is meant by that")
        known = [each for each in letters if each.letter["destination"] in file.by_name]
        for name in sorted({each.letter["destination"] for each in letters} - file.by_name.keys()):
            warn(f"left out what {name} did not get: {made.destinations} has no such destination")
        counts = asyncio.run(_replay(made, partitions, known, dry_run, even_if_returned))
    words = "would be sent again to" if dry_run else "on the way again to"
    for name in sorted({name for name, _ in counts}):
        kinds = [
            f"{count:,} {kind}{'' if count == 1 else 's'}"
            for kind in ("change", "erasure")
            if (count := counts[name, kind])
        ]
        out.print(f"{' and '.join(kinds)} {words} {escape(name)}")
    if any(kind == "erasure" for _, kind in counts) and not even_if_returned:
        out.print(f"an erasure ends as superseded where {_SINCE}: `deliveries list --status superseded`")
    if not counts:
        raise typer.Exit(1)


async def _replay(
    made: Settings, partitions: int, letters: list[Buried], dry_run: bool, even_if_returned: bool
) -> Counter[tuple[str, str]]:
    """How many changes and erasures go to which destination."""
    from connectors.changes import ERASED, UnreadableChange
    from stream.deliveries import original
    from stream.redelivery import Again, redelivering

    chosen: dict[tuple[str, str], Again] = {}  # by destination and id: given up twice, sent once
    for buried in letters:
        raw = buried.change or await original(made, buried.letter)
        place = "{topic}, partition {partition}, offset {offset}".format_map(buried.letter["source"])
        try:
            change = _read(raw, buried.letter)
        except UnreadableChange:
            warn(f"left out {place}, for {buried.letter['destination']}: it is no segment change, or no longer kept")
            continue
        erased = change.action == ERASED
        if even_if_returned and not erased:
            fail(f"{change.id} is a change, and --even-if-returned is for erasures", USAGE)
        chosen[buried.letter["destination"], change.id] = Again(
            change.customer_id, change.raw, "erasure" if erased else None, even_if_returned
        )
        if dry_run:
            detail = f"{buried.letter['reason']} {buried.letter['at']}"
            what = f"asked for {change.at}" if erased else change.segment
            kind = "erasure of " if erased else ""
            out.print(
                escape(f"{change.id}  {buried.letter['destination']}  {kind}{change.customer_id}  {what}  {detail}")
            )
    counts: Counter[tuple[str, str]] = Counter((name, each.fact or "change") for (name, _), each in chosen.items())
    if not dry_run and chosen:
        async with redelivering(made, partitions) as redeliveries:
            for name in {name for name, _ in chosen}:
                await redeliveries.add(name, "replay", [each for (to, _), each in chosen.items() if to == name])
    return counts


def _read(raw: bytes | None, letter: Document) -> Change:
    """The change or erasure that a dead letter is about. Raises ``UnreadableChange``."""
    from connectors.changes import UnreadableChange, read_change, read_erasure
    from schemas.rejections import UndeliveredReason

    try:
        return read_change(raw)
    except UnreadableChange:
        if letter["reason"] == UndeliveredReason.UNREADABLE_CHANGE.value:
            raise
        return read_erasure(raw)  # what could be read once, and is no change


def _is_held_back(receipt: Document) -> bool:
    """Does a receipt say of an erasure that it was not sent again?"""
    return (receipt["status"], receipt.get("segment"), receipt.get("origin")) == ("superseded", "", "replay")


def _print_receipt(receipt: Document, widest: int) -> None:
    status = receipt["status"]
    origin = "" if receipt.get("origin", "live") == "live" else f", {receipt['origin']}"
    attempts = receipt["attempts"]
    tries = f"{attempts} attempt{'' if attempts == 1 else 's'}, {_length(receipt['latency_ms'])}{origin}"
    what = " ".join(word for word in (receipt["customer_id"], receipt["segment"]) if word)
    out.print(
        f"{receipt['at'][:19]}Z  [{_COLOURS.get(status, 'bold')}]{status:<13}[/]  "
        + escape(f"{receipt['destination']:<{widest}}  {what}  {receipt['id']}  {tries}")
    )


def _print_letter(letter: Document) -> None:
    out.print()
    status = f", status {letter['status']}" if letter.get("status") is not None else ""
    words = f"given up {letter['at'][:19]}Z, {letter['reason']}: {letter['detail']}{status}"
    out.print(f"[bold]{escape(letter['destination'])}[/]  {escape(words)}")
    lines: list[tuple[str, Any]] = []
    if (request := letter.get("request")) is not None:
        lines += [("request", f"{request['method']} {request['url']}"), ("", request["body"])]
    lines.append(("answer", letter.get("response") or "none"))
    source = letter["source"]
    lines.append(("source", f"{source['topic']}, partition {source['partition']}, offset {source['offset']}"))
    for word, text in lines:
        out.print(escape(f"  {word:<8} {text}"))


def _length(ms: float) -> str:
    """A time in milliseconds, for people."""
    return f"{ms:.0f} ms" if ms < 1000 else f"{ms / 1000:.1f} s"


def _instant(option: str, text: str) -> int:
    from stream.core.time import parse_iso

    try:
        return parse_iso(text)
    except ValueError:
        fail(f"{option} {text!r} is no ISO 8601 instant, such as 2026-03-02T12:00:00Z", USAGE)


def _progress(what: str) -> Callable[[int], None]:
    """Signs of life on standard error for whoever waits at a terminal."""
    next_sign = _OFTEN

    def looked(records: int) -> None:
        nonlocal next_sign
        if err.is_terminal and records >= next_sign:
            next_sign = records + _OFTEN
            err.print(f"looked at {records:,} {what} so far")

    return looked
