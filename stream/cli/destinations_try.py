"""``livesegments destinations try``: what a destination would be sent, without sending it."""

from __future__ import annotations

import json
import shlex
import time
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from stream.cli.console import USAGE, fail, out, settings, text_of
from stream.cli.declared import File, Name, connected, declared, named
from stream.cli.options import AsJson
from stream.cli.versions import print_json

if TYPE_CHECKING:
    from stream.rehearsal import Rehearsal


class Action(StrEnum):
    """What the change says."""

    entered = "entered"
    exited = "exited"


def register(app: typer.Typer) -> None:
    """Hang the command on ``livesegments destinations``."""
    app.command("try")(attempt)


def attempt(
    name: Name,
    segment: Annotated[
        str | None, typer.Option(help="The segment; the first that the destination names, if left out.")
    ] = None,
    action: Annotated[Action, typer.Option(help="Whether a customer entered or exited it.")] = Action.entered,
    customer: Annotated[
        Path | None,
        typer.Option(
            "--customer-file",
            help="A change to show (JSON), or some fields of one, such as customer_id and profile.",
            exists=True,
            dir_okay=False,
        ),
    ] = None,
    curl: Annotated[bool, typer.Option("--curl", help="Print the requests as curl commands.")] = False,
    as_json: AsJson = False,
    destinations: File = None,
) -> None:
    """Show the exact requests that a destination would be sent for one change. Nothing is sent.

    All steps are shown, the fetching of an access token included, as they go when the platform takes everything; what
    is secret stands as asterisks. Without `--customer-file` the customer is made up, with all that the destination asks
    for. Secrets have to be set, if only to something of the right form. Exit code 1: the change would be refused.
    """
    from connectors.results import Outcome
    from stream.rehearsal import NotRehearsed, rehearse, sample, shown

    made = settings(destinations=destinations)
    options = named(declared(made.destinations), name, made.destinations)
    connector = connected(name, options)
    try:
        change = sample(options, segment, action.value, _given(customer))
        rehearsal = rehearse(connector, change, time.time())
    except NotRehearsed as error:
        fail(str(error), USAGE)
    requests = [shown(request, connector) for request in rehearsal.requests]
    if as_json:
        print_json({"change": change.document, "requests": requests, "outcome": rehearsal.result.outcome.value})
    else:
        for number, request in enumerate(requests, 1):
            if number > 1:
                out.print()
            _print(number, request, curl)
        _tell_end(rehearsal)
    if rehearsal.result.outcome is not Outcome.DELIVERED:
        raise typer.Exit(1)


def _given(file: Path | None) -> dict[str, Any] | None:
    if file is None:
        return None
    try:
        content = json.loads(text_of(file))
    except ValueError as error:
        fail(f"{file} is not JSON: {error}", USAGE)
    if not isinstance(content, dict):
        fail(f"{file} holds no JSON object", USAGE)
    return content


def _print(number: int, request: dict[str, Any], curl: bool) -> None:
    if curl:
        words = ["curl", "--request", request["method"], request["url"]]
        words += [word for name, value in request["headers"].items() for word in ("--header", f"{name}: {value}")]
        words += ["--data-binary", request["body"]] if request["body"] else []
        typer.echo(shlex.join(words))
        return
    out.print(f"[bold]{number}. {escape(request['method'])} {escape(request['url'])}[/]")
    if request["after_seconds"]:
        out.print(f"   {request['after_seconds']:g} s after the answer before it")
    for name, value in request["headers"].items():
        out.print(escape(f"   {name}: {value}"))
    if request["body"]:
        out.print()
        out.print(escape(f"   {request['body']}"))


def _tell_end(rehearsal: Rehearsal) -> None:
    from connectors.results import Outcome

    result = rehearsal.result
    if result.outcome is Outcome.DELIVERED:
        return
    if not rehearsal.requests:
        fail(f"nothing would be sent: the change is refused, {result.reason}")
    fail(f"the change would end as {result.outcome.value}: {result.reason}")
