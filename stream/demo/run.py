"""Runs the demo: real broker, worker, deliverer and receiver, a day in time-lapse, and the verdict."""

from __future__ import annotations

import asyncio
import logging
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict

from rich.console import Console

from stream.demo.board import Board
from stream.demo.children import ChildFailed
from stream.demo.director import Director
from stream.demo.judge import Finding, digest, judge
from stream.demo.options import DemoOptions, plan
from stream.demo.receiver import Receiver
from stream.demo.stage import new_secret, producing, stage
from stream.demo.summary import report, tell, write
from stream.demo.view import showing
from stream.embedded.process import ServerFailed
from stream.sources import SourceError

__all__ = ["DemoOptions", "run"]

INTERRUPTED = 130


async def run(options: DemoOptions, console: Console | None = None) -> int:
    """Run the demo and return the exit code: 0 if everything was proved, 1 if not, 130 if interrupted."""
    console = console or Console()
    # Kafka's client complains of brokers that go away; at the end of a demo they do.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    try:
        async with _interruptible(), asyncio.timeout(options.limit_seconds):
            return await _run(options, console)
    except asyncio.CancelledError:
        console.print("Interrupted; everything is stopped.")
        return INTERRUPTED
    except TimeoutError:
        console.print(f"The demo did not end within {options.limit_seconds:g} s; everything is stopped.")
    except (ChildFailed, ServerFailed, SourceError, OSError) as error:
        console.print(f"The demo failed: {error}", markup=False, highlight=False, soft_wrap=True)
    except ModuleNotFoundError as error:
        console.print(f"The demo needs the extra 'demo' ({error}): pip install 'livesegments\\[demo]'")
    return 1


async def _run(options: DemoOptions, console: Console) -> int:
    began = time.monotonic()
    todo = plan(options)
    board = Board(todo.title, todo.start, todo.until, len(todo.records), todo.segments, now=todo.start)
    secret = new_secret()
    director = Director(options, todo, board, began)
    receiver = Receiver(secret, options.seed, options.failures, director.note_delivery)
    async with showing(board, console), stage(receiver, secret, options.partitions) as set_up:
        async with producing(set_up.address) as producer:
            evidence = await director.play(set_up, producer, receiver)
        board.phase = "judging"
        findings: list[Finding] = await asyncio.to_thread(judge, evidence)
        board.phase, board.seconds = "done", time.monotonic() - began
    said = digest(record.value for record in evidence.changes)
    content = report(board, findings, said, asdict(options))
    await asyncio.to_thread(write, options.report, content)
    tell(console, board, findings, options.report)
    return 0 if content["ok"] else 1


@asynccontextmanager
async def _interruptible() -> AsyncIterator[None]:
    """Ctrl-C and SIGTERM cancel the block, once; what is being taken down then is not disturbed again."""
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    pressed = False

    def interrupt() -> None:
        nonlocal pressed
        if not pressed and task is not None:
            pressed = True
            task.cancel()

    numbers = (signal.SIGINT, signal.SIGTERM)
    for number in numbers:
        loop.add_signal_handler(number, interrupt)
    try:
        yield
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)
