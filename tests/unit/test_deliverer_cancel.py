"""How a deliverer ends what it has begun."""

from __future__ import annotations

import asyncio
from typing import Any

from connectors.deliverer import cancel


async def test_a_task_that_a_library_kept_from_hearing_of_its_cancellation_is_cancelled_again() -> None:
    """Else a stop waits for it for ever. What a task raised meanwhile is not raised here."""
    heard: list[str] = []

    async def deaf() -> None:
        while True:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                heard.append("cancelled")
                if len(heard) == 2:
                    raise

    async def broken() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            raise OSError

    async def at_once() -> None:
        pass

    tasks: list[asyncio.Future[Any]] = [asyncio.ensure_future(each()) for each in (deaf, broken, at_once)]
    await asyncio.sleep(0)
    async with asyncio.timeout(10):
        await cancel(tasks)
        await cancel([])
    assert heard == ["cancelled", "cancelled"]
    assert all(task.done() for task in tasks)
