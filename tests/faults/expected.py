"""What a contestant must have said of the log as it is stored: two ways for ours, one for the stock app.

For ours every customer is recomputed by the oracle of ``tests.simulation.oracle``, which shares nothing with the core
and treats customers one by one; the bytes come from the core over the same log, record by record and without a fault.
For the stock app its own rules are applied in the order of the log.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, NamedTuple

import orjson
from crawleruseragents import is_crawler

from stream.core.config import CoreSettings
from stream.core.fill import Fill
from stream.core.filled import is_fill
from stream.core.output import Output
from stream.core.partition import Partition
from tests.faults.load import EXPECT
from tests.faults.stock_rules import RATE_LIMIT, RATE_SECONDS, Refused, decide, read
from tests.simulation.asking import oracle_of
from tests.simulation.log import DEAD, REJECTED, Stored
from tests.simulation.oracle import Said

#: (customer, sequence)
Key = tuple[Any, ...]
_TOPICS = {"dead-letters": DEAD, "events-rejected": REJECTED}


class Due(NamedTuple):
    """A change that must be there: the record of the log that brings it, and when (ms)."""

    offset: int
    at_ms: int
    value: bytes | None
    swept: bool  # by a new book, in the background: no offset says when


@dataclass
class Expected:
    """Of one partition."""

    changes: dict[Key, Due] = field(default_factory=dict)
    #: (topic, offset, reason)
    refused: set[tuple[str, int, str]] = field(default_factory=set)
    astray: set[int] = field(default_factory=set)
    #: What the oracle says of the same changes; None for the stock app.
    said: dict[Key, Said] | None = None
    members: dict[str, dict[str, int]] = field(default_factory=dict)
    state: dict[str, Any] = field(default_factory=dict)


def by_core(number: int, partitions: int, settings: CoreSettings, log: Sequence[Stored]) -> tuple[Expected, Partition]:
    """The core over the log in one go, every customer brought to each new book at once."""
    partition, found = Partition(number, partitions, settings), Expected()
    for at, record in enumerate(log):
        out = Output()
        if is_fill(record) and (filled := partition.takes_fill(record.value)) is not None:
            edition = partition.membership.edition
            assert edition is not None
            fill = Fill(number, partitions, settings, edition, filled)
            fill.process([earlier for earlier in log[:at] if filled.first <= earlier.offset])
            fill.until = record.offset
            partition.fill = fill
        partition.process([record], out)
        while partition.membership.sweeping:
            partition.sweep(10_000, out)
        for change in out.changes:
            due = Due(record.offset, record.timestamp, change.value, change.cause == "definition")
            found.changes[change.customer_id, change.sequence] = due
        for refused in out.refused:
            topic = DEAD if refused.ending == "dead_lettered" else REJECTED
            found.refused.add((topic, refused.record.offset, refused.reason))
        found.astray |= {moved.record.offset for moved in out.moved}
    return found, partition


def _some(
    number: int, partitions: int, settings: CoreSettings, logs: Sequence[tuple[str, list[Stored]]]
) -> tuple[list[Said], set[tuple[str, int, str]], set[int], dict[str, dict[str, int]]]:
    said: list[Said] = []
    refused: set[tuple[str, int, str]] = set()
    astray: set[int] = set()
    members: dict[str, dict[str, int]] = {}
    for name, log in logs:
        oracle = oracle_of(number, partitions, settings).read(log)
        said += [each for each in oracle.said if each.customer == name]
        offsets = {record.offset for record in log if _customer(record) == name}
        refused |= {each for each in oracle.refused if each[1] in offsets}
        astray |= oracle.astray & offsets
        if name in oracle.members:
            members[name] = oracle.members[name]
    return said, refused, astray, members


def _customer(record: Stored) -> str:
    """Whose record it is; empty where that cannot be said, or is said to be poison."""
    headers = dict(record.headers)
    if EXPECT in headers or "fact" in headers:
        return ""
    return str(orjson.loads(record.value or b"null")["customer_id"])


def by_oracle(pool: Executor, number: int, partitions: int, settings: CoreSettings, log: Sequence[Stored]) -> Expected:
    """Each customer by brute force, from its own records, the books, and the record that ends the log."""
    control = [record for record in log if dict(record.headers).get("fact") in (b"definitions", b"filled")]
    facts = [record for record in log if not dict(record.headers).get("fact")]
    own: dict[str, list[Stored]] = defaultdict(list)
    found = Expected(said={})
    for record in log:
        poison = dict(record.headers).get(EXPECT)
        if poison is not None:
            topic, reason = poison.decode().split()
            found.refused.add((_TOPICS[topic], record.offset, reason))
        elif (name := _customer(record)) != "":
            own[name].append(record)
    # Whoever's they are: the first fact says that the log began with facts before a book; those at which a filling
    # begins, when that was; the last, how far the time went.
    begun = {orjson.loads(r.value or b"")["first"] for r in control if dict(r.headers)["fact"] == b"filled"}
    firsts = [record for record in log if record.offset in begun]
    shared = {record.offset: record for record in (*control, *firsts, *facts[:1], *log[-1:])}
    logs = []
    for name, records in own.items():
        merged = shared | {record.offset: record for record in records}
        logs.append((name, [merged[offset] for offset in sorted(merged)]))
    logs.sort(key=lambda each: -len(each[1]))
    parts = [logs[at::64] for at in range(64)]
    assert found.said is not None
    for said, refused, astray, members in pool.map(
        _some, *zip(*[(number, partitions, settings, part) for part in parts if part], strict=True)
    ):
        found.said |= {(each.customer, each.sequence): each for each in said}
        found.refused |= refused
        found.astray |= astray
        found.members |= members
    return found


def stock_key(change: dict[str, Any]) -> Key:
    """What makes a change of the stock app this one: who, what, and because of which event."""
    return change["customer_id"], change["segment"], change["action"], change["at"], change["cause"]["event_id"]


def by_stock_rules(log: Sequence[Stored]) -> Expected:
    """The stock app's rules in the order of the log."""
    found = Expected()
    customers: dict[str, dict[str, Any]] = {}
    seen: set[str] = set()
    rates: dict[tuple[str, int], int] = defaultdict(int)
    is_bot = lru_cache(None)(is_crawler)
    for record in log:
        now = record.timestamp / 1000
        try:
            event = read(record.value, now, is_bot)
            name, event_id = event["customer_id"], event["event_id"]
            if event_id is not None:
                if event_id in seen:
                    continue
                seen.add(event_id)
            rates[name, int(now // RATE_SECONDS)] += 1
            if rates[name, int(now // RATE_SECONDS)] > RATE_LIMIT:
                raise Refused("bot_rate")
        except Refused as refused:
            found.refused.add((DEAD, record.offset, refused.reason))
            continue
        for change in decide(customers.setdefault(name, {}), event, now):
            found.changes[stock_key(change)] = Due(record.offset, record.timestamp, orjson.dumps(change), False)
    return found
