"""A worker process around a host that prints what it is told, one JSON line for each call.

Arguments: bootstrap servers, events topic, state topic, group, session seconds, offset to read next, and
optionally ``fail``, to raise on the first batch, or ``hang``, not to return from it.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from typing import Any

from stream.engine.faust_app import create_app, run, serve_until_signal
from stream.engine.partitions import Parts
from stream.engine.stopping import StopBudget
from stream.engine.transport import TransportSettings
from tests.integration.recording import PARTITIONS, RecordingHost


class PrintingHost(RecordingHost):
    def __init__(self, start: int, then: str) -> None:
        super().__init__(start=dict.fromkeys(range(PARTITIONS), start))
        self._then = then

    async def assigned(self, partitions: set[int]) -> dict[int, int]:
        self._say(what="assigned", partitions=sorted(partitions))
        return await super().assigned(partitions)

    async def batch(self, partition: int, parts: Parts, generation: int) -> None:
        parts = [*parts]
        self._say(what="batch", partition=partition, first=parts[0][0].offset, last=parts[-1][-1].offset)
        if self._then == "fail":
            raise LookupError("this host fails on purpose")
        if self._then == "hang":
            await asyncio.Event().wait()
        await super().batch(partition, parts, generation)

    async def revoked(self, partitions: set[int], stop: StopBudget | None = None) -> bool:
        complete = await super().revoked(partitions, stop)
        self._say(what="revoked", partitions=sorted(partitions))
        return complete

    def _say(self, **line: Any) -> None:
        sys.stdout.write(json.dumps(line) + "\n")
        sys.stdout.flush()


def main() -> None:
    servers, events, state, group, session, start, then = sys.argv[1:]
    logging.basicConfig(level=logging.WARNING)
    run(_main(servers, events, state, group, float(session), int(start), then))


async def _main(servers: str, events: str, state: str, group: str, session: float, start: int, then: str) -> None:
    host = PrintingHost(start, then)
    app = create_app(
        host,
        client={"bootstrap_servers": servers},
        events=events,
        state_topic=state,
        reader=host,
        partitions=PARTITIONS,
        settings=TransportSettings(
            group=group, session_timeout_seconds=session, heartbeat_seconds=0.5, drain_seconds=1.0
        ),
    )
    await serve_until_signal(app)


if __name__ == "__main__":
    main()
