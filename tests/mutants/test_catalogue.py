"""The planted bugs still fit the code that they are planted in."""

from __future__ import annotations

import pytest

from stream.engine.held import Held
from tests.mutants.catalogue import MUTANTS
from tests.mutants.hunt import hunt
from tests.mutants.planting import Mutant, mutated, planted


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name.replace(" ", "-"))
def test_every_text_that_a_bug_replaces_stands_in_the_code_once(mutant: Mutant) -> None:
    """Whoever changes the protocol changes its bugs with it; `make mutants` then shows that they are caught."""
    for where, edits in mutant.places:
        mutated(where, edits)


def test_a_planted_bug_is_taken_out_again() -> None:
    """Nothing of it stays, whatever the schedules did."""
    (mutant,) = (mutant for mutant in MUTANTS if mutant.where.endswith("Held._not_said_yet"))
    before = vars(Held)["_not_said_yet"]
    with planted(mutant):
        assert vars(Held)["_not_said_yet"] is not before
    assert vars(Held)["_not_said_yet"] is before


def test_a_bug_is_caught_by_what_it_breaks() -> None:
    """Without the read-back a crash says changes twice."""
    caught = hunt("nothing is read back", 200)
    assert caught is not None and caught.kind == "TWICE"
