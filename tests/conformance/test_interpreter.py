"""The behavioural suite on the in-process interpreter."""

from __future__ import annotations

import pytest

from stream.interpreter import InMemoryRecord, Interpreter
from tests.conformance.checks import Said, by_customer, check
from tests.conformance.scenarios import BOOK, SCENARIOS, UNTIL, Scenario, merged


def run(batch: int) -> Interpreter:
    log = Interpreter(BOOK)
    records = [InMemoryRecord(n, at // 1000, key, value) for n, (at, key, value) in enumerate(merged(), 1)]
    for start in range(0, len(records), batch):
        log.feed(records[start : start + batch])
    log.advance(UNTIL)
    return log


@pytest.fixture(scope="module")
def said() -> Said:
    return by_customer(run(1).changes)


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda s: s.customer)
def test_scenario(scenario: Scenario, said: Said) -> None:
    """Each scenario's law."""
    check(scenario, said)


def test_batch_cuts_change_nothing() -> None:
    """P1: the changes are the same bytes in the same order, however the log is cut into batches."""
    one = run(1)
    for batch in (2, 3, 7, 1000):
        other = run(batch)
        assert other.changes == one.changes
        assert other.endings == one.endings
