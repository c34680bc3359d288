"""The bench compares like with like."""

from __future__ import annotations

import json
import time
from collections import defaultdict
from datetime import datetime
from itertools import count
from pathlib import Path
from typing import Any

import msgspec
import pytest

from stream.core.config import CoreSettings
from stream.interpreter import Interpreter
from tests.bench import stock_faust
from tests.bench.contestants import RATE_LIMIT
from tests.bench.load import Load, Skew

BOOK = Path(__file__).with_name("segments.yaml").read_text("utf-8")


@pytest.mark.parametrize("skew", ["uniform", "skewed"])
def test_the_stock_app_decides_the_changes_that_the_core_decides(skew: Skew) -> None:
    """Of the same events the same changes of every customer; neither does more or less than the other."""
    clock = count(time.time(), 0.001)
    core = Interpreter(BOOK, CoreSettings(rate_limit=RATE_LIMIT))
    seen: set[str] = set()
    customers: defaultdict[str, dict[str, Any]] = defaultdict(dict)
    stock: defaultdict[str, list[tuple[str, str, str]]] = defaultdict(list)
    for record in Load(skew, customers=300, steady=5_000, seed=3).records(1, lambda: next(clock)):
        event = json.loads(record.value)
        now = datetime.fromisoformat(event["timestamp"]).timestamp()
        core.pipe(round(now * 1e6), record.key, record.value)
        if stock_faust.is_bot(event["user_agent"]) or event["event_id"] in seen:
            continue
        seen.add(event["event_id"])
        for change in stock_faust.decide(customers[event["customer_id"]], event, now):
            stock[event["customer_id"]].append(_of(change))
    decided: defaultdict[str, list[tuple[str, str, str]]] = defaultdict(list)
    for value in core.changes:
        change = msgspec.json.decode(value)
        decided[change["customer_id"]].append(_of(change))
    # Segments that change with one and the same event come in the order of each one's book.
    assert {name: sorted(changes) for name, changes in stock.items()} == {
        name: sorted(changes) for name, changes in decided.items()
    }
    assert sum(map(len, decided.values())) > 300


def test_a_load_follows_from_its_seed() -> None:
    """Two of the same parameters are the same events but for the timestamps, which the clock gives."""
    load = Load("skewed", customers=200, steady=2_000, seed=5)
    assert list(load.records(4, lambda: 1e9)) == list(load.records(4, lambda: 1e9))
    assert len(list(load.records(4))) == load.events


def _of(change: dict[str, Any]) -> tuple[str, str, str]:
    return change["segment"], change["action"], change["cause"]["event_id"]
