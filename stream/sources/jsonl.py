"""One line, one event."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from stream.sources.packed import lines
from stream.sources.records import SourceRecord, Tell, in_log_time, line_of, untold


def read_events_jsonl(path: str | Path, tell: Tell = untold) -> Iterator[SourceRecord]:
    """One line, one event: the bytes of the line are the record's value, whatever they are.

    The log time is the event's ``received_at`` (ISO 8601 or epoch), else its ``timestamp``, but never less
    than that of the line before. A line of which neither can be read has the log time of the line before; the
    first lines that of the first line that has one. Raises ``SourceError`` where the file cannot be opened.
    """
    return in_log_time(line_of(_parse(line), line) for line in lines(path, tell))


def _parse(line: bytes) -> dict[str, Any]:
    """What a line says, {} if it is no JSON object. Python's reader, because it also reads NaN and 1e999."""
    try:
        event = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return event if isinstance(event, dict) else {}
