"""``livesegments destinations status | pause | resume``: how destinations stand, and standing still by order."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.markup import escape

from stream.cli.console import err, out, settings
from stream.cli.declared import File, Name, declared, named
from stream.cli.options import AsJson, Servers
from stream.cli.versions import print_json

if TYPE_CHECKING:
    from connectors.destinations import Destinations
    from stream.deliveries import Document, Waiting
    from stream.orders import Standing
    from stream.settings import Settings

_COLOURS = {"active": "green", "waiting": "yellow", "no deliverer": "bold red"}
_WITHOUT_REDIS = (
    "without Redis (LIVESEGMENTS_REDIS_URL) the ledger of what was sent and the platforms' limits are in the memory of "
    "one deliverer: run no second one"
)

Reason = Annotated[str, typer.Option(help="Why; `destinations status` shows it.")]
Author = Annotated[str, typer.Option(help="Who says so.", envvar="USER")]


def register(app: typer.Typer) -> None:
    """Hang the commands on ``livesegments destinations``."""
    app.command("status")(status)
    app.command("pause")(pause)
    app.command("resume")(resume)


def status(
    name: Annotated[str | None, typer.Argument(help="One destination; without it, all of them.")] = None,
    destinations: File = None,
    bootstrap_servers: Servers = None,
    as_json: AsJson = False,
) -> None:
    """Show how each destination stands: its state and why, since when, what waits for it, and its last receipt.

    `active`: it is sent to. `broken`: too many attempts failed, it is probed. `paused`: the platform says that the
    destination itself is wrong, or somebody paused it; nothing is lost. `disabled`: the receiver said that it is gone
    for good; `destinations resume` begins again. `waiting`: for something of ours, such as Redis. Whether Redis answers
    is asked as well. Exit code 1 if a destination is not active.
    """
    made = settings(destinations=destinations, kafka_bootstrap_servers=bootstrap_servers)
    file = declared(made.destinations)
    if name is not None:
        named(file, name, made.destinations)
    found, silence = _look(made, file, [name] if name is not None else list(file.by_name))
    configured = made.redis_url is not None
    if as_json:
        answers = silence is None if configured else None
        print_json({"redis": configured, "redis_answers": answers, "redis_error": silence, "destinations": found})
    else:
        for each in found:
            _print(each)
        if not configured:
            err.print(escape(_WITHOUT_REDIS))
        elif silence is None:
            out.print("Redis answers")
        else:
            err.print(f"[bold red]Redis does not answer[/]: {escape(silence)}; deliveries wait for it, nothing is lost")
    if any(each["state"] != "active" for each in found):
        raise typer.Exit(1)


def _look(made: Settings, file: Destinations, names: list[str]) -> tuple[list[dict[str, Any]], str | None]:
    """What is shown of each, and why Redis does not answer: None where it does, or where there is none."""
    from schemas import topics
    from stream.cli.broker import broker_errors, reach
    from stream.cli.redis_answer import unanswered
    from stream.deliveries import last_receipts, waiting
    from stream.orders import Standing, standings

    needed = (topics.SEGMENT_CHANGES, topics.REDELIVERIES, topics.DELIVERIES, topics.DESTINATION_STATES)
    partitions = reach(made, needed)[topics.name(topics.SEGMENT_CHANGES, made.topic_prefix)]

    async def read() -> tuple[dict[str, Standing], dict[str, Waiting], dict[str, Document], str | None]:
        return (
            await standings(made, datetime.now(UTC)),
            await waiting(made, partitions, names),
            await last_receipts(made, partitions),
            None if made.redis_url is None else await unanswered(made.redis_url.get_secret_value()),
        )

    with broker_errors(made.kafka_bootstrap_servers):
        stands, waits, last, silence = asyncio.run(read())
    nobody = Standing(None, ())
    return [
        _described(name, file.by_name[name].platform, stands.get(name, nobody), waits[name], last.get(name))
        for name in names
    ], silence


def _described(
    name: str, platform: str, standing: Standing, waits: Waiting, receipt: Document | None
) -> dict[str, Any]:
    state = standing.now
    return {
        "destination": name,
        "platform": platform,
        "state": "no deliverer" if state is None else state.state,
        "reason": "" if state is None else state.reason,
        "by": None if state is None else state.by,
        "since": None if state is None else _iso(state.since),
        "replicas": [each.replica for each in standing.replicas],
        "waiting": waits.changes,
        "waiting_again": waits.redeliveries,
        "last_receipt": receipt,
    }


def _print(each: dict[str, Any]) -> None:
    colour = _COLOURS.get(each["state"], "red")
    since = f" since {each['since']}" if each["since"] else ""
    by = ", by order" if each["by"] == "operator" and each["state"] != "active" else ""
    reason = f": {each['reason']}" if each["reason"] else ""
    state = f"[{colour}]{each['state']}[/]{escape(since + by + reason)}"
    out.print(f"[bold]{each['destination']}[/] ({each['platform']})  {state}")
    waits = "nothing has been read yet" if each["waiting"] is None else f"{each['waiting']:,} changes wait"
    again = f", and {each['waiting_again']:,} to be sent again" if each["waiting_again"] else ""
    replicas = len(each["replicas"])
    out.print(f"  {waits}{again}; {replicas} deliverer{'' if replicas == 1 else 's'}")
    if (last := each["last_receipt"]) is None:
        out.print("  no receipt among the latest")
    else:
        out.print(
            escape(f"  last receipt: {last['status']} {last['at']}, {last['customer_id']} {last['segment']}".rstrip())
        )


def pause(
    name: Name,
    reason: Reason = "",
    author: Author = "",
    destinations: File = None,
    bootstrap_servers: Servers = None,
) -> None:
    """Let a destination stand still: nothing is sent to it until `destinations resume`, and nothing is lost.

    What is on its way is finished. Changes wait on Kafka, for as long as `segment-changes` is kept (30 days); of one
    customer and segment only the newest is sent afterwards, unless the destination has `coalesce: false`.
    """
    _order(name, "paused", reason, author, destinations, bootstrap_servers)
    out.print(f"{name} is paused by order; `livesegments destinations resume {name}` ends it")


def resume(
    name: Name,
    reason: Reason = "",
    author: Author = "",
    destinations: File = None,
    bootstrap_servers: Servers = None,
) -> None:
    """Let a destination go on that was paused by order, or that is disabled, from where it stopped.

    One that the platform itself paused (a key, a permission) goes on by itself, once a probe shows that it may.
    """
    _order(name, "active", reason, author, destinations, bootstrap_servers)
    out.print(f"{name} goes on from where it stopped")


def _order(
    name: str,
    state: Literal["active", "paused"],
    reason: str,
    author: str,
    destinations: Any,
    bootstrap_servers: str | None,
) -> None:
    from schemas import topics
    from stream.cli.broker import broker_errors, reach
    from stream.orders import order

    made = settings(destinations=destinations, kafka_bootstrap_servers=bootstrap_servers)
    named(declared(made.destinations), name, made.destinations)
    reach(made, [topics.DESTINATION_STATES])
    with broker_errors(made.kafka_bootstrap_servers):
        asyncio.run(order(made, name, state, _valid(reason), _valid(author)))


def _valid(text: str) -> str:
    """Words of the command line, in which a terminal that does not speak UTF-8 may leave half characters."""
    return text.encode("utf-8", "replace").decode()


def _iso(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
