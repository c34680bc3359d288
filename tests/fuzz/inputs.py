"""The inputs of each target, from a seeded ``Random``: some noise, some mutated, most of the right shape."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from email.utils import formatdate
from random import Random
from typing import Any

from connectors.exchange import AddressRefused, Response, Unreachable
from connectors.platforms import discover
from connectors.sender import REASONS
from stream.core.fact import Limits
from stream.core.filled import Filled
from stream.core.time import format_iso, parse_iso
from stream.interpreter import InMemoryRecord, definitions
from tests.fuzz import corpus
from tests.fuzz.mutation import bytewise, encoded, noise, text, value, wordwise

NOW = parse_iso("2026-03-29T00:59:30Z")
_MS = 1000
Headers = Sequence[tuple[str, bytes]]
_SMALL = Limits(max_bytes=2000)
_TEXTS = ("event_id", "product_id", "category", "currency", "order_id", "cart_id", "session_id", "user_agent", "ip")
_OTHER_NAMES = ("userId", "user_id", "event", "event_name", "messageId", "type", "context", "traits", "sent_at")
_PROPERTIES = (
    "age",
    "location",
    "score",
    "newsletter",
    "renews_at",
    "revenue",
    "total",
    "products",
    "items",
    "quantity",
    "sku",
    "value",
)
_AGENTS = ("Mozilla/5.0", "Googlebot/2.1 (+http://www.google.com/bot.html)", "curl/8")


def event(rng: Random, at: int) -> dict[str, Any]:
    """An event about log time ``at`` (µs); a few of its fields are odd."""

    def odd(usual: Any) -> Any:
        return value(rng) if rng.random() < 0.06 else usual

    stated: dict[str, Any] = {
        "customer_id": odd(rng.choice(("ann", "bob", "Cy", "дора", 7))),
        "event_type": odd(
            rng.choice(
                corpus.EVENT_TYPES[:40]
                if rng.random() < 0.3
                else ("product_view", "purchase", "add_to_cart", "profile_update")
            )
        ),
    }
    if rng.random() < 0.7:
        time = at - rng.choice((0, 1, 10**6, 3600 * 10**6, 30 * 86_400 * 10**6, -(10**9)))
        stated["timestamp"] = odd(rng.choice((format_iso(time), time // _MS, time / 1e6, time)))
    for name in rng.sample(_TEXTS, rng.randrange(5)):
        stated[name] = odd(
            rng.choice(_AGENTS) if name == "user_agent" else rng.choice(("a", "b", "Electronics", "EUR", 12))
        )
    for name in ("price", "quantity"):
        if rng.random() < 0.4:
            stated[name] = odd(rng.choice((1, 2, 19.99, "12.50", -1)))
    if rng.random() < 0.4:
        stated["properties"] = odd(
            {
                name: odd(rng.choice((30, 2.5, "NYC", True, None, [{"sku": "a"}])))
                for name in rng.sample(_PROPERTIES, rng.randrange(5))
            }
        )
    if rng.random() < 0.1:
        stated[rng.choice(_OTHER_NAMES)] = value(rng)
    return stated


def event_bytes(rng: Random, at: int = NOW) -> bytes | None:
    """What a producer may send: an event, a damaged one, any JSON, any bytes, nothing."""
    kind = rng.random()
    if kind < 0.01:
        return None
    if kind < 0.06:
        return noise(rng)
    if kind < 0.10:
        return encoded(rng, value(rng))
    whole = encoded(rng, event(rng, at))
    return bytewise(rng, whole) if kind < 0.35 else whole


@dataclass(frozen=True)
class Value:
    """One value for the decoder."""

    value: bytes | None
    origin: str | None
    limits: Limits


def decode(rng: Random) -> Value:
    return Value(event_bytes(rng), rng.choice((None, "events/0/1")), rng.choice((Limits(), _SMALL)))


@dataclass(frozen=True)
class Log:
    """A log of one partition, and where it is cut into batches the second time."""

    book: str
    number: int
    partitions: int
    records: list[InMemoryRecord] = field(repr=True)
    cuts: list[int] = field(default_factory=list)


def log(rng: Random) -> Log:
    seeds = rng.sample(corpus.books(), 2)
    # Where the broker does not stamp, there is a tick before anything else: without one a producer's time is believed.
    at, offset, stamped = NOW, 1, rng.choice((0, 1))
    records = [InMemoryRecord(offset, at // _MS, None, b"{}", (("fact", b"tick"),), stamped)]
    for _ in range(rng.choice((3, 20, 60))):
        offset += rng.choice((1, 1, 1, 3))
        at += rng.choice((0, 1, 10, 999, 60_000, 3_600_000, 86_400_000)) * _MS
        again = records[-1] if rng.random() < 0.08 else None  # a producer that tried twice
        sent, headers = (again.value, again.headers) if again else record_value(rng, at, seeds)
        # A producer may say what it likes of the time; a tick says it by the clock of the worker that owns the log.
        wild = stamped == 0 and ("fact", b"tick") not in headers and rng.random() < 0.05
        stamp = rng.choice((-1, 0, 2**62, at // _MS - 10**7)) if wild else at // _MS
        key = rng.choice((None, b"ann", noise(rng, 6)))
        records.append(InMemoryRecord(offset, stamp, key, sent, headers, stamped))
    partitions = rng.choice((1, 1, 3))
    cuts = sorted(rng.randrange(len(records) + 1) for _ in range(rng.randrange(5)))
    return Log(seeds[0].text, rng.randrange(partitions), partitions, records, cuts)


def record_value(rng: Random, at: int, seeds: list[corpus.Seed]) -> tuple[bytes | None, Headers]:
    """The value and the headers of one record of the log."""
    kind = rng.random()
    if kind < 0.04:
        return rng.choice((b"{}", b"", None, noise(rng))), (("fact", b"tick"),)
    if kind < 0.09:
        book = definitions(rng.choice(seeds).text)
        damaged = bytewise(rng, book) if rng.random() < 0.7 else book
        return rng.choice((damaged, damaged, damaged, event_bytes(rng, at))), (("fact", b"definitions"),)
    if kind < 0.12:
        seed = seeds[1]
        keys = rng.sample(seed.horizons, rng.randrange(len(seed.horizons) + 1))
        fact = Filled(seed.version, [*keys], rng.choice((0, 0, 5)), rng.choice((0, 0, at))).encode()
        return bytewise(rng, fact) if rng.random() < 0.3 else fact, (("fact", b"filled"),)
    headers: Headers = ()
    if kind < 0.16:
        headers = rng.choice((
            (("fact", noise(rng)),), (("moved", b"1"), ("origin", noise(rng))), (("origin", b"\xff"),),
            (("trace", noise(rng)), ("moved", b"")), (("fact", b"tick"), ("fact", b"")),
        ))  # fmt: skip
    return event_bytes(rng, at), headers


def sql(rng: Random) -> str:
    """The SQL of one segment."""
    found = rng.choice(corpus.conditions())
    if rng.random() < 0.3:
        found = f"({found}) {rng.choice(('AND', 'OR', 'AND NOT', '=', '||'))} ({rng.choice(corpus.conditions())})"
    if rng.random() < 0.1:
        return found
    found = wordwise(rng, found, corpus.sql_words())
    return text(bytewise(rng, found.encode("utf-8", "surrogatepass"))) if rng.random() < 0.1 else found


def book(rng: Random) -> str:
    """A file of definitions."""
    whole = rng.choice(corpus.books()).text
    return text(noise(rng)) if rng.random() < 0.03 else _yaml(rng, whole)


def _yaml(rng: Random, whole: str) -> str:
    if rng.random() < 0.5:
        return text(bytewise(rng, whole.encode()))
    return text(wordwise(rng, whole, corpus.ODD).encode("utf-8", "surrogatepass"))


@dataclass(frozen=True)
class Delivery:
    """Records of ``segment-changes``, and what the platform answers to requests: in turn one of these, or a good answer
    that was bent as ``bending`` says.
    """

    platform: str
    records: list[bytes]
    answers: list[Response | Exception]
    bending: int
    metadata: str


_CHANGE = {
    "id": "0" * 32, "customer_id": "ann", "segment": "vip", "action": "entered", "at": "2026-03-29T00:59:30Z",
    "sequence": 1, "definition_version": "0" * 16, "cause": {"kind": "event"},
    "evidence": {"total_spent": 1}, "profile": {"email": "ann@example.com", "cart_value": 1}, "code": "2",
}  # fmt: skip
_STATUSES = (
    200, 202, 204, 301, 304, 400, 401, 403, 404, 408, 409, 410, 413, 422, 425, 429, 500, 502, 503, 504, 100, 299,
    999, 0,
)  # fmt: skip


def delivery(rng: Random) -> Delivery:
    records = []
    for _ in range(rng.choice((1, 1, 2, 5))):
        change = {
            **_CHANGE,
            "customer_id": f"c{rng.randrange(9)}",
            "segment": rng.choice(("vip", "abandoned_cart")),
            "action": rng.choice(("entered", "exited", "erased")),
            "profile": {"email": f"c{rng.randrange(9)}@example.com", "cart_value": value(rng, 0)},
        }
        if rng.random() < 0.5:
            change[rng.choice(list(_CHANGE))] = value(rng)
        whole = encoded(rng, change)
        records.append(bytewise(rng, whole) if rng.random() < 0.2 else whole)
    metadata = bytewise(rng, b"1 12 1,2,5,1").decode("latin-1")
    return Delivery(
        rng.choice(sorted(discover())), records, [_answer(rng) for _ in range(6)], rng.getrandbits(32), metadata
    )


def _answer(rng: Random) -> Response | Exception:
    if rng.random() < 0.1:
        return rng.choice((AddressRefused("private"), Unreachable(rng.choice(sorted(REASONS)))))
    wait = rng.choice(
        ("120", "1.5", formatdate(NOW / 1e6 + 60, usegmt=True), str(NOW // 10**6 + 60), format_iso(NOW), *corpus.ODD)
    )
    if rng.random() < 0.5:
        wait = bytewise(rng, wait.encode("utf-8", "surrogatepass")).decode("utf-8", "surrogateescape")
    names = ("retry-after", "content-type", "content-encoding", "x-ratelimit-reset", "date")
    headers = {name: wait for name in names if rng.random() < 0.6}
    body = rng.choice(
        (b"", noise(rng, 3000), encoded(rng, value(rng, 3)), bytewise(rng, b'{"errors":[{"code":"x","detail":[]}]}'))
    )
    return Response(rng.choice(_STATUSES), headers, body[:16_384])


def destinations(rng: Random) -> str:
    """A file of destinations."""
    return _yaml(rng, rng.choice(corpus.destinations()))


@dataclass(frozen=True)
class Told:
    """A file of settings and the environment."""

    file: bytes
    environment: dict[str, str]


def settings(rng: Random) -> Told:
    known = corpus.settings()
    chosen = {name: known[name] for name in rng.sample(sorted(known), 4)}
    for name in chosen:
        if rng.random() < 0.3:
            chosen[name] = rng.choice(corpus.ODD)
    file = "".join(f"{name}: {said}\n" for name, said in chosen.items()).encode("utf-8", "surrogatepass")
    environment = {}
    for name in rng.sample(sorted(known), rng.randrange(3)):
        said = rng.choice((known[name], rng.choice(corpus.ODD), wordwise(rng, known[name], corpus.ODD)))
        # What an environment can hold.
        environment["LIVESEGMENTS_" + name.upper()] = said.replace("\0", "").encode("utf-8", "ignore").decode()
    return Told(bytewise(rng, file) if rng.random() < 0.3 else file, environment)


@dataclass(frozen=True)
class Foreign:
    """A record of a foreign topic. ``timestamp`` (ms) is what Kafka says."""

    value: bytes | None
    timestamp: int
    path: str


def foreign(rng: Random) -> Foreign:
    stamp = rng.choice((NOW // _MS, NOW // _MS, NOW // _MS, -1, 0, 2**62))
    path = rng.choice(("customer_id", "properties.products.0.sku", "context.ip", "properties.0", "a..b", ""))
    return Foreign(event_bytes(rng), stamp, path)
