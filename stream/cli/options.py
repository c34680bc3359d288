"""Arguments and options that several commands have in common."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Servers = Annotated[
    str | None,
    typer.Option("--bootstrap-servers", help="Brokers, host:port. [env: LIVESEGMENTS_KAFKA_BOOTSTRAP_SERVERS]"),
]
SegmentsFile = Annotated[Path, typer.Argument(help="The segments file (YAML).", exists=True, dir_okay=False)]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
