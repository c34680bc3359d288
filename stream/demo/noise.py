"""What a shop's log holds besides its customers: crawlers, scrapers, tills, and broken records.

Every maker takes the shop's midnight in µs, how many customers the shop has, and where its chances come from.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from random import Random

from stream.demo.broken import KINDS
from stream.demo.catalog import BROWSERS, CRAWLERS, Catalog
from stream.demo.dialects import Act, Line, web
from stream.demo.shopper import CURVE, DAY, HOUR, MINUTE
from stream.sources import SourceRecord

#: Customers with this prefix are known to the tills alone, whose C library partitions by CRC32.
TILL = "till-"

_MS = 1000


def crawlers(catalog: Catalog, start: int, customers: int, rng: Random) -> Iterator[SourceRecord]:
    """Search engines and the like, who say so; each page makes them a new visitor of the shop."""
    for _ in range(max(1, customers // 70)):
        agent, time = rng.choice(CRAWLERS), start + rng.randrange(DAY)
        for _ in range(rng.randrange(30, 90)):
            time += rng.randrange(500, 8000) * _MS
            yield _view(catalog, f"visitor-{rng.getrandbits(40):010x}", agent, time, rng)


def scrapers(catalog: Catalog, start: int, customers: int, rng: Random) -> Iterator[SourceRecord]:
    """Price scrapers behind an ordinary browser's name: hundreds of views a minute by one customer."""
    for number in range(max(1, customers // 800)):
        agent, time = rng.choice(BROWSERS), start + rng.randrange(DAY)
        for _ in range(rng.randrange(900, 1600)):
            time += rng.randrange(40, 160) * _MS
            yield _view(catalog, f"guest-{number:02d}", agent, time, rng)


def tills(catalog: Catalog, start: int, customers: int, rng: Random) -> Iterator[SourceRecord]:
    """Small sales in a shop of bricks. Their records lie in wrong partitions, and the stream moves them.

    When a moved record arrives is a matter of chance, so that these sales are too small for any segment.
    """
    for _ in range(max(4, customers // 60)):
        (hour,) = rng.choices(range(8, 20), CURVE[8:20])
        at = (start + hour * HOUR + rng.randrange(HOUR)) // _MS * _MS
        name = f"{TILL}{rng.randrange(max(4, customers // 100)):04d}"
        product = catalog.product(rng, "Books")
        act = Act("purchase", at, f"{rng.getrandbits(64):016x}", name, line=Line(product, 1))
        yield SourceRecord(at + 90 * _MS, name.encode(), web(act))


def broken(customers: Sequence[str], start: int, rng: Random) -> Iterator[SourceRecord]:
    """Every kind of bad input, over the whole day; the megabyte only once."""
    for kind, make in KINDS.items():
        for _ in range(1 if kind == "megabyte" else max(1, len(customers) // 400)):
            at = (start + rng.randrange(DAY - MINUTE)) // _MS * _MS
            key, value = make(rng.choice(customers), f"{rng.getrandbits(64):016x}", at)
            yield SourceRecord(at + 200 * _MS, key, value)


def _view(catalog: Catalog, name: str, agent: str, time: int, rng: Random) -> SourceRecord:
    line = Line(catalog.product(rng, catalog.category(rng)), 1)
    at = time // _MS * _MS
    act = Act("product_view", at, f"{rng.getrandbits(64):016x}", name, user_agent=agent, line=line)
    return SourceRecord(at + 80 * _MS, name.encode(), web(act))
