"""Events per second, warm, acknowledged and checkpointed. What exactly is measured is said here.

The contestant starts on a log that holds the whole load. The *window* opens once it has processed the warm
part, which is every customer once, and checkpointed it where it has checkpoints. It closes after
``SECONDS`` and when every partition has completed ``CHECKPOINTS`` checkpoints inside of it; for a
contestant without checkpoints after ``STOCK_SECONDS``; at the latest with the end of the log. The rate is
the events that came to an end in the window, by the contestant's own count, divided by its length.

A checkpoint is complete when its offset is committed, and the worker commits an offset only when the
changes, the customers and the checkpoint record up to it are acknowledged by the broker. At the default
interval of 5 s two of them fall into 10 s, so the window holds their cost in proportion. A window that the
end of the log closes early may have fewer, and the row says how many.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass

from tests.bench.contestants import Contestant

#: Of every partition, within the window.
CHECKPOINTS = 2
SECONDS = 10.0
STOCK_SECONDS = 3.0
PATIENCE_SECONDS = 90.0
_POLL_SECONDS = 0.25


@dataclass(frozen=True, slots=True)
class Rate:
    """One measurement."""

    events_per_second: float
    events: int
    seconds: float
    #: Completed within the window by the partition that completed the fewest; None where there are none.
    checkpoints: int | None
    #: CPU time (µs) of the contestant for each event: what a busy machine changes least.
    cpu_us_per_event: float
    #: From the start of the process to its first event, in seconds.
    start_seconds: float
    load_average: float


async def measure(contestant: Contestant, warm: Sequence[int], events: int) -> Rate:
    """Measure a contestant just started on a log of ``events``, ``warm`` of each partition at first.

    Raises ``ContestantFailed`` if it does not get on, or is done before the window opens.
    """
    process = contestant.process
    until = time.monotonic() + PATIENCE_SECONDS
    started = await _warm_up(contestant, warm, until)
    first, cpu, begun = await contestant.processed(), process.cpu_seconds(), time.monotonic()
    if first >= events:
        raise process.failed(f"was done with all {events} events before the window opened")
    known = await contestant.checkpoints()
    completed = None if known is None else dict.fromkeys(known, 0)
    before = count = first
    while True:
        await asyncio.sleep(_POLL_SECONDS)
        latest = await contestant.checkpoints()
        before, count = count, await contestant.processed()
        seconds = time.monotonic() - begun
        if completed is not None and known is not None and latest is not None:
            for partition, offset in latest.items():
                completed[partition] += offset > known[partition]
            known = latest
        fewest = None if completed is None else min(completed.values())
        over = seconds >= STOCK_SECONDS if fewest is None else seconds >= SECONDS and fewest >= CHECKPOINTS
        if over or (count >= events and count == before):
            break
        if time.monotonic() > until:
            raise process.failed(f"processed {count} of {events} events in {PATIENCE_SECONDS:g} s")
    done, cpu = count - first, process.cpu_seconds() - cpu
    return Rate(done / seconds, done, seconds, fewest, cpu / done * 1e6, started, os.getloadavg()[0])


async def _warm_up(contestant: Contestant, warm: Sequence[int], until: float) -> float:
    """Wait until the warm part is behind; returns the seconds from the start of the process to its first event."""
    process = contestant.process
    started = 0.0
    while True:
        count = await contestant.processed()
        if count and not started:
            started = time.monotonic() - process.started
        if count >= sum(warm):
            done = await contestant.checkpoints()
            if done is None or all(done[partition] >= part for partition, part in enumerate(warm)):
                return started
        if time.monotonic() > until:
            raise process.failed(f"processed {count} of {sum(warm)} events in {PATIENCE_SECONDS:g} s")
        await asyncio.sleep(_POLL_SECONDS if count else _POLL_SECONDS / 10)
