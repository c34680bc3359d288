"""What the commands share: the consoles, clear ends, and the settings."""

from __future__ import annotations

import errno
import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import typer
from pydantic import ValidationError
from pydantic_settings import SettingsError
from rich.console import Console
from rich.markup import escape

from stream.settings import FILE_VARIABLE, Settings, SettingsUnusable, unknown_variables

#: Answers go to standard output, everything else to standard error.
out = Console(highlight=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, soft_wrap=True)

_ADDRESS_ERRORS = (errno.EADDRINUSE, errno.EADDRNOTAVAIL, errno.EACCES)

#: Wrong usage or input; what ``sysexits.h`` and argument parsers use.
USAGE = 2


def fail(message: str, code: int = 1) -> NoReturn:
    """Say what is wrong in plain words, and end."""
    err.print(f"[bold red]error:[/] {escape(message)}")
    raise typer.Exit(code)


def settings(**given: Any) -> Settings:
    """The settings; options that were given (not None) win. Ends with a message where they are not valid."""
    try:
        made = Settings(**{name: value for name, value in given.items() if value is not None})
    except ValidationError as error:
        # The input is left out: it may be a secret.
        errors = error.errors(include_input=False, include_url=False)
        lines = [
            f"{'.'.join(map(str, each['loc'])) or 'settings'}: {each['msg'].removeprefix('Value error, ')}"
            for each in errors
        ]
    except (SettingsError, SettingsUnusable) as error:
        lines = [str(error)]
    else:
        warn_of_strays()
        return made
    where = f"LIVESEGMENTS_… or the file in {FILE_VARIABLE}"
    fail(f"the settings are not valid ({where}):\n  " + "\n  ".join(lines), USAGE)


def warn(message: str) -> None:
    """Say what may not be meant, and go on."""
    err.print(f"[yellow]warning:[/] {escape(message)}")


def warn_of_strays() -> None:
    """Name variables that set nothing: misspelt, one would leave a default in force that nobody wants."""
    for name, near in unknown_variables(os.environ):
        hint = f"did you mean {near}?" if near else "`livesegments settings` lists all that are"
        warn(f"the environment variable {name} is no setting and has no effect: {hint}")


def text_of(file: Path) -> str:
    """What stands in a file of definitions. Ends with a message where that is no text."""
    try:
        return file.read_text("utf-8")
    except UnicodeDecodeError:
        fail(f"{file} is not UTF-8", USAGE)
    except OSError as error:
        fail(f"{file}: {error.strerror}", USAGE)


@contextmanager
def serving_metrics(settings: Settings) -> Iterator[None]:
    """Turns what an address that Prometheus cannot be served at raises into one plain line."""
    try:
        yield
    except OSError as error:
        if error.errno not in _ADDRESS_ERRORS and not isinstance(error, socket.gaierror):
            raise
        where = f"{settings.metrics_host}:{settings.metrics_port}"
        fail(f"the metrics cannot be served at {where}: {error.strerror}; see --metrics-port", USAGE)


def log_to_stderr(level: str) -> None:
    """Plain lines with time and level. Kafka clients speak from WARNING on; they repeat themselves below."""
    logging.basicConfig(level=level, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    # The classes of the last three are Faust services, and Faust tells of each that it starts and stops.
    services = ("stream.engine.transport", "stream.engine.tables", "stream.engine.faust_app")
    for noisy in ("aiokafka", "faust", "mode", "httpx", "kafka", *services):
        logging.getLogger(noisy).setLevel(max(logging.WARNING, logging.getLevelName(level)))
