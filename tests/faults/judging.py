"""The topics, when all is over, against what must stand in them."""

from __future__ import annotations

import asyncio
import multiprocessing
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor

from schemas import topics
from stream.core.output import Output
from stream.core.partition import Partition
from stream.engine.recovery import Recovery
from tests.faults.contestants import PARTITIONS
from tests.faults.expected import Expected, by_core, by_oracle, by_stock_rules
from tests.faults.rig import Rig
from tests.faults.verdict import LOST, STATE, Finding, Verdict, judge_moved, judge_ours, judge_stock
from tests.faults.watch import everything
from tests.simulation.log import DEAD, REJECTED, Stored
from tests.simulation.reference import state_of
from tests.simulation.verdict import differences


async def judge(rig: Rig) -> Verdict:
    """Whoever it is."""
    return await (_ours if rig.contestant.ours else _stock)(rig)


async def _ours(rig: Rig) -> Verdict:
    contestant, servers = rig.contestant, rig.broker.address
    core = contestant.settings(servers).core()
    log = await everything(servers, contestant.events, PARTITIONS)
    changes = await everything(servers, contestant.changes, PARTITIONS)
    refused = {
        kind: await everything(servers, topics.name(topic, contestant.prefix), PARTITIONS)
        for kind, topic in ((REJECTED, topics.EVENTS_REJECTED), (DEAD, topics.DEAD_LETTERS))
    }
    recovery = Recovery(
        {"bootstrap_servers": servers},
        contestant.events,
        topics.name(topics.STATE, contestant.prefix),
        contestant.changes,
    )
    recovered = await recovery.load(set(range(PARTITIONS)), PARTITIONS, core)
    verdict = Verdict()
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:
        for number in range(PARTITIONS):
            # The workers are gone: ticks that they wrote behind the last record that they processed nobody has read.
            end = recovered[number].partition.position
            rest = [record for record in log[number] if record.offset > end]
            read = log[number][: len(log[number]) - len(rest)]
            verdict.findings += _unread(number, rest)
            by_us, partition = await asyncio.to_thread(by_core, number, PARTITIONS, core, read)
            oracle = await asyncio.to_thread(by_oracle, pool, number, PARTITIONS, core, read)
            mine = {kind: parts[number] for kind, parts in refused.items()}
            samples = rig.watch.samples
            verdict.add(judge_ours(number, PARTITIONS, by_us, oracle, changes[number], mine, samples))
            verdict.findings += judge_moved(number, contestant.events, oracle.astray, log)
            verdict.findings += _state(number, recovered[number].partition, partition, oracle)
    return verdict


def _unread(number: int, rest: Sequence[Stored]) -> list[Finding]:
    left = [record for record in rest if dict(record.headers).get("fact") != b"tick"]
    return [Finding(LOST, "", record.timestamp, f"events/{number}/{record.offset} was never read") for record in left]


def _state(number: int, found: Partition, must: Partition, oracle: Expected) -> list[Finding]:
    """The state on the topic against the core's own, and the oracle's members."""
    while found.membership.sweeping:
        found.sweep(10_000, Output())
    text = differences(state_of(found), state_of(must))
    findings = [Finding(STATE, "", 0, f"state/{number}: {text}")] if text else []
    members = {name: customer.members or {} for name, customer in found.customers.items()}
    for name in members.keys() | oracle.members.keys():
        if members.get(name, {}) != oracle.members.get(name, {}):
            text = f"{name} is in {members.get(name)}, not {oracle.members.get(name)}"
            findings.append(Finding(STATE, name, 0, text))
    return findings


async def _stock(rig: Rig) -> Verdict:
    contestant, servers = rig.contestant, rig.broker.address
    log = await everything(servers, contestant.events, PARTITIONS)
    changes = await everything(servers, contestant.changes, PARTITIONS)
    verdict = Verdict()
    for number in range(PARTITIONS):
        must = await asyncio.to_thread(by_stock_rules, log[number])
        verdict.add(judge_stock(must, changes[number], rig.watch.samples, number, rig.watch.committed.get(number, 0)))
    return verdict
