"""``livesegments replay``: a file through the in-process interpreter, changes and accounting out."""

from __future__ import annotations

import sys
from itertools import islice
from pathlib import Path
from typing import Any, cast

import orjson
from rich.progress import track

from stream.core.config import CoreSettings
from stream.core.segments import compile_book, load_book
from stream.interpreter import InMemoryRecord, Interpreter
from stream.sources import Format, read

_BATCH = 5_000


def replay_file(
    file: Path,
    form: str,
    book_text: str,
    changes: Path,
    report: Path,
    until: int | None,
    settings: CoreSettings,
) -> dict[str, Any]:
    """Replay ``file``; returns what the report says. ``until`` in µs. Raises ``SourceError``, ``DefinitionErrors``."""
    # In a log a book that does not compile is a dead letter; here it is a mistake of whoever asks.
    compile_book(load_book(book_text))
    log = Interpreter(book_text, settings)
    records = read(file, cast(Format, form))
    offset = 1
    with changes.open("wb") as out:
        batches = iter(lambda: list(islice(records, _BATCH)), [])
        for batch in track(batches, description="replaying", transient=True, disable=not sys.stderr.isatty()):
            log.feed(
                [
                    InMemoryRecord(offset + n, record.log_time // 1000, record.key, record.value)
                    for n, record in enumerate(batch)
                ]
            )
            offset += len(batch)
            _write(log, out)
        if until is not None:
            log.advance(until)
        _write(log, out)
    summary = log.report()
    report.write_bytes(orjson.dumps(summary, option=orjson.OPT_INDENT_2) + b"\n")
    return summary


def _write(log: Interpreter, out: Any) -> None:
    fresh = log.take()
    if fresh:
        out.write(b"\n".join(change.value for change in fresh) + b"\n")
