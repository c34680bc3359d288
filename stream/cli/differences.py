"""Differences between books, as they are printed."""

from __future__ import annotations

import difflib
from typing import Any

from rich.markup import escape

from stream.cli.console import out
from stream.core.segments.difference import Altered, Difference, SegmentDifference

_SIGNS = {"added": "+", "removed": "-", "changed": "~", "described": "~"}
_COLOURS = {"added": "green", "removed": "red", "changed": "yellow", "described": "dim", "+": "green", "-": "red"}
_SAYS = {
    "added": "new",
    "removed": "gone: its members leave",
    "changed": "changed: who is in is decided anew",
    "described": "only described anew: nobody moves",
}
#: Names in a line of a summary.
_MOST = 8


def print_difference(found: Difference) -> None:
    """What is different, a block for each segment."""
    for attribute in found.attributes:
        sign, says = _of_attribute(attribute)
        out.print(escape(f"{sign} attribute {attribute.name}: {says}"), style=_COLOURS.get(sign, "yellow"))
    for segment in found.segments:
        print_segment(segment)
    for name, asked in found.follow.items():
        out.print(escape(f"~ {name}: the same, but it asks for {asked}: who is in is decided anew"), style="yellow")


def print_segment(segment: SegmentDifference, indent: str = "") -> None:
    """What became of one segment, and the lines that differ."""
    kind = segment.kind
    out.print(escape(f"{indent}{_SIGNS[kind]} {segment.name}: {_SAYS[kind]}"), style=_COLOURS[kind])
    for field in segment.fields:
        label = "" if field.name == "sql" else f"{field.name}: "
        # All lines of a text, also those that are the same: a condition is read as a whole.
        for line in difflib.ndiff((field.before or "").splitlines(), (field.after or "").splitlines()):
            if line[0] != "?" and line[2:].strip():
                out.print(escape(f"{indent}    {line[:2]}{label}{line[2:]}"), style=_COLOURS.get(line[0], ""))


def summary(found: Difference) -> list[str]:
    """The names of what differs, a line for each way in which it does."""
    lines = []
    for kind, sign in _SIGNS.items():
        names = [segment.name for segment in found.segments if segment.kind == kind]
        if names:
            lines.append(f"{sign} {_listed(names)}" + (" (only described anew)" if kind == "described" else ""))
    if found.follow:
        lines.append(f"~ {_listed(list(found.follow))} (by what they ask for)")
    if found.attributes:
        lines.append(f"~ attributes: {_listed([attribute.name for attribute in found.attributes])}")
    return lines


def as_data(found: Difference) -> dict[str, Any]:
    """The same for JSON."""
    return {
        "attributes": {each.name: {"before": each.before, "after": each.after} for each in found.attributes},
        "segments": {
            each.name: {"change": each.kind, "before": each.before, "after": each.after} for each in found.segments
        },
        "follow": dict(found.follow),
    }


def _of_attribute(attribute: Altered) -> tuple[str, str]:
    if attribute.before is None:
        return "+", f"{attribute.after}, known from each customer's next update on"
    if attribute.after is None:
        return "-", "forgotten"
    return "~", f"{attribute.before}, now {attribute.after}"


def _listed(names: list[str]) -> str:
    more = len(names) - _MOST
    return ", ".join(names[:_MOST]) + (f" and {more} more" if more > 0 else "")
