"""Laws of the fail-points: a process dies at the n-th passing of the armed point, and at no other."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

from tests.faults.fleet import ROOT

_PASSES = """
from tests.faults.worker_process import passing
for point in ("before_commit", "in_revoke", "before_commit", "before_commit"):
    print(point, flush=True)
    passing(point)
"""


def passing(directory: Path, armed: str | None) -> tuple[int, list[str]]:
    if armed is not None:
        (directory / "armed").write_text(armed)
    done = subprocess.run(
        [sys.executable, "-c", _PASSES],
        env={
            "FAULTS_ARMED": str(directory / "armed"),
            "FAULTS_FIRED": str(directory / "fired"),
            "PYTHONPATH": str(ROOT),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout.split()


def test_a_process_kills_itself_at_the_armed_point_and_tells(tmp_path: Path) -> None:
    code, passed = passing(tmp_path, "before_commit:2")
    assert (code, passed) == (-signal.SIGKILL, ["before_commit", "in_revoke", "before_commit"])
    assert (tmp_path / "fired").read_text().endswith("before_commit")
    assert not (tmp_path / "armed").exists(), "the next process must live"


def test_without_an_armed_point_nothing_happens(tmp_path: Path) -> None:
    assert passing(tmp_path, None)[0] == 0
    assert passing(tmp_path, "in_recovery:1")[0] == 0
    assert not (tmp_path / "fired").exists()
