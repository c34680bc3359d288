"""Every metric that livesegments has, in one typed list; ``docs/metrics.md`` is made from it.

Names are ``livesegments_<name>_<unit>``; every drop has a reason; labels take their values from closed vocabularies or
from what the operator declared (segments, destinations), never from events.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from stream.core.changes import Change
from stream.core.output import Output

_LATENCY = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 3600)
_FILL = (0.1, 1, 5, 10, 30, 60, 300, 900, 3600, 4 * 3600)
_REASON = re.compile(r"[a-z0-9_]{1,40}", re.ASCII)
_BATCH = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000)


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric: its name without the prefix, kind, help, labels, and the buckets of a histogram."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    help: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = _LATENCY


#: Of the worker.
WORKER: tuple[Metric, ...] = (
    Metric("records_read", "counter", "Records of the customer log that came to one of the four endings."),
    Metric(
        "records",
        "counter",
        "Records by ending (applied, duplicate, rejected, dead_lettered) and reason; the sum is records_read.",
        ("ending", "reason"),
    ),
    Metric("records_moved", "counter", "Records found in the wrong partition and sent again to the right one."),
    Metric("records_replayed", "counter", "Facts met again after a recovery that the state already covered."),
    Metric("control_records", "counter", "Ticks, definition books and fills read."),
    Metric("changes", "counter", "Segment changes decided, by segment and direction.", ("segment", "action")),
    Metric("changes_compared", "counter", "Changes of a replay that had left before, and were compared."),
    Metric("changes_different", "counter", "Of those, the ones that differed. Anything but 0 is a defect."),
    Metric(
        "change_latency_seconds",
        "histogram",
        "From the log time of the fact, or the instant of the deadline, to the broker's acknowledgement of the change: "
        "of each batch of changes, its oldest.",
        ("cause",),
    ),
    Metric("window_fill_seconds", "histogram", "Filling a partition's new windows from the log.", (), _FILL),
    Metric("deadlines_pending", "gauge", "Entries on the heaps of deadlines."),
    Metric(
        "deadline_lateness_seconds",
        "histogram",
        "From the instant of a change by time alone to the log time at which it was let pass: the worst of a batch.",
    ),
    Metric("batch_records", "histogram", "Records per fetched batch.", buckets=_BATCH),
    Metric("batch_seconds", "histogram", "Time to compute one fetched batch."),
    Metric("write_seconds", "histogram", "From the queueing of a batch of changes to its acknowledgement."),
    Metric("checkpoint_seconds", "histogram", "Time to write one checkpoint of one partition, acknowledged."),
    Metric("checkpoint_records", "counter", "Records of state written."),
    Metric("recovery_seconds", "gauge", "Time that the last loading of partitions took."),
    Metric("recovery_records", "counter", "Records of state read back."),
    Metric("customers", "gauge", "Customers in memory."),
    Metric("ids_remembered", "gauge", "Event ids in the windows."),
    Metric("partitions_held", "gauge", "Partitions that this worker holds."),
    Metric("consumer_lag_records", "gauge", "Records in the log and not yet processed, from the worker's position."),
    Metric(
        "gate_records",
        "counter",
        "Records of foreign topics: passed, or refused by reason.",
        ("topic", "outcome", "reason"),
    ),
)

#: Of the deliverer.
DELIVERER: tuple[Metric, ...] = (
    Metric(
        "deliveries",
        "counter",
        "Changes by outcome: delivered, dead_lettered, superseded, erased, skipped; and on the way: retried, refused.",
        ("destination", "outcome"),
    ),
    Metric("delivery_attempt_seconds", "histogram", "Duration of one attempt, whatever its result.", ("destination",)),
    Metric(
        "delivery_latency_seconds",
        "histogram",
        "From the change's record on segment-changes to the destination's 2xx.",
        ("destination",),
    ),
    Metric("delivery_pending", "gauge", "Changes read and not finished.", ("destination",)),
    Metric("delivery_lag_records", "gauge", "Changes on the topic that are not finished.", ("destination",)),
    Metric("redeliveries_pending", "gauge", "Changes to be sent again that are not finished.", ("destination",)),
    Metric(
        "destination_active",
        "gauge",
        "1 while the destination is sent to, 0 while it is paused, disabled, its breaker is open or it restarts.",
        ("destination",),
    ),
    Metric(
        "destination_stopped",
        "gauge",
        "1 under the reason why the destination is not sent to, such as http_401, breaker_open, ledger_unavailable or "
        "operator; else 0.",
        ("destination", "reason"),
    ),
    Metric("destination_pauses", "counter", "How often sending stopped, by reason.", ("destination", "reason")),
    Metric(
        "rate_limit_share",
        "gauge",
        "Share (0 to 1) of the platform's published rate that is in use: less after answers that said too fast.",
        ("destination", "limit"),
    ),
    Metric(
        "rate_limit_wait_seconds",
        "counter",
        "Time in which changes were ready to leave and a rate limit, or the pause that a platform asked for, held all.",
        ("destination", "limit"),
    ),
    Metric(
        "rate_limited",
        "counter",
        "Answers by which the platform said too fast: 429, or its own words for it.",
        ("destination", "limit"),
    ),
)


def _make(metric: Metric, registry: CollectorRegistry) -> Counter | Gauge | Histogram:
    name = f"livesegments_{metric.name}"
    if metric.kind == "counter":
        return Counter(name, metric.help, metric.labels, registry=registry)
    if metric.kind == "gauge":
        return Gauge(name, metric.help, metric.labels, registry=registry)
    return Histogram(name, metric.help, metric.labels, registry=registry, buckets=metric.buckets)


class _Set:
    """The metrics of one list, by name."""

    def __init__(self, metrics: Iterable[Metric], registry: CollectorRegistry) -> None:
        self._made = {metric.name: _make(metric, registry) for metric in metrics}

    def counter(self, name: str) -> Counter:
        made = self._made[name]
        assert isinstance(made, Counter)
        return made

    def gauge(self, name: str) -> Gauge:
        made = self._made[name]
        assert isinstance(made, Gauge)
        return made

    def histogram(self, name: str) -> Histogram:
        made = self._made[name]
        assert isinstance(made, Histogram)
        return made


class Metrics:
    """What the worker counts. Costs per batch, not per record."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._set = _Set(WORKER, registry)

    def endings(self, out: Output) -> None:
        """The endings of one batch."""
        if read := out.read:
            self._set.counter("records_read").inc(read)
            for (ending, reason), count in out.endings.items():
                self._set.counter("records").labels(ending, reason).inc(count)
        if out.skipped:
            self._set.counter("records_replayed").inc(out.skipped)
        if out.control:
            self._set.counter("control_records").inc(out.control)

    def changes(self, changes: Sequence[Change], log_time: int) -> None:
        """The changes of one batch; ``log_time`` in µs."""
        if not changes:
            return
        counts: dict[tuple[str, str], int] = {}
        worst = -1
        for change in changes:
            key = (change.segment, change.action)
            counts[key] = counts.get(key, 0) + 1
            if change.cause == "time" and log_time - change.at > worst:
                worst = log_time - change.at
        for key, count in counts.items():
            self._set.counter("changes").labels(*key).inc(count)
        if worst >= 0:
            self._set.histogram("deadline_lateness_seconds").observe(worst / 1e6)

    def left(self, changes: Sequence[Change], now: float, seconds: float) -> None:
        """A batch of changes is acknowledged at ``now`` (seconds since the epoch), ``seconds`` after it was queued."""
        self._set.histogram("write_seconds").observe(seconds)
        oldest: dict[str, int] = {}
        for change in changes:
            if change.at < oldest.get(change.cause, 1 << 62):
                oldest[change.cause] = change.at
        for cause, at in oldest.items():
            self._set.histogram("change_latency_seconds").labels(cause).observe(max(0.0, now - at / 1e6))

    def batch(self, records: int, seconds: float) -> None:
        """One fetched batch is computed."""
        self._set.histogram("batch_records").observe(records)
        self._set.histogram("batch_seconds").observe(seconds)

    def filled(self, seconds: float) -> None:
        """A partition's new windows were filled from the log."""
        self._set.histogram("window_fill_seconds").observe(seconds)

    def moved(self) -> None:
        """A record is sent again to its customer's partition."""
        self._set.counter("records_moved").inc()

    def compared(self) -> None:
        """A change of a replay is compared with what had left."""
        self._set.counter("changes_compared").inc()

    def difference(self) -> None:
        """It differs."""
        self._set.counter("changes_different").inc()

    def checkpoint(self, records: int, seconds: float) -> None:
        """A checkpoint of one partition is acknowledged."""
        self._set.counter("checkpoint_records").inc(records)
        self._set.histogram("checkpoint_seconds").observe(seconds)

    def recovered(self, records: int, seconds: float) -> None:
        """Partitions are loaded."""
        self._set.counter("recovery_records").inc(records)
        self._set.gauge("recovery_seconds").set(seconds)

    def gate(self, topic: str, outcome: str, reason: str) -> None:
        """A record of a foreign topic."""
        self._set.counter("gate_records").labels(topic, outcome, reason).inc()

    def watch(self, gauges: Mapping[str, Callable[[], float]]) -> None:
        """Let gauges be read when they are scraped."""
        for name, read in gauges.items():
            self._set.gauge(name).set_function(read)


