"""Laws of metrics that several processes share: what is shown is what one process would show, and is so."""

from __future__ import annotations

import asyncio
import socket
import sys
import threading
import urllib.request
import zlib
from collections.abc import Sequence

import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from stream import snapshots
from stream.metrics import PrometheusDeliveryMetrics
from stream.snapshots import Family, Gathered, Series, Slot, listening, reporting, serve, taken

SIZE = 64 * 1024


def count(metrics: PrometheusDeliveryMetrics, name: str, times: int = 1) -> None:
    """Some of every kind of metric."""
    metrics.delivery(name, "delivered", 3 * times)
    metrics.attempt(name, 0.02)
    metrics.pending(name, 7)
    metrics.state(name, True, "")
    metrics.rate(name, "*", 0.5)


def none(_slot: Slot, _reason: str) -> Sequence[Family]:
    return []


def shown(*collectors: Collector) -> str:
    """As Prometheus reads it, without the times at which series were created."""
    registry = CollectorRegistry()
    for collector in collectors:
        registry.register(collector)
    return "\n".join(line for line in generate_latest(registry).decode().splitlines() if "_created" not in line)


def samples(text: str) -> dict[tuple[str, ...], float]:
    return {
        (sample.name.removeprefix("livesegments_"), *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_two_processes_are_shown_as_one_would_be() -> None:
    """The same text, but for the order of the lines."""
    one = CollectorRegistry()
    together = PrometheusDeliveryMetrics(one)
    slots = []
    for name in ("crm", "other"):
        count(together, name)
        registry, slot = CollectorRegistry(), Slot(SIZE)
        count(PrometheusDeliveryMetrics(registry), name)
        slot.write(taken(registry))
        slots.append(slot)
    gathered = shown(Gathered([*slots, Slot(SIZE)], none))
    expected = [line for line in generate_latest(one).decode().splitlines() if "_created" not in line]
    assert sorted(gathered.splitlines()) == sorted(expected)
    assert 'livesegments_deliveries_total{destination="other",outcome="delivered"} 3.0' in gathered


async def test_a_successor_goes_on_counting_and_has_gauges_of_its_own() -> None:
    """Counters and histograms never go back."""
    slot = Slot(SIZE)
    for _ in range(3):
        registry = CollectorRegistry()
        async with reporting(slot, registry):
            metrics = PrometheusDeliveryMetrics(registry)
            count(metrics, "crm")
            metrics.pending("crm", 2)
        slot.died()
    async with reporting(slot, CollectorRegistry()):
        says = samples(shown(Gathered([slot], none)))
    assert says["deliveries_total", "crm", "delivered"] == 9
    assert says["delivery_attempt_seconds_count", "crm"] == 3
    assert says["delivery_attempt_seconds_sum", "crm"] == pytest.approx(0.06)
    assert says["delivery_attempt_seconds_bucket", "crm", "0.025"] == 3
    assert ("delivery_pending", "crm") not in says


async def test_what_is_counted_is_shown_while_the_process_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshots, "SNAPSHOT_SECONDS", 0.01)
    slot, registry = Slot(SIZE), CollectorRegistry()
    metrics = PrometheusDeliveryMetrics(registry)
    async with reporting(slot, registry), asyncio.timeout(10):
        count(metrics, "crm")
        while samples(shown(Gathered([slot], none))).get(("delivery_pending", "crm")) != 7:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


def test_the_gauges_of_a_process_that_is_dead_or_stands_still_are_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """What it has counted is; and who is asked says why there is nothing else."""
    registry, slot = CollectorRegistry(), Slot(SIZE)
    count(PrometheusDeliveryMetrics(registry), "crm")
    asked = []

    def absent(of: Slot, reason: str) -> Sequence[Family]:
        assert of is slot
        asked.append(reason)
        return [Family("livesegments_destination_active", "gauge", "", {("livesegments_destination_active", ()): 0.0})]

    def says() -> dict[tuple[str, ...], float]:
        return samples(shown(Gathered([slot], absent)))

    assert (says(), asked) == ({}, [])
    slot.write(taken(registry))
    assert says()["delivery_pending", "crm"] == 7
    assert asked == []
    slot.died()
    found = says()
    assert found["deliveries_total", "crm", "delivered"] == 3
    assert found["destination_active",] == 0
    assert ("delivery_pending", "crm") not in found and ("destination_active", "crm") not in found
    slot.write(taken(registry))
    assert says()["destination_active", "crm"] == 1
    asked.clear()
    monkeypatch.setattr(snapshots, "STALLED_SECONDS", -1.0)
    assert ("delivery_pending", "crm") not in says()
    assert set(asked) == {"stalled"}


def test_a_snapshot_that_is_too_large_leaves_the_last_one() -> None:
    slot, registry = Slot(300), CollectorRegistry()
    Counter("a", "b", registry=registry).inc()
    slot.write(taken(registry))
    before = slot.read()
    Gauge("c", "d" * 500, registry=registry)
    with pytest.raises(ValueError, match="more than the 300 that there is room for"):
        slot.write(taken(registry))
    assert slot.read() == before != []


def test_a_process_that_dies_while_it_writes_leaves_the_last_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its last whole one, that is."""
    slot = Slot(SIZE)
    for value in (1.0, 2.0):
        slot.write([Family("n", "gauge", "", {("n", ()): value})])

    def die(_: bytes) -> int:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(zlib, "crc32", die)
        slot.write([Family("n", "gauge", "", {("n", ()): 3.0})])
    (family,) = slot.read()
    assert family.series == {("n", ()): 2.0}


def test_a_reader_never_sees_half_a_snapshot() -> None:
    """While another writes without a pause, and takes turns with it as often as can be."""
    slot, over = Slot(SIZE), threading.Event()

    def write() -> None:
        number = 0
        while not over.is_set():
            number += 1
            series: dict[Series, float] = {(f"n{each}", ()): float(number) for each in range(number % 50 + 1)}
            slot.write([Family("n", "gauge", "", series)])

    writer = threading.Thread(target=write)
    writer.start()
    seen: set[float] = set()
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        reads = 0
        while reads < 10_000 or len(seen) <= 10:  # how often they take turns is the machine's affair
            reads += 1
            for family in slot.read():
                assert len(set(family.series.values())) == 1
                seen.update(family.series.values())
    finally:
        sys.setswitchinterval(interval)
        over.set()
        writer.join()
    assert len(seen) > 10


def test_a_scrape_is_answered_at_a_door_that_another_opened() -> None:
    registry, slot = CollectorRegistry(), Slot(SIZE)
    count(PrometheusDeliveryMetrics(registry), "crm")
    slot.write(taken(registry))
    door = listening("127.0.0.1", 0)
    threading.Thread(target=serve, args=(door, Gathered([slot], none)), daemon=True).start()
    port = door.getsockname()[1]
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        assert answer.headers["content-type"].startswith("text/plain")
        assert samples(answer.read().decode())["delivery_pending", "crm"] == 7
    with pytest.raises(OSError), listening("127.0.0.1", port):  # taken: said before anything starts
        raise AssertionError("two listen at one port")
    assert isinstance(door, socket.socket)
