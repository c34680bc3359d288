"""How a run's changes are held against a scenario."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any, TypeAlias

import orjson

from schemas.changes import SegmentChange
from stream.core.time import parse_iso
from tests.conformance.scenarios import MINUTE, START, Scenario

Said: TypeAlias = dict[str, list[dict[str, Any]]]


def by_customer(changes: Iterable[bytes]) -> Said:
    """Changes by customer, in the order in which they left; each is valid by its public contract."""
    said: Said = defaultdict(list)
    for value in changes:
        SegmentChange.model_validate_json(value)
        change = orjson.loads(value)
        said[change["customer_id"]].append(change)
    return said


def check(scenario: Scenario, said: Said) -> None:
    """The scenario's changes, no more and no fewer, numbered from 1 on."""
    changes = said.get(scenario.customer, [])
    found = [(parse_iso(c["at"]), c["segment"], c["action"], c["cause"]["kind"]) for c in changes]
    expected = [
        (START + round(at * MINUTE), segment, action, cause) for at, segment, action, cause in scenario.expected
    ]
    assert found == expected, scenario.law
    assert [c["sequence"] for c in changes] == list(range(1, len(changes) + 1))
