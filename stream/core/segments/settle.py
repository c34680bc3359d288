"""Deciding segments: who enters, who leaves, and when that may next change with no new fact. Instants are µs.

A few segments become one function, with what ``instants`` says of each of them written out (``codegen``); more than
that are asked one after the other.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias

from stream.core.segments.codegen import Source
from stream.core.segments.instants import is_timed, put
from stream.core.segments.predicates import expression
from stream.core.segments.segment import Segment
from stream.core.time import NEVER

if TYPE_CHECKING:
    from stream.core.customer import Customer

#: (customer, now, turned) -> the soonest instant at which one of the segments may change by itself, ``NEVER`` if none
#: does. Notes each one's in the customer's ``due``, and adds to ``turned`` those that the customer has to enter or to
#: leave; that it does so is for the caller to see to.
Settle: TypeAlias = "Callable[[Any, int, list[Segment]], int]"

#: Segments that one function decides.
_TOGETHER = 12


def settle(segments: Sequence[Segment], customer: Customer, now: int, turned: list[Segment]) -> int:
    """Decide ``segments`` one after the other; the rest is as ``Settle`` says."""
    soonest = NEVER
    for segment in segments:
        member, until = segment.evaluate(customer, now)
        name, due, members = segment.name, customer.due, customer.members
        if until < NEVER:
            if due is None:
                due = customer.due = {}
            due[name] = until
            if until < soonest:
                soonest = until
        elif due is not None and name in due:
            del due[name]
        if member is not (members is not None and name in members):
            turned.append(segment)
    return soonest


def settler(segments: Sequence[Segment]) -> Settle:
    """The function for these segments. Compiles it if they are few."""
    if len(segments) > _TOGETHER:
        return partial(settle, segments)
    source = Source("row", "now", "turned")
    source.line("members = row.members or ()")
    asked = [segment for segment in segments if _is_timed(segment)]
    if asked:
        source.line("due = row.due")
        source.line(f"soonest = {NEVER}")
    for segment in segments:
        name = source.value(segment.name)
        if segment in asked:
            truth, until = _put(segment, source)
            with source.block(f"if {until} < {NEVER}:"):
                with source.block("if due is None:"):
                    source.line("due = row.due = {}")
                source.line(f"due[{name}] = {until}")
                with source.block(f"if {until} < soonest:"):
                    source.line(f"soonest = {until}")
            with source.block(f"elif due is not None and {name} in due:"):
                source.line(f"del due[{name}]")
        else:
            truth = expression(segment.rule, source)
        with source.block(f"if {truth} is not ({name} in members):"):
            source.line(f"turned.append({source.value(segment)})")
    source.line(f"return {'soonest' if asked else NEVER}")
    return source.function()


def _is_timed(segment: Segment) -> bool:
    return segment.waits or is_timed(segment.rule)


def _put(segment: Segment, source: Source) -> tuple[str, str]:
    """Add what decides a segment in which time occurs: the names of its truth, and of the instant of its change."""
    if not segment.waits:
        return put(segment.rule, source)
    truth, until = source.local("t"), source.local("u")
    source.line(f"{truth}, {until} = {source.value(segment.evaluate)}(row, now)")
    return truth, until
