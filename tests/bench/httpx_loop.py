"""The floor: a bare loop of httpx that posts the same bodies, ``python -m tests.bench.httpx_loop URL BATCH SECONDS``.

No Kafka, no signature, no order, no retries: what a script would do that had the changes in memory.
"""

from __future__ import annotations

import asyncio
import sys
import time

import httpx
import uvloop

from tests.bench.delivery import change

CONCURRENCY = 8
"""Requests in flight: about where httpx is fastest; with 64 it is several times slower."""


async def main(url: str, batch: int, seconds: float) -> None:
    """Post for so long."""
    until = time.monotonic() + seconds
    data = b",".join(change(number, 1) for number in range(batch))
    body = b'{"type":"segment.changes","timestamp":"2026-01-02T03:04:05Z","data":[%b]}' % data

    async def post(client: httpx.AsyncClient) -> None:
        while time.monotonic() < until:
            response = await client.post(url, content=body, headers={"content-type": "application/json"})
            response.raise_for_status()

    limits = httpx.Limits(max_connections=CONCURRENCY, max_keepalive_connections=CONCURRENCY)
    async with httpx.AsyncClient(limits=limits, timeout=15) as client:
        await asyncio.gather(*(post(client) for _ in range(CONCURRENCY)))


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3])))
