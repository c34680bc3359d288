"""The load: what many producers send at once, good and bad, drawn from a seed, for as long as the matrix lasts.

Customers come and go: each lives for some twenty events, so that the oracle can recompute every one of them by brute
force. Most of the event times lie back by an amount that brings the end of some window into the next half minute: so
customers leave segments by time alone all the while.

| share | what |
|---|---|
| 1 % | sent twice, seconds later |
| 5 % | late by up to ten minutes |
| 0.5 % | poison, of every kind in ``POISON``; every few seconds one of 900 kB |
| 0.1 % | stamped a day ahead |
| 2 of 6 | producers whose clocks are 280 s ahead, 300 s behind |
| 5 % | of one customer, the hot key, who changes every three seconds |
| 2 % | of crawlers, by user agent; and a bot that is found by its rate |
| 1 % | in the wrong partition, as librdkafka's default partitioner puts them (ours only) |

Beside it a *beat*: a customer of its own in each partition five times a second, whose one purchase is a change; by
these the matrix measures when a partition is served again.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import random
import time
import zlib
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from stream.core.routing import partition_of
from tests.faults.stock_rules import RATE_LIMIT

#: A poisoned record says in this header how it has to end: the generator knows, and the oracle need not guess.
EXPECT = "expect"
BEAT = "beat"
BEATS_PER_SECOND = 5
_MINUTE = 60_000
#: Before the end of which window (ms): 20 min of a search, 30 of a cart, 40 of any purchase, an hour and two of views.
_WINDOWS = (20 * _MINUTE, 30 * _MINUTE, 40 * _MINUTE, 60 * _MINUTE, 120 * _MINUTE)
_KINDS = ("product_view",) * 10 + ("add_to_cart",) * 3 + ("purchase",) * 2 + ("search",) * 3 + ("profile_update",) * 2
CRAWLER = "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"
_NESTED = b'{"properties":' + b'{"a":' * 300 + b"1" + b"}" * 301
#: (topic, reason, value)
POISON: tuple[tuple[str, str, bytes | None], ...] = (
    ("dead-letters", "tombstone", None),
    ("dead-letters", "not_json", b'{"customer_id": "c1", '),
    ("dead-letters", "not_utf8", b'{"customer_id": "\xff\xfe"}'),
    ("dead-letters", "not_an_object", b"[1, 2]"),
    ("dead-letters", "too_deep", _NESTED),
    ("dead-letters", "not_json", b'{"customer_id": "c1", "event_type": "purchase", "price": NaN}'),
    ("events-rejected", "missing_customer_id", b'{"customer_id": " ", "event_type": "search"}'),
    ("events-rejected", "missing_customer_id", b'{"event_type": "search"}'),
    ("events-rejected", "missing_event_type", b'{"customer_id": "c1"}'),
    ("events-rejected", "missing_customer_id", b'{"customer_id": "c1", "event_type": "search", "customer_id": null}'),
    ("events-rejected", "invalid_type", b'{"customer_id": "c1", "event_type": "purchase", "price": [1]}'),
    ("events-rejected", "invalid_type", b'{"customer_id": "c1", "event_type": "purchase", "price": 1e999}'),
)
HUGE = ("events-rejected", "too_large")


class Sent(NamedTuple):
    """One record on its way."""

    partition: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...] = ()


@dataclass
class _Person:
    name: str
    back: int  # ms
    left: int  # events
    skew: int


@dataclass
class Load:
    """Draws events. ``rate`` is per second, without the beats."""

    seed: int
    partitions: int
    rate: float
    astray: bool
    counts: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._rng = random.Random(f"load {self.seed}")
        self._names = itertools.count()
        self._ids = itertools.count()
        self._people: list[_Person] = []
        self._again: deque[tuple[float, Sent]] = deque()
        self._hot: tuple[float, _Person] | None = None
        self._bot_at = 5.0
        self._huge_at = 3.0
        self._beats = [self._beat_names(p) for p in range(self.partitions)]

    def _beat_names(self, partition: int) -> Iterator[str]:
        for number in itertools.count():
            if partition_of(name := f"{BEAT}-{number:06d}", self.partitions) == partition:
                yield name

    def beats(self, now_ms: int) -> Iterator[Sent]:
        """One of each partition."""
        for partition, names in enumerate(self._beats):
            name = next(names)
            event = {"customer_id": name, "event_type": "purchase", "event_id": name, "product_id": "A", "price": 600}
            yield self._count("beat", Sent(partition, name.encode(), _bytes(event | {"timestamp": now_ms})))

    def events(self, count: int, at: float, now_ms: int) -> Iterator[Sent]:
        """``count`` events, ``at`` seconds after the start; ``now_ms`` is the clock (ms since the epoch)."""
        rng = self._rng
        while self._again and self._again[0][0] <= at:
            yield self._count("duplicate", self._again.popleft()[1])
        if at >= self._huge_at:
            self._huge_at = at + rng.uniform(4, 8)
            value = _bytes({"customer_id": "big", "event_type": "x", "properties": {"p": "y" * 900_000}})
            yield self._count("poison", Sent(rng.randrange(self.partitions), b"big", value, _expected(*HUGE)))
        if at >= self._bot_at:
            self._bot_at = at + rng.uniform(15, 30)
            robot = self._person(RATE_LIMIT, 0)
            for _ in range(RATE_LIMIT + 120):
                yield self._count("rate bot", self._event(robot, now_ms))
        for _ in range(count):
            yield self._one(at, now_ms)

    def _one(self, at: float, now_ms: int) -> Sent:
        rng = self._rng
        dice = rng.random()
        if dice < 0.005:
            topic, reason, value = rng.choice(POISON)
            key = rng.choice((None, b"c1", b"\xff")) if value is not None else b"c1"  # aiokafka sends no null twice
            return self._count("poison", Sent(rng.randrange(self.partitions), key, value, _expected(topic, reason)))
        if dice < 0.055:
            if self._hot is None or at >= self._hot[0]:
                self._hot = at + 3.0, self._person(1 << 30, 0)
            return self._count("hot key", self._event(self._hot[1], now_ms))
        if len(self._people) < self.rate * 1.5:
            self._people.append(self._person(rng.randint(8, 28), rng.random()))
        index = rng.randrange(len(self._people))
        person = self._people[index]
        person.left -= 1
        if person.left <= 0:
            self._people[index] = self._people[-1]
            self._people.pop()
        sent = self._event(person, now_ms)
        if rng.random() < 0.01:
            self._again.append((at + rng.uniform(0.1, 5.0), sent))
            self._again = deque(sorted(self._again, key=lambda item: item[0]))
        return self._count("event", sent)

    def _person(self, left: int, dice: float) -> _Person:
        rng = self._rng
        back = 0 if dice < 0.3 else rng.choice(_WINDOWS) - rng.randint(2_000, 25_000)
        # Two producers of six have clocks that are wrong; a customer comes by way of one.
        skew = rng.choice((280_000, -300_000, 0, 0, 0, 0)) if back == 0 else 0
        return _Person(f"c{next(self._names):07d}", back, left, skew)

    def _event(self, person: _Person, now_ms: int) -> Sent:
        rng = self._rng
        kind = rng.choice(_KINDS)
        time_ms = now_ms - person.back + person.skew
        dice = rng.random()
        if dice < 0.05:
            time_ms -= rng.randint(1_000, 600_000)
        elif dice < 0.051:
            time_ms = now_ms + 86_400_000
        event: dict[str, Any] = {"customer_id": person.name, "event_type": kind, "timestamp": time_ms}
        if kind in ("product_view", "add_to_cart", "purchase"):
            event["product_id"] = rng.choice("ABC")
        if kind == "product_view":
            event["category"] = rng.choice(("Electronics", "Electronics", "Books"))
        if kind in ("add_to_cart", "purchase"):
            event["price"] = rng.choice((20.5, 100, 250.25))
        if kind == "profile_update":
            event["properties"] = {"age": rng.randint(20, 40)}
        if rng.random() < 0.02:
            event["user_agent"] = CRAWLER
        if rng.random() < 0.8:
            event["event_id"] = f"e{next(self._ids):08d}"
        partition = partition_of(person.name, self.partitions)
        if self.astray and rng.random() < 0.02:
            partition = zlib.crc32(person.name.encode()) % self.partitions
        return Sent(partition, person.name.encode(), _bytes(event))

    def _count(self, what: str, sent: Sent) -> Sent:
        self.counts[what] = self.counts.get(what, 0) + 1
        return sent


def _expected(topic: str, reason: str) -> tuple[tuple[str, bytes], ...]:
    return ((EXPECT, f"{topic} {reason}".encode()),)


def _bytes(event: dict[str, Any]) -> bytes:
    return json.dumps(event, separators=(",", ":")).encode()


class Sender:
    """Sends a load until it is stopped. What cannot be sent for two minutes is given up: the log is the truth."""

    def __init__(self, load: Load, topic: str, servers: str) -> None:
        self.load, self.topic, self._servers = load, topic, servers
        #: When (s since the epoch) each beat was handed to the producer.
        self.beats: dict[str, float] = {}
        self.given_up = 0
        self._stop = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._producer = AIOKafkaProducer(
            bootstrap_servers=servers,
            acks="all",
            enable_idempotence=True,
            linger_ms=5,
            max_request_size=2 * 1024 * 1024,
            request_timeout_ms=120_000,
        )

    def start(self) -> None:
        """Begin; ``stop`` ends it."""
        self._task = asyncio.create_task(self._run())

    def check(self) -> None:
        """Raise what ended the load before its time."""
        if self._task is not None and self._task.done():
            self._task.result()

    async def stop(self) -> None:
        """Send no more; everything is acknowledged or given up."""
        self._stop.set()
        if self._task is not None:
            await self._task

    async def _run(self) -> None:
        await self._producer.start()
        begun = time.monotonic()
        sent = beats = 0
        try:
            while not self._stop.is_set():
                at = time.monotonic() - begun
                now_ms = time.time_ns() // 1_000_000
                due = min(int(at * self.load.rate) - sent, int(self.load.rate))  # after a stall no flood
                for each in self.load.events(due, at, now_ms):
                    await self._send(each)
                sent = max(sent + due, int(at * self.load.rate) - int(self.load.rate))
                if at * BEATS_PER_SECOND > beats:
                    beats = int(at * BEATS_PER_SECOND) + 1
                    for each in self.load.beats(now_ms):
                        assert each.key is not None
                        self.beats[each.key.decode()] = time.time()
                        await self._send(each)
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._stop.wait(), 0.04)
        finally:
            await self._producer.stop()

    async def beat(self) -> list[str]:
        """One more beat of each partition, acknowledged: fresh events after everything else."""
        names = []
        producer = AIOKafkaProducer(bootstrap_servers=self._servers, acks="all")
        async with producer:
            for each in self.load.beats(time.time_ns() // 1_000_000):
                assert each.key is not None
                names.append(each.key.decode())
                self.beats[names[-1]] = time.time()
                await producer.send_and_wait(self.topic, each.value, key=each.key, partition=each.partition)
        return names

    async def _send(self, each: Sent) -> None:
        future = await self._producer.send(
            self.topic, each.value, key=each.key, partition=each.partition, headers=list(each.headers)
        )
        future.add_done_callback(self._done)

    def _done(self, future: asyncio.Future[Any]) -> None:
        if not future.cancelled() and isinstance(future.exception(), KafkaError):
            self.given_up += 1
