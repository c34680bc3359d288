"""The command line of what makes files from code: it writes them, or with ``--check`` says what differs."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path


def command(
    arguments: Sequence[str] | None,
    folder: Path,
    write: Callable[[Path], None],
    drift: Callable[[Path], Sequence[str]],
    *,
    prog: str,
    description: str,
    again: str,
) -> int:
    """Write into ``folder``, or say each line of ``drift`` and that ``again`` mends it. Gives the exit status."""
    parser = argparse.ArgumentParser(prog=prog, description=description)
    parser.add_argument("--check", action="store_true", help="compare instead of writing")
    if not parser.parse_args(arguments).check:
        write(folder)
        return 0
    lines = drift(folder)
    for line in lines:
        sys.stderr.write(f"{folder}: {line}\n")
    if lines:
        sys.stderr.write(f"Run `{again}` and commit what it writes.\n")
    return 1 if lines else 0
