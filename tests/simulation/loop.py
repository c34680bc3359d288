"""An event loop without a clock and without sockets: the world moves it, so one seed is one run."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Coroutine
from contextvars import Context
from typing import Any, Protocol, cast


class Clock(Protocol):
    """Virtual time in seconds, and what happens at an instant of it."""

    now: float

    def at(self, when: float, what: Callable[[], object]) -> None:
        """Let ``what`` happen at ``when``."""
        ...


class Loop:
    """The loop of one worker process. ``dead`` is kill -9, ``paused`` is SIGSTOP."""

    def __init__(self, clock: Clock, owner: Any) -> None:
        self.owner = owner
        self.dead = self.paused = False
        self.errors: list[BaseException] = []
        self._tasks: list[asyncio.Task[Any]] = []
        self._clock = clock
        self._ready: deque[asyncio.Handle] = deque()

    @property
    def busy(self) -> bool:
        """Whether something could run at once."""
        return bool(self._ready) and not self.paused and not self.dead

    def run_ready(self) -> None:
        """Run what is ready now, in its order; what that makes ready waits for the next call."""
        asyncio._set_running_loop(cast(Any, self))
        try:
            for _ in range(len(self._ready)):
                if not self.busy:
                    return
                handle = self._ready.popleft()
                if not handle.cancelled():
                    handle._run()
        finally:
            asyncio._set_running_loop(None)

    def kill(self) -> None:
        """Nothing of this loop runs any more, whoever wakes it."""
        self.dead = True
        self._ready.clear()

    def _push(self, handle: asyncio.Handle) -> None:
        if not self.dead:
            self._ready.append(handle)

    # -- what asyncio asks of a loop ------------------------------------------------------------------------------

    def time(self) -> float:
        return self._clock.now

    def call_soon(self, callback: Any, *args: Any, context: Context | None = None) -> asyncio.Handle:
        handle = asyncio.Handle(callback, args, cast(Any, self), context)
        self._push(handle)
        return handle

    def call_later(self, delay: float, callback: Any, *args: Any, context: Context | None = None) -> Any:
        return self.call_at(self._clock.now + delay, callback, *args, context=context)

    def call_at(self, when: float, callback: Any, *args: Any, context: Context | None = None) -> Any:
        handle = asyncio.TimerHandle(when, callback, args, cast(Any, self), context)
        self._clock.at(when, lambda: self._push(handle))
        return handle

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        pass

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.Future(loop=cast(Any, self))

    def create_task(self, coro: Any, **options: Any) -> Any:
        task: asyncio.Task[Any] = asyncio.Task(coro, loop=cast(Any, self), **options)
        self._tasks.append(task)
        return task

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> asyncio.Future[Any]:
        """At once: what a thread computes meanwhile, nobody can see."""
        future = self.create_future()
        future.set_result(func(*args))
        return future

    def get_debug(self) -> bool:
        return False

    def is_running(self) -> bool:
        return not self.dead

    def is_closed(self) -> bool:
        return False

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if isinstance(error, Exception) and not self.dead:
            self.errors.append(error)

    def spawn(self, coroutine: Coroutine[Any, Any, None]) -> None:
        """Start a task from outside of the loop."""
        if self.dead:
            coroutine.close()
        else:
            self.create_task(coroutine)

    def bury(self) -> None:
        """Close what the end of the process has left behind, while no loop runs: a collector would do it anywhere."""
        self.kill()
        for task in self._tasks:
            if not task.done():
                task._log_destroy_pending = False  # type: ignore[attr-defined]
                with contextlib.suppress(BaseException):
                    task.get_coro().close()
        self._tasks.clear()
