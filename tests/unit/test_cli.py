"""Laws of the command line: help for strangers, answers as documented, one plain line for what is wrong."""

from __future__ import annotations

import asyncio
import gzip
import json
import logging
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import typer
import zstandard
from typer.core import TyperGroup, TyperOption
from typer.testing import CliRunner, Result

from schemas.changes import SegmentChange
from schemas.topics import TOPICS, partitions
from stream.cli import broker
from stream.cli.app import app
from stream.embedded.process import free_ports
from stream.embedded.tansu import tansu
from stream.settings import FILE_VARIABLE, Settings

ROOT = Path(__file__).parents[2]
SECRET = "correct-horse-battery-staple"
BOOK = """
segments:
  abandoned_cart:
    description: cart left alone for 30 minutes, on the same day
    sql: |
      cart_value > 0
      AND cart_updated_at BETWEEN now() - INTERVAL '24 hours' AND now() - INTERVAL '30 minutes'
  viewer:
    sql: view_count >= 1
"""
#: What the issue promises of ``replay``, and others build on.
REPORT = ["read", "applied", "duplicates", "rejected", "dead_lettered", "changes", "members"]
CHANGE = {"customer_id", "segment", "action", "at", "sequence", "id", "cause", "evidence"}


@pytest.fixture(autouse=True)
def none_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """Settings are the test's; lines are long, so that none is broken."""
    for name in os.environ:
        if name.upper().startswith("LIVESEGMENTS_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("COLUMNS", "240")


@pytest.fixture
def book(tmp_path: Path) -> Path:
    path = tmp_path / "segments.yaml"
    path.write_text(BOOK)
    return path


def run(*arguments: object) -> Result:
    """A command in this process; what it raises is a failure of the test."""
    result = CliRunner().invoke(app, [str(each) for each in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def environment(**settings: object) -> dict[str, str]:
    return {**os.environ, **{f"LIVESEGMENTS_{name.upper()}": str(value) for name, value in settings.items()}}


def process(*arguments: object, **settings: object) -> subprocess.CompletedProcess[str]:
    """A command in a process of its own."""
    command = [sys.executable, "-m", "stream", *map(str, arguments)]
    return subprocess.run(
        command,
        cwd=ROOT,
        env=environment(**settings),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def error_of(text: str) -> str:
    """The one plain line."""
    (line,) = text.splitlines()
    assert line.startswith("error: ")
    return line.removeprefix("error: ")


def commands(command: Any, words: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every command with the words that call it, groups included."""
    yield words, command
    if isinstance(command, TyperGroup):
        for word, below in command.commands.items():
            yield from commands(below, (*words, word))


COMMANDS = dict(commands(typer.main.get_command(app)))


# -- help ---------------------------------------------------------------------------------------------------


def test_the_commands_are_those_of_the_documentation() -> None:
    """No more and no fewer."""
    found = {" ".join(words) for words, command in COMMANDS.items() if not isinstance(command, TyperGroup)}
    assert found == {
        *("worker", "deliver", "explain", "replay", "demo", "settings"),
        *("topics create", "segments check", "segments apply"),
        *("segments list", "segments show", "segments diff", "segments history"),
        *("segments backtest", "segments test"),
        *("destinations platforms", "destinations check", "destinations try", "destinations status"),
        *("destinations pause", "destinations resume", "destinations resync"),
        *("deliveries list", "deliveries show", "deliveries replay"),
    }


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_help_exits_0_and_names_every_option(words: tuple[str, ...]) -> None:
    """With what it does, and what each option is for."""
    result = run(*words, "--help")
    assert result.exit_code == 0
    assert result.stderr == ""
    command = COMMANDS[words]
    assert command.help
    assert " ".join(command.help.split()[:4]) in " ".join(result.stdout.split())
    for parameter in command.params:
        assert parameter.help, parameter.name
        if isinstance(parameter, TyperOption):
            assert all(option in result.stdout for option in parameter.opts)
        else:
            assert parameter.name
            assert parameter.name.upper() in result.stdout.upper()
    if isinstance(command, TyperGroup):
        assert all(name in result.stdout for name in command.commands)


@pytest.mark.parametrize("words", [(), ("topics",), ("segments",), ("destinations",), ("deliveries",)], ids=" ".join)
def test_a_group_alone_prints_its_help(words: tuple[str, ...]) -> None:
    """A stranger types the name first."""
    result = run(*words)
    assert "Usage:" in result.output
    assert "--help" in result.output


def test_the_program_answers_by_either_name() -> None:
    """``python -m stream`` and the installed command are the same."""
    module = process("--help")
    script = subprocess.run(
        [Path(sys.executable).with_name("livesegments"), "--help"],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert module.returncode == script.returncode == 0
    assert all(f" {words[0]} " in module.stdout for words in COMMANDS if words)
    assert module.stdout.splitlines()[2:] == script.stdout.splitlines()[2:]


@pytest.mark.parametrize("arguments", [("nonsense",), ("replay", "--nonsense"), ("worker", "extra")])
def test_wrong_usage_exits_2_and_points_to_help(arguments: tuple[str, ...]) -> None:
    """As every program does."""
    result = run(*arguments)
    assert result.exit_code == 2
    assert "--help" in result.stderr
    assert result.stdout == ""


# -- settings -----------------------------------------------------------------------------------------------


def test_settings_are_listed_with_their_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    """All of them, their defaults, and no value of anybody's."""
    monkeypatch.setenv("LIVESEGMENTS_KAFKA_SASL_PASSWORD", SECRET)
    result = run("settings")
    assert result.exit_code == 0
    for name, field in Settings.model_fields.items():
        assert f"LIVESEGMENTS_{name.upper()}" in result.stdout
        assert field.description is not None
        assert field.description in result.stdout
    assert SECRET not in result.output


@pytest.mark.parametrize(
    ("variables", "named"),
    [
        ({"partitions": "many", "kafka_sasl_password": SECRET}, ["partitions", "valid integer"]),
        ({"foreign_topics": f"{{{SECRET}"}, ["foreign_topics"]),
        ({"kafka_bootstrap_servers": "a:b"}, ["kafka_bootstrap_servers: 'a:b' is no host:port"]),
        ({"settings_file": "/nowhere/settings.yaml"}, ["/nowhere/settings.yaml", "No such file"]),
    ],
    ids=["wrong", "no JSON", "no broker", "no file"],
)
def test_settings_that_are_not_valid_are_named(
    variables: Mapping[str, str], named: list[str], monkeypatch: pytest.MonkeyPatch, book: Path
) -> None:
    """By every command that reads them, with where to look for them and without what they hold."""
    for name, value in variables.items():
        monkeypatch.setenv(f"LIVESEGMENTS_{name.upper()}", value)
    out, report = book.with_name("out"), book.with_name("report")
    for arguments in (
        ("topics", "create"),
        ("segments", "apply", book),
        ("replay", book, "--segments", book, "--out", out, "--report", report),
    ):
        result = run(*arguments)
        assert result.exit_code == 2
        assert result.stdout == ""
        assert result.stderr.startswith("error: the settings are not valid")
        assert FILE_VARIABLE in result.stderr
        assert all(text in result.stderr for text in named)
        assert SECRET not in result.stderr
        assert "Value error" not in result.stderr


def test_a_variable_that_sets_nothing_is_named_with_the_setting_that_may_be_meant(
    monkeypatch: pytest.MonkeyPatch, book: Path
) -> None:
    """Misspelt, it would leave a default in force without a word; what it holds is not said."""
    monkeypatch.setenv("LIVESEGMENTS_RATE_LIMITS", SECRET)
    monkeypatch.setenv("LIVESEGMENT_GROUP", SECRET)
    monkeypatch.setenv("LIVESEGMENTS_WHATEVER", SECRET)
    monkeypatch.setenv("livesegments_log_level", "WARNING")
    monkeypatch.setenv("SOMEBODY_ELSES_GROUP", SECRET)
    for arguments in (("segments", "check", book), ("settings",)):
        result = run(*arguments)
        assert result.exit_code == 0
        assert [line for line in result.stderr.splitlines() if "environment" in line] == [
            "warning: the environment variable LIVESEGMENTS_RATE_LIMITS is no setting and has no effect: "
            "did you mean LIVESEGMENTS_RATE_LIMIT?",
            "warning: the environment variable LIVESEGMENTS_WHATEVER is no setting and has no effect: "
            "`livesegments settings` lists all that are",
            "warning: the environment variable LIVESEGMENT_GROUP is no setting and has no effect: "
            "did you mean LIVESEGMENTS_GROUP?",
        ]
        assert SECRET not in result.output


# -- segments check -----------------------------------------------------------------------------------------


def test_a_good_book_is_listed_with_its_version(book: Path) -> None:
    """Exit status 0; the version is what every change will name."""
    result = run("segments", "check", book)
    assert result.exit_code == 0
    assert "error" not in result.stderr
    assert result.stdout.splitlines()[:2] == ["ok  abandoned_cart", "ok  viewer"]
    count, version = result.stdout.splitlines()[2].split(" segments, version ")
    assert count == "2"
    assert len(version) == 16


BAD_BOOKS = {
    "a misspelt column": (
        "segments:\n  vip:\n    sql: total_spend >= 500\n",
        [
            "segment vip (line 2 of the book), line 1, column 1 of its SQL",
            "total_spend >= 500",
            "^^^^^^^^^^^",
        ],
        "total_spent",
    ),
    "SQL that ends too early": (
        "segments:\n  vip:\n    sql: |\n      view_count >= 1\n      AND total_spent >=\n",
        ["segment vip (line 2 of the book), line 2, column", "AND total_spent >=", "^"],
        None,
    ),
    "no YAML": ("segments:\n  vip: {sql: a: b}\n", ["line 2, column", "not YAML", "^"], "quote"),
    "a misspelt key": (
        "segments:\n  vip:\n    slq: view_count > 1\n",
        ["segment vip", "line 3, column 5", "slq", "^^^"],
        "sql",
    ),
    "an unknown type": (
        "attributes: {age: int}\nsegments: {}\n",
        ["line 1, column 19", "^^^"],
        "write integer",
    ),
    "a name that is none": (
        "segments:\n  Big Spenders: {sql: view_count > 1}\n",
        ["line 2, column 3", "^^^"],
        "a-z",
    ),
    "nothing": ("", ["the book is empty"], "segments:"),
}


@pytest.mark.parametrize("name", BAD_BOOKS)
def test_a_bad_book_is_refused_with_place_excerpt_and_hint(name: str, tmp_path: Path) -> None:
    """Exit status 1: the line, carets under the place, and what to write instead."""
    text, shown, hint = BAD_BOOKS[name]
    path = tmp_path / "segments.yaml"
    path.write_text(text)
    result = run("segments", "check", path)
    assert result.exit_code == 1
    assert result.stdout == ""
    for part in shown:
        assert part in result.stderr
    if hint is not None:
        assert hint in result.stderr


def test_carets_stand_under_what_they_mean(tmp_path: Path) -> None:
    """Text of the book is never taken for markup."""
    path = tmp_path / "segments.yaml"
    path.write_text("segments:\n  vip:\n    sql: view_count > 1 AND [bold] > 2\n")
    result = run("segments", "check", path)
    assert result.exit_code == 1
    lines = result.stderr.splitlines()
    (at,) = [n for n, line in enumerate(lines) if "view_count > 1 AND [bold] > 2" in line]
    assert lines[at + 1].index("^") == lines[at].index("bold]")


def test_all_mistakes_of_a_book_are_said_at_once(tmp_path: Path) -> None:
    """One run, one list."""
    path = tmp_path / "segments.yaml"
    path.write_text("segments:\n  a: {sql: nope > 1}\n  b: {sql: view_count > 'x'}\n  c: {sql: view_count > 1}\n")
    result = run("segments", "check", path)
    assert result.exit_code == 1
    assert "segment a" in result.stderr
    assert "segment b" in result.stderr
    assert "segment c" not in result.stderr


def test_what_is_probably_not_meant_is_a_warning(tmp_path: Path) -> None:
    """It can be applied all the same, with exit status 0; with --strict it is a mistake."""
    path = tmp_path / "segments.yaml"
    path.write_text(
        "segments:\n  fan: {sql: view_count >= 1}\n  fresh: {sql: last_seen_at > now() - INTERVAL '1 day'}\n"
    )
    result = run("segments", "check", path)
    assert result.exit_code == 0
    assert result.stderr.startswith("warning: segment fan (line 2 of the book)")
    assert "can never leave" in result.stderr
    assert "fresh" not in result.stderr
    assert run("segments", "check", path, "--strict").exit_code == 1


def test_a_segment_that_nobody_can_be_in_is_a_mistake(tmp_path: Path) -> None:
    """A book in the log would take it; who writes one did not mean it."""
    path = tmp_path / "segments.yaml"
    path.write_text("attributes: {age: integer}\nsegments:\n  no: {sql: age > 40 AND age < 30}\n")
    result = run("segments", "check", path)
    assert result.exit_code == 1
    assert "segment no" in result.stderr
    assert "can never be true" in result.stderr


def test_a_window_longer_than_the_history_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the setting that says how long that is."""
    path = tmp_path / "segments.yaml"
    window = "EXISTS (SELECT 1 FROM events WHERE event_type = 'search' AND event_time >= now() - INTERVAL '30 days')"
    path.write_text(f"segments:\n  seekers:\n    sql: {window}\n")
    assert run("segments", "check", path).exit_code == 0
    monkeypatch.setenv("LIVESEGMENTS_HISTORY_DAYS", "30")
    assert run("segments", "check", path).exit_code == 0
    monkeypatch.setenv("LIVESEGMENTS_HISTORY_DAYS", "29")
    result = run("segments", "check", path)
    assert result.exit_code == 1
    assert "segment seekers" in result.stderr
    assert "LIVESEGMENTS_HISTORY_DAYS" in result.stderr


def test_a_book_that_is_no_text_is_refused_in_a_line(tmp_path: Path, book: Path) -> None:
    """By every command that reads one."""
    path = tmp_path / "binary.yaml"
    path.write_bytes(b"segments:\n  caf\xe9: {}\n")
    for arguments in (
        ("segments", "check", path),
        ("segments", "apply", path),
        ("replay", book, "--segments", path, "--out", tmp_path / "o", "--report", tmp_path / "r"),
    ):
        result = run(*arguments)
        assert result.exit_code == 2
        assert error_of(result.stderr) == f"{path} is not UTF-8"


@pytest.mark.parametrize(
    "arguments", [("segments", "check"), ("segments", "apply"), ("worker", "--segments")], ids=" ".join
)
def test_a_book_that_is_not_there_is_named(arguments: tuple[str, ...], tmp_path: Path) -> None:
    """Before anything else is tried."""
    result = run(*arguments, tmp_path / "none.yaml")
    assert result.exit_code == 2
    assert "none.yaml" in result.stderr
    assert "does not exist" in result.stderr


# -- replay -------------------------------------------------------------------------------------------------


def line(at: str | None, customer: str = "c", kind: str = "product_view", **fields: Any) -> bytes:
    event = {"customer_id": customer, "event_type": kind, **fields}
    return json.dumps(event if at is None else {"timestamp": f"2026-03-02T{at}Z"} | event).encode()


def replay(
    folder: Path,
    content: bytes | Iterable[bytes],
    *options: object,
    name: str = "events.jsonl",
    book: str = BOOK,
) -> tuple[Result, dict[str, Any], list[dict[str, Any]]]:
    """The result of the command, its report, and its changes."""
    (folder / name).write_bytes(content if isinstance(content, bytes) else b"".join(each + b"\n" for each in content))
    (folder / "segments.yaml").write_text(book)
    out, report = folder / "changes.jsonl", folder / "report.json"
    result = run(
        *("replay", folder / name, "--segments", folder / "segments.yaml", "--out", out, "--report", report),
        *options,
    )
    if result.exit_code:
        return result, {}, []
    return (
        result,
        json.loads(report.read_bytes()),
        [json.loads(each) for each in out.read_bytes().splitlines()],
    )


SHOP = [
    line("10:00:00", event_id="v1"),
    line("10:00:01", event_id="v1"),
    line("10:00:02", product_id="p"),
    line("10:00:02", product_id="p"),
    line("10:01:00", "d", "add_to_cart", product_id="p", price=20),
    line("10:02:00", "bot", user_agent="curl/8.5.0"),
    line("10:02:01", "e", price="much"),
    line("10:02:02", "e", price="more"),
    b"{",
    b"\xff",
    line("10:03:00", "f", "spun the wheel"),
]


def test_replay_gives_changes_and_the_accounting(tmp_path: Path) -> None:
    """Report and changes have exactly the promised shape, and P4's counters sum to what was read."""
    result, report, changes = replay(tmp_path, SHOP)
    assert result.exit_code == 0
    assert list(report) == REPORT
    assert report == {
        "read": 11,
        "applied": 4,
        "duplicates": 2,
        "rejected": {"bot_user_agent": 1, "invalid_type": 2},
        "dead_lettered": {"not_json": 1, "not_utf8": 1},
        "changes": 1,
        "members": {"abandoned_cart": 0, "viewer": 1},
    }
    (change,) = changes
    assert change.keys() >= CHANGE
    assert change["customer_id"] == "c"
    assert (change["segment"], change["action"], change["sequence"]) == ("viewer", "entered", 1)
    assert change["at"] == "2026-03-02T10:00:00Z"
    assert change["cause"]["event_id"] == "v1"
    assert change["evidence"] == {"view_count": 1}
    SegmentChange.model_validate(change)


def test_replay_prints_its_report(tmp_path: Path) -> None:
    """The same as it writes, a line for each entry; and nothing else."""
    result, report, _ = replay(tmp_path, SHOP)
    assert result.stdout.splitlines() == [f"{name}: {value}" for name, value in report.items()]
    assert result.stderr == ""


def test_until_lets_time_pass_after_the_last_line(tmp_path: Path) -> None:
    """With no event at all: a cart is seen to be abandoned, and to leave the segment, at exact instants."""
    _, report, changes = replay(tmp_path, SHOP, "--until", "2026-03-02T10:31:00Z")
    assert [(c["customer_id"], c["action"], c["at"]) for c in changes[1:]] == [("d", "entered", "2026-03-02T10:31:00Z")]
    assert changes[1]["cause"] == {"kind": "time"}
    assert report["members"] == {"abandoned_cart": 1, "viewer": 1}
    assert report["read"] == 11
    _, report, changes = replay(tmp_path, SHOP, "--until", "2026-03-03T12:01:00+01:00")
    assert (changes[2]["action"], changes[2]["at"]) == ("exited", "2026-03-03T10:01:00.000001Z")
    assert report["changes"] == len(changes) == 3
    assert report["members"] == {"abandoned_cart": 0, "viewer": 1}


def test_until_before_the_last_line_changes_nothing(tmp_path: Path) -> None:
    """Log time never goes back."""
    assert replay(tmp_path, SHOP, "--until", "2026-03-02T09:00:00Z")[1:] == replay(tmp_path, SHOP)[1:]


def test_received_at_is_the_log_time(tmp_path: Path) -> None:
    """Else the event's own; and it never goes back, whatever a later line says."""
    lines = [
        line("09:00:00", "a", received_at="2026-03-02T10:00:00Z"),
        line("09:30:00", "b"),
        line("08:00:00", "d", received_at="2026-03-02T09:59:00Z"),
        line("10:05:00", "e"),
        line(None, "f"),
        line("10:00:00", "g", received_at=1_772_446_200),
    ]
    _, report, changes = replay(tmp_path, lines)
    assert report["applied"] == 6
    assert [(c["customer_id"], c["at"][11:19]) for c in changes] == [
        ("a", "10:00:00"),
        ("b", "10:00:00"),
        ("d", "10:00:00"),
        ("e", "10:05:00"),
        ("f", "10:05:00"),
        ("g", "10:10:00"),
    ]
    assert changes[0]["cause"]["event_time"] == "2026-03-02T09:00:00Z"
    assert changes[4]["cause"]["event_time"] == "2026-03-02T10:05:00Z"


@pytest.mark.parametrize(
    "written",
    [
        ["2026-03-02 10:00:00 UTC", "2026-03-02 11:00:00 UTC"],
        ["2026-03-02T10:00:00+0000", "2026-03-02T12:00:00+01"],
        ["1772445600", "1772449200"],
        [1772445600000000, 1772449200000000],
        [1772445600.0, 1772449200],
        ["2026-03-02T10:00:00.1234567Z", "2026-03-02T11:00:00.1Z"],
    ],
    ids=str,
)
@pytest.mark.parametrize("field", ["timestamp", "received_at"])
def test_replay_reads_every_instant_that_the_stream_reads(tmp_path: Path, field: str, written: list[Any]) -> None:
    """One notion of time: what an event may write in its timestamp moves the log's time."""
    lines = [line(None, f"c{n}", **{field: each}) for n, each in enumerate(written)]
    _, report, changes = replay(tmp_path, lines)
    assert report["applied"] == 2, report
    assert [c["at"][:19] for c in changes] == ["2026-03-02T10:00:00", "2026-03-02T11:00:00"]


def test_replay_says_the_same_each_time(tmp_path: Path) -> None:
    """Byte for byte."""
    replay(tmp_path, SHOP, "--until", "2026-03-04")
    first = [(tmp_path / name).read_bytes() for name in ("changes.jsonl", "report.json")]
    replay(tmp_path, SHOP, "--until", "2026-03-04")
    assert [(tmp_path / name).read_bytes() for name in ("changes.jsonl", "report.json")] == first


@pytest.mark.parametrize("content", [b"", b"\n\n"], ids=["empty", "blank lines"])
def test_a_file_without_events_is_replayed_too(tmp_path: Path, content: bytes) -> None:
    """There is nothing to say."""
    result, report, changes = replay(tmp_path, content)
    assert result.exit_code == 0
    assert report["applied"] == report["changes"] == len(changes) == 0
    assert report["read"] == sum(report["dead_lettered"].values())


def test_rees46_rows_are_events(tmp_path: Path) -> None:
    """The format of the open shop logs, by name."""
    rows = (
        b"event_time,event_type,product_id,category_id,category_code,brand,price,user_id,user_session\r\n"
        b"2019-10-01 00:00:00 UTC,view,44600062,2103807459595387724,,shiseido,35.79,541312140,s1\r\n"
        b"2019-10-01 00:00:01 UTC,cart,3900821,2053013552326770905,,aqua,33.20,554748717,s2\r\n"
        b"2019-10-01 00:00:01 UTC,cart,3900821,2053013552326770905,,aqua,33.20,554748717,s2\r\n"
    )
    options = "--format", "rees46", "--until", "2019-10-01T01:00:00Z"
    _, report, changes = replay(tmp_path, rows, *options, name="log.csv")
    assert (report["read"], report["applied"], report["duplicates"]) == (3, 2, 1)
    assert [(c["customer_id"], c["segment"]) for c in changes] == [
        ("541312140", "viewer"),
        ("554748717", "abandoned_cart"),
    ]


PACK = {"gz": gzip.compress, "zst": zstandard.ZstdCompressor().compress}


@pytest.mark.parametrize("suffix", PACK)
def test_a_packed_file_is_unpacked(tmp_path: Path, suffix: str) -> None:
    """By its name."""
    plain = b"".join(each + b"\n" for each in SHOP)
    _, report, changes = replay(tmp_path, PACK[suffix](plain), name=f"events.jsonl.{suffix}")
    assert (report, changes) == replay(tmp_path, plain)[1:]


@pytest.mark.parametrize("suffix", PACK)
@pytest.mark.parametrize("damage", ["cut off", "no archive"])
def test_a_damaged_packed_file_is_named_in_a_line(tmp_path: Path, suffix: str, damage: str) -> None:
    """What could be read of it is no result."""
    packed = PACK[suffix](os.urandom(100_000))
    content = packed[: len(packed) // 2] if damage == "cut off" else b"not packed at all\n" * 100
    result, _, _ = replay(tmp_path, content, name=f"events.jsonl.{suffix}")
    assert result.exit_code == 1
    assert f"events.jsonl.{suffix}" in error_of(result.stderr)


@pytest.mark.parametrize("until", ["tomorrow", "", "2026-13-01", "10:00", "1772445600"])
def test_an_until_that_is_no_instant_is_named(tmp_path: Path, until: str) -> None:
    """With what one looks like."""
    result, _, _ = replay(tmp_path, SHOP, "--until", until)
    assert result.exit_code == 2
    said = error_of(result.stderr)
    assert repr(until) in said
    assert "2026-03-02T12:00:00Z" in said


def test_a_file_that_is_not_there_is_named(tmp_path: Path, book: Path) -> None:
    """Events, segments, and the folder that results should go to."""
    good = tmp_path / "events.jsonl"
    good.write_bytes(SHOP[0])
    gone = tmp_path / "gone"
    missing: list[dict[str, Path]] = [
        {"events": gone / "file"},
        {"segments": gone / "file"},
        {"out": gone / "file"},
        {"report": gone / "file"},
    ]
    for other in missing:
        paths = {"events": good, "segments": book, "out": tmp_path / "o", "report": tmp_path / "r"} | other
        options = [word for name in ("segments", "out", "report") for word in (f"--{name}", paths[name])]
        result = run("replay", paths["events"], *options)
        assert result.exit_code in (1, 2)
        assert str(gone / "file") in result.stderr
        assert result.stdout == ""


def test_a_format_that_is_none_is_named(tmp_path: Path) -> None:
    """With those that there are."""
    result, _, _ = replay(tmp_path, SHOP, "--format", "xml")
    assert result.exit_code == 2
    assert "events-jsonl" in result.stderr
    assert "rees46" in result.stderr
    result, _, _ = replay(tmp_path, SHOP, "--format", "rees46")
    assert result.exit_code == 1
    assert "no REES46 log" in error_of(result.stderr)


def test_a_bad_book_ends_replay_before_anything_is_written(tmp_path: Path) -> None:
    """As ``segments check`` would say."""
    result, _, _ = replay(tmp_path, SHOP, book="segments: {vip: {sql: nope > 1}}")
    assert result.exit_code == 1
    assert "segment vip" in result.stderr
    assert not (tmp_path / "changes.jsonl").exists()
    assert not (tmp_path / "report.json").exists()


# -- commands that need a broker ----------------------------------------------------------------------------


@pytest.fixture
def destinations(tmp_path: Path) -> Path:
    path = tmp_path / "destinations.yaml"
    path.write_text("destinations: {}\n")
    return path


@pytest.fixture
def logging_as_it_was() -> Iterator[None]:
    """Long-running commands set up logging for their process, which here is that of all tests."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    levels = {name: logging.getLogger(name).level for name in list(root.manager.loggerDict)}
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    for name in list(root.manager.loggerDict):
        logging.getLogger(name).setLevel(levels.get(name, logging.NOTSET))


NEED_A_BROKER = [
    *(("worker",), ("deliver",), ("topics", "create"), ("segments", "apply"), ("explain", "ann")),
    *(("segments", "list"), ("segments", "show"), ("segments", "diff"), ("segments", "history")),
    *(("destinations", "status"), ("deliveries", "list")),
]


@pytest.mark.parametrize("words", NEED_A_BROKER, ids=" ".join)
def test_a_broker_that_is_not_there_is_one_plain_line(words: tuple[str, ...], book: Path, destinations: Path) -> None:
    """Exit status 1 within seconds, the address and the reason, no traceback, and nothing after it."""
    address = f"127.0.0.1:{free_ports(1)[0]}"
    arguments = (*words, book) if words == ("segments", "apply") else words
    began = time.monotonic()
    done = process(*arguments, "--bootstrap-servers", address, metrics_port=0, destinations=destinations)
    assert time.monotonic() - began < 10
    assert done.returncode == 1
    assert done.stdout == ""
    assert error_of(done.stderr).startswith(f"no Kafka broker answers at {address}: [Errno ")


@contextmanager
def silent_port() -> Iterator[str]:
    """Something that takes connections and says nothing."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield f"127.0.0.1:{listener.getsockname()[1]}"


def test_a_broker_that_says_nothing_is_one_plain_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a firewall one hears no more than that."""
    assert broker.ANSWER_SECONDS <= 10
    monkeypatch.setattr(broker, "ANSWER_SECONDS", 0.3)
    with silent_port() as address:
        result = run("topics", "create", "--bootstrap-servers", address)
    assert result.exit_code == 1
    assert result.stdout == ""
    assert error_of(result.stderr) == f"no Kafka broker answers at {address}: no answer within 0.3 s"


def test_a_certificate_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Before any broker is asked."""
    monkeypatch.setenv("LIVESEGMENTS_KAFKA_SECURITY_PROTOCOL", "SSL")
    monkeypatch.setenv("LIVESEGMENTS_KAFKA_SSL_CAFILE", str(tmp_path / "ca.pem"))
    result = run("topics", "create")
    assert result.exit_code == 2
    assert error_of(result.stderr) == f"kafka_ssl_cafile: {tmp_path / 'ca.pem'}: No such file or directory"


@pytest.mark.usefixtures("logging_as_it_was")
@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "{path}: No such file or directory"),
        (b"destinations:\n  crm:\n    platform: pigeon\n", "{path}:2: crm: 'platform' must be one of: "),
        (b"destinations: {caf\xe9: {}}\n", "{path} is not UTF-8"),
    ],
    ids=["missing", "wrong", "no text"],
)
def test_destinations_that_cannot_be_used_are_named(tmp_path: Path, content: bytes | None, said: str) -> None:
    """Before any broker is asked."""
    path = tmp_path / "destinations.yaml"
    if content is not None:
        path.write_bytes(content)
    result = run("deliver", "--destinations", path)
    assert result.exit_code == 2
    assert error_of(result.stderr).startswith(said.format(path=path))


@pytest.mark.usefixtures("logging_as_it_was")
async def test_topics_come_first_and_once(book: Path, destinations: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without them every command says what to run, and makes none itself: it would be no topic of ours."""
    deliver = ("deliver", "--destinations", destinations)
    for name, value in {"kafka_idempotence": "false", "metrics_port": "0", "partitions": "3"}.items():
        monkeypatch.setenv(f"LIVESEGMENTS_{name.upper()}", value)
    monkeypatch.setenv("LIVESEGMENTS_METRICS_HOST", "127.0.0.1")
    async with tansu() as address:
        monkeypatch.setenv("LIVESEGMENTS_KAFKA_BOOTSTRAP_SERVERS", address)

        async def ran(*arguments: object) -> Result:
            # A loop of its own, as in a process of its own.
            return await asyncio.to_thread(run, *arguments)

        for arguments in (
            *(("worker",), deliver, ("segments", "apply", book), ("worker", "--segments", book)),
            *(("segments", "list"), ("segments", "diff", book), ("explain", "ann")),
            *(("deliveries", "list"), ("deliveries", "show", "c0ffee")),
            ("destinations", "status", "--destinations", destinations),
            ("destinations", "check", destinations, "--in-force"),
        ):
            result = await ran(*arguments)
            assert result.exit_code == 1
            said = error_of(result.stderr)
            assert said.startswith("the topics are not there: ")
            assert said.endswith(": run `livesegments topics create` first")

        result = await ran("topics", "create")
        assert (result.exit_code, result.stderr) == (0, "")
        counts = {topic.name: partitions(topic, 3) for topic in TOPICS}
        assert set(counts.values()) == {1, 3}
        made = [["created", name, str(n), "partition" if n == 1 else "partitions"] for name, n in counts.items()]
        assert [each.split() for each in result.stdout.splitlines()] == made

        result = await ran("topics", "create")
        assert result.exit_code == 0
        assert all(each.startswith("exists ") for each in result.stdout.splitlines())

        result = await ran("topics", "create", "--partitions", 4)
        assert result.exit_code == 1
        assert "has 3 partitions, and the settings say 4" in error_of(result.stderr)

        result = await ran("segments", "apply", book)
        assert result.exit_code == 0
        assert result.stdout.endswith(" written to 3 partitions\n")

        with silent_port() as taken:
            for arguments in (("worker",), deliver):
                result = await ran(*arguments, "--metrics-port", taken.rpartition(":")[2])
                assert result.exit_code == 2
                said = error_of(result.stderr)
                assert said.startswith(f"the metrics cannot be served at {taken}: Address already in use")

        monkeypatch.setenv("LIVESEGMENTS_PARTITIONS", "12")
        result = await ran("worker")
        assert result.exit_code == 1
        assert error_of(result.stderr) == "topic events has 3 partitions, and the settings say 12"
