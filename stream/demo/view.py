"""What the demo shows while it runs: a live screen on a terminal, elsewhere a line every two seconds."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from stream.demo.board import Board, News
from stream.demo.words import clock

FRAME_SECONDS = 0.25
LINE_SECONDS = 2.0

STORY = (
    "Customers act; each act is an event on Kafka. The worker drops bots, repeats and broken records, keeps "
    "one record per customer and decides, event by event, who enters or leaves which segment. The deliverer "
    "tells the e-mail platform within moments: so the reminder goes out while the cart is still warm, and "
    "never after the order. The shop's day runs in time-lapse, because time itself is in the log."
)


@asynccontextmanager
async def showing(board: Board, console: Console) -> AsyncIterator[None]:
    """Show the board until the end of the block."""
    console.print(Panel(Text(STORY), title=f"livesegments: {board.title}", title_align="left"))
    if console.is_terminal:
        with Live(console=console, auto_refresh=False, transient=False) as live:
            task = asyncio.create_task(_frames(board, live, console))
            try:
                yield
            finally:
                await _stop(task)
                live.update(screen(board, console.height), refresh=True)
    else:
        task = asyncio.create_task(_lines(board, console))
        try:
            yield
        finally:
            await _stop(task)


async def _stop(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait([task])
    if not task.cancelled() and (error := task.exception()) is not None:
        raise error


async def _frames(board: Board, live: Live, console: Console) -> None:
    while True:
        live.update(screen(board, console.height), refresh=True)
        await asyncio.sleep(FRAME_SECONDS)


async def _lines(board: Board, console: Console) -> None:
    told: News | None = None
    by_time = True
    while True:
        await asyncio.sleep(LINE_SECONDS)
        console.print(line(board), soft_wrap=True, highlight=False, markup=False)
        if board.latest and board.latest[-1] is not told:
            told = board.latest[-1]
            # By turns one that time alone brought about, and one that an event did, where there are both.
            example = next((item for item in reversed(board.latest) if item.by_time is by_time), told)
            by_time = not by_time
            console.print(f"         e.g. {sentence(example)}", soft_wrap=True, highlight=False, markup=False)


def line(board: Board) -> str:
    """The board as one plain line."""
    sizes = ", ".join(f"{name} {size}" for name, size in sorted(board.sizes.items()))
    refused = board.total("rejected") + board.total("dead_lettered")
    return (
        f"[{board.seconds:3.0f} s {board.progress:4.0%}] {board.phase}, {clock(board.now, days=True)} | "
        f"{board.sent:,} events sent, {board.read:,} read ({board.rate:,.0f}/s): {board.total('applied'):,} "
        f"applied, {board.total('duplicate'):,} repeats, {refused:,} refused | {board.changes:,} changes, "
        f"{board.delivered:,} delivered, {_latency(board)} | {sizes or 'no members yet'}"
    )


def sentence(item: News) -> str:
    """A change in one plain sentence."""
    sign = "enters" if item.entered else "leaves"
    return f"{clock(item.at)} {item.text}: {sign} {item.segment}"


def screen(board: Board, height: int) -> RenderableType:
    """The board as a screen of the given height (lines)."""
    head = Table.grid(expand=True, padding=(0, 1))
    head.add_column(no_wrap=True)
    head.add_column(ratio=1)
    head.add_column(no_wrap=True, justify="right")
    head.add_row(
        Text(f"{board.phase}  {clock(board.now, days=True)}", style="bold"),
        ProgressBar(total=1.0, completed=board.progress),
        f"{board.progress:.0%}  {board.seconds:.0f} s",
    )
    middle = Table.grid(expand=True)
    middle.add_column(ratio=1)
    middle.add_column(ratio=1)
    middle.add_row(
        Panel(_accounting(board), title="every event ends somewhere", title_align="left"),
        Panel(_segments(board), title="who is in which segment", title_align="left"),
    )
    room = max(3, height - 15)
    return Group(
        head,
        middle,
        Panel(_latest(board, room), title="latest changes, and why", title_align="left"),
        Text(f"  {_latency(board)}; repeated deliveries {board.retried}", style="dim"),
    )


def _accounting(board: Board) -> Table:
    table = Table.grid(padding=(0, 1), expand=True)
    table.add_column(no_wrap=True, min_width=9)
    table.add_column(justify="right", no_wrap=True, min_width=7)
    table.add_column(style="dim", no_wrap=True, ratio=1, overflow="ellipsis")
    table.add_row("sent", f"{board.sent:,}", f"of {board.events:,}")
    table.add_row("read", f"{board.read:,}", f"{board.rate:,.0f} events/s, {board.moved:,} moved")
    table.add_row("applied", f"{board.total('applied'):,}", "")
    for ending, word in (("duplicate", "repeats"), ("rejected", "refused"), ("dead_lettered", "no events")):
        reasons = ", ".join(f"{name} {count:,}" for name, count in board.reasons(ending)[:4])
        table.add_row(word, f"{board.total(ending):,}", reasons)
    table.add_row("changes", f"{board.changes:,}", f"{board.by_time:,} of them by time alone")
    table.add_row("delivered", f"{board.delivered:,}", "signed webhooks, each counted once")
    return table


def _segments(board: Board) -> Table:
    table = Table.grid(padding=(0, 1), expand=True)
    table.add_column(no_wrap=True)
    table.add_column(justify="right")
    table.add_column(ratio=1)
    table.add_column(justify="right", style="dim", no_wrap=True)
    most = max([1, *board.peaks.values()])
    for name in board.segments or sorted(board.sizes):
        size = board.sizes.get(name, 0)
        table.add_row(
            name,
            f"{size:,}",
            ProgressBar(total=float(most), completed=float(size)),
            f"+{board.entered[name]:,} -{board.exited[name]:,}",
        )
    return table


def _latest(board: Board, room: int) -> Table:
    table = Table.grid(padding=(0, 1), expand=True)
    table.add_column(style="dim", no_wrap=True, min_width=8)
    table.add_column(no_wrap=True, min_width=16)
    table.add_column(no_wrap=True, ratio=1, overflow="ellipsis")
    for item in list(board.latest)[-room:][::-1]:
        sign = Text(f"+ {item.segment}", "green") if item.entered else Text(f"- {item.segment}", "red")
        table.add_row(clock(item.at), sign, Text(item.text, style="bold cyan" if item.by_time else ""))
    return table


def _latency(board: Board) -> str:
    parts = []
    for what, latency in (("event → change", board.to_topic), ("event → webhook", board.to_receiver)):
        middle, high = latency.recent(0.5), latency.recent(0.99)
        if middle is not None and high is not None:
            parts.append(f"{what} p50 {middle * 1000:.0f} ms, p99 {high * 1000:.0f} ms")
    return "; ".join(parts) or "no latency yet"
