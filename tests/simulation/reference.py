"""The run that nothing ever happened to: the core over the stored log, record by record."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from stream.core.customer import Customer
from stream.core.fill import Fill
from stream.core.filled import is_fill
from stream.core.output import Output
from stream.core.partition import Partition
from stream.core.windows import DIGEST
from tests.simulation.log import Stored
from tests.simulation.worker import SETTINGS


def uninterrupted(number: int, partitions: int, log: Sequence[Stored]) -> tuple[Partition, Output]:
    """What the core says of the log in one go, every customer brought to each new book at once."""
    partition, out = Partition(number, partitions, SETTINGS), Output()
    for record in log:
        if is_fill(record) and (fact := partition.takes_fill(record.value)) is not None:
            edition = partition.membership.edition
            assert edition is not None
            fill = Fill(number, partitions, SETTINGS, edition, fact)
            fill.process([earlier for earlier in log if fact.first <= earlier.offset < record.offset])
            fill.until = record.offset
            partition.fill = fill
        partition.process([record], out)
        while partition.membership.sweeping:
            partition.sweep(1_000, out)
    return partition, out


def state_of(partition: Partition) -> dict[str, Any]:
    """Everything that a partition will ever decide by, without the traces of how it came to be."""
    now = partition.log_time
    ids, contents = partition.ids, partition.contents
    return {
        "position": partition.position,
        "log_time": now,
        "last_tick": partition.last_tick,
        "met_facts": partition.met_facts,
        "edition": (edition := partition.membership.edition)
        and (edition.number, edition.at, edition.source, dict(edition.since)),
        "customers": {name: _plain(customer) for name, customer in partition.customers.items()},
        "ids": {
            window: sorted(bytes(b[at : at + DIGEST]) for b in held._buckets for at in range(0, len(b), DIGEST))
            for window, held in ids._windows.items()
            if len(held) and not ids.is_over(window, now)
        },
        "contents": {item: at for item, at in contents._seen.items() if at >= now - contents.horizon},
    }


def _plain(customer: Customer) -> dict[str, Any]:
    plain: dict[str, Any] = msgspec.structs.asdict(customer)
    # The stamp says how far the record is known to reach, and where it was swept with; the others mean nothing on disk.
    for name in ("offset", "wake", "mark"):
        del plain[name]
    for name in ("memory", "due", "members", "holds"):
        plain[name] = plain[name] or {}
    plain["carts"] = msgspec.to_builtins(plain["carts"])
    plain["attributes"] = msgspec.to_builtins(plain["attributes"])
    plain["holds"] = msgspec.to_builtins(plain["holds"])
    return plain
