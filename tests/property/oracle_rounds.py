"""Rounds of cases: some books around one construct of the grammar, all from one number."""

from __future__ import annotations

from hypothesis import HealthCheck, Phase, given, seed, settings

from tests.property.oracle_cases import FOCI, Draft, drafts
from tests.property.oracle_duckdb import Oracle
from tests.property.oracle_run import Case, Tally, check, compilable

_NAMES = tuple(FOCI)
ALL = len(_NAMES)


def prove(draft: Draft, oracle: Oracle, tally: Tally) -> None:
    """One case: what the compiler refuses of it is counted, the rest is compared. Raises ``Difference``."""
    segments = compilable(draft.segments, tally.refused)
    for name in segments:
        tally.constructs.update(draft.used[name])
    if segments:
        check(Case(segments, draft.log), oracle, tally, draft.cuts)


def focus_of(number: int) -> str:
    """The construct that the round of this number is about: ``ALL`` rounds in a row are about all of them."""
    return _NAMES[number % ALL]


def round_of(number: int, books: int, oracle: Oracle, tally: Tally, focus: str = "", shrink: bool = True) -> None:
    """``books`` cases, the same for the same ``number``. Raises ``Difference``, if ``shrink`` for the smallest case."""

    @seed(number)
    @settings(
        max_examples=books,
        deadline=None,
        database=None,
        print_blob=False,
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
        phases=(Phase.generate, Phase.shrink) if shrink else (Phase.generate,),
    )
    @given(drafts(focus or focus_of(number)))
    def run(draft: Draft) -> None:
        prove(draft, oracle, tally)

    run()
