"""``make bench-segments``: what segments cost the core, per event, per book, and while a new book is swept.

    python -m tests.bench.rules [--events N] [--customers N] [--seed N]

One partition in this process, no broker; processor time, the best of some runs. What *the book* adds to an event's step
is the step under it less the step under an empty one. *Evaluation* is that without the writing down of changes, which
is their number per event times what one costs, evidence and bytes. First ten segments as shops have them over the mixed
load of ``load.py``. Then five segments for each category, and views only, so that every event touches five, whether the
book has ten of them or a thousand. Prints a table, writes ``build/bench/segments.json``; judges nothing.
"""

from __future__ import annotations

import argparse
import gc
import json
import platform
import time
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from random import Random
from typing import Any

import orjson
from rich.console import Console
from rich.table import Table

from stream.core.changes import Change, change
from stream.core.config import CoreSettings
from stream.core.output import Output
from stream.core.partition import Partition
from stream.core.segments import compile_book, load_book
from stream.core.time import format_iso, parse_iso
from stream.interpreter import InMemoryRecord, definitions
from tests.bench.load import Load

RESULT = Path(__file__).parents[2] / "build/bench/segments.json"
START = parse_iso("2026-03-02T08:00:00Z")
DEFINITIONS = (("fact", b"definitions"),)
#: Never a bot: the busiest customers of a bench are busy.
SETTINGS = CoreSettings(rate_limit=10**9)
BATCH = 2_000
NONE = json.dumps({"segments": {}})
RUNS = 3
#: Customers times categories: what a customer does in a category, and what changes by it, is alike in all books.
PAIRS = 2_000
#: Ten segments as shops have them.
SHOP = """
segments:
  abandoned_cart:
    sql: cart_value > 0 AND cart_updated_at BETWEEN now() - INTERVAL '24 hours' AND now() - INTERVAL '30 minutes'
  full_cart: {sql: cart_value > 100 AND cart_updated_at < now() - INTERVAL '10 minutes'}
  browsing_electronics:
    sql: >-
      (SELECT count(*) FROM events WHERE event_type = 'product_view' AND category = 'Electronics'
       AND event_time >= now() - INTERVAL '7 days') >= 3
  window_shopper:
    sql: >-
      (SELECT count(*) FROM events WHERE event_type = 'product_view' AND event_time >= now() - INTERVAL '2 hours') >= 8
      AND NOT EXISTS (SELECT 1 FROM events WHERE event_type = 'purchase' AND event_time >= now() - INTERVAL '1 day')
  spender:
    sql: >-
      (SELECT sum(price * coalesce(quantity, 1)) FROM events
       WHERE event_type = 'purchase' AND event_time >= now() - INTERVAL '90 days') > 500
  big_spender: {sql: total_spent >= 500}
  book_lover: {sql: recent_view_category = 'Books' AND view_count >= 5}
  new_customer: {sql: order_count = 1 AND last_order_at >= now() - INTERVAL '7 days'}
  win_back: {sql: order_count >= 1 AND last_order_at < now() - INTERVAL '90 days'}
  basket_filler:
    sql: (SELECT count(*) FROM events WHERE event_type = 'add_to_cart' AND event_time >= now() - INTERVAL '1 hour') >= 3
"""
#: Five of each category, of the kinds that marketers write.
KINDS = {
    "looks": "(SELECT count(*) FROM events WHERE event_type = 'product_view' AND category = '{0}' "
    "AND event_time >= now() - INTERVAL '7 days') >= 3",
    "fresh": "EXISTS (SELECT 1 FROM events WHERE event_type = 'product_view' AND category = '{0}' "
    "AND event_time >= now() - INTERVAL '2 hours')",
    "dear": "(SELECT count(*) FROM events WHERE event_type = 'product_view' AND category = '{0}' AND price > 100 "
    "AND event_time >= now() - INTERVAL '1 day') >= 2",
    "keen": "(SELECT count(*) FROM events WHERE event_type = 'product_view' AND category = '{0}' "
    "AND event_time >= now() - INTERVAL '1 hour') BETWEEN 2 AND 5",
    "spent": "(SELECT sum(price) FROM events WHERE event_type = 'product_view' AND category = '{0}' "
    "AND event_time >= now() - INTERVAL '1 day') > 500",
}


