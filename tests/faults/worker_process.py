"""A contestant's worker as a process that can be made to die at a named place: `python -m … ours|stock`.

Nothing of this is in the product. Before the worker runs, aiokafka's calls are wrapped, the same for both contestants,
and look whether the file ``FAULTS_ARMED`` says ``<point>:<n>``: at the n-th passing of that point from then on, the
process kills itself with SIGKILL, after it has left its process id in ``FAULTS_FIRED``.

| point | passed when |
|---|---|
| changes_acknowledged | the broker acknowledged changes |
| state_acknowledged | it acknowledged records of state (a changelog) |
| before_commit, after_commit | offsets are about to be committed; have been |
| in_recovery | state was read back |
| in_replay | a change of a replay was compared with what had left (ours only) |
| in_revoke | partitions are being given up |

``FAULTS_TALLY`` counts comparisons and differences of replays in a file that outlives a kill; ``FAULTS_HELD`` names the
partitions of the last assignment.
"""

from __future__ import annotations

import mmap
import os
import signal
import struct
import sys
from pathlib import Path
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.consumer.fetcher import Fetcher
from aiokafka.consumer.group_coordinator import GroupCoordinator

POINTS: Final = (
    "changes_acknowledged",
    "state_acknowledged",
    "before_commit",
    "after_commit",
    "in_recovery",
    "in_replay",
    "in_revoke",
)
TALLY: Final = struct.Struct("<QQ")  # compared, different

_armed = Path(os.environ.get("FAULTS_ARMED", ""))
_fired = Path(os.environ.get("FAULTS_FIRED", ""))
_held = Path(os.environ.get("FAULTS_HELD", ""))
_events, _changes = os.environ.get("FAULTS_EVENTS", ""), os.environ.get("FAULTS_CHANGES", "")
_state = tuple(os.environ.get("FAULTS_STATE", "").split(","))
_passed: dict[str, int] = {}


def passing(point: str) -> None:
    """Die here, if that is what was asked for."""
    try:
        wanted, _, times = _armed.read_text().partition(":")
    except OSError:
        return
    if wanted != point:
        return
    _passed[point] = _passed.get(point, 0) + 1
    if _passed[point] >= int(times):
        _armed.unlink(missing_ok=True)
        _fired.write_text(f"{os.getpid()} {point}")
        os.kill(os.getpid(), signal.SIGKILL)


def _kind(topic: str) -> str | None:
    if topic == _changes:
        return "changes_acknowledged"
    return "state_acknowledged" if topic in _state else None


def _watch_acknowledgement(topic: str, future: Any) -> Any:
    if (point := _kind(topic)) is not None:
        future.add_done_callback(lambda done: None if done.cancelled() or done.exception() else passing(point))
    return future


def _plant() -> None:
    send, send_batch = AIOKafkaProducer.send, AIOKafkaProducer.send_batch
    commit, fetched = AIOKafkaConsumer.commit, Fetcher.fetched_records
    prepare, complete = GroupCoordinator._on_join_prepare, GroupCoordinator._on_join_complete

    async def sending(self: Any, topic: str, *args: Any, **kwargs: Any) -> Any:
        return _watch_acknowledgement(topic, await send(self, topic, *args, **kwargs))

    async def sending_batch(self: Any, batch: Any, topic: str, *args: Any, **kwargs: Any) -> Any:
        return _watch_acknowledgement(topic, await send_batch(self, batch, topic, *args, **kwargs))

    async def committing(self: Any, *args: Any, **kwargs: Any) -> Any:
        passing("before_commit")
        done = await commit(self, *args, **kwargs)
        passing("after_commit")
        return done

    async def fetching(self: Any, *args: Any, **kwargs: Any) -> Any:
        found = await fetched(self, *args, **kwargs)
        if any(tp.topic in _state for tp in found):
            passing("in_recovery")
        return found

    async def joined(self: Any, *args: Any, **kwargs: Any) -> Any:
        await complete(self, *args, **kwargs)
        assignment = self._subscription.subscription.assignment
        held = [tp.partition for tp in assignment.tps if tp.topic == _events] if assignment else []
        _held.write_text(" ".join(map(str, sorted(held))))  # noqa: ASYNC240 - a few bytes

    async def preparing(self: Any, previous: Any) -> Any:
        if previous is not None and previous.tps:
            passing("in_revoke")
        return await prepare(self, previous)

    AIOKafkaProducer.send, AIOKafkaProducer.send_batch = sending, sending_batch
    AIOKafkaConsumer.commit, Fetcher.fetched_records = committing, fetching
    GroupCoordinator._on_join_prepare, GroupCoordinator._on_join_complete = preparing, joined


def _tally() -> None:
    from stream.metrics import Metrics

    file = os.open(os.environ["FAULTS_TALLY"], os.O_RDWR | os.O_CREAT)
    os.ftruncate(file, TALLY.size)
    counts = mmap.mmap(file, TALLY.size)
    compared, difference = Metrics.compared, Metrics.difference

    def count(more: int, different: int) -> None:
        known = TALLY.unpack_from(counts)
        TALLY.pack_into(counts, 0, known[0] + more, known[1] + different)

    def comparing(self: Metrics) -> None:
        count(1, 0)
        passing("in_replay")
        compared(self)

    def differing(self: Metrics) -> None:
        count(0, 1)
        difference(self)

    Metrics.compared, Metrics.difference = comparing, differing  # type: ignore[method-assign]


def main() -> None:
    """Run the contestant that the first argument names; the rest are its arguments."""
    contestant = sys.argv.pop(1)
    _plant()
    if contestant == "ours":
        _tally()
        from stream.cli import main as livesegments

        livesegments()
    else:
        from tests.faults.stock_app import app

        app.main()


if __name__ == "__main__":
    main()
