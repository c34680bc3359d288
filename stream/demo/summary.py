"""The end of a demo: the judge's findings and the numbers, on the screen for people and as JSON."""

from __future__ import annotations

import json
import platform
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from stream.demo.board import Board, Latency
from stream.demo.judge import Finding


def report(board: Board, findings: Sequence[Finding], changes: str, options: dict[str, Any]) -> dict[str, Any]:
    """Everything that ``report.json`` says; ``changes`` is the digest of all changes."""
    endings: dict[str, dict[str, int]] = {}
    for (ending, reason), count in sorted(board.endings.items()):
        endings.setdefault(ending, {})[reason] = count
    return {
        "ok": all(finding.holds for finding in findings),
        "findings": [
            {
                "question": finding.question,
                "holds": finding.holds,
                "answer": finding.answer,
                "details": finding.details,
            }
            for finding in findings
        ],
        "options": options,
        "seconds": round(board.seconds, 1),
        "sent": board.sent,
        "ticks": board.ticks,
        "read": board.read,
        "endings": endings,
        "changes": board.changes,
        "changes_digest": changes,
        "changes_by_time_alone": board.by_time,
        "entered": dict(sorted(board.entered.items())),
        "exited": dict(sorted(board.exited.items())),
        "moved": board.moved,
        "delivered": board.delivered,
        "deliverer": dict(sorted(board.outcomes.items())),
        "retried": board.retried,
        "members": dict(sorted(board.sizes.items())),
        "peak_members": dict(sorted(board.peaks.items())),
        "latency_seconds": {
            "event_to_change": _percentiles(board.to_topic),
            "event_to_webhook": _percentiles(board.to_receiver),
        },
        "versions": {"livesegments": version("livesegments"), "python": platform.python_version()},
    }


def write(path: Path, content: dict[str, Any]) -> None:
    """Write the report; its directory is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False, default=str) + "\n", "utf-8")


def tell(console: Console, board: Board, findings: Sequence[Finding], path: Path) -> None:
    """The summary in words."""
    console.print()
    console.print(Text("What was proved", style="bold"))
    for finding in findings:
        mark = Text("  yes  " if finding.holds else "  NO   ", style="green" if finding.holds else "bold red")
        console.print(mark + Text(f"{finding.question}: {finding.answer}"), soft_wrap=True)
        for detail in finding.details:
            console.print(Text(f"         {detail}"), soft_wrap=True)
    console.print(
        f"\n{board.changes:,} segment changes, {board.by_time:,} of them by time alone, from {board.sent:,} "
        f"events in {board.seconds:.0f} s; {board.retried:,} deliveries had to be repeated.",
        soft_wrap=True,
        highlight=False,
    )
    for name in board.segments:
        console.print(
            f"  {name}: {board.entered[name]:,} entered, {board.exited[name]:,} left, "
            f"at most {board.peaks.get(name, 0):,} at once, {board.sizes.get(name, 0):,} in it now",
            soft_wrap=True,
            highlight=False,
        )
    console.print(f"Report: {path}", soft_wrap=True, highlight=False)


def _percentiles(latency: Latency) -> dict[str, float | int | None]:
    return {
        "count": len(latency.all),
        "p50": latency.overall(0.5),
        "p99": latency.overall(0.99),
        "max": latency.overall(1.0),
    }
