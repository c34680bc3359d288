"""A shop's day as a customer log: seeded, so that the same numbers always make the same bytes.

About four thousand customers with a day and a night, carts left and bought, and everything that goes wrong
in real shops: crawlers, scrapers, pixels that fire twice, phones that were under ground, uploads sent again,
tills that partition by another hash, broken records.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from operator import itemgetter
from random import Random

from stream.demo.catalog import Catalog
from stream.demo.dialects import Act, Dialect, app, partner, pixel, web
from stream.demo.noise import broken, crawlers, scrapers, tills
from stream.demo.shopper import HOUR, MINUTE, Person, Shopper, person
from stream.sources import SourceRecord

#: 2026-03-02T00:00:00Z, a Monday, in µs.
START = 1_772_409_600_000_000

_MS = 1000
#: Client -> (share of the customers, its wording).
CLIENTS: tuple[tuple[float, Dialect], ...] = ((0.64, web), (0.2, app), (0.12, partner), (0.04, pixel))


@dataclass(frozen=True, slots=True)
class Shop:
    """How big the day is. ``hours`` cuts it short, ``start`` (µs) is its midnight."""

    seed: int = 2026
    customers: int = 4000
    hours: float = 24.0
    start: int = START

    @property
    def end(self) -> int:
        """The instant (µs) at which the day's records end."""
        return self.start + int(self.hours * HOUR)


def shop_day(shop: Shop | None = None) -> Iterator[SourceRecord]:
    """The day's records in the order of the log; log times are whole milliseconds."""
    shop = shop or Shop()
    records: list[SourceRecord] = []
    catalog = Catalog(Random(f"{shop.seed} catalog"))
    people: list[Person] = []
    for number in range(1, shop.customers + 1):
        rng = Random(f"{shop.seed} customer {number}")
        people.append(person(rng, number))
        records += _customer(people[-1], catalog, shop, rng)
    rng = Random(f"{shop.seed} noise")
    for noise in (crawlers, scrapers, tills):
        records += noise(catalog, shop.start, shop.customers, rng)
    records += broken([str(who.id) for who in people], shop.start, rng)
    # The sort is stable: what has the same instant stays in the order in which it was made.
    records.sort(key=itemgetter(0))
    return iter([record for record in records if record.log_time < shop.end])


def _customer(who: Person, catalog: Catalog, shop: Shop, rng: Random) -> Iterator[SourceRecord]:
    """Everything that the log says about one customer."""
    (dialect,) = rng.choices([dialect for _, dialect in CLIENTS], [share for share, _ in CLIENTS])
    if rng.random() < 0.75:
        yield from _sync_profile(who, shop, rng)
    padded = isinstance(who.id, str) and rng.random() < 0.03
    for acts in Shopper(who, catalog, shop.start, rng).day():
        arrival = 0
        if dialect is app and rng.random() < 0.12:  # under ground: the phone sends the visit when it is back
            arrival = acts[-1].time + rng.randrange(5 * MINUTE, 4 * HOUR, _MS)
        for act in acts:
            if padded and rng.random() < 0.5:
                act = replace(act, customer_id=f" {who.id}\t")
            arrival = max(arrival + 20 * _MS, act.time + rng.randrange(40, 900) * _MS)
            record = SourceRecord(arrival, str(who.id).encode(), dialect(act))
            yield record
            yield from _again(record, dialect, shop, rng)


def _again(record: SourceRecord, dialect: Dialect, shop: Shop, rng: Random) -> Iterator[SourceRecord]:
    """The same bytes once more: a pixel that fires twice, or the partner's upload of 11:00 again at 15:00."""
    if rng.random() < (0.06 if dialect is pixel else 0.015):
        yield record._replace(log_time=record.log_time + rng.randrange(30, 4000) * _MS)
    since_eleven = record.log_time - (shop.start + 11 * HOUR)
    if dialect is partner and 0 <= since_eleven < 10 * MINUTE:
        yield record._replace(log_time=record.log_time + 4 * HOUR)


def _sync_profile(who: Person, shop: Shop, rng: Random) -> Iterator[SourceRecord]:
    """The CRM's nightly upload between 0:10 and 0:40, and for some a change in the course of the day."""
    times = [10 * MINUTE + rng.randrange(30 * MINUTE)]
    if rng.random() < 0.04:
        times.append(rng.randrange(7 * HOUR, 23 * HOUR))
    for nth, time in enumerate(times):
        at = (shop.start + time) // _MS * _MS
        age: int | str = str(who.age) if rng.random() < 0.05 else who.age
        attributes = {"age": age, "location": who.city if nth == 0 else "New York"}
        act = Act("profile_update", at, f"{rng.getrandbits(64):016x}", who.id, properties=attributes)
        yield SourceRecord(at + 200 * _MS, str(who.id).encode(), web(act))
