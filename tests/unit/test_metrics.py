"""Laws of the metrics: one list, named by one rule, labels of closed vocabularies, every one documented."""

from __future__ import annotations

import inspect
import re
from collections import Counter
from collections.abc import Iterator

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from connectors.metrics import DeliveryMetrics, NoMetrics
from stream import docs
from stream.core.changes import Change
from stream.core.output import Output
from stream.metrics import DELIVERER, WORKER, Metric, Metrics, PrometheusDeliveryMetrics

EVERY = (*WORKER, *DELIVERER)
SECOND = 1_000_000
T = 1_772_438_400 * SECOND

#: The units that a name may end in, after ``_total``; what counts things ends in the things.
UNITS = {"seconds", "records"}
#: Labels and where their values come from.
LABELS = {
    "ending": "applied, duplicate, rejected, dead_lettered",
    "reason": "the vocabularies of schemas.rejections; reasons of pauses",
    "segment": "declared in the book",
    "action": "entered, exited",
    "cause": "event, time, definition",
    "topic": "declared in the settings",
    "outcome": "closed vocabularies of the gate and of delivery",
    "destination": "declared in the destinations",
    "limit": "the rates that a platform's module names",
}


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


def samples(registry: CollectorRegistry) -> dict[tuple[str, str], float]:
    """(name, the values of its labels) -> value."""
    return {
        (sample.name, ",".join(sample.labels.values())): sample.value
        for family in registry.collect()
        for sample in family.samples
        if not sample.name.endswith("_created")
    }


def series() -> Iterator[str]:
    """Every name under which some metric has a series."""
    for metric in EVERY:
        name = docs.exposed(metric)
        if metric.kind == "histogram":
            yield from (f"{name}_{part}" for part in ("bucket", "sum", "count"))
        else:
            yield name


@pytest.mark.parametrize("metric", EVERY, ids=lambda metric: metric.name)
def test_a_metric_is_named_by_the_rule(metric: Metric) -> None:
    """``livesegments_<name>_<unit>``, ``_total`` on counters alone; times are seconds; help is a sentence."""
    assert re.fullmatch(r"[a-z]+(_[a-z]+)*", metric.name)
    assert not metric.name.endswith(("_total", "_count", "_sum", "_bucket", "_info", "_created"))
    assert not re.search(r"_(ms|millis|minutes|us|bytes_?kb)\b", metric.name)
    if metric.kind == "histogram":
        assert metric.name.rpartition("_")[2] in UNITS
        assert list(metric.buckets) == sorted(set(metric.buckets))
    assert docs.exposed(metric).endswith("_total") is (metric.kind == "counter")
    assert metric.help.endswith(".")


@pytest.mark.parametrize("metric", EVERY, ids=lambda metric: metric.name)
def test_labels_come_from_closed_vocabularies(metric: Metric) -> None:
    """Never from events: a customer must not be able to make a series."""
    assert set(metric.labels) <= LABELS.keys()
    assert len(set(metric.labels)) == len(metric.labels)


def test_no_two_metrics_share_a_series() -> None:
    """Also of both processes: one dashboard shows them together."""
    assert [name for name, count in Counter(series()).items() if count > 1] == []


def test_worker_and_deliverer_expose_what_the_lists_say(registry: CollectorRegistry) -> None:
    """Both fit into one registry, under the names that the page gives them."""
    Metrics(registry)
    PrometheusDeliveryMetrics(registry)
    text = generate_latest(registry).decode()
    found = dict(re.findall(r"^# TYPE (livesegments_\S+) (\w+)$", text, re.MULTILINE))
    found = {name: kind for name, kind in found.items() if not name.endswith("_created")}
    assert found == {docs.exposed(metric): metric.kind for metric in EVERY}


def test_every_metric_is_documented() -> None:
    """Name, kind, labels and help stand in ``docs/metrics.md``, and nothing stands there that is not."""
    page = (docs.FOLDER / "metrics.md").read_text("utf-8")
    lines = [line for line in page.splitlines() if line.startswith("| `livesegments_")]
    assert len(lines) == len(EVERY)
    for metric, line in zip(EVERY, lines, strict=True):
        cells = [cell.strip() for cell in line.strip("|").split(" | ")]
        labels = ", ".join(f"`{label}`" for label in metric.labels)
        assert cells == [f"`{docs.exposed(metric)}`", metric.kind, labels, metric.help]


