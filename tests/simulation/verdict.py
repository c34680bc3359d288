"""A finished run against the oracle, and against the run that nothing happened to."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import orjson

from schemas.changes import SegmentChange, is_change
from tests.simulation.asking import decided, oracle_of
from tests.simulation.log import CHANGES, DEAD, EVENTS, REJECTED, Stored
from tests.simulation.oracle import Said
from tests.simulation.reference import state_of, uninterrupted
from tests.simulation.worker import SETTINGS
from tests.simulation.world import World


@dataclass(frozen=True)
class Expected:
    """What a partition of the log must have said, and where its customers must stand."""

    said: dict[tuple[str, int], Said]
    refused: set[tuple[str, int, str]]
    astray: set[int]
    members: dict[str, dict[str, int]]
    values: dict[tuple[str, int], bytes]
    state: dict[str, Any]
    untrue: list[str]


@lru_cache(maxsize=256)
def expected(number: int, partitions: int, log: tuple[Stored, ...]) -> Expected:
    """By the oracle and by the core in one go; many schedules have a log in common."""
    oracle = oracle_of(number, partitions, SETTINGS).read(log)
    partition, out = uninterrupted(number, partitions, log)
    return Expected(
        {(said.customer, said.sequence): said for said in oracle.said},
        oracle.refused,
        oracle.astray,
        oracle.members,
        {(change.customer_id, change.sequence): change.value for change in out.changes},
        state_of(partition),
        oracle.untrue,
    )


def judge(world: World) -> Iterator[tuple[str, str]]:
    """Everything that is not as it must be: what kind of thing, and what."""
    for number in range(world.partitions):
        log = tuple(world.topics[EVENTS, number].records)
        must = expected(number, world.partitions, log)
        for what in must.untrue:
            yield "WRONG", f"events/{number}: {what}"
        yield from _changes(world, number, must)
        yield from _refused(world, number, must)
        yield from _moved(world, number, must)
        members = {name: c["members"] for name, c in must.state["customers"].items()}
        if members != must.members:
            yield "CORE", f"events/{number}: members {members}, not {must.members}"


def _changes(world: World, number: int, must: Expected) -> Iterator[tuple[str, str]]:
    if wrong := [said for key, value in must.values.items() if (said := decided(value)) != must.said.get(key)]:
        yield "CORE", f"without any fault the core says {wrong[0]}, not {must.said.get(wrong[0][:2])}"
    found: dict[tuple[str, int], bytes] = {}
    last: dict[str, int] = defaultdict(int)
    by_owners: Counter[tuple[str, int]] = Counter()
    for record in world.topics[CHANGES, number].records:
        if not is_change(record.headers):
            continue
        value = record.value or b""
        said = decided(value)
        key = said.customer, said.sequence
        by_owners[key] += (CHANGES, number, record.offset) not in world.foreign
        if key in found:
            world.again += 1
            if found[key] != value:
                yield "WRONG", f"{key} was said as {found[key]!r} and as {value!r}"
            continue
        found[key] = value
        SegmentChange.model_validate_json(value)
        if said.sequence != last[said.customer] + 1:
            yield "ORDER", f"{said.customer}: {said.sequence} comes after {last[said.customer]}"
        last[said.customer] = said.sequence
        if record.key != said.customer.encode():
            yield "WRONG", f"{key} has the key {record.key!r}"
    for key in must.said.keys() - found.keys():
        yield "LOSS", f"{must.said[key]} never left"
    for key in found.keys() - must.said.keys():
        yield "PHANTOM", f"{decided(found[key])} is not in the log"
    for key in found.keys() & must.said.keys():
        if decided(found[key]) != must.said[key]:
            yield "WRONG", f"{decided(found[key])}, not {must.said[key]}"
        elif found[key] != must.values.get(key):
            yield "WRONG", f"{found[key]!r}, not {must.values.get(key)!r}"
    twice = sorted(key for key, count in by_owners.items() if count > 1)
    if twice:
        yield "TWICE", f"{twice}, and no zombie did it"


def _refused(world: World, number: int, must: Expected) -> Iterator[tuple[str, str]]:
    found = set()
    for topic in (REJECTED, DEAD):
        for record in world.topics[topic, number].records:
            said = orjson.loads(record.value or b"")
            found.add((topic, said["offset"], said["reason"]))
    if found != must.refused:
        yield "REFUSED", f"missing {sorted(must.refused - found)}, too many {sorted(found - must.refused)}"


def _moved(world: World, number: int, must: Expected) -> Iterator[tuple[str, str]]:
    arrived = {
        dict(record.headers).get("origin")
        for other in range(world.partitions)
        for record in world.topics[EVENTS, other].records
    }
    for offset in must.astray:
        if f"{EVENTS}/{number}/{offset}".encode() not in arrived:
            yield "LOSS", f"the record at {offset} of partition {number} was never moved"


def differences(state: dict[str, Any], must: dict[str, Any]) -> str:
    """Where two states differ; empty if nowhere."""
    for name, value in must.items():
        if name == "customers":
            for customer in value.keys() | state[name].keys():
                one, other = state[name].get(customer), value.get(customer)
                if one != other:
                    fields = [f for f in other or () if one is None or one[f] != other[f]]
                    was, should = ({f: said and said[f] for f in fields} for said in (one, other))
                    return f"customer {customer}: {was}, not {should}"
        elif state[name] != value:
            return f"{name}: {state[name]}, not {value}"
    return ""
