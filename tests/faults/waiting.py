"""Waiting for what has no event to wait for: a process, a file, a topic."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

_EVERY_SECONDS = 0.1


async def until(holds: Callable[[], object], seconds: float) -> bool:
    """Look every now and then whether something holds; False if it does not within ``seconds``."""
    deadline = time.monotonic() + seconds
    while True:
        if holds():
            return True
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(_EVERY_SECONDS)
