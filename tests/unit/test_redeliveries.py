"""Laws of what stands on `redeliveries`: what is to be sent again, and what it is."""

from __future__ import annotations

import json
from typing import Any

import pytest

from connectors.changes import ERASED, UnreadableChange, read_redelivery

CHANGE = {"id": "c1", "customer_id": "ann", "segment": "vip", "action": "entered", "at": "2026-03-02T08:00:00Z"}
ERASURE = {"id": "e1", "customer_id": "ann", "at": "2026-03-02T08:00:00Z", "profile": {"email": "a@b.c"}}


def record(change: dict[str, Any], origin: str = "replay", **more: Any) -> bytes:
    return json.dumps({"destination": "crm", "origin": origin, "change": change, **more}).encode()


@pytest.mark.parametrize("more", [{}, {"fact": None, "even_if_returned": False}, {"of a later version": 1}])
@pytest.mark.parametrize("origin", ["replay", "resync"])
def test_a_change_is_what_it_was(origin: str, more: dict[str, Any]) -> None:
    """Also in a record of a version that knew of nothing else."""
    change = CHANGE | {"sequence": 7}
    destination, read = read_redelivery(record(change, origin, **more), partition=3, offset=8, logged_at=2.5, topic="r")
    assert (destination, read.id, read.sequence, read.origin, json.loads(read.raw)) == ("crm", "c1", 7, origin, change)
    assert (read.topic, read.partition, read.offset, read.logged_at, read.even_if_returned) == ("r", 3, 8, 2.5, False)


@pytest.mark.parametrize("meant", [True, False])
def test_an_erasure_is_named_as_one(meant: bool) -> None:
    """Its fields are among those of a change: what it is is not guessed."""
    value = record(ERASURE, fact="erasure", even_if_returned=meant)
    destination, read = read_redelivery(value, partition=3, offset=8, logged_at=2.5, topic="r")
    assert (destination, read.id, read.action, read.segment, read.sequence) == ("crm", "e1", ERASED, "", 0)
    assert (read.origin, read.even_if_returned, json.loads(read.raw)) == ("replay", meant, ERASURE)
    assert (read.topic, read.partition, read.offset, read.logged_at) == ("r", 3, 8, 2.5)


@pytest.mark.parametrize(
    "value",
    [
        None,
        b"",
        record(CHANGE),  # without its number
        record(ERASURE),
        record(ERASURE, fact="something else"),
        record(ERASURE, origin="resync", fact="erasure"),
        record({"id": "e1"}, fact="erasure"),
    ],
)
def test_what_is_neither_is_refused(value: bytes | None) -> None:
    """And goes to the dead letters."""
    with pytest.raises(UnreadableChange):
        read_redelivery(value)
