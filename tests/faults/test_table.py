"""Laws of the report: what was found stands in the table, and only a clean run is called one."""

from __future__ import annotations

import io
from dataclasses import asdict
from typing import Any

import pytest
from rich.console import Console

from tests.faults import table
from tests.faults.result import Result
from tests.faults.verdict import KINDS


def result(contestant: str = "ours", **more: Any) -> Result:
    """A run of one row."""
    row = {"row": "B1", "title": "kill -9", "tried": 2, "hit": 2, "stuck": 0, "no_sense": "", "note": "", "twice": 0}
    row |= {"recovery_p50": 6.5, "recovery_max": 7.25} | dict.fromkeys(KINDS, 0)
    total = {"changes": 1234, "twice": 0, "twice_per_million": 0.0, "twice_after": {}, "refused_twice": 0}
    total |= {"compared": 77, "different": 0, "samples": 9} | dict.fromkeys(KINDS, 0)
    made = Result(contestant, 1, 300.0, rows=[row], total=total, drained=1.5, fresh=0.1)
    spread = {"count": 0}
    made.lateness = {"calm": spread, "during_faults": spread}
    for name, value in more.items():
        setattr(made, name, value)
    return made


def printed(*results: Result) -> str:
    out = Console(file=io.StringIO(), width=140)
    table.show({"contestants": [asdict(each) for each in results]}, out)
    assert isinstance(out.file, io.StringIO)
    return out.file.getvalue()


def test_the_table_shows_what_was_found() -> None:
    made = result(findings=["B1 lost: somebody never left"])
    made.rows[0] |= {"lost": 3, "stuck": 1, "beyond": 2}
    text = printed(made, result("stock"))
    for said in (
        "livesegments",
        "stock Faust",
        "2/2",
        "1,234 changes",
        "1 not healed",
        "2 beyond",
        "never left",
        "7.2",
    ):
        assert said in text, said


@pytest.mark.parametrize(
    "spoilt",
    [
        {"drained": None},
        {"fresh": None},
        {"findings": ["x"]},
        {"broken_off": ["B1"]},
        {"receiver": {"missing": {"well": 1}}},
        {"receiver": {"missing": {}, "out_of_order": 1}},
        {"receiver": {"missing": {}, "broken": ["x"]}},
    ],
    ids=str,
)
def test_a_run_is_clean_only_where_nothing_is_amiss(spoilt: dict[str, Any]) -> None:
    assert result().clean
    assert not result(**spoilt).clean


def test_a_fault_that_never_healed_or_a_replay_that_differed_is_not_clean() -> None:
    stuck, different = result(), result()
    stuck.rows[0]["stuck"] = 1
    different.total["different"] = 1
    assert not stuck.clean
    assert not different.clean
