"""The load: JSON events as a shop's trackers send them, drawn from a seed, in the log before anybody reads.

A load first meets every customer once, in random order (the *warm* part); then customers come at random
(the *steady* part): all alike (``uniform``), or by a power law (``skewed``), the one of rank r with the
weight ``(r + 1000) ** -1.5``. So a fifth of 200,000 customers does nine tenths of all, as in shops, while
the busiest does 0.05 %: no person is a tenth of a shop, whatever a pure power law says.

Of 64 events 38 are product views, 17 page views, 6 additions to the cart and 3 purchases: more of the last
two than in shops' own logs, where they are some 2 % (REES46). Two in a hundred carry a crawler's
user agent, one in a hundred is there twice, the second time some hundred events later. A customer is
interested in eight products, in the cart as well as in what is bought. An event has about 340 bytes.
Everything but the timestamps, which are the time of writing, follows from the seed.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from random import Random
from typing import Any, Literal, NamedTuple

from aiokafka import AIOKafkaProducer

from stream.core.routing import partition_of
from stream.core.time import format_iso
from stream.demo.catalog import BROWSERS, CATEGORIES, CRAWLERS

Skew = Literal["uniform", "skewed"]

#: Bytes of a record batch: what a producer with some linger fills at such rates.
BATCH_BYTES = 64 * 1024
_HEAD, _POWER = 1_000.0, 1.5
_PRODUCTS = 360
_INTERESTS = 8
_LATER = 512  # events between an event and its duplicate
_TWICE, _CRAWLERS = 10, 20  # of 1024
#: By the low six bits of a draw.
_TYPES = ["product_view"] * 38 + ["page_view"] * 17 + ["add_to_cart"] * 6 + ["purchase"] * 3
_STEP = 256  # events between two looks at the clock
_EVENT = b'{"event_id":"%s-%08x","customer_id":"c%06d","session_id":"s%06d-%04x","timestamp":"%s.%06dZ",%s%s'


class Record(NamedTuple):
    """One event on its way into the log."""

    partition: int
    key: bytes
    value: bytes


@dataclass(frozen=True, slots=True)
class Load:
    """A load by its parameters; two of the same parameters are the same events."""

    skew: Skew
    customers: int
    steady: int
    """Events of the steady part, duplicates included."""
    seed: int

    @property
    def events(self) -> int:
        """Of both parts."""
        return self.customers + self.steady

    def warm(self, partitions: int) -> list[int]:
        """Events of the warm part, by partition."""
        homes = Counter(partition_of(f"c{number:06d}", partitions) for number in range(self.customers))
        return [homes[partition] for partition in range(partitions)]

    def shortened(self, events: int) -> Load:
        """A shorter load, as many events per customer, so that the mix of decisions is the same."""
        customers = max(1, round(self.customers * events / self.events))
        return replace(self, customers=customers, steady=events - customers)

    def records(self, partitions: int, clock: Callable[[], float] = time.time) -> Iterator[Record]:
        """All of it, in order; ``clock`` gives the timestamps (seconds since the epoch)."""
        rng = Random(f"{self.seed} {self.skew}")
        homes = [partition_of(f"c{number:06d}", partitions) for number in range(self.customers)]
        keys = [b"c%06d" % number for number in range(self.customers)]
        ends = [[_end(kind, product) for product in range(_PRODUCTS)] for kind in _TYPES]
        people = [_agent(agent) for agent in BROWSERS]
        crawlers = [_agent(agent) for agent in CRAWLERS]
        prefix = f"{rng.getrandbits(64):016x}".encode()
        draw = rng.getrandbits
        past: list[Record] = []
        second, micros = b"", 0
        for nth, customer in enumerate(self._customers(rng)):
            if nth % _STEP == 0:
                second, micros = _instant(clock())
            micros += 1  # no two events of a customer at the same instant
            bits = draw(48)
            if nth >= self.customers + _LATER and (bits >> 12 & 1023) < _TWICE:
                yield past[nth % _LATER]
                continue
            product = (customer * 7919 + (bits >> 6 & (_INTERESTS - 1)) * 31) % _PRODUCTS
            if (bits >> 22 & 1023) < _CRAWLERS:
                agent = crawlers[(bits >> 32 & 255) % len(crawlers)]
            else:
                agent = people[customer % len(people)]
            record = Record(
                homes[customer],
                keys[customer],
                _EVENT
                % (
                    *(prefix, nth, customer, customer, bits >> 44),
                    *(second, micros, ends[bits & 63][product], agent),
                ),
            )
            if len(past) < _LATER:
                past.append(record)
            else:
                past[nth % _LATER] = record
            yield record

    def _customers(self, rng: Random) -> Iterator[int]:
        everybody = list(range(self.customers))
        rng.shuffle(everybody)
        yield from everybody
        # By rank, and who has which rank is by chance as well.
        count, chance = self.customers, rng.random
        if self.skew == "uniform":
            for _ in range(self.steady):
                yield int(count * chance())
            return
        # The cumulated weights of the power law, turned around.
        exponent = 1.0 - _POWER
        scale = count / 200_000
        first, last = (_HEAD * scale) ** exponent, (_HEAD * scale + count) ** exponent
        for _ in range(self.steady):
            rank = (first - chance() * (first - last)) ** (1.0 / exponent) - _HEAD * scale
            yield everybody[min(count - 1, int(rank))]


def _end(kind: str, product: int) -> bytes:
    """The part of an event that its type and product decide."""
    names = list(CATEGORIES)
    name = names[product % len(names)]
    prefix, _, low, high, _ = CATEGORIES[name]
    price = round(low * (high / low) ** (product / _PRODUCTS), 2)
    fields = f'"event_type":"{kind}","product_id":"{prefix}-{1000 + product}","category":"{name}","price":{price},'
    return fields.encode()


def _instant(now: float) -> tuple[bytes, int]:
    """The second in ISO 8601, and the microseconds in it: few enough that a step stays within the second."""
    whole = int(now)
    return format_iso(whole * 1_000_000)[:-1].encode(), min(round((now - whole) * 1e6), 999_999 - _STEP)


def _agent(agent: str) -> bytes:
    return f'"user_agent":"{agent}"}}'.encode()


async def produce(client: dict[str, Any], topic: str, partitions: int, load: Load, *, idempotence: bool) -> None:
    """Write the load into the log, acknowledged."""
    producer = AIOKafkaProducer(**client, acks="all", enable_idempotence=idempotence, max_batch_size=BATCH_BYTES)
    await producer.start()
    try:
        batches = [producer.create_batch() for _ in range(partitions)]
        sent = []
        for partition, key, value in load.records(partitions):
            if batches[partition].append(timestamp=None, key=key, value=value) is None:
                sent.append(await producer.send_batch(batches[partition], topic, partition=partition))
                batches[partition] = producer.create_batch()
                batches[partition].append(timestamp=None, key=key, value=value)
        for partition, batch in enumerate(batches):
            if batch.record_count():
                sent.append(await producer.send_batch(batch, topic, partition=partition))
        for acknowledged in sent:
            await acknowledged
    finally:
        await producer.stop()
