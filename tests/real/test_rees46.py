"""Real shop logs: every row is accounted for, and real duplicates are found.

The logs are REES46's (REES46 Open CDP, https://rees46.com/en/open-cdp); they are no part of this repository.
"""

from __future__ import annotations

import csv
import io
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import zstandard

from stream.core.config import CoreSettings
from stream.core.time import parse_iso
from stream.interpreter import InMemoryRecord, Interpreter
from stream.replay import replay_file
from stream.sources import read_rees46

DATA = Path(__file__).parents[2].parent / "shared" / "data"
FIRST_17K = DATA / "rees46_multicategory" / "2019-Oct.first17k.csv.zst"
DUPLICATES = DATA / "rees46_electronics_duplicates" / "duplicates.csv"
BOOK = """
segments:
  abandoned_cart:
    sql: |
      cart_value > 0
      AND cart_updated_at BETWEEN now() - INTERVAL '24 hours' AND now() - INTERVAL '30 minutes'
  buyer:
    sql: order_count >= 1
  looking_around:
    sql: |
      (SELECT count(*) FROM events
       WHERE event_type = 'product_view' AND event_time >= now() - INTERVAL '10 minutes') >= 5
"""


def needs(path: Path) -> pytest.MarkDecorator:
    """Skips where the log is not."""
    return pytest.mark.skipif(not path.exists(), reason=f"real data is not here: {path.relative_to(DATA.parent)}")


@cache
def rows(path: Path) -> tuple[dict[str, str], ...]:
    """The rows as Python's own reader has them, in no code of ours."""
    raw = path.read_bytes()
    if path.suffix == ".zst":
        raw = zstandard.ZstdDecompressor().decompressobj().decompress(raw)
    return tuple(csv.DictReader(io.StringIO(raw.decode())))


@cache
def replayed(path: Path) -> Interpreter:
    """The log through the interpreter, and a day after it."""
    log = Interpreter(BOOK)
    records = enumerate(read_rees46(path), 1)
    log.feed([InMemoryRecord(n, r.log_time // 1000, r.key, r.value) for n, r in records])
    log.advance(log.partition.log_time + 25 * 3_600_000_000)
    return log


def accounted(report: dict[str, Any]) -> int:
    rejected, dead = report["rejected"], report["dead_lettered"]
    return int(report["applied"] + report["duplicates"] + sum(rejected.values()) + sum(dead.values()))


@needs(FIRST_17K)
def test_every_row_of_a_real_log_is_accounted_for() -> None:
    """17,435 rows: each is applied, or says what was said within ten seconds, or is too much for a person."""
    report = replayed(FIRST_17K).report()
    assert report["read"] == accounted(report) == len(rows(FIRST_17K)) == 17_435
    assert report["dead_lettered"] == {}
    assert report["rejected"] == {}


@needs(FIRST_17K)
def test_a_real_log_is_counted_as_it_can_be_counted_by_hand() -> None:
    """Customers, views, purchases and money, by a few lines that know nothing of carts or segments."""
    log = replayed(FIRST_17K)
    seen: dict[tuple[str, ...], int] = {}
    views: Counter[str] = Counter()
    spent: Counter[str] = Counter()
    for row in rows(FIRST_17K):
        at, content = parse_iso(row["event_time"]), tuple(row.values())
        if content in seen and at - seen[content] <= 10_000_000:
            continue
        seen[content] = at
        views[row["user_id"]] += row["event_type"] == "view"
        spent[row["user_id"]] += round(float(row["price"]) * 100) if row["event_type"] == "purchase" else 0
    customers = log.partition.customers
    assert len(customers) == len(views) == 4_505
    assert {name: c.view_count for name, c in customers.items()} == views
    assert {name: round(c.total_spent * 100) for name, c in customers.items()} == spent
    assert log.report()["applied"] == len(seen)


@needs(FIRST_17K)
def test_segments_of_a_real_log_fill_and_empty_by_time_alone() -> None:
    """A day after the last row no cart is new and nobody looks around; who bought has bought."""
    log = replayed(FIRST_17K)
    buyers = {row["user_id"] for row in rows(FIRST_17K) if row["event_type"] == "purchase"}
    members = log.report()["members"]
    assert members == {"abandoned_cart": 0, "buyer": len(buyers), "looking_around": 0}
    moves = Counter((change.segment, change.action, change.cause) for change in log.decided)
    assert moves["abandoned_cart", "entered", "time"] > 10
    assert moves["abandoned_cart", "exited", "time"] > 10
    assert moves["looking_around", "exited", "time"] == moves["looking_around", "entered", "event"] > 100
    assert moves["buyer", "entered", "event"] == len(buyers)


@needs(DUPLICATES)
def test_of_the_repeats_in_a_real_log_each_event_is_applied_once() -> None:
    """1,284 rows that are 629 events, each two to four times, and no id by which to tell."""
    report = replayed(DUPLICATES).report()
    assert report["read"] == accounted(report) == len(rows(DUPLICATES)) == 1_284
    assert report["applied"] == len({tuple(row.values()) for row in rows(DUPLICATES)}) == 629
    assert report["duplicates"] == 1_284 - 629


@needs(DUPLICATES)
def test_replay_says_the_same_of_a_real_log(tmp_path: Path) -> None:
    """The command's own function, to files."""
    changes, report = tmp_path / "changes.jsonl", tmp_path / "report.json"
    until = replayed(DUPLICATES).partition.log_time
    said = replay_file(DUPLICATES, "rees46", BOOK, changes, report, until, CoreSettings())
    assert said == replayed(DUPLICATES).report()
    assert changes.read_bytes().splitlines() == replayed(DUPLICATES).changes
