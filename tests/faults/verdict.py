"""What was recorded against what must be there, with each finding put to the row in which it happened."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import orjson

from schemas.changes import SegmentChange, is_change
from stream.core.routing import partition_of
from tests.faults.expected import Due, Expected, Key, stock_key
from tests.faults.watch import Sample
from tests.simulation.asking import decided
from tests.simulation.log import Stored

LOST, PHANTOM, WRONG, ORDER, REFUSED, MOVED, BEYOND, STATE = KINDS = (
    "lost",
    "phantom",
    "wrong",
    "order",
    "refused",
    "moved",
    "beyond",
    "state",
)


class Finding(NamedTuple):
    """Something that is not as it must be, at a time (ms) by which its row is found."""

    kind: str
    customer: str
    at_ms: int
    what: str


@dataclass
class Verdict:
    """Of one contestant. ``twice`` are the times (ms) at which a change was written that was there already."""

    findings: list[Finding] = field(default_factory=list)
    twice: list[int] = field(default_factory=list)
    changes: int = 0
    #: Of refused records, which are written at least once.
    refused_twice: int = 0

    def add(self, other: Verdict) -> None:
        """Take in another partition's."""
        self.findings += other.findings
        self.twice += other.twice
        self.changes += other.changes
        self.refused_twice += other.refused_twice

    def counts(self) -> Counter[str]:
        """Findings by kind."""
        return Counter(finding.kind for finding in self.findings)

    def by_row(self, row_at: Callable[[int], str]) -> dict[str, Counter[str]]:
        """Findings by row: what follows from a customer's first finding is put to the row of the first."""
        firsts: dict[str, int] = {}
        for finding in self.findings:
            if finding.customer:
                firsts[finding.customer] = min(finding.at_ms, firsts.get(finding.customer, finding.at_ms))
        found: dict[str, Counter[str]] = defaultdict(Counter)
        for finding in self.findings:
            found[row_at(firsts.get(finding.customer, finding.at_ms))][finding.kind] += 1
        for at_ms in self.twice:
            found[row_at(at_ms)]["twice"] += 1
        return dict(found)


def judge_ours(
    number: int,
    partitions: int,
    core: Expected,
    oracle: Expected,
    changes: Sequence[Stored],
    refused: Mapping[str, Sequence[Stored]],
    samples: Iterable[Sample],
) -> Verdict:
    """One partition of livesegments: against the oracle in what is said, against the core in every byte."""
    verdict = Verdict()
    must = oracle.said
    assert must is not None
    first: dict[Key, Stored] = {}
    last: dict[str, int] = defaultdict(int)
    inside: set[tuple[str, str]] = set()
    for record in changes:
        if not is_change(record.headers):
            continue
        value = record.value or b""
        SegmentChange.model_validate_json(value)
        said = decided(value)
        key = said.customer, said.sequence
        if key in first:
            verdict.twice.append(record.timestamp)
            if first[key].value != value:
                verdict.findings.append(Finding(WRONG, said.customer, record.timestamp, f"{key} came with other bytes"))
            continue
        first[key] = record
        verdict.changes += 1
        if said.sequence != last[said.customer] + 1:
            text = f"{said.customer}: {said.sequence} after {last[said.customer]}"
            verdict.findings.append(Finding(ORDER, said.customer, record.timestamp, text))
        last[said.customer] = said.sequence
        place, entered = (said.customer, said.segment), said.action == "entered"
        if entered is (place in inside):
            text = f"{place} {said.action} twice in a row"
            verdict.findings.append(Finding(ORDER, said.customer, record.timestamp, text))
        (inside.add if entered else inside.discard)(place)
        if record.key != said.customer.encode() or partition_of(said.customer, partitions) != number:
            verdict.findings.append(Finding(WRONG, said.customer, record.timestamp, f"{key} is in the wrong place"))
    for key, said in must.items():
        if key not in first:
            due = core.changes.get(key)
            at_ms = due.at_ms if due else said.at // 1000
            verdict.findings.append(Finding(LOST, said.customer, at_ms, f"{said} never left"))
    for key, record in first.items():
        said = decided(record.value or b"")
        if key not in must:
            verdict.findings.append(Finding(PHANTOM, said.customer, record.timestamp, f"{said} is not in the log"))
        elif said != must[key]:
            verdict.findings.append(Finding(WRONG, said.customer, record.timestamp, f"{said}, not {must[key]}"))
        elif key not in core.changes or core.changes[key].value != record.value:
            verdict.findings.append(Finding(WRONG, said.customer, record.timestamp, f"{key} has other bytes"))
    # The core without a fault against the oracle: were both wrong in the same way, nothing above would show it.
    for key in core.changes.keys() - must.keys():
        verdict.findings.append(Finding(STATE, str(key[0]), core.changes[key].at_ms, f"the core alone says {key}"))
    _refused(verdict, core, oracle, refused)
    _beyond(verdict, number, core.changes, first, samples)
    return verdict


