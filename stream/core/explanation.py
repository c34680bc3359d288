"""Why one customer is, or is not, in each segment: what the core says of them, and what time alone will do. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any, Literal

import msgspec

from stream.core.changes import Change
from stream.core.customer import Customer
from stream.core.membership import Edition, Membership
from stream.core.partition import Partition
from stream.core.segments import Segment
from stream.core.segments.explain import Explained
from stream.core.time import NEVER, parse_iso

#: How many instants of the future are looked at, at most, for the next change of a membership.
_STEPS = 2_000


@dataclass(frozen=True, slots=True)
class Turn:
    """A change to come by time alone."""

    enters: bool
    at: int  # µs


@dataclass(frozen=True, slots=True)
class Held:
    """What a segment waits for: ``by`` is the name of it in the book, ``since`` (µs) the instant it counts from."""

    by: Literal["enter_after", "min_stay", "cooldown"]
    since: int
    length: int  # µs


@dataclass(frozen=True, slots=True)
class SegmentExplained:
    """One customer and one segment. Instants are µs of log time.

    ``since`` is None where nothing tells it, ``never`` says that it has never been otherwise. ``last`` is the newest
    change as on ``segment-changes``, None where there is none (any more). ``turn`` is what time alone will do first, if
    no fact comes; None if nothing, as far as ``seen``. ``held`` is why membership is not what the condition says, if it
    is not. Of a segment that counts events ``complete_since`` is since when, where its windows reach further back.
    """

    name: str
    member: bool
    since: int | None
    never: bool
    last: dict[str, Any] | None
    turn: Turn | None
    seen: int
    held: Held | None
    complete_since: int | None
    condition: Explained


@dataclass(frozen=True, slots=True)
class CustomerExplained:
    """One customer, as of ``at``. ``newer`` are changes that have left since: a later checkpoint will explain them."""

    customer_id: str
    partition: int
    at: int
    version: str
    in_force_since: int
    segments: tuple[SegmentExplained, ...]
    newer: tuple[dict[str, Any], ...]


def explained(
    partition: Partition, customer: Customer, edition: Edition, names: Collection[str], said: Iterable[dict[str, Any]]
) -> CustomerExplained:
    """The explanation of what is there: a customer as of the partition's log time, and the changes that are kept."""
    known = {change["sequence"]: change for change in said}
    last: dict[str, dict[str, Any]] = {}
    for number in sorted(known):
        if number <= customer.sequence:
            last[known[number]["segment"]] = known[number]
    # Numbers have no gaps, so that the first says that all are known.
    complete = 1 in known or not customer.sequence
    now = partition.log_time
    turns, seen = _turns(customer, partition, names)
    return CustomerExplained(
        customer.customer_id,
        partition.number,
        now,
        edition.book.version,
        edition.at,
        tuple(
            _segment(name, customer, edition, now, complete, last.get(name), turns.get(name), seen)
            for name in sorted(names, key=lambda name: (name not in (customer.members or ()), name))
        ),
        tuple(known[number] for number in sorted(known) if number > customer.sequence),
    )


def _segment(
    name: str,
    customer: Customer,
    edition: Edition,
    now: int,
    complete: bool,
    last: dict[str, Any] | None,
    turn: Turn | None,
    seen: int,
) -> SegmentExplained:
    entered = (customer.members or {}).get(name)
    member = entered is not None
    never = complete and last is None and not member
    if last is not None and (last["action"] == "entered") is not member:
        last = None  # the newest that is kept tells of an older time
    since = entered if member else parse_iso(last["at"]) if last is not None else None
    segment = edition.book.by_name[name]
    condition = segment.explain(customer, now)
    held = _held(segment, customer, entered, condition.truth is True, now)
    return SegmentExplained(
        name, member, since, never, last, turn, seen, held, edition.complete_since(segment, now), condition
    )


def _held(segment: Segment, customer: Customer, entered: int | None, true: bool, now: int) -> Held | None:
    if entered is not None:
        return None if true else Held("min_stay", entered, segment.min_stay)
    since, left = (customer.holds or {}).get(segment.name, (None, None))
    waits = [
        Held("enter_after", since, segment.enter_after) if since is not None else None,
        Held("cooldown", left, segment.cooldown) if left is not None else None,
    ]
    # The one that holds it back longest.
    waiting = [held for held in waits if held is not None and held.since + held.length > now] if true else []
    return max(waiting, key=lambda held: held.since + held.length, default=None)


def _turns(customer: Customer, partition: Partition, names: Collection[str]) -> tuple[dict[str, Turn], int]:
    """What time alone will do to each segment first, and up to when that has been looked at: the core itself, ahead."""
    ahead = Membership(partition.settings.code)
    copy = msgspec.msgpack.decode(msgspec.msgpack.encode(customer), type=Customer)
    ahead.customers[copy.customer_id] = copy
    ahead.editions = partition.membership.editions[-1:]
    turns: dict[str, Turn] = {}
    at = partition.log_time
    for _ in range(_STEPS):
        due = [instant for name, instant in (copy.due or {}).items() if name in names and name not in turns]
        if not due:
            return turns, NEVER
        at = min(due)
        out: list[Change] = []
        ahead.catch_up(copy, at, out)
        for change in out:
            turns.setdefault(change.segment, Turn(change.action == "entered", change.at))
    return turns, at
