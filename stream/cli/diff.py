"""``livesegments segments diff``: what is different between two versions of the book, or between one and a file."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer
from rich.markup import escape

from stream.cli import versions
from stream.cli.console import err, out, text_of
from stream.cli.options import AsJson, Servers

if TYPE_CHECKING:
    from stream.core.segments.difference import WrittenBook

_HASH = re.compile(r"[0-9a-f]{4,16}", re.ASCII)


class _Side(NamedTuple):
    name: str
    book: WrittenBook


def register(app: typer.Typer) -> None:
    """Hang the command on ``livesegments segments``."""
    app.command("diff")(diff)


def diff(
    old: Annotated[str | None, typer.Argument(help="A version (its first digits will do), or a segments file.")] = None,
    new: Annotated[str | None, typer.Argument(help="Another, which it is compared with.")] = None,
    bootstrap_servers: Servers = None,
    as_json: AsJson = False,
    exit_code: Annotated[
        bool, typer.Option("--exit-code", help="Exit with 1 where something is different, for scripts.")
    ] = False,
) -> None:
    """Show what is different between two versions of the book, or between a version and a file.

    Without arguments: from the version before to the one in force. With one file: from what is in force to the file,
    which is what `segments apply` would change. With one version: from it to the one in force. With two of either, from
    the first to the second.
    """
    from stream.cli.differences import as_data, print_difference
    from stream.core.segments.difference import difference

    before, after = _sides(old, new, bootstrap_servers)
    found = difference(before.book, after.book)
    if as_json:
        versions.print_json({"from": before.name, "to": after.name, **as_data(found)})
    elif found:
        out.print(escape(f"from {before.name} to {after.name}"))
        print_difference(found)
    else:
        out.print(escape(f"nothing is different between {before.name} and {after.name}"))
    if exit_code and found:
        raise typer.Exit(1)


def _sides(old: str | None, new: str | None, bootstrap_servers: str | None) -> tuple[_Side, _Side]:
    from stream.core.segments.difference import NOTHING
    from stream.history import book_in

    if old is not None and new is not None and _is_file(old) and _is_file(new):
        return _file(old), _file(new)  # no broker is needed
    past = versions.read(bootstrap_servers)

    def version(word: str | None) -> _Side:
        applied = versions.chosen(past, word)
        return _Side(applied.version, book_in(applied))

    def side(word: str) -> _Side:
        return _file(word) if _is_file(word) else version(word)

    if old is not None and new is not None:
        return side(old), side(new)
    if old is None:
        before = past.before(versions.chosen(past, None))
        return _Side(before.version, book_in(before)) if before else _Side("nothing", NOTHING), version(None)
    if not _is_file(old):
        return version(old), version(None)
    # The first book can be looked at before it is applied, too.
    return version(None) if past.newest else _Side("nothing", NOTHING), _file(old)


def _is_file(word: str) -> bool:
    return Path(word).exists() or not _HASH.fullmatch(word)


def _file(name: str) -> _Side:
    from stream.core.segments import DefinitionErrors, load_book
    from stream.core.segments.difference import written

    try:
        return _Side(name, written(load_book(text_of(Path(name)))))
    except DefinitionErrors as errors:
        err.print(escape(str(errors)))
        raise typer.Exit(1) from None