def _refused(verdict: Verdict, core: Expected, oracle: Expected, refused: Mapping[str, Sequence[Stored]]) -> None:
    found: Counter[tuple[str, int, str]] = Counter()
    for topic, records in refused.items():
        for record in records:
            said = orjson.loads(record.value or b"")
            found[topic, said["offset"], said["reason"]] += 1
    verdict.refused_twice += sum(found.values()) - len(found)
    for missing in oracle.refused - found.keys():
        verdict.findings.append(Finding(REFUSED, "", 0, f"{missing} is missing"))
    for extra in found.keys() - oracle.refused:
        verdict.findings.append(Finding(REFUSED, "", 0, f"{extra} should not be there"))
    if core.refused != oracle.refused:
        odd = sorted(core.refused ^ oracle.refused)[:3]
        verdict.findings.append(Finding(REFUSED, "", 0, f"core and oracle differ: {odd}"))


def _beyond(
    verdict: Verdict, number: int, due: dict[Key, Due], first: dict[Key, Stored], samples: Iterable[Sample]
) -> None:
    """No offset was ever committed while a change of a record below it was not yet on the topic."""
    wanted = sorted((d.offset, first[k].offset if k in first else 1 << 62, k) for k, d in due.items() if not d.swept)
    at, farthest, whose = 0, -1, wanted[0][2] if wanted else ()
    for sample in sorted((s for s in samples if s.partition == number), key=lambda s: s.committed):
        while at < len(wanted) and wanted[at][0] < sample.committed:
            if wanted[at][1] > farthest:
                farthest, whose = wanted[at][1], wanted[at][2]
            at += 1
        if farthest >= sample.changes_end:
            text = f"{sample.committed} was committed and {whose} was not on the topic (its end: {sample.changes_end})"
            verdict.findings.append(Finding(BEYOND, str(whose[0]), due[whose].at_ms, text))
            return


def judge_moved(number: int, topic: str, astray: set[int], log: Iterable[Sequence[Stored]]) -> list[Finding]:
    """Every record of a wrong partition stands once more, and in the right one."""
    arrived = {dict(record.headers).get("origin") for partition in log for record in partition}
    return [
        Finding(MOVED, "", 0, f"{topic}/{number}/{offset} was never moved")
        for offset in astray
        if f"{topic}/{number}/{offset}".encode() not in arrived
    ]


def judge_stock(
    must: Expected, changes: Sequence[Stored], samples: Iterable[Sample], number: int = 0, committed: int = 1 << 62
) -> Verdict:
    """One partition of the stock app. A change is this one by who, what and the event; wrong is what else it says.

    Lost is only what comes of a record below ``committed``: what was never reached is late.
    """
    verdict = Verdict()
    first: dict[Key, Stored] = {}
    for record in changes:
        change: dict[str, Any] = orjson.loads(record.value or b"{}")
        key = stock_key(change)
        if key in first:
            verdict.twice.append(record.timestamp)
            continue
        first[key] = record
        verdict.changes += 1
        due = must.changes.get(key)
        if due is None:
            text = f"{key} is not in the log"
            verdict.findings.append(Finding(PHANTOM, change["customer_id"], record.timestamp, text))
        elif orjson.loads(due.value or b"") != change:
            text = f"{change}, not {due.value!r}"
            verdict.findings.append(Finding(WRONG, change["customer_id"], record.timestamp, text))
    for key, due in must.changes.items():
        if key not in first and due.offset < committed:
            verdict.findings.append(Finding(LOST, str(key[0]), due.at_ms, f"{key} never left"))
    _beyond(verdict, number, must.changes, first, samples)
    return verdict
