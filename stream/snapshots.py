"""Metrics of several processes at one port: each writes snapshots into memory that it shares with the one that serves.

The memory is made before the processes are forked, so it outlives each of them: a process that is started again goes
on from what its predecessor had counted, and neither side can block the other.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import mmap
import socket
import struct
import time
import zlib
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

import msgspec
from prometheus_client import CollectorRegistry, make_wsgi_app
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

logger = logging.getLogger(__name__)

SNAPSHOT_SECONDS = 1.0
STALLED_SECONDS = 30.0
"""After so long without a snapshot nobody knows what a process's gauges are."""

_NONE, _ALIVE, _DEAD = range(3)
_READS = 5
_HEAD = struct.Struct("<BBxxxxxxd")
_PART = struct.Struct("<II")

#: (name, names of its labels and their values by turns)
Series = tuple[str, tuple[str, ...]]


class Family(msgspec.Struct):
    """One metric of a process."""

    name: str
    kind: str
    help: str
    series: dict[Series, float]


_decoder = msgspec.msgpack.Decoder(list[Family])


def taken(registry: CollectorRegistry) -> list[Family]:
    """What a registry says now."""
    return [
        Family(
            family.name,
            family.type,
            family.documentation,
            {
                (sample.name, tuple(part for label in sample.labels.items() for part in label)): sample.value
                for sample in family.samples
            },
        )
        for family in registry.collect()
    ]


class Slot:
    """The last snapshot of one process, and whether that lives. One process writes, any number read."""

    def __init__(self, size: int) -> None:
        """``size``: the most bytes that a snapshot may have."""
        self._size = size
        self._memory = mmap.mmap(-1, _HEAD.size + 2 * (_PART.size + size))

    def write(self, families: Sequence[Family]) -> None:
        """Replace the snapshot; the process is taken to live. Raises ``ValueError`` for one that is too large."""
        content = msgspec.msgpack.encode(families)
        if len(content) > self._size:
            raise ValueError(f"{len(content)} bytes of metrics are more than the {self._size} that there is room for")
        _, current, _ = _HEAD.unpack_from(self._memory)
        place = self._place(other := 1 - current)
        self._memory[place + _PART.size : place + _PART.size + len(content)] = content
        _PART.pack_into(self._memory, place, len(content), zlib.crc32(content))
        _HEAD.pack_into(self._memory, 0, _ALIVE, other, time.monotonic())

    def died(self) -> None:
        """Of the process; the snapshot stays."""
        self._memory[0] = _DEAD

    @property
    def dead(self) -> bool:
        """Whether the process has died, and no successor has written yet."""
        return self._memory[0] == _DEAD

    @property
    def stalled(self) -> bool:
        """Whether a process that lives has not written for ``STALLED_SECONDS``."""
        state, _, at = _HEAD.unpack_from(self._memory)
        return bool(state == _ALIVE and time.monotonic() - at > STALLED_SECONDS)

    def read(self) -> list[Family]:
        """The snapshot; nothing before the first."""
        for _ in range(_READS if self._memory[0] != _NONE else 0):
            place = self._place(self._memory[1])
            length, check = _PART.unpack_from(self._memory, place)
            content = self._memory[place + _PART.size : place + _PART.size + min(length, self._size)]
            if zlib.crc32(content) == check:
                return _decoder.decode(content)
            # It was written over meanwhile, and the other one is whole.
        return []

    def _place(self, part: int) -> int:
        return int(_HEAD.size + part * (_PART.size + self._size))


@asynccontextmanager
async def reporting(slot: Slot, registry: CollectorRegistry) -> AsyncIterator[None]:
    """Write what ``registry`` says into ``slot``, every second and at the end, on top of what was counted before."""
    before = [family for family in slot.read() if family.kind != "gauge"]

    def report() -> None:
        slot.write(_together([*before, *taken(registry)]))

    async def keep_reporting() -> None:
        while True:
            await asyncio.sleep(SNAPSHOT_SECONDS)
            try:
                report()
            except ValueError as error:
                logger.error("the metrics stand still: %s", error)

    report()
    task = asyncio.create_task(keep_reporting())
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        with contextlib.suppress(ValueError):  # said before
            report()


def _together(families: Iterable[Family]) -> list[Family]:
    """One family per name; equal series are added up."""
    made: dict[str, Family] = {}
    for family in families:
        into = made.setdefault(family.name, Family(family.name, family.kind, family.help, {}))
        for series, value in family.series.items():
            known = into.series.get(series)
            if known is None:
                into.series[series] = value
            else:
                into.series[series] = min(known, value) if series[0].endswith("_created") else known + value
    return list(made.values())


@dataclass(frozen=True, eq=False)  # a registry keeps collectors by their identity
class Gathered(Collector):
    """What all slots say, as one process would say it. ``absent`` gives the gauges of a process that is not there."""

    slots: Sequence[Slot]
    absent: Callable[[Slot, str], Sequence[Family]]

    def collect(self) -> Iterator[Metric]:
        """Called at each scrape."""
        for family in _together(self._families()):
            metric = Metric(family.name, family.help, family.kind)
            for (name, labels), value in family.series.items():
                metric.add_sample(name, dict(zip(labels[::2], labels[1::2], strict=True)), value)
            yield metric

    def _families(self) -> Iterator[Family]:
        for slot in self.slots:
            reason = "restarting" if slot.dead else "stalled" if slot.stalled else None
            for family in slot.read():
                if reason is None or family.kind != "gauge":
                    yield family
            if reason is not None:
                yield from self.absent(slot, reason)


def listening(host: str, port: int) -> socket.socket:
    """A socket that listens for scrapes. Raises ``OSError``."""
    family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    return socket.create_server(address[:2], family=family, backlog=128)


def serve(door: socket.socket, collector: Collector) -> None:
    """Answer scrapes at ``door`` until the process ends."""
    registry = CollectorRegistry()
    registry.register(collector)
    with _Server(door) as server:
        server.set_app(make_wsgi_app(registry))
        server.serve_forever()


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True

    def __init__(self, door: socket.socket) -> None:
        super().__init__(door.getsockname()[:2], _Silent, bind_and_activate=False)
        self.socket.close()
        self.socket = door
        self.server_name, self.server_port = door.getsockname()[:2]
        self.setup_environ()


class _Silent(WSGIRequestHandler):
    timeout = 10  # of a scraper that says nothing

    def log_message(self, format: str, *arguments: Any) -> None:
        """Nothing: a scrape is no news."""
