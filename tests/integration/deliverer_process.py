"""A deliverer as a process of its own, to be killed: `python -m … SETTINGS FILE`, the settings as JSON.

Like the product's, it is a supervisor with a process per destination, or for one destination a single process.
"""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from connectors.bulkheads import prepare
from connectors.delivery import DeliverySettings
from connectors.destinations import read
from connectors.metrics import DeliveryMetrics, NoMetrics


@asynccontextmanager
async def uncounted() -> AsyncIterator[DeliveryMetrics]:
    """A session without metrics."""
    yield NoMetrics()


if __name__ == "__main__":
    bulkheads = prepare(DeliverySettings(**json.loads(sys.argv[1])), read(Path(sys.argv[2])))
    if len(bulkheads.names) > 1:
        sys.exit(bulkheads.supervise(lambda _names: uncounted))
    bulkheads.run_here(uncounted)