def book(categories: int) -> str:
    """A book of five segments for each category."""
    kinds = {f"{kind}_{n}": sql.format(f"C{n}") for n in range(categories) for kind, sql in KINDS.items()}
    return json.dumps({"segments": {name: {"sql": sql} for name, sql in kinds.items()}})


def log(events: int, customers: int, categories: int, seed: int, *, first: int = 1) -> Iterator[InMemoryRecord]:
    """Views of things of one category each, by customers at random, a thousand a second."""
    rng = Random(seed)
    for n in range(first, first + events):
        at = START + n * 1000
        event = {
            "event_id": f"{n:032x}",
            "customer_id": f"c{rng.randrange(customers)}",
            "event_type": "product_view",
            "timestamp": format_iso(at),
            "category": f"C{rng.randrange(categories)}",
            "product_id": f"P{rng.randrange(1000)}",
            "price": rng.randrange(800) / 4,
        }
        yield InMemoryRecord(n, at // 1000, None, orjson.dumps(event))


def step(text: str, records: Sequence[InMemoryRecord]) -> float:
    """Processor time (µs) of one event's step under a book, warm: over the second half of the records."""
    best = float("inf")
    for _ in range(RUNS):
        partition = Partition(0, 1, SETTINGS)
        partition.process([InMemoryRecord(0, START // 1000, None, definitions(text), DEFINITIONS)], Output())
        half = len(records) // 2
        for at in range(0, half, BATCH):
            partition.process(records[at : at + BATCH], Output())
        gc.collect()
        begun = time.process_time()
        for at in range(half, len(records), BATCH):
            partition.process(records[at : at + BATCH], Output())
        best = min(best, (time.process_time() - begun) / (len(records) - half) * 1e6)
    return best


def writing(text: str, records: Sequence[InMemoryRecord]) -> tuple[float, float]:
    """Changes per event under a book, warm, and what one takes to be written down (µs): evidence, bytes, id."""
    partition = Partition(0, 1, SETTINGS)
    partition.process([InMemoryRecord(0, START // 1000, None, definitions(text), DEFINITIONS)], Output())
    half = len(records) // 2
    changes: list[Change] = []
    for at in range(0, len(records), BATCH):
        out = Output()
        partition.process(records[at : at + BATCH], out)
        if at >= half:
            changes += out.changes
    edition = partition.membership.edition
    assert edition is not None
    book, now = edition.book, partition.log_time
    again = [(partition.customers[told.customer_id], book.by_name[told.segment]) for told in changes]
    best = float("inf")
    for _ in range(RUNS):
        begun = time.process_time()
        for customer, segment in again:
            since = edition.complete_since(segment, now) if segment.memories else None
            cause = {"kind": "event", "event_id": None, "event_type": "seen", "event_time": format_iso(now)}
            change(
                customer, segment.name, True, now, book, cause, segment.evidence(customer, now), SETTINGS.code, since
            )
        best = min(best, (time.process_time() - begun) / max(1, len(again)) * 1e6)
    return len(changes) / (len(records) - half), best


def compiling(text: str) -> float:
    """Seconds to read and compile a book."""
    best = float("inf")
    for _ in range(RUNS):
        begun = time.process_time()
        compile_book(load_book(text))
        best = min(best, time.process_time() - begun)
    return best


def sweep(customers: int, seed: int) -> dict[str, Any]:
    """A new book of ten segments over ``customers``, with live batches in between as the worker has them."""
    partition = Partition(0, 1, SETTINGS)
    partition.process([InMemoryRecord(0, START // 1000, None, definitions(book(1)), DEFINITIONS)], Output())
    first = 1
    for at in range(0, customers, BATCH):
        rows = [
            InMemoryRecord(
                first + at + n,
                START // 1000,
                None,
                b'{"customer_id":"c%d","event_type":"product_view","category":"C%d"}' % (at + n, n % 2),
            )
            for n in range(min(BATCH, customers - at))
        ]
        partition.process(rows, Output())
    first += customers
    gc.collect()
    gc.freeze()
    live = log(10 * customers, customers, 2, seed, first=first + 1)
    partition.process([InMemoryRecord(first, START // 1000, None, definitions(book(2)), DEFINITIONS)], Output())
    pauses: list[float] = []
    changes = swept = 0
    begun = time.perf_counter()
    while partition.membership.sweeping:
        out = Output()
        partition.process(list(islice(live, 100)), out)
        one = time.perf_counter()
        swept += partition.sweep(500, out)
        pauses.append(time.perf_counter() - one)
        changes += len(out.changes)
    seconds = time.perf_counter() - begun
    pauses.sort()
    return {
        "customers": customers,
        "changes": changes,
        "seconds": seconds,
        "pause_p50_ms": pauses[len(pauses) // 2] * 1e3,
        "pause_longest_ms": pauses[-1] * 1e3,
    }


def main(arguments: argparse.Namespace, console: Console) -> None:
    """Measure, print, write."""
    gc.set_threshold(100_000, 50, 1_000)  # as the worker does
    events, seed = arguments.events, arguments.seed
    few, many = (list(log(events, PAIRS // categories, categories, seed)) for categories in (2, 200))
    load = Load("skewed", events // 5, events - events // 5, seed)
    clock = iter(range(START // 1_000_000, START // 1_000_000 + events))
    mixed = [
        InMemoryRecord(n, START // 1000 + n * 1000 // 256, record.key, record.value)
        for n, record in enumerate(load.records(1, lambda: float(next(clock))), start=1)
    ]
    told: dict[str, Any] = {
        "seed": seed,
        "events": events,
        "python": platform.python_version(),
        "step_us": {
            "no segments, mixed load": step(NONE, mixed),
            "10 segments, mixed load": step(SHOP, mixed),
            "no segments": step(NONE, few),
            "10 segments": step(book(2), few),
            "1000 segments": step(book(200), many),
        },
        "compile_1000_seconds": compiling(book(200)),
        "sweep": sweep(arguments.customers, seed),
    }
    steps = told["step_us"]
    logs = {"10 segments, mixed load": (SHOP, mixed), "10 segments": (book(2), few), "1000 segments": (book(200), many)}
    told["book_us"], told["evaluation_us"], told["changes"] = {}, {}, {}
    for name, (text, records) in logs.items():
        base = "no segments, mixed load" if records is mixed else "no segments"
        told["book_us"][name] = steps[name] - steps[base]
        per_event, us = told["changes"][name] = writing(text, records)
        told["evaluation_us"][name] = told["book_us"][name] - per_event * us
    told["ratio_1000_to_10"] = steps["1000 segments"] / steps["10 segments"]
    RESULT.parent.mkdir(parents=True, exist_ok=True)
    RESULT.write_text(json.dumps(told, indent=2) + "\n", "utf-8")
    table = Table("what", "figure", title=f"{events:,} events, an event touches five segments, seed {seed}")
    for name, us in steps.items():
        table.add_row(f"step of an event, {name}", f"{us:.2f} µs")
    for name, us in told["evaluation_us"].items():
        per_event, each = told["changes"][name]
        table.add_row(f"of which the book, {name}", f"{told['book_us'][name]:.2f} µs")
        table.add_row(f"  writing down changes, {per_event:.2f} per event", f"{per_event:.2f} x {each:.2f} µs")
        table.add_row("  evaluation", f"{us:.2f} µs")
    table.add_row("a thousand segments to ten, whole step", f"{told['ratio_1000_to_10']:.2f}")
    table.add_row("compiling a thousand segments", f"{told['compile_1000_seconds']:.2f} s")
    swept = told["sweep"]
    table.add_row(f"sweeping {swept['customers']:,} customers to a new book", f"{swept['seconds']:.1f} s")
    table.add_row("changes that it made", f"{swept['changes']:,}")
    table.add_row("pause between two live batches, p50", f"{swept['pause_p50_ms']:.1f} ms")
    table.add_row("the longest", f"{swept['pause_longest_ms']:.1f} ms")
    console.print(table)


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.rules", description=__doc__)
    parser.add_argument("--events", type=int, default=100_000, help="events of each measurement (default %(default)s)")
    parser.add_argument("--customers", type=int, default=1_000_000, help="customers to sweep (default %(default)s)")
    parser.add_argument("--seed", type=int, default=2026, help="seed of the logs (default %(default)s)")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main(parse(), Console())
