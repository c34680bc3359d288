"""The law of what comes from outside: it ends in one of its places, within a second, whatever it is."""

from __future__ import annotations

import pytest

from tests.fuzz.targets import TARGETS, run

#: Shared by the targets; a run of any size is `python -m tests.fuzz`.
INPUTS, SEED = 20_000, 1
#: At least so much of the inputs is to get as far as it can: else the mutation only tests the first check.
TAKEN = {
    "decode": ("fact", 0.3),
    "core": ("applied", 0.2),
    "sql": ("compiled", 0.1),
    "book": ("compiled", 0.05),
    "delivery": ("delivered", 0.05),
    "destinations": ("loaded", 0.05),
    "settings": ("understood", 0.1),
    "foreign": ("fact", 0.1),
}


@pytest.mark.parametrize("name", TARGETS)
def test_nothing_from_outside_raises_what_is_not_ours_or_takes_long(name: str) -> None:
    """Seeded: the same inputs at every run."""
    target = TARGETS[name]
    *_, tally = run(target, SEED, INPUTS * target.share // 1000)
    assert not tally.failures, "\n\n".join(map(str, tally.failures[:5]))
    outcome, share = TAKEN[name]
    assert tally.outcomes[outcome] >= share * tally.inputs, tally.outcomes
