"""``livesegments destinations check``: a destinations file before it is used, and its credentials at the platforms."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer
from rich.markup import escape

from stream.cli.console import err, fail, out, settings, text_of, warn
from stream.cli.declared import declared, unknown_segments, warn_of_unknown_segments
from stream.cli.options import Servers

if TYPE_CHECKING:
    from connectors.destinations import Destinations
    from connectors.exchange import Request
    from connectors.options import Options
    from connectors.platforms import Connector
    from connectors.results import Result

_COLOURS = {"ok": "green", "not asked": "yellow"}


class Answered(NamedTuple):
    """What came of asking a destination: a word, and what there is to say about it."""

    word: str
    detail: str = ""

    @property
    def good(self) -> bool:
        return self.word in _COLOURS


def register(app: typer.Typer) -> None:
    """Hang the command on ``livesegments destinations``."""
    app.command("check")(check)


def check(
    file: Annotated[
        Path | None,
        typer.Argument(help="Destinations file (YAML). [env: LIVESEGMENTS_DESTINATIONS]", dir_okay=False),
    ] = None,
    segments: Annotated[
        Path | None, typer.Option(help="Compare with the segments of this file (YAML).", exists=True, dir_okay=False)
    ] = None,
    in_force: Annotated[bool, typer.Option("--in-force", help="Compare with the segments in force, on Kafka.")] = False,
    live: Annotated[
        bool, typer.Option("--live", help="Ask each platform whether it takes the credentials; sends no customer.")
    ] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Take warnings for mistakes: exit with 1.")] = False,
    bootstrap_servers: Servers = None,
) -> None:
    """Check a destinations file: every mistake with its line, and no value of it, since that may be a secret.

    Warnings are secrets that are not set here, and with `--segments` or `--in-force` segments that no book has.
    `--live` logs in at each platform and makes its cheapest request, through all that guards a delivery. Exit code 0:
    it can be used; 1: it cannot, or a platform refused or did not answer; 2: the file or a setting cannot be read.
    """
    from connectors.platforms import discover
    from connectors.secrets import SecretMissing
    from connectors.settings import DeliverySettings

    made = settings(destinations=file, kafka_bootstrap_servers=bootstrap_servers)
    destinations = declared(made.destinations, code=1)
    agent = DeliverySettings({}).user_agent
    connectors: dict[str, Connector] = {}
    missing: list[str] = []
    wrong: dict[str, str] = {}
    for name, options in destinations.by_name.items():
        try:
            connectors[name] = discover()[options.platform].connect(options, os.environ, agent)
        except SecretMissing as error:
            if live:
                wrong[name] = str(error)
            else:
                missing.append(f"destination {name}: {error}")
        except ValueError as error:
            wrong[name] = str(error)
    warnings = [*missing, *_unknown(destinations, segments)]
    for name, reason in wrong.items():
        err.print(f"[bold red]error:[/] {escape(f'destination {name}: {reason}')}")
    for line in warnings:
        warn(line)
    if in_force:
        from schemas import topics
        from stream.cli.broker import reach

        reach(made, [topics.DEFINITIONS])
        warnings += warn_of_unknown_segments(made, destinations)
    answers: Mapping[str, Answered] = {}
    if live:
        answers = asyncio.run(_ask({name: (destinations.by_name[name], each) for name, each in connectors.items()}))
    _print(destinations, connectors, wrong, answers)
    if wrong or (strict and warnings) or not all(answer.good for answer in answers.values()):
        raise typer.Exit(1)


def _unknown(destinations: Destinations, segments: Path | None) -> list[str]:
    if segments is None:
        return []
    from stream.core.segments import DefinitionErrors, load_book

    try:
        book = load_book(text_of(segments))
    except DefinitionErrors as errors:
        fail(str(errors))
    return unknown_segments(destinations, book.segments)


def _print(
    destinations: Destinations,
    connectors: Mapping[str, Connector],
    wrong: Collection[str],
    answers: Mapping[str, Answered],
) -> None:
    widest = max(map(len, destinations.by_name), default=0)
    for name, options in destinations.by_name.items():
        if name in wrong:
            continue
        answer = answers.get(name) or Answered("ok")
        wanted = "all segments" if options.segments == "all" else _count(len(options.segments), "segment")
        endpoint = f", {connectors[name].endpoint}" if name in connectors else ""
        words = f"{name:<{widest}}  {options.platform}, {wanted}{endpoint}"
        colour = _COLOURS.get(answer.word, "bold red")
        detail = f": {answer.detail}" if answer.detail else ""
        out.print(f"[{colour}]{answer.word}[/]  {escape(words + detail)}")
    out.print(_count(len(destinations.by_name), "destination"))


def _count(count: int, thing: str) -> str:
    return f"{count} {thing}{'' if count == 1 else 's'}"


async def _ask(destinations: Mapping[str, tuple[Options, Connector]]) -> dict[str, Answered]:
    """Ask all of them at once."""
    answers = await asyncio.gather(*(ask(*each) for each in destinations.values()))
    return dict(zip(destinations, answers, strict=True))


async def ask(options: Options, connector: Connector) -> Answered:
    """Log in as a delivery would, and make the platform's cheapest request that needs it."""
    from connectors.answers import judge
    from connectors.conversation import converse
    from connectors.exchange import AddressRefused, Unreachable
    from connectors.results import Outcome
    from connectors.sender import Sender

    async with Sender(options) as sender:
        steps = connector.prepare(time.time())
        if steps is not None:
            (prepared,) = await converse(steps, sender.send, 1)
            if prepared.outcome is not Outcome.DELIVERED:
                return _said(prepared, connector)
        request: Request | None = connector.ping(time.time())
        if request is None:
            return Answered("not asked", "the platform has no request for that")
        try:
            answer = await sender.send(request)
        except Unreachable as failure:
            return _said(judge(request, failure, time.time()), connector)
        except AddressRefused as refusal:
            return Answered("refused", f"by us: {refusal}; allow_private_addresses permits it")
    result = judge(request, answer, time.time())
    return Answered("ok") if result.outcome is Outcome.DELIVERED else _said(result, connector)


def _said(result: Result, connector: Connector) -> Answered:
    """An answer that is not good; without secrets, since platforms quote what they were sent."""
    from connectors.sender import REASONS
    from stream.rehearsal import hide

    if result.status is None and result.reason in REASONS:
        return Answered("unreachable", REASONS[result.reason])
    if result.reason == "address_refused":
        return Answered("refused", "by us: its address is not public, or it is not https")
    excerpt = " ".join(hide(result.excerpt, connector.hidden).split())
    return Answered("refused", f"{hide(result.reason, connector.hidden)} {excerpt}".strip())
