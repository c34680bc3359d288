"""What the demo shows can be understood: numbers, and every change with its cause."""

from __future__ import annotations

import asyncio
import io
from typing import Any

import pytest
from rich.console import Console

from stream.demo.board import Board, Latency, percentile
from stream.demo.view import line, screen, sentence, showing
from stream.demo.words import news

START = 1_772_409_600_000_000
HOUR = 3_600_000_000


def change(**changed: Any) -> dict[str, Any]:
    return {
        "id": "0" * 32,
        "customer_id": "cust-0042",
        "segment": "abandoned_cart",
        "action": "entered",
        "at": "2026-03-02T10:31:22Z",
        "sequence": 1,
        "cause": {"kind": "time"},
        "profile": {"cart_value": 1234.5, "total_spent": 20},
    } | changed


LATE = {"kind": "event", "event_id": "e", "event_type": "purchase", "event_time": "2026-03-02T09:58:00Z"}
EVENT = {"kind": "event", "event_id": "e", "event_time": "2026-03-02T10:31:22Z"}


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (
            change(),
            "10:31:22 the cart of cust-0042 ($1,234.50) was left alone for 30 min → by time alone: "
            "enters abandoned_cart",
        ),
        (
            change(action="exited", cause=EVENT | {"event_type": "purchase"}),
            "10:31:22 cust-0042 came back and bought: do not remind: leaves abandoned_cart",
        ),
        (
            change(segment="big_spender", cause=EVENT | {"event_type": "purchase"}),
            "10:31:22 cust-0042 has now spent $20.00: enters big_spender",
        ),
        (
            change(cause=LATE),
            "10:31:22 cust-0042 bought at 09:58, and it is known only now: enters abandoned_cart",
        ),
        (
            change(segment="x", cause=EVENT | {"event_type": "loyalty_{card}_scanned"}),
            "10:31:22 cust-0042 loyalty {card} scanned: enters x",
        ),
        (
            change(segment="x", customer_id="{who}", cause=EVENT | {"event_type": "search"}, profile=None),
            "10:31:22 {who} searched: enters x",
        ),
        (change(segment="x"), "10:31:22 time passed for cust-0042 → by time alone: enters x"),
        (
            change(cause={"kind": "definition", "definition_version": "1"}),
            "10:31:22 the segment was defined anew for cust-0042: enters abandoned_cart",
        ),
    ],
)
def test_a_change_is_a_sentence_with_its_cause(said: dict[str, Any], expected: str) -> None:
    assert sentence(news(said)) == expected


def board() -> Board:
    full = Board("a shop's day", START, START + 49 * HOUR, 74_000, segments=("abandoned_cart", "big_spender"))
    full.phase, full.now, full.seconds = "the day runs", START + 12 * HOUR, 17.0
    full.sent, full.read, full.rate = 30_000, 29_500, 2_400.0
    full.endings.update(
        {("applied", "fact"): 27_000, ("duplicate", "event_id"): 500, ("rejected", "bot_user_agent"): 1_900}
    )
    full.endings["dead_lettered", "not_json"] = 100
    full.note_sizes({"abandoned_cart": 40, "big_spender": 7})
    full.note_sizes({"abandoned_cart": 30, "big_spender": 8})
    full.changes, full.delivered, full.by_time = 900, 890, 300
    full.to_topic.add(0.004)
    full.latest.append(news(change()))
    return full


def test_the_line_holds_the_numbers() -> None:
    text = line(board())
    for part in ("30,000 events sent", "29,500 read", "27,000 applied", "500 repeats", "2,000 refused"):
        assert part in text
    for part in ("Mon 02 Mar 12:00", " 24%", "900 changes, 890 delivered", "abandoned_cart 30", "p99 4 ms"):
        assert part in text


@pytest.mark.parametrize("width", [80, 120, 200])
def test_the_screen_fits_and_holds_the_numbers(width: int) -> None:
    console = Console(file=io.StringIO(), width=width, height=40, force_terminal=True, color_system=None)
    console.print(screen(board(), 40))
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    assert max(len(text) for text in shown.splitlines()) <= width
    assert len(shown.splitlines()) < 40
    for part in ("27,000", "bot_user_agent", "abandoned_cart", "was left alone"):
        assert part in shown


def test_peaks_are_remembered() -> None:
    assert board().peaks == {"abandoned_cart": 40, "big_spender": 8}


def test_percentiles_are_nearest_rank() -> None:
    latency = Latency()
    assert latency.recent(0.5) is None
    for number in range(100):
        latency.add(number)
    assert (latency.recent(0.5), latency.recent(0.99), latency.overall(1.0)) == (50, 99, 99)
    assert percentile([7.0], 0.99) == 7.0


async def test_where_there_is_no_terminal_plain_lines_come(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stream.demo.view.LINE_SECONDS", 0.01)
    enough = asyncio.Event()

    class Out(io.StringIO):
        def write(self, text: str) -> int:
            if self.getvalue().count("\n") >= 12:
                enough.set()
            return super().write(text)

    out = Out()
    async with showing(board(), Console(file=out, width=60)):
        await enough.wait()
    story, lines = out.getvalue().split("╯\n")
    assert "Customers act" in story
    first, second = lines.splitlines()[:2]
    assert "29,500 read" in first and "\x1b" not in first
    assert second.strip().startswith("e.g. 10:31:22 the cart of cust-0042")


async def test_a_terminal_gets_a_screen() -> None:
    out = io.StringIO()
    console = Console(file=out, width=100, height=40, force_terminal=True)
    async with showing(board(), console):
        pass
    assert "was left alone" in out.getvalue()