def test_every_metric_that_is_alerted_on_exists() -> None:
    """An alert on a name that nothing exposes never fires."""
    names = set(series())
    root = docs.FOLDER.parent
    for page in (*root.glob("docs/*.md"), root / "README.md", *root.glob("deploy/**/*.yaml")):
        for name in re.findall(r"\blivesegments_[a-z_]+", page.read_text("utf-8")):
            assert name in names | {docs.exposed(metric) for metric in EVERY}, f"{page.name}: {name}"


def test_the_four_endings_sum_to_what_was_read(registry: CollectorRegistry) -> None:
    """P4, as an alert can hold it."""
    metrics = Metrics(registry)
    for _ in range(2):
        out = Output(skipped=3, control=2)
        out.endings["applied", "fact"] = 5
        out.endings["duplicate", "event_id"] = 2
        out.endings["rejected", "bot_rate"] = 1
        out.endings["dead_lettered", "tombstone"] = 1
        metrics.endings(out)
    metrics.endings(Output())
    found = samples(registry)
    endings = [value for (name, _), value in found.items() if name == "livesegments_records_total"]
    assert found["livesegments_records_read_total", ""] == sum(endings) == 18
    assert found["livesegments_records_total", "rejected,bot_rate"] == 2
    assert found["livesegments_records_replayed_total", ""] == 6
    assert found["livesegments_control_records_total", ""] == 4


def change(segment: str, action: str, at: int, cause: str) -> Change:
    return Change("c", 1, b"", segment, action, at, cause)


def test_changes_are_counted_by_segment_and_direction(registry: CollectorRegistry) -> None:
    """And how late the latest deadline of a batch was; a batch without one says nothing of lateness."""
    metrics = Metrics(registry)
    metrics.changes([], T)
    metrics.changes([change("vip", "entered", T, "event"), change("vip", "entered", T, "event")], T)
    metrics.changes(
        [
            change("vip", "exited", T - SECOND, "time"),
            change("quiet", "entered", T - 3 * SECOND, "time"),
            change("quiet", "entered", T - 9 * SECOND, "definition"),
        ],
        T,
    )
    found = samples(registry)
    assert found["livesegments_changes_total", "vip,entered"] == 2
    assert found["livesegments_changes_total", "vip,exited"] == 1
    assert found["livesegments_changes_total", "quiet,entered"] == 2
    assert found["livesegments_deadline_lateness_seconds_count", ""] == 1
    assert found["livesegments_deadline_lateness_seconds_sum", ""] == 3


def test_latency_is_that_of_the_oldest_change_of_each_cause(registry: CollectorRegistry) -> None:
    """Up to the broker's acknowledgement; a log that runs ahead of the clock is not a negative latency."""
    metrics = Metrics(registry)
    metrics.left(
        [
            change("vip", "entered", T - 2 * SECOND, "event"),
            change("vip", "entered", T - SECOND, "event"),
            change("vip", "exited", T + SECOND, "time"),
        ],
        T / SECOND,
        0.25,
    )
    found = samples(registry)
    assert found["livesegments_change_latency_seconds_sum", "event"] == 2
    assert found["livesegments_change_latency_seconds_count", "event"] == 1
    assert found["livesegments_change_latency_seconds_sum", "time"] == 0
    assert found["livesegments_write_seconds_sum", ""] == 0.25


def test_gauges_are_read_when_they_are_scraped(registry: CollectorRegistry) -> None:
    """Nothing counts customers in between; a gauge that is in no list is an error."""
    metrics = Metrics(registry)
    size = [1]
    metrics.watch({"customers": lambda: size[0]})
    size[0] = 7
    assert samples(registry)["livesegments_customers", ""] == 7
    with pytest.raises(KeyError):
        metrics.watch({"products": lambda: 1})


