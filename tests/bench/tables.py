"""The result of the bench as tables in the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table


def show(told: Mapping[str, Any], console: Console) -> None:
    """Print what ``smoke.json`` holds."""
    rates = _table(
        "events per second, warm (ckpt: checkpoints of each partition, sys: load average)",
        "broker",
        "load",
        "contestant",
    )
    for name in ("events/s", "x stock", "CPU µs", "ckpt", "sys"):
        rates.add_column(name, justify="right", no_wrap=True)
    for row in told["rows"]:
        ratio, fewest = row["ratio_to_stock_faust"], row["checkpoints"]
        rates.add_row(
            *(row["broker"], row["load"], row["contestant"], f"{row['events_per_second']:,.0f}"),
            "-" if ratio is None else f"{ratio:.1f}",
            f"{row['cpu_us_per_event']:.1f}",
            "-" if fewest is None else str(fewest),
            f"{row['load_average']:.1f}",
        )
    console.print(rates)
    times = _table("in seconds", "broker", "what")
    for name in ("p50", "p99", "longest", "number"):
        times.add_column(name, justify="right", no_wrap=True)
    for what, title in (("latency", "event → change"), ("exit_lateness", "exit, after its instant")):
        for broker, spread in told[what].items():
            numbers = [f"{spread[name]:.3f}" for name in ("p50", "p99", "longest")]
            times.add_row(broker, title, *numbers, f"{spread['count']:,}")
    for broker, seconds in told["start_seconds"].items():
        times.add_row(broker, "start → first event", f"{seconds:.2f}", "", "", "")
    for broker, recovery in told["recovery"].items():
        seconds = recovery["recovery_seconds"]
        times.add_row(broker, "recovery of customers", f"{seconds:.2f}", "", "", f"{recovery['customers']:,}")
    console.print(times)


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        table.add_column(column, no_wrap=True)
    return table
