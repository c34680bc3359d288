"""One process per job: forked, stopped together, and started again alone when one dies.

The supervisor is the process that forks. So it runs no event loop, no thread and no client: a fork copies a process
only as well as its other threads let it. What jobs need is imported, read and checked before; they share that memory.
"""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NoReturn

logger = logging.getLogger(__name__)

RESTART_SECONDS = (1.0, 60.0)
"""What failed is started again after the first, doubled up to the second; from the first again, if it ran as long."""

_STOPPING = (signal.SIGTERM, signal.SIGINT)
_HEARD = (*_STOPPING, signal.SIGCHLD)


def _nothing() -> None: ...


@dataclass(frozen=True)
class Job:
    """What one process does."""

    title: str
    """For the log."""
    command: str
    """What `ps` and `top` call the process, where the system lets it say so (Linux; 15 characters)."""
    main: Callable[[], None]
    """Runs in the child, in its main thread, with signals as a new process has them, until SIGTERM or SIGINT: then it
    should return.
    """
    died: Callable[[], None] = _nothing
    """Called in the supervisor when the process has ended and nobody asked it to."""
    attends: bool = False
    """It serves the others, and is stopped when they are gone."""


@dataclass
class _Child:
    job: Job
    pid: int | None = None
    started: float = 0.0
    due: float = 0.0
    delay: float = field(default_factory=lambda: RESTART_SECONDS[0])


class Supervisor:
    """`run` it once, from the main thread of a process without other threads. All times are seconds."""

    def __init__(self, jobs: Sequence[Job], *, patience: float) -> None:
        """`patience`: how long a stop may take before what is left is killed."""
        self._children = [_Child(job) for job in jobs]
        self._patience = patience
        self._give_up: float | None = None
        self._code = 0

    def run(self) -> int:
        """Until SIGTERM or SIGINT, and until every child has ended. Returns the exit code: 1 if a child failed while
        it stopped, or had to be killed.

        No child outlives this process, however it ends: each holds one end of a pipe whose other end only this has.
        """
        gc.collect()
        gc.freeze()  # else the first collection in each child would copy what all share
        self._alive = os.pipe()
        with self._woken_by_signals():
            while True:
                self._start_due()
                running = [child for child in self._children if child.pid]
                if self._give_up is not None and not running:
                    return self._code
                self._heed(self._next_signals())
                self._reap()

    # The stop.

    def _heed(self, numbers: bytes) -> None:
        if self._give_up is None and not set(_STOPPING).isdisjoint(numbers):
            self._give_up = time.monotonic() + self._patience
            self._signal(signal.SIGTERM, attending=False)
        elif self._give_up is not None and time.monotonic() >= self._give_up:
            left = [child.job.title for child in self._children if child.pid]
            logger.error("killed, because they did not stop within %g s: %s", self._patience, ", ".join(left))
            self._code = 1
            self._signal(signal.SIGKILL, attending=False)
            self._signal(signal.SIGKILL, attending=True)
            self._give_up = float("inf")

    def _signal(self, number: signal.Signals, *, attending: bool) -> None:
        for child in self._children:
            if child.pid and child.job.attends is attending:
                os.kill(child.pid, number)

    # Waiting.

    @contextlib.contextmanager
    def _woken_by_signals(self) -> Iterator[None]:
        """A byte, the signal's number, wakes `select`: nothing is done in a handler, and none is missed before it."""
        self._wake = os.pipe()
        for end in self._wake:
            os.set_blocking(end, False)
        before = {number: signal.signal(number, lambda *_: None) for number in _HEARD}
        wakes = signal.set_wakeup_fd(self._wake[1], warn_on_full_buffer=False)
        try:
            yield
        finally:
            signal.set_wakeup_fd(wakes)
            for number, handler in before.items():
                signal.signal(number, handler)
            for end in (*self._wake, *self._alive):
                os.close(end)

    def _next_signals(self) -> bytes:
        dues = [child.due for child in self._children if not child.pid] if self._give_up is None else [self._give_up]
        until = min(dues, default=float("inf"))
        wait = None if until == float("inf") else max(0.0, until - time.monotonic())
        select.select([self._wake[0]], [], [], wait)
        try:
            return os.read(self._wake[0], 4096)
        except BlockingIOError:
            return b""

    # Children.

    def _start_due(self) -> None:
        for child in self._children:
            if child.pid is None and self._give_up is None and child.due <= time.monotonic():
                child.started = time.monotonic()
                child.pid = self._fork(child.job)

    def _fork(self, job: Job) -> int:
        sys.stdout.flush()
        sys.stderr.flush()
        # Meant for the child, a signal must not meet the supervisor's handlers there.
        signal.pthread_sigmask(signal.SIG_BLOCK, _HEARD)
        try:
            pid = os.fork()
            if not pid:
                self._be(job)
            return pid
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _HEARD)

    def _be(self, job: Job) -> NoReturn:
        """The child's life. It never returns into the supervisor's code."""
        code = 1
        try:
            signal.set_wakeup_fd(-1)
            for number in _HEARD:
                signal.signal(number, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _HEARD)
            for end in (*self._wake, self._alive[1]):
                os.close(end)
            with contextlib.suppress(OSError), open("/proc/self/comm", "w") as comm:
                comm.write(job.command)
            threading.Thread(target=_die_with, args=(self._alive[0],), name="supervisor-watch", daemon=True).start()
            job.main()
            code = 0
        except Exception:
            logger.exception("%s failed", job.title)
        finally:
            with contextlib.suppress(OSError, ValueError):
                sys.stdout.flush()
                sys.stderr.flush()
            os._exit(code)

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                pid = 0
            if not pid:
                break
            for child in self._children:
                if child.pid == pid:
                    child.pid = None
                    self._ended(child, os.waitstatus_to_exitcode(status))
        if self._give_up is not None and not any(child.pid and not child.job.attends for child in self._children):
            self._signal(signal.SIGTERM, attending=True)

    def _ended(self, child: _Child, code: int) -> None:
        how = f"was killed by signal {-code}" if code < 0 else f"ended with code {code}"
        if self._give_up is not None:
            # Where it had not come to listen for signals, nothing was begun.
            if code not in (0, *(-number for number in _STOPPING)):
                logger.error("the process of %s %s while it stopped", child.job.title, how)
                self._code = 1
            return
        now, (shortest, longest) = time.monotonic(), RESTART_SECONDS
        if now - child.started > longest:
            child.delay = shortest
        logger.error("the process of %s %s; it is started again in %g s", child.job.title, how, child.delay)
        child.job.died()
        child.due = now + child.delay
        child.delay = min(child.delay * 2, longest)


def _die_with(alive: int) -> None:
    """In a thread, so that a loop that stands still does not keep its process alive."""
    while True:
        with contextlib.suppress(InterruptedError):
            if not os.read(alive, 1):
                os._exit(1)