class PrometheusDeliveryMetrics:
    """What the deliverer counts: ``connectors.metrics.DeliveryMetrics`` by Prometheus."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._set = _Set(DELIVERER, registry)
        self._reasons: dict[str, set[str]] = {}

    def delivery(self, destination: str, outcome: str, count: int = 1) -> None:
        self._set.counter("deliveries").labels(destination, outcome).inc(count)

    def attempt(self, destination: str, seconds: float) -> None:
        self._set.histogram("delivery_attempt_seconds").labels(destination).observe(seconds)

    def end_to_end(self, destination: str, seconds: float) -> None:
        self._set.histogram("delivery_latency_seconds").labels(destination).observe(max(0.0, seconds))

    def pending(self, destination: str, count: int) -> None:
        self._set.gauge("delivery_pending").labels(destination).set(count)

    def state(self, destination: str, active: bool, reason: str) -> None:
        reason = reason if _REASON.fullmatch(reason) else "other"  # a platform's own words are no label
        self._set.gauge("destination_active").labels(destination).set(1 if active else 0)
        stopped = self._set.gauge("destination_stopped")
        reasons = self._reasons.setdefault(destination, set())
        for each in reasons - {reason}:
            stopped.labels(destination, each).set(0)
        if not active:
            reasons.add(reason)
            stopped.labels(destination, reason).set(1)
            self._set.counter("destination_pauses").labels(destination, reason).inc()
        elif reason in reasons:
            stopped.labels(destination, reason).set(0)

    def redeliveries(self, destination: str, count: int) -> None:
        self._set.gauge("redeliveries_pending").labels(destination).set(count)

    def rate(self, destination: str, limit: str, share: float) -> None:
        self._set.gauge("rate_limit_share").labels(destination, limit).set(share)

    def rate_wait(self, destination: str, limit: str, seconds: float) -> None:
        self._set.counter("rate_limit_wait_seconds").labels(destination, limit).inc(seconds)

    def throttled(self, destination: str, limit: str) -> None:
        self._set.counter("rate_limited").labels(destination, limit).inc()

    def lag(self, destination: str, count: int) -> None:
        self._set.gauge("delivery_lag_records").labels(destination).set(count)
