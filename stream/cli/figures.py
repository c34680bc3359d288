"""The figures of a backtest as tables."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from stream.backtest.plots import bars, chart
from stream.cli.console import out
from stream.core.time import parse_iso

if TYPE_CHECKING:
    from stream.backtest.tally import Flapping

#: Overlaps and customers that a line names.
_SHOWN = 3
_SPARK = 24
#: Where nobody looks, tables are as wide as they need.
_WIDE = 200


def print_figures(data: Mapping[str, Any], flapping: Flapping, plot: bool) -> None:
    """Everything that is not for programs only."""
    refused = sum(data["rejected"].values()) + sum(data["dead_lettered"].values())
    out.print(f"{data['from']} to {data['to']}, version {data['version']}")
    out.print(
        f"{data['read']:,} events: {data['applied']:,} applied, {data['duplicates']:,} duplicates, {refused:,} refused"
        + _in_brackets(f"{count:,} {reason}" for reason, count in {**data["rejected"], **data["dead_lettered"]}.items())
    )
    out.print()
    segments = data["segments"]
    _print(_sizes(segments))
    for name, segment in segments.items():
        for line in _remarks(data, segment, flapping):
            out.print(escape(f"{name}: {line}"))
    if plot:
        for name, segment in segments.items():
            out.print()
            for line in chart(name, segment["series"], width=max(20, min(100, out.width - 12))):
                out.print(escape(line))
    out.print()
    _print(_costs(data["platforms"]))


def _sizes(segments: Mapping[str, Mapping[str, Any]]) -> Table:
    table = _table("segment", "size over time")
    for head in ("entries", "exits", "by time", "customers", "mean size", "largest", "at end", "median stay"):
        table.add_column(head, justify="right")
    for name, segment in segments.items():
        (line,) = bars([slice_["size"] for slice_ in segment["series"]], width=_SPARK)
        counts = [segment[key] for key in ("entries", "exits", "exits_by_time", "customers")]
        sizes = [segment[key] for key in ("largest", "size_at_end")]
        mean, stay = segment["mean_size"], segment["median_stay_seconds"]
        table.add_row(
            name,
            line,
            *(f"{count:,}" for count in counts),
            f"{mean:,.1f}",
            *(f"{size:,}" for size in sizes),
            _length(stay),
        )
    return table


def _remarks(data: Mapping[str, Any], segment: Mapping[str, Any], flapping: Flapping) -> Iterable[str]:
    if segment["overlap"]:
        most = list(segment["overlap"].items())
        shares = ", ".join(f"{_percent(share)} in {other}" for other, share in most[:_SHOWN])
        yield f"of its members' time, {shares}" + (f" and {len(most) - _SHOWN} more" if len(most) > _SHOWN else "")
    count = segment["flapping_customers"]
    if count:
        who = ", ".join(f"{each['customer_id']} ({each['entries']} times)" for each in segment["flapping"][:_SHOWN])
        hours = flapping.within / 3_600_000_000
        yield (
            f"{count:,} customer{'s' if count > 1 else ''} entered {flapping.times} times or more "
            f"within {hours:g} hours: {who}{', …' if count > _SHOWN else ''}"
        )
    if "whole_from" in segment:
        late = parse_iso(segment["whole_from"]) > parse_iso(data["to"])
        rest = "" if late else f"; from {segment['whole_from']} on its window is full"
        yield f"its window reaches back before the first event{' to the end' if late else ''}{rest}"


def _costs(platforms: Iterable[Mapping[str, Any]]) -> Table:
    table = _table("platform")
    for head in ("people a call", "calls", "busiest hour", "limit an hour", "of the limit", "longest wait"):
        table.add_column(head, justify="right")
    for each in platforms:
        share, wait, limit = each["share_of_limit"], each["longest_wait_minutes"], each["limit_per_hour"]
        table.add_row(
            each["platform"],
            f"{each['people_per_call']:,}",
            f"{each['calls']:,}",
            f"{each['busiest_hour_calls']:,}",
            "none published" if limit is None else f"{limit:,}",
            "" if share is None else _percent(share),
            "" if wait is None else "none" if wait == 0 else _length(wait * 60),
        )
    return table


def _table(*names: str) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for name in names:
        table.add_column(name, no_wrap=True)
    return table


def _print(table: Table) -> None:
    if out.is_terminal:
        out.print(table, soft_wrap=False)
        return
    file = io.StringIO()
    Console(file=file, width=_WIDE, highlight=False).print(table)
    for line in file.getvalue().splitlines():
        out.print(escape(line.rstrip()))


def _in_brackets(parts: Iterable[str]) -> str:
    listed = ", ".join(parts)
    return f" ({listed})" if listed else ""


def _percent(share: float) -> str:
    if 0 < share < 0.001:
        return "<0.1%"
    return f"{share:.1%}" if share < 0.1 else f"{share:.0%}"


def _length(seconds: float | None) -> str:
    """A length of time in its largest unit that is reached."""
    if seconds is None:
        return ""
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds:.0f} s"
