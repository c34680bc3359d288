"""``livesegments segments list | show | history``: what is in force, what was, since when, and who said so."""

from __future__ import annotations

import asyncio
import difflib
import json
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from stream.cli.console import USAGE, err, fail, out, settings
from stream.cli.options import AsJson, Servers

if TYPE_CHECKING:
    from schemas.definitions import AppliedBook
    from stream.history import History

Version = Annotated[
    str | None,
    typer.Option("--version", help="Of this version (its first digits will do) instead of the one in force."),
]


def register(app: typer.Typer) -> None:
    """Hang the commands on ``livesegments segments``."""
    app.command("list")(list_segments)
    app.command("show")(show)
    app.command("history")(history)


def list_segments(bootstrap_servers: Servers = None, version: Version = None, as_json: AsJson = False) -> None:
    """List the segments in force, with the version that says so."""
    from stream.history import book_in

    past = read(bootstrap_servers)
    applied = chosen(past, version)
    segments = book_in(applied)["segments"]
    if as_json:
        print_json({**head(applied), "segments": segments})
        return
    widest = max(map(len, segments), default=0)
    for name, segment in segments.items():
        out.print(escape(f"{name:<{widest}}  {segment['description']}".rstrip()))
    count = f"{len(segments)} segment{'' if len(segments) == 1 else 's'}"
    in_force = ", in force" if applied is past.newest else ""
    out.print(escape(f"{count}, version {applied.version}{in_force}, {origin(applied)}"))


def show(
    segment: Annotated[str | None, typer.Argument(help="A segment; without it, the whole file is printed.")] = None,
    bootstrap_servers: Servers = None,
    version: Version = None,
    as_json: AsJson = False,
) -> None:
    """Show one segment in force, and since when it has been as it is; or the whole file, exactly as it was applied.

    To go back to an older version: `segments show --version 2cf9d443 > segments.yaml`, then
    `segments apply segments.yaml`.
    """
    from stream.history import book_in

    past = read(bootstrap_servers)
    applied = chosen(past, version)
    book = book_in(applied)
    if segment is None:
        if as_json:
            print_json({**head(applied), **book})
        else:
            typer.echo(applied.text, nl=False)
        return
    found = book["segments"].get(segment)
    if found is None:
        near = ", ".join(difflib.get_close_matches(segment, book["segments"], n=3))
        fail(f"version {applied.version} has no segment {segment!r}" + (f": did you mean {near}?" if near else ""))
    since = past.unchanged_since(applied, segment)
    if as_json:
        print_json({"name": segment, **found, "version": applied.version, "since": head(since)})
        return
    out.print(f"[bold]{escape(segment)}[/]")
    for name, value in found.items():
        if name != "sql" and value:
            out.print(escape(value if name == "description" else f"{name}: {value}"))
    out.print(escape(f"as it is since version {since.version}, {origin(since)}"))
    out.print()
    typer.echo(found["sql"])


def history(
    segment: Annotated[str | None, typer.Argument(help="Only versions that changed this segment, and how.")] = None,
    bootstrap_servers: Servers = None,
    as_json: AsJson = False,
) -> None:
    """List every version that was ever put in force, the newest first: when, by whom, why, and what it changed."""
    from stream.cli.differences import as_data, print_segment, summary
    from stream.core.segments.difference import NOTHING, Difference, difference
    from stream.history import book_in

    past = read(bootstrap_servers)
    entries: list[tuple[AppliedBook, Difference]] = []
    before = NOTHING
    for applied in past.versions:
        book = book_in(applied)
        found = difference(before, book).only(segment)
        if segment is None or found.segments or found.follow:
            entries.append((applied, found))
        before = book
    if as_json:
        print_json([{**head(applied), **as_data(found)} for applied, found in reversed(entries)])
    elif not past.versions:
        out.print("no book has been applied yet")
    elif not entries:
        fail(f"no version has a segment {segment!r}")
    for applied, found in () if as_json else reversed(entries):
        in_force = "  [green]in force[/]" if applied is past.newest else ""
        out.print(f"[bold]{applied.version}[/]  {escape(origin(applied))}{in_force}")
        if segment is None:
            for line in summary(found):
                out.print(escape(f"    {line}"))
        for each in found.segments if segment is not None else ():
            print_segment(each, "    ")
        for asked in found.follow.values() if segment is not None else ():
            out.print(escape(f"    ~ {segment}: the same, but it asks for {asked}"), style="yellow")


def origin(applied: AppliedBook) -> str:
    """When a version was applied, by whom, and why."""
    by = f" by {applied.author}" if applied.author else ""
    why = f": {applied.comment}" if applied.comment else ""
    return f"applied {applied.applied_at:%Y-%m-%dT%H:%M:%SZ}{by}{why}"


def head(applied: AppliedBook) -> dict[str, Any]:
    """All about a version but the book, for JSON."""
    return applied.model_dump(mode="json", exclude={"book", "text"}, exclude_none=True)


def read(bootstrap_servers: str | None) -> History:
    """The history on the broker; ends the command where none can be read."""
    from schemas import topics
    from stream.cli.broker import broker_errors, reach
    from stream.history import read_history

    made = settings(kafka_bootstrap_servers=bootstrap_servers)
    reach(made, [topics.DEFINITIONS])
    with broker_errors(made.kafka_bootstrap_servers):
        found = asyncio.run(read_history(made))
    if found.unreadable:
        places = ", ".join(map(str, found.unreadable))
        topic = topics.name(topics.DEFINITIONS, made.topic_prefix)
        err.print(escape(f"warning: passed over what is no book in topic {topic}, at offset {places}"))
    return found


def chosen(past: History, version: str | None) -> AppliedBook:
    """The version that is meant, the one in force if none is said; ends the command where there is none."""
    from stream.history import NoSuchVersion

    if past.newest is None:
        fail("no book has been applied yet: `livesegments segments apply` does it")
    if version is None:
        return past.newest
    try:
        return past.find(version)
    except NoSuchVersion as error:
        fail(str(error), USAGE)


def print_json(data: Any) -> None:
    """Data for programs."""
    typer.echo(json.dumps(data, ensure_ascii=False, indent=2))
