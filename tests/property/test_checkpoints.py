"""State written in slices and read back says the same as state that was never written (decision 0005)."""

from __future__ import annotations

import random

import orjson
import pytest

from stream.core.config import CoreSettings
from stream.core.output import Output
from stream.core.partition import Partition
from stream.core.state import Loader, StateRecord
from stream.interpreter import InMemoryRecord, definitions
from tests.conformance.scenarios import BOOK, START

SETTINGS = CoreSettings(rate_limit=40)
OTHER_BOOK = BOOK.replace("total_spent >= 500", "total_spent >= 300").replace("'1 hour'", "'30 minutes'")


def random_log(rng: random.Random, length: int) -> list[InMemoryRecord]:
    """Views, carts, purchases, attributes, duplicates, late and broken events, ticks and a new book."""
    at = START // 1000
    log = [InMemoryRecord(0, at, None, definitions(BOOK), (("fact", b"definitions"),))]
    values: list[bytes] = []
    while len(log) < length:
        at += rng.choice((0, 1, 5_000, 60_000, 600_000))
        offset = len(log)
        dice = rng.random()
        if dice < 0.08:
            log.append(InMemoryRecord(offset, at, None, b"{}", (("fact", b"tick"),)))
        elif dice < 0.1:
            book = rng.choice((BOOK, OTHER_BOOK))
            log.append(InMemoryRecord(offset, at, None, definitions(book), (("fact", b"definitions"),)))
        elif dice < 0.13:
            log.append(InMemoryRecord(offset, at, None, rng.choice((None, b"{", b"\xff"))))
        elif dice < 0.2 and values:
            log.append(InMemoryRecord(offset, at, None, rng.choice(values[-30:])))
        else:
            kind = rng.choice(("product_view", "product_view", "add_to_cart", "purchase", "profile_update"))
            event = {
                "customer_id": f"c{rng.randrange(6)}",
                "event_type": kind,
                "timestamp": at - rng.choice((0, 0, 0, 90_000, 5_000_000)),
                "product_id": rng.choice("ABC"),
                "category": rng.choice(("Electronics", "Books")),
                "price": rng.randrange(1, 200),
            }
            if kind == "profile_update":
                event["properties"] = {"age": rng.choice((20, 30, "x")), "location": rng.choice(("NYC", "LA"))}
            if rng.random() < 0.7:
                event["event_id"] = f"e{offset}"
            values.append(orjson.dumps(event))
            log.append(InMemoryRecord(offset, at, None, values[-1]))
    return log


def uninterrupted(log: list[InMemoryRecord]) -> list[tuple[str, int, bytes]]:
    partition, out = Partition(0, 1, SETTINGS), Output()
    for record in log:
        partition.process([record], out)
        while partition.membership.sweeping:
            partition.sweep(2, out)
    return per_customer(out)


def per_customer(out: Output) -> list[tuple[str, int, bytes]]:
    return sorted((change.customer_id, change.sequence, change.value) for change in out.changes)


@pytest.mark.parametrize("seed", range(60))
def test_a_crash_at_any_write_of_a_checkpoint_and_a_replay_say_the_same(seed: int) -> None:
    """Crashes at random writes, in replays too: the changes, once those that had left are left out, are the same."""
    rng = random.Random(seed)
    log = random_log(rng, 260)
    disk: list[StateRecord] = []
    left: dict[tuple[str, int], bytes] = {}
    crashes = 0
    while True:
        loader = Loader()
        for key, value in disk:
            loader.apply(key, value)
        partition, checkpointer, checkpoint = loader.finish(0, 1, SETTINGS)
        position = checkpoint.position + 1 if checkpoint else 0
        crash_at = rng.randrange(3, 60) if crashes < 8 else None
        steps = 0
        crashed = False
        while position < len(log) and not crashed:
            cut = rng.randrange(1, 20)
            out = Output()
            partition.process(log[position : position + cut], out)
            partition.sweep(rng.randrange(3), out)
            position += cut
            for change in out.changes:
                said = left.setdefault((change.customer_id, change.sequence), change.value)
                assert said == change.value, "a replay says something else than what had left"
            if checkpointer.active:
                records = checkpointer.slice(rng.randrange(1, 3))
                for record in records:
                    disk.append(record)
                    steps += 1
                    if crash_at is not None and steps >= crash_at:
                        crashed = True
                        break
                if not crashed and not records and not checkpointer.remaining:
                    disk.append(checkpointer.record(0))
                    checkpointer.end()
            elif rng.random() < 0.5:
                checkpointer.begin()
            steps += 1
            if crash_at is not None and steps >= crash_at:
                crashed = True
        if crashed:
            crashes += 1
            continue
        out = Output()
        while partition.membership.sweeping:
            partition.sweep(5, out)
        for change in out.changes:
            assert left.setdefault((change.customer_id, change.sequence), change.value) == change.value
        break
    assert sorted((c, n, value) for (c, n), value in left.items()) == uninterrupted(log)
    assert crashes > 0, "the schedule never crashed"
