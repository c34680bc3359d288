"""``livesegments destinations resync``: the present membership of everybody, for one destination."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import BarColumn, Progress, TextColumn

from stream.cli.console import USAGE, err, fail, out, settings, warn
from stream.cli.declared import File, Name, declared, named
from stream.cli.options import Servers

if TYPE_CHECKING:
    from stream.resync import Wants
    from stream.settings import Settings


def register(app: typer.Typer) -> None:
    """Hang the command on ``livesegments destinations``."""
    app.command("resync")(resync)


def resync(
    name: Name,
    segment: Annotated[str | None, typer.Option(help="Only of this segment.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count what would be sent.")] = False,
    destinations: File = None,
    bootstrap_servers: Servers = None,
) -> None:
    """Send a destination the present membership of all customers, behind the changes that are live.

    For a destination that lost its data, was set up late, or got a new list or field. Members are sent as entered, with
    their present profile; those who left as exited, as far back as `segment-changes` still knows them. What the
    destination was told meanwhile and is newer is not overwritten. Read from Kafka, as of the last checkpoint.
    """
    from schemas import topics
    from stream.cli.broker import broker_errors, reach

    made = settings(destinations=destinations, kafka_bootstrap_servers=bootstrap_servers)
    options = named(declared(made.destinations), name, made.destinations)
    if segment is not None and not options.wants(segment):
        fail(f"destination {name} does not want segment {segment!r}", USAGE)
    needed = (topics.EVENTS, topics.STATE, topics.SEGMENT_CHANGES, topics.REDELIVERIES)
    partitions = reach(made, needed)[topics.name(topics.EVENTS, made.topic_prefix)]
    wants = options.wants if segment is None else lambda each: each == segment
    with broker_errors(made.kafka_bootstrap_servers):
        counts = asyncio.run(_resync(made, partitions, name, wants, dry_run))
    if counts["unknown"] == partitions:
        fail("no partition has a checkpoint yet: has a worker run?")
    if counts["unknown"]:
        warn(f"{counts['unknown']} of {partitions} partitions have no checkpoint yet: run this again later")
    what = f"{counts['entered']:,} memberships and {counts['exited']:,} exits"
    end = f"would be sent to {name}" if dry_run else f"are on their way to {name}, behind live changes"
    out.print(f"{what} {end}")


async def _resync(made: Settings, partitions: int, name: str, wants: Wants, dry_run: bool) -> Counter[str]:
    from stream.redelivery import Again, redelivering
    from stream.resync import present

    counts: Counter[str] = Counter()
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed} of {task.total} partitions"))
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as progress:
        task = progress.add_task("reading", total=partitions)

        def looked(partition: int, records: int) -> None:
            progress.update(task, description=f"{records:,} records of partition {partition}")

        async with redelivering(made, partitions) as redeliveries:
            async for state in present(made, partitions, wants, looked):
                counts["entered"] += state.entered
                counts["exited"] += state.exited
                counts["unknown"] += state.as_of is None
                if not dry_run:
                    await redeliveries.add(name, "resync", (Again(*each) for each in state.changes))
                progress.advance(task)
    return counts
