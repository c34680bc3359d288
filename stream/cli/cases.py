"""``livesegments segments test``: time-travel tests of segments."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from stream.cli.console import USAGE, err, fail, out, settings, text_of

if TYPE_CHECKING:
    from stream.casebook import Case, Casebook, Expected, Verdict


def register(app: typer.Typer) -> None:
    """Hang the command on ``livesegments segments``."""
    app.command("test")(test)


def test(
    files: Annotated[list[Path], typer.Argument(help="Files of cases (YAML).", exists=True, dir_okay=False)],
    segments: Annotated[
        Path | None,
        typer.Option(help="Test this segments file, not the one that the files name.", exists=True, dir_okay=False),
    ] = None,
    only: Annotated[str | None, typer.Option("--case", help="Only cases with this in their name.")] = None,
) -> None:
    """Run time-travel tests: what happened, a clock, and the changes that have to follow.

    Each case is a small log of its own, run by the worker's core in this process. It passes if exactly the changes
    happen that it names, each at its very instant. Exit code 1 if a case fails, 2 if a file is not understood.
    """
    from stream.casebook import CasebookError, check_cases, read_casebook, run_case
    from stream.core.segments import DefinitionErrors, compile_book, load_book

    core = settings().core()
    ran = failed = 0
    for file in files:
        try:
            casebook = read_casebook(file)
        except CasebookError as error:
            fail(str(error), USAGE)
        text = text_of(segments or _book(casebook))
        try:
            book = compile_book(load_book(text))
            check_cases(casebook.cases, book)
        except DefinitionErrors as errors:
            err.print(escape(str(errors)))
            raise typer.Exit(1) from None
        except CasebookError as error:
            fail(f"{file}, {error}", USAGE)
        for case in casebook.cases:
            if only is not None and only not in case.name:
                continue
            verdict = run_case(case, text, core)
            ran += 1
            failed += not verdict.passed
            _print(verdict)
        if only is None:
            _tell_untested(file, casebook.cases, set(book.by_name))
    if not ran:
        fail(f"no case has {only!r} in its name", USAGE)
    out.print(f"{ran} case{'' if ran == 1 else 's'}, {f'{failed} failed' if failed else 'all passed'}")
    if failed:
        raise typer.Exit(1)


def _book(casebook: Casebook) -> Path:
    if casebook.book is None:
        fail(f"{casebook.path} names no `book:`; give --segments FILE", USAGE)
    if not casebook.book.is_file():
        fail(f"{casebook.path}: its book {casebook.book} is not there", USAGE)
    return casebook.book


def _print(verdict: Verdict) -> None:
    if verdict.passed:
        out.print(f"[green]ok[/]      {escape(verdict.case.name)}")
        return
    out.print(f"[bold red]failed[/]  {escape(verdict.case.name)}")
    for ending in verdict.endings:
        out.print(escape(f"        {ending}"))
    lines = [(each, "  ", "") for each in verdict.right]
    for each in verdict.mismatches:
        if each.happened:
            lines.append((each.change, "+ ", f"happened ({each.why}), and is not expected"))
        else:
            lines.append((each.change, "- ", "is expected, and did not happen"))
    lines.sort(key=lambda line: (line[0], line[1]))
    words = [_words(verdict.case, each) for each, _, _ in lines]
    widths = [max(map(len, column)) for column in zip(*words, strict=True)]
    for (_, sign, what), columns in zip(lines, words, strict=True):
        line = "  ".join(f"{word:<{width}}" for word, width in zip(columns, widths, strict=True))
        out.print(escape(f"      {sign}{line}  {what}".rstrip()))


def _words(case: Case, change: Expected) -> tuple[str, ...]:
    from stream.casebook.clock import told
    from stream.core.time import format_iso

    when = format_iso(change.at) if case.zero is None else told(change.at - case.zero)
    return when, change.customer, "enters" if change.entered else "exits", change.segment


def _tell_untested(file: Path, cases: tuple[Case, ...], names: set[str]) -> None:
    """A segment that nobody ever enters in a case is not tested, whatever the case says."""
    missing = names - {each.segment for case in cases for each in case.expected if each.entered}
    if missing:
        err.print(escape(f"{file}: no case enters {', '.join(sorted(missing))}"))
