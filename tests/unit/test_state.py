"""Laws of the state's records where two owners have written them."""

from __future__ import annotations

from itertools import permutations

import pytest

from stream.core.config import SECOND, CoreSettings
from stream.core.output import Output
from stream.core.partition import Partition
from stream.core.state import Checkpointer, Loader, StateRecord
from stream.core.time import parse_iso
from stream.interpreter import InMemoryRecord

T = parse_iso("2026-03-02T08:00:00Z")
VIEW = b'{"customer_id": "c", "event_type": "product_view"}'
TICK = (("fact", b"tick"),)
SETTINGS = CoreSettings(content_horizon=10 * SECOND)


def at(offset: int, second: int, value: bytes = VIEW) -> InMemoryRecord:
    """A record of the log; what is no view is a tick."""
    return InMemoryRecord(offset, (T + second * SECOND) // 1000, None, value, () if value == VIEW else TICK)


#: The same content is accepted twice: its repetition comes after more than the horizon.
LOG = [at(0, 0), *(at(n, 0, b"{}") for n in range(1, 5)), at(5, 20), *(at(n, 20, b"{}") for n in range(6, 28))]


def owner(*checkpoints: int) -> list[list[StateRecord]]:
    """What an owner of the whole log so far writes, with checkpoints after these offsets."""
    partition = Partition(0, 1, SETTINGS)
    checkpointer = Checkpointer(partition, -1)
    written: list[list[StateRecord]] = []
    for last in checkpoints:
        partition.process([record for record in LOG if partition.position < record.offset <= last], Output())
        checkpointer.begin()
        written.append([*checkpointer.slice(100), checkpointer.record(0)])
        checkpointer.end()
    return written


@pytest.mark.parametrize("order", list(permutations(range(3))), ids=str)
def test_of_a_content_that_was_accepted_twice_the_later_time_holds(order: tuple[int, ...]) -> None:
    """Ranges of two owners overlap where one was paused and went on: what it says is older, wherever it stands."""
    ((owners,), paused) = owner(27), owner(4, 23)
    loader = Loader()
    # The paused one's last checkpoint may be lost on the way, its records come in any order.
    for number in order:
        for key, value in (owners, paused[0], paused[1][:-1])[number]:
            loader.apply(key, value)
    partition, _, _ = loader.finish(0, 1, SETTINGS)
    out = Output()
    partition.process([at(28, 25)], out)
    assert out.endings == {("duplicate", "content"): 1}


@pytest.mark.parametrize("order", [(0, 1), (1, 0)], ids=str)
def test_an_owner_that_came_no_further_takes_nothing_back(order: tuple[int, ...]) -> None:
    """It knows only the first time of the content."""
    ((owners,), (paused,)) = owner(27), owner(4)
    loader = Loader()
    for number in order:
        for key, value in (owners, paused)[number]:
            loader.apply(key, value)
    partition, _, checkpoint = loader.finish(0, 1, SETTINGS)
    assert checkpoint is not None and checkpoint.position == 27
    out = Output()
    partition.process([at(28, 25)], out)
    assert out.endings == {("duplicate", "content"): 1}
