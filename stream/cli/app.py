"""All commands by name; each imports what it needs when it runs, so that ``--help`` answers at once."""

from __future__ import annotations

import asyncio
import enum
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from stream.cli import deliveries as deliveries_commands
from stream.cli import destinations as destinations_commands
from stream.cli import explain as explain_command
from stream.cli import segments as segments_commands
from stream.cli.console import (
    USAGE,
    err,
    fail,
    log_to_stderr,
    out,
    serving_metrics,
    settings,
    text_of,
    warn_of_strays,
)
from stream.cli.declared import File as DestinationsFile
from stream.cli.declared import chosen, declared, warn_of_unknown_segments
from stream.cli.options import Servers

app = typer.Typer(
    name="livesegments",
    help="Customer segments that change the moment the customer does.\n\n"
    "Producers publish events to Kafka; `worker` keeps every customer's segments live and writes each change to "
    "`segment-changes`; `deliver` sends the changes to e-mail platforms and webhooks. Try `livesegments demo` first: "
    "it needs no Kafka.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)
topics_app = typer.Typer(no_args_is_help=True, help="The topics on Kafka.")
segments_app = typer.Typer(
    no_args_is_help=True, help="Segment definitions: check them, put them in force, see what is and was in force."
)
destinations_app = typer.Typer(
    no_args_is_help=True, help="Where segment changes go: check it, try it, see how it is, stop it, fill it."
)
deliveries_app = typer.Typer(
    no_args_is_help=True, help="What became of changes at the destinations; and sending again what was given up."
)
app.add_typer(topics_app, name="topics")
app.add_typer(segments_app, name="segments")
app.add_typer(destinations_app, name="destinations")
app.add_typer(deliveries_app, name="deliveries")
segments_commands.register(segments_app)
destinations_commands.register(destinations_app)
deliveries_commands.register(deliveries_app)


class Format(enum.StrEnum):
    """File formats that `replay` and `demo` read."""

    events_jsonl = "events-jsonl"
    rees46 = "rees46"


@app.command()
def worker(
    bootstrap_servers: Servers = None,
    segments: Annotated[
        Path | None,
        typer.Option(
            help="Put this segments file in force first, as `segments apply` does.", exists=True, dir_okay=False
        ),
    ] = None,
    metrics_port: Annotated[int | None, typer.Option(help="Port of Prometheus; 0 for none.")] = None,
) -> None:
    """Run the main job: events in, segment changes out.

    Holds the partitions that its consumer group gives it; start as many workers as you like, up to the number of
    partitions. SIGTERM writes the last checkpoint and leaves the group. Exit code 70 means: something that must not
    be was found, and the process ended before it could do harm; start it again.
    """
    made = settings(kafka_bootstrap_servers=bootstrap_servers, metrics_port=metrics_port)
    log_to_stderr(made.log_level)
    if segments is not None:
        segments_commands.put_in_force(segments, bootstrap_servers, "", "applied by a worker at its start")
    from schemas import topics
    from stream.cli.broker import broker_errors, reach, same_partitions
    from stream.worker import run_worker

    same_partitions(made, reach(made, topics.TOPICS))
    with broker_errors(made.kafka_bootstrap_servers), serving_metrics(made):
        run_worker(made)


@app.command()
def deliver(
    bootstrap_servers: Servers = None,
    destinations: DestinationsFile = None,
    destination: Annotated[
        list[str] | None,
        typer.Option(help="Only this one of those that the file declares; may be given several times.", metavar="NAME"),
    ] = None,
    metrics_port: Annotated[int | None, typer.Option(help="Port of Prometheus; 0 for none.")] = None,
) -> None:
    """Send segment changes to the destinations, in order per customer, until each has arrived.

    Each destination has a process of its own: one that is down, or that fails, delays only itself. One that answers
    401, 403 or 404 is paused, loses nothing and goes on by itself when it answers otherwise; one that answers 410 is
    disabled until `destinations resume`. Several deliverers share their work, and need Redis (LIVESEGMENTS_REDIS_URL).
    `destinations status` shows how all stand.
    """
    made = settings(kafka_bootstrap_servers=bootstrap_servers, destinations=destinations, metrics_port=metrics_port)
    log_to_stderr(made.log_level)
    from connectors.delivery import DestinationsUnusable
    from schemas import topics
    from stream.cli.broker import broker_errors, reach
    from stream.deliverer import run_deliverer

    wanted = chosen(declared(made.destinations), destination, made.destinations)
    of_delivery = (topics.SEGMENT_CHANGES, topics.DEAD_LETTERS, topics.DELIVERIES, topics.REDELIVERIES)
    found = reach(made, (*of_delivery, topics.DESTINATION_STATES))
    if topics.name(topics.DEFINITIONS, made.topic_prefix) in found:  # else nobody has applied a book, or not to be seen
        warn_of_unknown_segments(made, wanted)
    with broker_errors(made.kafka_bootstrap_servers), serving_metrics(made):
        try:
            code = run_deliverer(made, wanted)
        except DestinationsUnusable as error:
            fail(str(error), USAGE)
    raise typer.Exit(code)


@topics_app.command("create")
def topics_create(
    bootstrap_servers: Servers = None,
    partitions: Annotated[
        int | None, typer.Option(help="Partitions of every topic. Choose once: it cannot change.")
    ] = None,
    replication_factor: Annotated[int | None, typer.Option(help="Replicas of every partition.")] = None,
) -> None:
    """Create the topics that are missing; what is there is left as it is."""
    from stream.cli.broker import broker_errors, reach
    from stream.topics import TopicsDiffer, create_topics

    made = settings(
        kafka_bootstrap_servers=bootstrap_servers, partitions=partitions, replication_factor=replication_factor
    )
    reach(made)
    with broker_errors(made.kafka_bootstrap_servers):
        try:
            for topic in asyncio.run(create_topics(made)):
                count = f"{topic.partitions} partition{'' if topic.partitions == 1 else 's'}"
                out.print(f"{'created' if topic.created else 'exists '}  {topic.name}  {count}")
        except TopicsDiffer as error:
            fail(str(error))


explain_command.register(app)


@app.command()
def replay(
    file: Annotated[Path, typer.Argument(help="Events to read.", exists=True, dir_okay=False)],
    segments: Annotated[Path, typer.Option(help="The segments file (YAML).", exists=True, dir_okay=False)],
    changes: Annotated[
        Path, typer.Option("--out", help="Write every change here, a line of JSON each.", dir_okay=False)
    ],
    report: Annotated[Path, typer.Option(help="Write the accounting here, as JSON.", dir_okay=False)],
    form: Annotated[Format, typer.Option("--format", help="What the file holds.")] = Format.events_jsonl,
    until: Annotated[
        str | None, typer.Option(help="Let time pass to this instant (ISO 8601) after the last line.")
    ] = None,
) -> None:
    """Run the same core over a file, in this process, with no Kafka: for backtests and your own checks.

    events-jsonl: each line is one event; its optional `received_at` is its log time, else the event's own timestamp,
    and log time never goes back. rees46: the CSV files of the REES46 open shop logs. Files may be packed (.gz, .zst).
    """
    from stream.core.segments import DefinitionErrors
    from stream.core.time import parse_iso
    from stream.replay import replay_file
    from stream.sources import SourceError

    made = settings()
    try:
        end = None if until is None else parse_iso(until)
    except ValueError:
        fail(f"--until {until!r} is no ISO 8601 instant, such as 2026-03-02T12:00:00Z", USAGE)
    try:
        summary = replay_file(file, form.value, text_of(segments), changes, report, end, made.core())
    except DefinitionErrors as errors:
        err.print(escape(str(errors)))
        raise typer.Exit(1) from None
    except SourceError as error:
        fail(str(error))
    except OSError as error:
        fail(f"{error.filename}: {error.strerror}")
    for name, value in summary.items():
        out.print(f"{name}: {value}")


@app.command()
def demo(
    seed: Annotated[int, typer.Option(help="Seed of the shop day.")] = 2026,
    replay_of: Annotated[
        Path | None,
        typer.Option("--replay", help="Real events instead of the made-up day.", exists=True, dir_okay=False),
    ] = None,
    form: Annotated[Format, typer.Option("--format", help="What that file holds.")] = Format.rees46,
    kill: Annotated[bool, typer.Option("--kill", help="kill -9 the worker in mid-stream, and start it again.")] = False,
    segments: Annotated[
        Path | None, typer.Option(help="Another segments file than the demo's own.", exists=True, dir_okay=False)
    ] = None,
) -> None:
    """See it work: a shop's day in time-lapse through a real broker, the worker, and a webhook that checks everything.

    Needs nothing but this package with its extra `demo`. Ends by itself, with a summary; exits 0 only if every event
    is accounted for, every change arrived exactly once, and the result is what the in-process interpreter says.
    """
    from stream.demo.run import DemoOptions, run

    raise typer.Exit(
        asyncio.run(run(DemoOptions(seed=seed, replay=replay_of, format=form.value, kill=kill, segments=segments)))
    )


@app.command("settings")
def show_settings() -> None:
    """List every setting: its environment variable, its default, and what it is for."""
    from stream.settings import Settings

    warn_of_strays()
    for name, field in Settings.model_fields.items():
        default = "" if field.default is None else f" (default {field.default})"
        out.print(f"[bold]LIVESEGMENTS_{name.upper()}[/]{escape(default)}\n    {escape(field.description or '')}")


def main() -> None:
    """Entry point of the console command."""
    app()
