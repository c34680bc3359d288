"""The fence around a worker's loop, on real loops in processes of their own: it ends the process."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time

from stream.engine.watchdog import Watchdog

_PROCESS = """
import asyncio, logging, time
from stream.engine.watchdog import Watchdog

async def main():
    watchdog = Watchdog(0.4)
    watchdog.start()
    await asyncio.sleep(0.3)
    print("alive", flush=True)
    {then}
    print("went on", flush=True)

logging.basicConfig(format="%(message)s")
asyncio.run(main())
"""


def ends(then: str) -> tuple[int, str, str]:
    """A process that does ``then`` in its loop: exit code, output, log."""
    child = subprocess.run(
        [sys.executable, "-c", _PROCESS.format(then=then)], capture_output=True, text=True, timeout=60
    )
    return child.returncode, child.stdout, child.stderr


def test_a_loop_that_stands_still_ends_the_process_while_it_stands() -> None:
    """The thread sees it: what blocks the loop need not come to its end, nor what waits behind it run."""
    began = time.monotonic()
    code, out, log = ends("time.sleep(50)")
    assert (code, out) == (70, "alive\n")
    assert "the worker stood still for 0." in log and "more than half its session" in log
    assert time.monotonic() - began < 20


def test_a_loop_that_only_has_much_to_do_is_left_alone() -> None:
    """Pieces much shorter than the limit may follow each other for as long as they like."""
    code, out, log = ends("[(time.sleep(0.05), await asyncio.sleep(0)) for _ in range(30)]")
    assert (code, out, log) == (0, "alive\nwent on\n", "")


def test_a_watchdog_that_was_stopped_ends_nothing() -> None:
    """The end of a worker may take its time."""
    code, out, _ = ends("watchdog.stop(); time.sleep(1)")
    assert (code, out) == (0, "alive\nwent on\n")


async def test_what_others_will_see_is_checked_first() -> None:
    """``check`` is silent while the pulse is fresh."""
    watchdog = Watchdog(5.0)
    watchdog.start()
    await asyncio.sleep(0)
    watchdog.check()
    watchdog.stop()
