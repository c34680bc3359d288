"""A worker whose consumer stops for good once it has read something, as after a broker's restart (aiokafka#1154).

``fetching``: it fetches no more, while its heartbeats go on. ``group``: it looks for its coordinator for ever, and
reads on. The settings are those of ``livesegments worker``, from the environment.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from typing import Any

from stream.engine.consumer_thread import ConsumerThread
from stream.settings import Settings
from stream.worker import run_worker

_take = ConsumerThread.take


async def _take_and_stop(self: ConsumerThread, *arguments: Any) -> Any:
    epoch, records = await _take(self, *arguments)
    consumer = self._ensure_consumer()
    if records and sys.argv[1] == "fetching":
        consumer._fetcher._fetch_task.cancel()
    elif records:
        consumer._coordinator.ensure_coordinator_known = asyncio.Event().wait
        consumer._coordinator.coordinator_dead()
    return epoch, records


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    ConsumerThread.take = _take_and_stop  # type: ignore[method-assign, assignment]
    run_worker(Settings())
