"""``livesegments segments backtest``: what a segments file would have done with the past, and what it would cost."""

from __future__ import annotations

import asyncio
import enum
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from stream.cli.console import USAGE, err, fail, settings, text_of
from stream.cli.options import AsJson, SegmentsFile, Servers
from stream.cli.versions import print_json

if TYPE_CHECKING:
    from stream.backtest.run import Backtest
    from stream.sources import Columns, Format, Tell


class EventsFormat(enum.StrEnum):
    """What `--events` names."""

    events_jsonl = "events-jsonl"
    csv = "csv"
    parquet = "parquet"
    rees46 = "rees46"


Events = Annotated[
    Path | None,
    typer.Option(help="Events to read: a file, or a folder of Parquet files. [.gz and .zst too]", exists=True),
]
FromLog = Annotated[
    str | None, typer.Option(metavar="INSTANT", help="Read the events topic instead, from this instant on (ISO 8601).")
]
Form = Annotated[
    EventsFormat | None, typer.Option("--format", help="What the file holds; its name says it, if this is left out.")
]
Until = Annotated[
    str | None,
    typer.Option(
        metavar="INSTANT", help="Up to this instant (ISO 8601): later events are left out, time passes to it."
    ),
]
Only = Annotated[
    list[str] | None, typer.Option("--segment", metavar="NAME", help="Tell of this segment only; several are possible.")
]
Named = Annotated[
    list[str] | None,
    typer.Option("--column", metavar="FIELD=COLUMN", help="In tables: the column that holds a field of events."),
]
Kind = Annotated[str | None, typer.Option(help="In tables: the type of events that state none.")]
Times = Annotated[int, typer.Option(min=2, help="Flapping is: entering a segment so often …")]
Hours = Annotated[float, typer.Option(min=0.01, help="… within so many hours.")]
Plot = Annotated[bool, typer.Option("--plot", help="Draw each segment's size over time.")]
Png = Annotated[
    Path | None,
    typer.Option(
        help="Write the sizes, entries and exits over time into this picture. Needs matplotlib.", dir_okay=False
    ),
]


def register(app: typer.Typer) -> None:
    """Hang the command on ``livesegments segments``."""
    app.command("backtest")(backtest)


def backtest(
    file: SegmentsFile,
    events: Events = None,
    from_log: FromLog = None,
    form: Form = None,
    until: Until = None,
    only: Only = None,
    named: Named = None,
    event_type: Kind = None,
    flapping_times: Times = 3,
    flapping_hours: Hours = 24.0,
    plot: Plot = False,
    png: Png = None,
    as_json: AsJson = False,
    bootstrap_servers: Servers = None,
) -> None:
    """Run a segments file over past events: who would have been in what, and what that would cost.

    The same core as the worker's, at full speed, in this process. Tells for each segment the entries and exits, the
    size over time, the customers who flap, and the other segments that its members are in at the same time; and for
    each platform the calls that the changes take, beside its limits. `--from-log` reads Kafka and writes nothing.
    """
    from stream.backtest.figures import figures
    from stream.backtest.plots import NoPlots, need_matplotlib, save_png
    from stream.backtest.run import Backtest, NothingToTest
    from stream.backtest.tally import Flapping
    from stream.cli.figures import print_figures
    from stream.core.segments import DefinitionErrors

    if (events is None) == (from_log is None):
        fail("say what to read: either --events FILE or --from-log INSTANT", USAGE)
    end = None if until is None else _instant("--until", until)
    if png is not None:
        try:
            need_matplotlib()
        except NoPlots as error:
            fail(str(error))
    made = settings(kafka_bootstrap_servers=bootstrap_servers)
    try:
        run = Backtest(text_of(file), made.core(), Flapping(flapping_times, round(flapping_hours * 3_600_000_000)))
    except DefinitionErrors as errors:
        err.print(escape(str(errors)))
        raise typer.Exit(1) from None
    unknown = [name for name in only or () if name not in run.book.by_name]
    if unknown:
        fail(f"{file} has no segment {unknown[0]!r}", USAGE)
    if events is not None:
        _read_file(run, events, form, _columns(named, event_type), end)
    else:
        assert from_log is not None
        _read_log(run, _instant("--from-log", from_log), end, bootstrap_servers)
    try:
        outcome = run.finish(end)
    except NothingToTest as error:
        fail(str(error))
    data = figures(outcome, only or None)
    if png is not None:
        try:
            save_png(png, data)
        except OSError as error:
            fail(f"{png}: {error.strerror}")
    if as_json:
        print_json(data)
    else:
        print_figures(data, Flapping(flapping_times, round(flapping_hours * 3_600_000_000)), plot)


def _read_file(run: Backtest, path: Path, form: EventsFormat | None, columns: Columns, until: int | None) -> None:
    from stream.sources import SourceError, format_of, read

    kind: Format | None = form.value if form else ("parquet" if path.is_dir() else format_of(path))
    if kind is None:
        fail(f"{path}: its name does not say what it holds: give --format", USAGE)
    with _progress(f"reading {path.name}") as tell:
        try:
            run.feed_file(read(path, kind, columns, tell), until)
        except SourceError as error:
            fail(str(error))


def _read_log(run: Backtest, since: int, until: int | None, bootstrap_servers: str | None) -> None:
    from schemas import topics
    from stream.backtest.log import feed_log
    from stream.cli.broker import broker_errors, reach

    made = settings(kafka_bootstrap_servers=bootstrap_servers)
    partitions = reach(made, [topics.EVENTS])[topics.name(topics.EVENTS, made.topic_prefix)]
    with broker_errors(made.kafka_bootstrap_servers), _progress("reading the log") as tell:
        asyncio.run(feed_log(run, made, partitions, since, until, tell))


def _columns(named: list[str] | None, event_type: str | None) -> Columns:
    from stream.sources import Columns

    pairs = [each.partition("=") for each in named or ()]
    for ours, _, theirs in pairs:
        if not ours or not theirs:
            fail("--column is FIELD=COLUMN, such as customer_id=CustomerID", USAGE)
    return Columns({ours: theirs for ours, _, theirs in pairs}, event_type)


def _instant(option: str, text: str) -> int:
    from stream.core.time import parse_iso

    try:
        return parse_iso(text)
    except ValueError:
        fail(f"{option} {text!r} is no ISO 8601 instant, such as 2026-03-02T12:00:00Z", USAGE)


@contextmanager
def _progress(what: str) -> Iterator[Tell]:
    """A bar on standard error while a person waits; it goes away at the end."""
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    columns: list[Any] = [TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn()]
    with Progress(*columns, console=err, transient=True, disable=not sys.stderr.isatty()) as progress:
        task = progress.add_task(what, total=1.0)
        yield lambda share: progress.update(task, completed=share)
