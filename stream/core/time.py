"""Instants of the core: ``int`` µs since the Unix epoch, UTC. How they are written: ``schemas.instants``."""

from __future__ import annotations

from schemas.instants import format_iso, from_datetime, in_range, parse_instant, parse_iso, to_datetime

__all__ = ["NEVER", "format_iso", "from_datetime", "in_range", "parse_instant", "parse_iso", "to_datetime"]

#: "Not by time alone": later than every instant that can be written.
NEVER = 2**62
