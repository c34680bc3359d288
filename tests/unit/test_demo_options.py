"""What a demo is going to send follows from its options, and what cannot be sent is said plainly."""

from __future__ import annotations

from pathlib import Path

import pytest

from stream.demo.board import Board
from stream.demo.options import DemoOptions, plan
from stream.demo.scrape import parse
from stream.demo.shopper import HOUR, SECOND
from stream.sources import SourceError


def test_the_shop_s_day_is_followed_by_enough_quiet_for_every_cart_to_leave() -> None:
    todo = plan(DemoOptions(customers=40))
    assert todo.until - todo.records[-1].log_time >= 24 * HOUR + 30 * 60 * SECOND
    assert "abandoned_cart" in todo.segments and "browsing_electronics" in todo.segments


def test_a_replay_has_the_book_for_its_format_or_the_one_that_is_given(tmp_path: Path) -> None:
    log, book = tmp_path / "log.csv", tmp_path / "book.yaml"
    log.write_text("event_time,event_type,product_id,user_id\n2019-10-01 00:00:00 UTC,view,1,2\n")
    book.write_text("segments: {mine: {sql: view_count > 1}}")
    assert "just_bought" in plan(DemoOptions(replay=log, format="rees46")).segments
    assert plan(DemoOptions(replay=log, format="rees46", segments=book)).segments == ("mine",)


def test_months_of_records_have_ticks_no_more_than_days(tmp_path: Path) -> None:
    log = tmp_path / "log.csv"
    rows = ["2019-10-01 00:00:00 UTC,view,1,2", "2020-02-01 00:00:00 UTC,view,1,2"]
    log.write_text("\n".join(["event_time,event_type,product_id,user_id", *rows]))
    todo = plan(DemoOptions(replay=log, format="rees46"))
    assert (todo.until - todo.start) / todo.tick_interval <= 6001


def test_nothing_to_send_is_said_plainly(tmp_path: Path) -> None:
    empty = tmp_path / "empty.jsonl"
    empty.write_text("")
    with pytest.raises(SourceError, match="no records"):
        plan(DemoOptions(replay=empty))


def test_the_busy_part_and_the_quiet_part_have_their_seconds() -> None:
    todo = plan(DemoOptions(customers=40, busy_seconds=30, quiet_seconds=5))
    board = Board("", todo.start, todo.until, 0)
    due = []
    for now in (todo.start, (todo.start + todo.busy_until) // 2, todo.busy_until, todo.until):
        board.now = now
        due.append(round(todo.pace.due(board), 3))
    assert due == [0, 15, 30, 35]


def test_metrics_are_read_as_prometheus_writes_them() -> None:
    says = parse(
        "# TYPE livesegments_records counter\n"
        'livesegments_records_total{ending="applied",reason="fact"} 3.0\n'
        'livesegments_records_total{ending="rejected",reason="bot_rate"} 2.0\n'
        "# TYPE livesegments_partitions_held gauge\n"
        "livesegments_partitions_held 4.0\n"
        "# TYPE python_info gauge\n"
        "python_info 1.0\n"
    )
    assert says.total("records_total") == 5
    assert says.by("records_total", "ending", "reason") == {
        ("applied", "fact"): 3,
        ("rejected", "bot_rate"): 2,
    }
    assert (says.total("partitions_held"), says.total("python_info"), says.total("none")) == (4, 0, 0)
