"""Laws of `segments backtest` and `segments test` on the command line: what is wrong is one plain line."""

from __future__ import annotations

import builtins
import json
import os
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from stream.cli.app import app

BOOK = """
segments:
  buyer: {sql: order_count >= 1}
  viewer: {sql: last_viewed_at > now() - INTERVAL '1 hour'}
"""
EVENTS = """\
customer_id,event_type,timestamp
bob,purchase,2026-03-02T11:00:00Z
ann,product_view,2026-03-02T10:00:00Z
ann,product_view,2026-03-02T12:00:00Z
ann,product_view,2026-03-02T14:00:00Z
"""
CASES = """
book: segments.yaml
clock: 2026-03-02T10:00:00Z
cases:
  who buys is a buyer:
    events: [{at: 0 s, event_type: purchase}]
    changes: [{at: 0 s, enters: buyer}]
  who looks is a viewer:
    events: [{at: 0 s, event_type: product_view}]
    changes: [{at: 0 s, enters: viewer}]
"""


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a book, a table and cases; settings are the test's."""
    for name in os.environ:
        if name.upper().startswith("LIVESEGMENTS_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("COLUMNS", "240")
    monkeypatch.chdir(tmp_path)
    for name, text in {"segments.yaml": BOOK, "events.csv": EVENTS, "cases.yaml": CASES}.items():
        (tmp_path / name).write_text(text, "utf-8")
    return tmp_path


def run(*arguments: object, code: int = 0) -> Result:
    result = CliRunner().invoke(app, ["segments", *(str(each) for each in arguments)])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == code, result.output
    return result


def backtest(*arguments: object, code: int = 0) -> Result:
    return run("backtest", "segments.yaml", *arguments, code=code)


# -- backtest ------------------------------------------------------------------------------------------------


def test_json_has_everything() -> None:
    """All of it from the standard output, and nothing else there."""
    data: dict[str, Any] = json.loads(backtest("--events", "events.csv", "--until", "2026-03-03", "--json").stdout)
    assert (data["from"], data["to"]) == ("2026-03-02T10:00:00Z", "2026-03-03T00:00:00Z")
    assert (data["read"], data["changes"]) == (4, 7)
    viewer = data["segments"]["viewer"]
    assert (viewer["entries"], viewer["exits"], viewer["exits_by_time"], viewer["customers"]) == (3, 3, 3, 1)
    assert (viewer["median_stay_seconds"], viewer["flapping"]) == (3600, [{"customer_id": "ann", "entries": 3}])
    assert viewer["mean_size"] == round(3 / 14, 3)
    assert data["segments"]["buyer"]["size_at_end"] == 1
    assert data["platforms"][0]["platform"] == "Klaviyo"


def test_what_flaps_is_for_the_user_to_say() -> None:
    assert "ann (3 times)" in backtest("--events", "events.csv").stdout
    for other in (("--flapping-times", 4), ("--flapping-hours", 3)):
        assert "ann" not in backtest("--events", "events.csv", *other).stdout


def test_some_segments_may_be_told_of() -> None:
    text = backtest("--events", "events.csv", "--segment", "buyer", "--plot").stdout
    assert "buyer" in text and "viewer" not in text and "┤" in text


def test_a_picture_is_written(here: Path) -> None:
    pytest.importorskip("matplotlib")
    backtest("--events", "events.csv", "--png", "sizes.png")
    assert (here / "sizes.png").stat().st_size > 1_000


@pytest.mark.parametrize(
    ("arguments", "code", "why"),
    [
        ((), 2, "say what to read: either --events FILE or --from-log INSTANT"),
        (("--events", "events.csv", "--from-log", "2026-03-02"), 2, "say what to read: either"),
        (("--events", "segments.yaml"), 2, "segments.yaml: its name does not say what it holds: give --format"),
        (("--events", "events.csv", "--until", "soon"), 2, "--until 'soon' is no ISO 8601 instant"),
        (("--events", "events.csv", "--segment", "by"), 2, "segments.yaml has no segment 'by'"),
        (("--events", "events.csv", "--column", "price"), 2, "--column is FIELD=COLUMN"),
        (("--events", "events.csv", "--column", "price=Price"), 1, "there is no column 'Price' for price"),
        (("--events", "events.csv", "--until", "2026-03-01"), 1, "there is no event in that time"),
        (("--events", "events.csv", "--format", "rees46"), 1, "no REES46 log"),
        (("--events", "events.csv", "--png", "no/sizes.png"), 1, "no/sizes.png: No such file or directory"),
    ],
)
def test_what_cannot_be_done_is_told_in_one_line(arguments: tuple[object, ...], code: int, why: str) -> None:
    result = backtest(*arguments, code=code)
    assert why in result.stderr and result.stderr.count("\n") == 1


def test_a_book_with_a_mistake_is_told_as_by_check(here: Path) -> None:
    (here / "segments.yaml").write_text("segments: {a: {sql: oder_count > 1}}")
    assert 'there is no column "oder_count"' in backtest("--events", "events.csv", code=1).stderr
    assert 'there is no column "oder_count"' in run("test", "cases.yaml", code=1).stderr


def test_without_matplotlib_it_says_so_before_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *rest: Any, **more: Any) -> Any:
        if name == "matplotlib":
            raise ImportError(name)
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    result = backtest("--events", "events.csv", "--png", "sizes.png", code=1)
    assert "pip install 'livesegments[plot]'" in result.stderr and result.stdout == ""


# -- test ----------------------------------------------------------------------------------------------------


def test_cases_pass_or_fail_by_the_exit_code(here: Path) -> None:
    assert run("test", "cases.yaml", "cases.yaml").stdout.endswith("4 cases, all passed\n")
    (here / "next.yaml").write_text(BOOK.replace(">= 1", ">= 2"))
    result = run("test", "cases.yaml", "--segments", "next.yaml", code=1)
    assert "failed  who buys is a buyer" in result.stdout and result.stdout.endswith("2 cases, 1 failed\n")
    assert run("test", "cases.yaml", "--segments", "next.yaml", "--case", "looks").stdout.endswith(
        "1 case, all passed\n"
    )


def test_segments_without_a_case_are_named(here: Path) -> None:
    (here / "next.yaml").write_text(BOOK + "  other: {sql: view_count > 9}\n")
    assert run("test", "cases.yaml", "--segments", "next.yaml").stderr == "cases.yaml: no case enters other\n"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("cases: {}", "cases.yaml, cases: "),
        (CASES.replace("book: segments.yaml", ""), "cases.yaml names no `book:`; give --segments FILE"),
        (CASES.replace("book: segments.yaml", "book: other.yaml"), "cases.yaml: its book other.yaml is not there"),
        (
            CASES.replace("enters: buyer", "enters: bayer"),
            "cases.yaml, case 'who buys is a buyer': the book has no segment",
        ),
    ],
)
def test_a_file_of_cases_that_is_not_understood_is_told(here: Path, text: str, why: str) -> None:
    (here / "cases.yaml").write_text(text)
    result = run("test", "cases.yaml", code=2)
    assert why in result.stderr and result.stderr.count("\n") == 1
