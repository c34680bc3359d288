"""The tables as Faust sees them: registered, readable, not writable."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from stream.core.routing import partition_of
from stream.engine.faust_app import EngineApp, create_app
from stream.engine.tables import TableReadOnly
from tests.integration.recording import RecordingHost

PARTITIONS = 4
RECORDS = {f"c{number}": {"orders": number} for number in range(20)}


class Reader(RecordingHost):
    """Holds the customers of partitions 0 and 2."""

    def partitions(self) -> frozenset[int]:
        return frozenset({0, 2})

    def customer(self, partition: int, key: str) -> Any:
        return dict(self.customers(partition)).get(key)

    def customers(self, partition: int) -> Iterator[tuple[str, Any]]:
        held = partition in self.partitions()
        return ((key, record) for key, record in RECORDS.items() if held and partition_of(key, PARTITIONS) == partition)

    def seen(self, partition: int, customer: str, event_id: str) -> bool:
        return partition == partition_of(customer, PARTITIONS) and event_id == "e1"


HELD = {key for key in RECORDS if partition_of(key, PARTITIONS) in (0, 2)}


@pytest.fixture
def app() -> EngineApp:
    host = Reader()
    return create_app(
        host,
        client={"bootstrap_servers": "127.0.0.1:1"},
        events="events",
        state_topic="state",
        reader=host,
        partitions=PARTITIONS,
    )


async def test_the_tables_are_tables_of_the_app_with_the_state_topic_behind_them(app: EngineApp) -> None:
    """Faust knows both tables, and `state` as the changelog of both."""
    assert set(app.tables) == {"customers", "seen"}
    assert app.tables.changelog_topics == {"state"}
    assert app.tables["seen"].window is not None


async def test_reads_are_the_partition_hosts(app: EngineApp) -> None:
    """A key is looked up in its partition; what this worker does not hold is not there."""
    table: Any = app.tables["customers"]
    assert set(table) == set(table.keys()) == HELD
    assert len(table) == len(HELD)
    for key, record in RECORDS.items():
        assert (key in table) == (key in HELD)
        assert table.get(key) == (record if key in HELD else None)
    with pytest.raises(KeyError):
        table["nobody"]
    seen: Any = app.tables["seen"]
    assert ("c1", "e1") in seen
    assert ("c1", "e2") not in seen


@pytest.mark.parametrize(
    "write",
    [
        lambda table: table.__setitem__("c1", {}),
        lambda table: table.__delitem__("c1"),
        lambda table: table.update(c1={}),
        lambda table: table.setdefault("c1", {}),
        lambda table: table.pop("c1"),
        lambda table: table.popitem(),
        lambda table: table.clear(),
    ],
)
@pytest.mark.parametrize("name", ["customers", "seen"])
async def test_no_write_goes_through_faust(app: EngineApp, name: str, write: Callable[[Any], Any]) -> None:
    """Every way to write a Faust table raises, and names the way that there is."""
    with pytest.raises(TableReadOnly, match="append a fact"):
        write(app.tables[name])
