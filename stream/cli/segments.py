"""``livesegments segments check`` and ``apply``: definitions before they are in force, and putting them there."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from stream.cli import backtest, cases, diff, versions
from stream.cli.console import err, fail, out, settings, text_of
from stream.cli.options import SegmentsFile, Servers

if TYPE_CHECKING:
    from stream.core.segments import DefinitionError
    from stream.core.segments.cost import Cost

#: So many are named one by one.
_MOST = 3


def register(app: typer.Typer) -> None:
    """Hang the commands on ``livesegments segments``."""
    app.command("check")(check)
    app.command("apply")(apply)
    diff.register(app)
    versions.register(app)
    backtest.register(app)
    cases.register(app)


def check(
    file: SegmentsFile,
    strict: Annotated[bool, typer.Option("--strict", help="Take warnings for mistakes: exit with 1.")] = False,
) -> None:
    """Check a segments file: every mistake with its place, the reason, and what to write instead.

    Behind each segment stands what it makes the workers remember of every customer. Warnings are what you may not have
    meant, such as a segment that nobody can ever leave. Needs no broker. Exit code 0: it can be applied; 1: it cannot;
    2: the file or a setting cannot be read.
    """
    from stream.core.segments import DefinitionErrors
    from stream.core.segments.cost import costs
    from stream.definitions import checked

    text = text_of(file)
    try:
        book, warnings = checked(settings(), text)
    except DefinitionErrors as errors:
        err.print(escape(str(errors)))
        raise typer.Exit(1) from None
    remembered = costs(book)
    widest = max((len(segment.name) for segment in book.segments), default=0)
    for segment in book.segments:
        out.print(escape(f"ok  {segment.name:<{widest}}  {_remembers(remembered[segment.name])}".rstrip()))
    out.print(f"{len(book.segments)} segment{'' if len(book.segments) == 1 else 's'}, version {book.version}")
    if book.memories:
        together = _sizes([each for some in remembered.values() for each in some])
        out.print(escape(f"together they remember {together}"))
    _warn(warnings)
    if warnings and strict:
        raise typer.Exit(1)


def apply(
    file: SegmentsFile,
    bootstrap_servers: Servers = None,
    author: Annotated[str, typer.Option(help="Who puts it in force.", envvar="USER")] = "",
    comment: Annotated[str, typer.Option(help="Why; `segments history` shows it.")] = "",
) -> None:
    """Put a segments file in force: written into every partition of the log, where it takes effect in its place.

    Customers whom it moves get a change with the cause `definition`, within moments and without stopping the stream;
    those of a segment that is no longer in the file leave it. The same file applied twice changes nothing. A command
    that was interrupted is finished by giving it again. `segments diff FILE` shows first what would change.
    """
    put_in_force(file, bootstrap_servers, author, comment)


def put_in_force(file: Path, bootstrap_servers: str | None, author: str, comment: str) -> None:
    """What ``segments apply`` and ``worker --segments`` do."""
    from schemas import topics
    from stream.cli.broker import broker_errors, reach
    from stream.core.segments import DefinitionErrors
    from stream.definitions import BookTooLarge, apply_definitions

    made = settings(kafka_bootstrap_servers=bootstrap_servers)
    book = text_of(file)
    reach(made, [topics.EVENTS, topics.DEFINITIONS])
    with broker_errors(made.kafka_bootstrap_servers):
        try:
            applied = asyncio.run(apply_definitions(made, book, _valid(author), _valid(comment)))
        except DefinitionErrors as errors:
            err.print(escape(str(errors)))
            raise typer.Exit(1) from None
        except BookTooLarge as error:
            fail(str(error))
    _warn(applied.warnings)
    if applied.already:
        assert applied.before is not None
        out.print(
            escape(f"nothing changes: version {applied.version} is in force already, {versions.origin(applied.before)}")
        )
        return
    replaced = f", in place of {applied.before.version}" if applied.before else ""
    out.print(f"version {applied.version} written to {applied.partitions} partitions{replaced}")


def _remembers(costs: Sequence[Cost]) -> str:
    """What one segment remembers, and with whom it shares some of it."""
    if not costs:
        return ""
    others = sorted({name for cost in costs for name in cost.shared})
    shared = ", ".join(others) if len(others) <= _MOST else f"{len(others)} others"
    return f"remembers {_sizes(costs)}" + (f" (shared with {shared})" if shared else "")


def _sizes(costs: Sequence[Cost]) -> str:
    """The bytes of all of them, each memory once."""
    memories = list({cost.key: replace(cost, shared=()) for cost in costs}.values())
    fixed = sum(cost.fixed for cost in memories)
    growing = list(dict.fromkeys(str(cost) for cost in memories if cost.per_event))
    parts = [f"at most {fixed} bytes a customer"] if fixed else []
    parts += growing if len(growing) <= _MOST else [f"{len(growing)} lists that grow with the customer's events"]
    return " and ".join(parts)


def _warn(warnings: Iterable[DefinitionError]) -> None:
    for warning in warnings:
        err.print(f"[yellow]warning:[/] {escape(str(warning))}")


def _valid(text: str) -> str:
    """Words of the command line, in which a terminal that does not speak UTF-8 may leave half characters."""
    return text.encode("utf-8", "replace").decode()
