"""The crafted events are what they are said to be: valid, and at the limits."""

from __future__ import annotations

import pytest

from stream.core.output import Output
from stream.core.partition import Partition
from stream.core.routing import partition_of
from tests.faults import crafted
from tests.faults.contestants import FIRST_BOOK, PARTITIONS, Contestant
from tests.simulation.books import fact
from tests.simulation.log import Stored

SETTINGS = Contestant("ours", "").settings("localhost:9092").core()


@pytest.mark.parametrize("name", [crafted.CARTS, crafted.LONG, crafted.TALKER])
def test_crafted_events_are_taken_in(name: str) -> None:
    """None is refused, and the last one is a change."""
    at = 1_772_438_400_000
    partition, out = Partition(partition_of(name, PARTITIONS), PARTITIONS, SETTINGS), Output()
    log = [Stored(0, at, None, fact(FIRST_BOOK), (("fact", b"definitions"),))]
    for event in crafted.events(name):
        at += 400
        log.append(Stored(len(log), at, name.encode(), crafted.value(name, event, at)))
    partition.process(log, out)
    assert not out.refused, out.refused[0].detail
    assert out.changes[-1].segment == "vip"
