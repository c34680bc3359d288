"""What a demo is asked to do, and what follows from that: its records, its book and its times."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import yaml

from stream.demo.feed import Pace
from stream.demo.shop import Shop, shop_day
from stream.demo.shopper import HOUR, MINUTE, SECOND
from stream.sources import Format, SourceError, SourceRecord, read

#: The first tick comes this long (µs) before the first record, and the book of segments right after it.
LEAD = MINUTE
#: How often every partition is told the time (µs of the shop's time), if the log is no longer than some days.
TICK_INTERVAL = 30 * SECOND
_MOST_TICKS = 6000


@dataclass(frozen=True, slots=True)
class DemoOptions:
    """The demo's options. ``replay`` replaces the shop's day; ``kill`` kills the worker in mid stream."""

    seed: int = 2026
    customers: int = 4000
    hours: float = 24.0
    #: Hours without events after the last one: carts leave the segment by time alone.
    quiet_hours: float = 25.0
    #: Seconds that the busy part and the quiet part take; 0 is as fast as the worker reads.
    busy_seconds: float = 30.0
    quiet_seconds: float = 5.0
    #: The demo gives up after this many seconds.
    limit_seconds: float = 90.0
    replay: Path | None = None
    format: Format = "events-jsonl"
    segments: Path | None = None
    partitions: int = 4
    #: Share of the webhooks whose first attempt fails.
    failures: float = 0.01
    kill: bool = False
    report: Path = Path("build/demo/report.json")


@dataclass(frozen=True, slots=True)
class Plan:
    """What is going to be sent; instants in µs."""

    title: str
    records: Sequence[SourceRecord]
    book: str
    start: int
    busy_until: int
    until: int
    tick_interval: int
    pace: Pace

    @property
    def segments(self) -> tuple[str, ...]:
        """The names of the segments, in the order of the book."""
        content = yaml.safe_load(self.book)
        return tuple(content["segments"])


def plan(options: DemoOptions) -> Plan:
    """Read or make the records. Raises ``SourceError``, also where there are none, and ``OSError``."""
    if options.replay is None:
        shop = Shop(seed=options.seed, customers=options.customers, hours=options.hours)
        title, records = f"a shop's day, {options.customers:,} customers", list(shop_day(shop))
    else:
        title, records = f"replay of {options.replay.name}", list(read(options.replay, options.format))
    if not records:
        raise SourceError(f"{title}: there are no records to send")
    start, last = records[0].log_time // 1000 * 1000, records[-1].log_time
    until = (last + int(options.quiet_hours * HOUR)) // 1000 * 1000
    return Plan(
        title=title,
        records=records,
        book=_book(options),
        start=start,
        busy_until=last,
        until=until,
        tick_interval=max(TICK_INTERVAL, (until - start) // _MOST_TICKS),
        pace=Pace(last, options.busy_seconds, options.quiet_seconds),
    )


def _book(options: DemoOptions) -> str:
    if options.segments is not None:
        return options.segments.read_text("utf-8")
    rees46 = options.replay is not None and options.format == "rees46"
    name = "segments_rees46.yaml" if rees46 else "segments.yaml"
    return files("stream.demo").joinpath(name).read_text("utf-8")
