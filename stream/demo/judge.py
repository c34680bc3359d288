"""The verdict at the end of a demo: is every event accounted for, every change delivered once, and right?

Right means: what the in-process interpreter says of the same records. It is given what stands in the topic
``events``, but none of the ticks in between, no partitions and no crashes: nothing of that may matter.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any

import orjson

from stream.core.config import CoreSettings
from stream.core.routing import partition_of
from stream.demo.inbox import Inbox, fingerprint
from stream.demo.topics import Record
from stream.interpreter import InMemoryRecord, Interpreter

#: Differences that are written out; the rest is counted.
SHOWN = 5
_MS = 1000
_BATCH = 2000


@dataclass(frozen=True, slots=True)
class Finding:
    """One question and its answer. ``details`` say what differs, if something does."""

    question: str
    holds: bool
    answer: str
    details: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Evidence:
    """Everything that the judge looks at, read from the topics and the receiver after all came to rest."""

    book: str
    settings: CoreSettings
    partitions: int
    until: int  # µs
    sent: int
    #: What the worker's metrics say; where one was killed, only those of the one after it.
    endings: Counter[tuple[str, str]]
    read: int
    killed: bool
    events: Sequence[Record]
    changes: Sequence[Record]
    rejected: Sequence[Record]
    dead_letters: Sequence[Record]
    inbox: Inbox
    bad_signatures: Sequence[str]


def judge(evidence: Evidence) -> list[Finding]:
    """Answer every question."""
    expected = interpret(evidence)
    return [
        _accounting(evidence, expected),
        _refused(evidence, expected),
        _once(evidence),
        _delivered(evidence),
        _in_order(evidence),
        _as_interpreted(evidence, expected),
    ]


def interpret(evidence: Evidence) -> Interpreter:
    """The in-process interpreter after the records of the log and the time until ``until``."""
    interpreter = Interpreter(evidence.book, settings=evidence.settings)
    records = list(in_log_time(evidence.events, evidence.settings.clock_skew, evidence.partitions))
    for at in range(0, len(records), _BATCH):
        interpreter.feed(records[at : at + _BATCH])
    interpreter.advance(evidence.until)
    return interpreter


def in_log_time(events: Iterable[Record], skew: int, partitions: int) -> Iterator[InMemoryRecord]:
    """The events of all partitions in one order, each with its log time; without ticks, books, originals.

    An original is a record that the stream found in the wrong partition and sent again: the second counts.
    """
    moved = {value for event in events for name, value in event.headers if name == "origin"}
    now, tick = [0] * partitions, [0] * partitions
    timed: list[tuple[int, int, Record]] = []
    for event in sorted(events, key=lambda event: (event.partition, event.offset)):
        number, headers, stamp = event.partition, dict(event.headers), event.timestamp * _MS
        if headers.get("fact") == b"tick":
            tick[number] = max(tick[number], stamp)
        elif event.timestamp_type == 0 and tick[number]:
            stamp = min(stamp, tick[number] + (0 if "origin" in headers else skew))
        now[number] = max(now[number], stamp)
        if "fact" not in headers and f"events/{number}/{event.offset}".encode() not in moved:
            timed.append((now[number], number, event))
    timed.sort(key=lambda each: each[:2])
    for nth, (time, _, event) in enumerate(timed, start=1):
        yield InMemoryRecord(nth, time // _MS, event.key, event.value, event.headers)


def _accounting(evidence: Evidence, expected: Interpreter) -> Finding:
    question = "every event that was sent ended in exactly one place"
    counted, due = evidence.endings, expected.endings
    total = sum(counted.values())
    if evidence.killed:
        return Finding(
            "every event that the worker after the killed one read ended in exactly one place",
            evidence.read == total,
            f"{evidence.read:,} read, {total:,} ended; the killed one's counters died with it",
        )
    details = [
        f"{ending} ({reason}): {counted[ending, reason]} counted, {due[ending, reason]} expected"
        for ending, reason in sorted(counted.keys() | due.keys())
        if counted[ending, reason] != due[ending, reason]
    ]
    by_ending: Counter[str] = Counter()
    for (ending, _), count in counted.items():
        by_ending[ending] += count
    sums = " + ".join(f"{count:,} {ending.replace('_', '-')}" for ending, count in sorted(by_ending.items()))
    holds = evidence.read == evidence.sent == total and not details
    return Finding(
        question,
        holds,
        f"{sums} = {total:,}; {evidence.read:,} read; {evidence.sent:,} sent",
        details[:SHOWN],
    )


def _refused(evidence: Evidence, expected: Interpreter) -> Finding:
    """What was refused stands on its topic, once per original record, and for the reason that it should."""
    origins: dict[tuple[Any, ...], str] = {}
    for record in [*evidence.rejected, *evidence.dead_letters]:
        refused = orjson.loads(record.value or b"{}")
        place = (refused.get("topic"), refused.get("partition"), refused.get("offset"))
        origins[place] = refused.get("reason", "")
    found, due = Counter(origins.values()), Counter(refused.reason for refused in expected.refused)
    details = [
        f"{reason}: {found[reason]} on the topics, {due[reason]} expected"
        for reason in sorted(found.keys() | due.keys())
        if found[reason] != due[reason]
    ]
    return Finding(
        "what was refused is kept, with its reason and its bytes",
        not details,
        f"{len(origins):,} records on events-rejected and dead-letters",
        details[:SHOWN],
    )


def _once(evidence: Evidence) -> Finding:
    ids = Counter(_id(record) for record in evidence.changes)
    twice = [name for name, count in ids.items() if count > 1]
    astray = [
        f"{record.key!r} in partition {record.partition}"
        for record in evidence.changes
        if partition_of((record.key or b"").decode(), evidence.partitions) != record.partition
    ]
    return Finding(
        "no change stands twice on segment-changes, and each in its customer's partition",
        not twice and not astray,
        f"{len(evidence.changes):,} changes, {len(ids):,} ids",
        [*(f"twice: {name}" for name in twice[:SHOWN]), *astray[:SHOWN]],
    )


def _delivered(evidence: Evidence) -> Finding:
    said = {_id(record): fingerprint(orjson.loads(record.value or b"{}")) for record in evidence.changes}
    got = evidence.inbox.changes
    details = [f"never delivered: {name}" for name in said.keys() - got.keys()]
    details += [f"delivered and never said: {name}" for name in got.keys() - said.keys()]
    both = said.keys() & got.keys()
    details += [f"delivered otherwise than said: {name}" for name in both if said[name] != got[name]]
    details += [f"repeated with other bytes: {name}" for name in evidence.inbox.differing]
    details += [f"bad signature: {what}" for what in evidence.bad_signatures]
    return Finding(
        "every change was delivered exactly once, after repeats were recognised by their id",
        not details,
        f"{len(said):,} said, {len(got):,} delivered, {evidence.inbox.repeats:,} repeats recognised",
        details[:SHOWN],
    )


def _in_order(evidence: Evidence) -> Finding:
    wrong = evidence.inbox.disordered
    return Finding(
        "each customer's changes were delivered in their order",
        not wrong,
        f"{len(wrong):,} out of order",
        [f"out of order: {name}" for name in wrong[:SHOWN]],
    )


def _as_interpreted(evidence: Evidence, expected: Interpreter) -> Finding:
    """Per customer the same changes, byte for byte."""
    due: defaultdict[str, list[bytes]] = defaultdict(list)
    said: defaultdict[str, list[bytes]] = defaultdict(list)
    for change in expected.decided:
        due[change.customer_id].append(change.value)
    for record in sorted(evidence.changes, key=lambda record: (record.partition, record.offset)):
        said[(record.key or b"").decode()].append(record.value or b"")
    details = [
        _difference(customer, said[customer], due[customer])
        for customer in sorted(said.keys() | due.keys())
        if said[customer] != due[customer]
    ]
    return Finding(
        "the in-process interpreter says the same of the same events, byte for byte",
        not details,
        f"{len(expected.decided):,} changes of {len(due):,} customers; {len(details):,} customers differ",
        details[:SHOWN],
    )


def _difference(customer: str, said: list[bytes], due: list[bytes]) -> str:
    for nth, (one, other) in enumerate(zip(said, due, strict=False), start=1):
        if one != other:
            return f"{customer}, change {nth}: {one.decode()} instead of {other.decode()}"
    return f"{customer}: {len(said)} changes instead of {len(due)}"


def digest(changes: Iterable[bytes | None]) -> str:
    """32 hex digits for all that was said, in whatever order: each change names its customer and number."""
    return blake2b(b"\n".join(sorted(change or b"" for change in changes)), digest_size=16).hexdigest()


def _id(record: Record) -> str:
    return str(orjson.loads(record.value or b"{}").get("id"))
