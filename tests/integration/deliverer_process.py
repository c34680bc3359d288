"""A deliverer as a process of its own, to be killed: `python -m … SETTINGS FILE`, the settings as JSON."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

from connectors.delivery import DeliverySettings, run
from connectors.destinations import read
from connectors.metrics import NoMetrics

if __name__ == "__main__":
    asyncio.run(run(DeliverySettings(**json.loads(sys.argv[1])), read(Path(sys.argv[2])), NoMetrics()))