def test_what_the_worker_does_is_counted(registry: CollectorRegistry) -> None:
    """Each method moves the metrics that it is about."""
    metrics = Metrics(registry)
    metrics.moved()
    metrics.compared()
    metrics.difference()
    metrics.batch(100, 0.5)
    metrics.checkpoint(7, 0.25)
    metrics.recovered(9, 2.0)
    metrics.gate("orders", "passed", "")
    found = samples(registry)
    assert found["livesegments_records_moved_total", ""] == 1
    assert found["livesegments_changes_compared_total", ""] == 1
    assert found["livesegments_changes_different_total", ""] == 1
    assert found["livesegments_batch_records_sum", ""] == 100
    assert found["livesegments_batch_seconds_sum", ""] == 0.5
    assert found["livesegments_checkpoint_records_total", ""] == 7
    assert found["livesegments_checkpoint_seconds_sum", ""] == 0.25
    assert found["livesegments_recovery_records_total", ""] == 9
    assert found["livesegments_recovery_seconds", ""] == 2
    assert found["livesegments_gate_records_total", "orders,passed,"] == 1


def test_the_deliverers_metrics_are_what_connectors_ask_for(registry: CollectorRegistry) -> None:
    """Connectors know a protocol, and Prometheus is one way to have it."""
    metrics: DeliveryMetrics = PrometheusDeliveryMetrics(registry)
    metrics.delivery("crm", "delivered", 3)
    metrics.attempt("crm", 0.5)
    metrics.end_to_end("crm", -0.1)
    metrics.pending("crm", 4)
    metrics.lag("crm", 5)
    metrics.state("crm", False, "http_401")
    metrics.rate_wait("crm", "contacts", 0.5)
    metrics.rate_wait("crm", "contacts", 0.25)
    found = samples(registry)
    assert found["livesegments_deliveries_total", "crm,delivered"] == 3
    assert found["livesegments_rate_limit_wait_seconds_total", "crm,contacts"] == 0.75
    assert found["livesegments_delivery_attempt_seconds_sum", "crm"] == 0.5
    assert found["livesegments_delivery_latency_seconds_sum", "crm"] == 0
    assert found["livesegments_delivery_pending", "crm"] == 4
    assert found["livesegments_delivery_lag_records", "crm"] == 5
    assert found["livesegments_destination_active", "crm"] == 0
    assert found["livesegments_destination_pauses_total", "crm,http_401"] == 1
    metrics.state("crm", True, "")
    assert samples(registry)["livesegments_destination_active", "crm"] == 1
    for name, method in inspect.getmembers(DeliveryMetrics, inspect.isfunction):
        if not name.startswith("_"):
            for made in (PrometheusDeliveryMetrics, NoMetrics):
                assert inspect.signature(getattr(made, name)) == inspect.signature(method), name


def test_why_a_destination_stands_still_is_told_one_reason_at_a_time(registry: CollectorRegistry) -> None:
    """An alert names the reason that is, and no more the one that was."""

    def stopped() -> dict[str, float]:
        name = "livesegments_destination_stopped"
        (family,) = (metric for metric in registry.collect() if metric.name == name)
        return {sample.labels["reason"]: sample.value for sample in family.samples}

    metrics = PrometheusDeliveryMetrics(registry)
    metrics.state("crm", True, "")
    assert stopped() == {}
    metrics.state("crm", False, "breaker_open")
    metrics.state("crm", False, "http_401")
    assert stopped() == {"breaker_open": 0, "http_401": 1}
    assert registry.get_sample_value("livesegments_destination_active", {"destination": "crm"}) == 0
    metrics.state("crm", True, "")
    assert stopped() == {"breaker_open": 0, "http_401": 0}
    assert registry.get_sample_value("livesegments_destination_active", {"destination": "crm"}) == 1


def test_what_a_platform_says_in_its_own_words_is_no_label(registry: CollectorRegistry) -> None:
    """It may be anything, and as much of it as there are answers."""
    metrics = PrometheusDeliveryMetrics(registry)
    for number in range(3):
        metrics.state("crm", False, f"Invalid key number {number}!")
    assert "Invalid" not in generate_latest(registry).decode()
    labels = {"destination": "crm", "reason": "other"}
    assert registry.get_sample_value("livesegments_destination_pauses_total", labels) == 3
