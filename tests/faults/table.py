"""The report as tables on the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

_KINDS = ("lost", "phantom", "wrong", "twice")
NAMES = {"ours": "livesegments", "stock": "stock Faust Tables"}


def show(report: Mapping[str, Any], console: Console) -> None:
    """Print what ``report.json`` holds."""
    found = {each["contestant"]: each for each in report["contestants"]}
    for name, each in found.items():
        console.print(_matrix(name, each))
        for line in _below(each):
            console.print(line, highlight=False, markup=False, soft_wrap=True)
        for line in each["findings"][:12] if name == "ours" else ():
            console.print(f"  {line}", highlight=False, markup=False, soft_wrap=True)
        console.print()


def _matrix(name: str, found: Mapping[str, Any]) -> Table:
    table = Table(
        title=f"{NAMES[name]}, seed {found['seed']}", title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False
    )
    table.add_column("row", no_wrap=True)
    table.add_column("fault", no_wrap=True)
    for column in ("hit", *_KINDS, "p50 s", "max s"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("", overflow="fold")
    for row in sorted(found["rows"], key=lambda row: int(row["row"][1:])):
        if row["no_sense"]:
            table.add_row(row["row"], row["title"], "-", *"-" * len(_KINDS), "-", "-", row["no_sense"])
            continue
        notes = [f"{row['stuck']} not healed in 60 s"] if row["stuck"] else []
        notes += [f"{row[kind]} {kind}" for kind in ("order", "beyond") if row[kind]]
        notes += [row["note"]] if row["note"] else []
        table.add_row(
            row["row"],
            row["title"],
            f"{row['hit']}/{row['tried']}",
            *(str(row[kind]) for kind in _KINDS),
            *("-" if row[key] is None else f"{row[key]:.1f}" for key in ("recovery_p50", "recovery_max")),
            "; ".join(notes),
        )
    total = found["total"]
    table.add_section()
    tried, hit = (sum(row[key] for row in found["rows"]) for key in ("tried", "hit"))
    counts = [str(total[kind]) for kind in _KINDS]
    table.add_row("all", f"{total['changes']:,} changes", f"{hit}/{tried}", *counts, "", "", "")
    return table


def _below(found: Mapping[str, Any]) -> list[str]:
    total = found["total"]
    lines = [
        f"twice before de-duplication: {total['twice_per_million']} per million changes"
        f"; committed beyond the unprocessed: {total['beyond']} in {total['samples']:,} samples",
    ]
    if found["contestant"] == "ours":
        lines += [f"  {count} of them after {what}" for what, count in total["twice_after"].items()]
        lines += [
            f"read back and compared: {total['compared']:,} changes, {total['different']} differences"
            f"; refused records wrong: {total['refused']}, written again {total['refused_twice']}"
            f"; moved records missing: {total['moved']}; state differences: {total['state']}",
            f"exit lateness: {_spread(found['lateness']['calm'])} in calm,"
            f" {_spread(found['lateness']['during_faults'])} during faults",
        ]
        if receiver := found["receiver"]:
            lines.append(
                f"receiver: {receiver['changes']:,} changes, 7 destinations, {receiver['requests']:,} requests,"
                f" {receiver['refused_or_failed']:,} of them failed; missing {sum(receiver['missing'].values())},"
                f" out of order {receiver['out_of_order']}, repeats dropped by id {receiver['again']},"
                f" other rules broken {len(receiver['broken'])}"
            )
    lines += [f"BROKEN OFF {text}" for text in found["broken_off"]]
    if graceful := found["graceful"]:
        lines.append(
            f"graceful stops: {graceful['stops']}, median {graceful['median_seconds']:.1f} s,"
            f" longest {graceful['max_seconds']:.1f} s, exit codes other than 0: {graceful['not_0']}"
        )
    drained = "never" if found["drained"] is None else f"{found['drained']:.1f} s"
    fresh = "never" if found["fresh"] is None else "came through"
    lines.append(
        f"after the last fault: lag 0 in {drained}, a fresh event {fresh}; ends of processes: {found['exits']}"
    )
    return lines


def _spread(each: Mapping[str, Any]) -> str:
    if not each["count"]:
        return "none"
    return f"p50 {each['p50']:.2f} s, p99 {each['p99']:.2f} s, longest {each['max']:.2f} s ({each['count']:,})"
