"""The destinations that are declared, for the commands that are about them."""

from __future__ import annotations

import asyncio
import difflib
import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from stream.cli.console import USAGE, err, fail, warn
from stream.settings import Settings

if TYPE_CHECKING:
    from connectors.destinations import Destinations
    from connectors.options import Options
    from connectors.platforms import Connector

File = Annotated[
    Path | None,
    typer.Option("--destinations", help="Destinations file (YAML). [env: LIVESEGMENTS_DESTINATIONS]", dir_okay=False),
]
Name = Annotated[str, typer.Argument(help="The destination's name in destinations.yaml.")]


def declared(path: Path, code: int = USAGE) -> Destinations:
    """What a destinations file declares; ends the command with all its mistakes, each with its line."""
    from connectors.destinations import DestinationErrors, read

    try:
        return read(path)
    except DestinationErrors as error:
        err.print(escape("\n".join(f"error: {line}" for line in error.errors)))
        raise typer.Exit(code) from None
    except UnicodeDecodeError:
        fail(f"{path} is not UTF-8", USAGE)
    except OSError as error:
        fail(f"{path}: {error.strerror}; --destinations names another file", USAGE)


def named(destinations: Destinations, name: str, path: Path) -> Options:
    """One of them; ends the command where there is none of that name."""
    options = destinations.by_name.get(name)
    if options is None:
        near = ", ".join(difflib.get_close_matches(name, destinations.by_name, n=3))
        there = f"did you mean {near}?" if near else f"it has {', '.join(destinations.by_name) or 'none'}"
        fail(f"{path} has no destination {name!r}: {there}", USAGE)
    return options


def chosen(destinations: Destinations, names: Collection[str] | None, path: Path) -> Destinations:
    """Only those of these names, if there are any; ends the command with all names that it does not have."""
    from connectors.destinations import Destinations

    if not names:
        return destinations
    if unknown := [name for name in dict.fromkeys(names) if name not in destinations.by_name]:
        lacking = ", ".join(map(repr, unknown))
        fail(f"{path} has no destination {lacking}: it has {', '.join(destinations.by_name) or 'none'}", USAGE)
    return Destinations({name: options for name, options in destinations.by_name.items() if name in names})


def connected(name: str, options: Options, environ: Mapping[str, str] = os.environ) -> Connector:
    """Its conversation with the platform; ends the command where its secrets cannot be used."""
    from connectors.platforms import discover
    from connectors.secrets import SecretMissing
    from connectors.settings import DeliverySettings

    try:
        return discover()[options.platform].connect(options, environ, DeliverySettings({}).user_agent)
    except (SecretMissing, ValueError) as error:
        fail(f"destination {name}: {error}")


def unknown_segments(destinations: Destinations, known: Collection[str]) -> list[str]:
    """A line for each segment that a destination names and the book does not have."""
    lines = []
    for name, options in destinations.by_name.items():
        for segment in options.segments if options.segments != "all" else ():
            if segment not in known:
                near = difflib.get_close_matches(segment, known, n=1)
                hint = f": did you mean {near[0]}?" if near else ""
                lines.append(f"destination {name}: no segment {segment!r} is in the book, so nothing is sent{hint}")
    return lines


def warn_of_unknown_segments(settings: Settings, destinations: Destinations) -> list[str]:
    """Compare with the book in force; gives what it warned of. Goes on where there is none, or none can be read."""
    from aiokafka.errors import KafkaError

    from stream.history import book_in, read_history

    lines: list[str] = []
    if destinations.segments():
        try:
            newest = asyncio.run(read_history(settings)).newest
        except KafkaError as error:
            lines = [f"the destinations' segments could not be compared with the book in force: {type(error).__name__}"]
        else:
            if newest is None:
                lines = ["no book of segments is in force yet: `livesegments segments apply` does it"]
            else:
                lines = unknown_segments(destinations, book_in(newest)["segments"])
    for line in lines:
        warn(line)
    return lines
