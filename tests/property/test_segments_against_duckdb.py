"""P2 for whole books: membership is what DuckDB returns for the same SQL over the facts so far, at every instant.

Books come from a grammar of the language (``oracle_cases`` has all of it), logs from ``oracle_logs``. Compared are
all customers after every record, at every announced instant, a microsecond before it, and at instants in between that
nobody announced. ``make prove`` runs the same for as long as one likes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest

from stream.core.segments import aggregates, formula, instants
from stream.core.time import NEVER
from tests.property.oracle_cases import FOCI
from tests.property.oracle_duckdb import Oracle
from tests.property.oracle_rounds import ALL, round_of
from tests.property.oracle_run import Difference, Tally

#: Books around each construct of the grammar; they are the same ones in every run.
BOOKS = 4
#: Shares of generated segments that the compiler refuses, and that DuckDB stops at (an overflow in an expression).
REFUSED, FAILED = 0.02, 0.01


@pytest.fixture(scope="module")
def oracle() -> Iterator[Oracle]:
    with closing(Oracle()) as found:
        yield found


@pytest.mark.timeout(900)
def test_membership_is_what_duckdb_returns_for_the_same_sql_at_every_instant(oracle: Oracle) -> None:
    """At least 20,000 comparisons; every construct occurs; few segments are refused; time alone changes much.

    Cutting the log into other batches changes no byte of what it says.
    """
    tally = Tally()
    for number in range(ALL):
        round_of(number, BOOKS, oracle, tally)
    assert tally.compared >= 20_000, tally
    assert tally.announced >= 2_000, tally
    assert tally.by_time >= 500, tally
    assert 0.1 < tally.members / tally.compared < 0.9, tally
    assert tally.share_refused <= REFUSED, tally.refused.most_common(20)
    assert sum(tally.failed.values()) <= FAILED * tally.segments, tally.failed
    assert not FOCI.keys() - tally.constructs.keys()


# -- the proof proven: it notices when an announcement is missing ---------------------------------------------


def silent(answer: Callable[[Any, int], tuple[Any, int]]) -> Callable[[Any, int], tuple[Any, int]]:
    """The same answer, without the instant at which it changes."""
    return lambda customer, now: (answer(customer, now)[0], NEVER)


def all_of(factory: Callable[..., Any]) -> Callable[..., Any]:
    """What the factory makes announces nothing."""
    return lambda *args: silent(factory(*args))


def quiet(factory: Callable[..., Any]) -> Callable[..., Any]:
    """What the factory adds to a source announces nothing."""

    def added(*args: Any) -> tuple[str, str]:
        truth, until = factory(*args)
        args[-1].line(f"{until} = {NEVER}")
        return truth, until

    return added


def beginning(factory: Callable[..., Any]) -> Callable[..., Any]:
    """``instants._once`` that does not announce when something becomes true."""
    return lambda *args: (quiet(factory) if args[3] else factory)(*args)


def ending(factory: Callable[..., Any]) -> Callable[..., Any]:
    """``instants._once`` that does not announce when something ceases to be true."""
    return lambda *args: (factory if args[3] else quiet(factory))(*args)


def aggregate(function: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """``aggregates.evaluator`` that announces nothing for one aggregate."""
    return lambda factory: lambda node: _if(getattr(node, "function", "count") == function, factory(node))


def _if(silenced: bool, answer: Callable[..., Any]) -> Callable[..., Any]:
    return silent(answer) if silenced else answer


#: What keeps silent: a function of a module, how it is changed, and the construct to look at.
MUTATIONS: dict[str, tuple[Any, str, Callable[..., Any], str]] = {
    "an instant from which on": (instants, "_once", beginning, "against_now"),
    "an instant until which": (instants, "_once", ending, "against_now"),
    "a stretch of time": (instants, "_stretch", quiet, "column_between_moments"),
    "a count that reaches a number": (instants, "_at_least", quiet, "count_compared"),
    "now() that meets a value": (formula, "meeting", all_of, "elapsed"),
    "now() and months that meet a value": (formula, "meeting_by_months", all_of, "against_now"),
    "a day or month that climbs to a value": (formula, "climbed", all_of, "unit_against_now"),
    "a unit of the calendar": (formula, "stepping", all_of, "calendar_part_of_now"),
    "a count of a window": (aggregates, "evaluator", aggregate("count"), "count of integer"),
    "distinct values of a window": (aggregates, "evaluator", aggregate("count_distinct"), "count_distinct of integer"),
    "a sum of a window": (aggregates, "evaluator", aggregate("sum"), "total of number"),
    "an average of a window": (aggregates, "evaluator", aggregate("avg"), "average of number"),
    "the least of a window": (aggregates, "evaluator", aggregate("min"), "extreme of number"),
    "the most of a window": (aggregates, "evaluator", aggregate("max"), "extreme of number"),
    "the first of a window": (aggregates, "evaluator", aggregate("first"), "first_or_last of number"),
    "the last of a window": (aggregates, "evaluator", aggregate("last"), "first_or_last of number"),
}


@pytest.mark.timeout(900)
@pytest.mark.parametrize("mutation", MUTATIONS)
def test_a_missing_announcement_is_noticed(mutation: str, oracle: Oracle, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whichever kind of rule keeps silent about its next change, the comparison fails."""
    module, name, change, focus = MUTATIONS[mutation]
    monkeypatch.setattr(module, name, change(getattr(module, name)))
    tally = Tally()
    with pytest.raises(Difference, match="DuckDB says"):
        for number in range(40):
            round_of(number, 10, oracle, tally, focus, shrink=False)
