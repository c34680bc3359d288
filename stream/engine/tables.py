"""The tables `customers` and `seen`, as Faust knows them: names, changelog and reads. Never writes.

They are registered with the app, and that earns what Faust is good for here: an app with tables gets the
sticky assignor, and an assignment is complete only when the tables have recovered, which ``TableManager``
leaves to the partition host. Their changelog, the topic `state`, is named but not subscribed: a partition of
state goes with the partition of `events` of the same number, the host reads it by a consumer of its own up to
an end that it knows (Faust waits for an offset that compaction may have removed), and the group need not
fetch what nobody would take.

Writes through Faust's API raise ``TableReadOnly``. Faust sends a table's change to its changelog after the
fact and commits without waiting for it; ours is written per checkpoint, and acknowledged.
"""

from collections.abc import Iterator
from typing import Any, NoReturn, Protocol, cast

import faust
from faust.tables.manager import TableManager as FaustTableManager
from faust.types import TP
from faust.windows import TumblingWindow

from stream.core.routing import partition_of
from stream.engine.delivery import Flow
from stream.engine.transport import EngineAppT


class PartitionReader(Protocol):
    """Reads of the state that the partition host holds. All answer at once, from memory."""

    def partitions(self) -> frozenset[int]:
        """The partitions that are loaded."""
        ...

    def customer(self, partition: int, key: str) -> Any | None:
        """The customer's record, or None."""
        ...

    def customers(self, partition: int) -> Iterator[tuple[str, Any]]:
        """Every customer of a loaded partition with its record."""
        ...

    def seen(self, partition: int, customer: str, event_id: str) -> bool:
        """Whether the customer's windows remember this event id."""
        ...


class TableReadOnly(TypeError):
    """A write through Faust's table API."""


class ReadOnlyTable(faust.Table[Any, Any]):
    """A registered Faust table whose content lives in the partition host."""

    def __init__(self, app: Any, *, reader: PartitionReader, partitions: int, **options: Any) -> None:
        super().__init__(app, partitions=partitions, **options)
        self.reader = reader
        self.partition_count = partitions

    async def on_start(self) -> None:
        """Neither a store to open nor a topic to declare."""

    def __setitem__(self, key: Any, value: Any) -> NoReturn:
        self._refuse()

    def __delitem__(self, key: Any) -> NoReturn:
        self._refuse()

    def clear(self) -> NoReturn:
        """Refuse."""
        self._refuse()

    def update(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Refuse."""
        self._refuse()

    def pop(self, *args: Any) -> NoReturn:
        """Refuse."""
        self._refuse()

    def popitem(self) -> NoReturn:
        """Refuse."""
        self._refuse()

    def setdefault(self, *args: Any) -> NoReturn:
        """Refuse."""
        self._refuse()

    def _refuse(self) -> NoReturn:
        raise TableReadOnly(f"table {self.name!r} is written by checkpoints only: append a fact to the log instead")


class CustomersTable(ReadOnlyTable):
    """Customer id to record, over the partitions that this worker holds."""

    def __getitem__(self, key: str) -> Any:
        record = self.reader.customer(partition_of(key, self.partition_count), key)
        if record is None:
            raise KeyError(key)
        return record

    def get(self, key: str, default: Any = None) -> Any:
        """The record, or ``default``."""
        record = self.reader.customer(partition_of(key, self.partition_count), key)
        return default if record is None else record

    def __contains__(self, key: object) -> bool:
        return isinstance(key, str) and self.get(key) is not None

    def __iter__(self) -> Iterator[str]:
        return (key for partition in self.reader.partitions() for key, _ in self.reader.customers(partition))

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def keys(self) -> Any:
        """Every customer id held here."""
        return list(self)

    def items(self) -> Any:
        """Every customer id held here, with its record."""
        return [pair for partition in self.reader.partitions() for pair in self.reader.customers(partition)]

    def values(self) -> Any:
        """Every record held here."""
        return [record for _, record in self.items()]


class SeenTable(ReadOnlyTable):
    """The windowed table of event ids: ``(customer_id, event_id) in table``. Ids cannot be listed."""

    def __getitem__(self, key: tuple[str, str]) -> bool:
        if key not in self:
            raise KeyError(key)
        return True

    def get(self, key: tuple[str, str], default: Any = None) -> Any:
        """True if seen, else ``default``."""
        return True if key in self else default

    def __contains__(self, key: object) -> bool:
        customer, event_id = cast(tuple[str, str], key)
        return self.reader.seen(partition_of(customer, self.partition_count), customer, event_id)

    def __iter__(self) -> NoReturn:
        raise TypeError("the ids of a window are kept as digests and cannot be listed")


class TableManager(FaustTableManager):
    """Recovery by the partition host instead of Faust's own, which sleeps, stalls and guesses the end."""

    async def on_start(self) -> None:
        """Register the tables at once."""
        await self._update_channels()

    async def _update_channels(self) -> None:
        self._tables_finalized.set()
        for table in self.values():
            await table.maybe_start()
        self._tables_registered.set()

    def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """Nothing: the consumer has told the host already."""

    async def on_rebalance(
        self, assigned: set[TP], revoked: set[TP], newly_assigned: set[TP], generation_id: int = 0
    ) -> None:
        """Let the host load what is new, while heartbeats go on."""
        app = cast(EngineAppT, self.app)
        partitions = {tp.partition for tp in assigned if tp.topic == app.events}
        app.delivery.load(cast(Flow, app.consumer), partitions, generation_id)

    async def wait_until_recovery_completed(self) -> bool:
        """True if the app stopped before its first assignment was served."""
        ready = cast(EngineAppT, self.app).delivery.ready
        return bool(await self.wait_for_stopped(ready))  # type: ignore[arg-type]  # mode's Event; any will do


def register_tables(
    app: faust.App, *, reader: PartitionReader, state_topic: str, partitions: int, window_seconds: float
) -> tuple[CustomersTable, SeenTable]:
    """Add both tables to the app. ``window_seconds`` is how long event ids are remembered at least."""
    changelog = app.topic(state_topic, partitions=partitions, internal=True)
    common: dict[str, Any] = {"reader": reader, "partitions": partitions, "changelog_topic": changelog}
    customers = CustomersTable(app, name="customers", **common)
    seen = SeenTable(app, name="seen", window=TumblingWindow(window_seconds), **common)
    for table in (customers, seen):
        app.tables.add(table)
    return customers, seen
