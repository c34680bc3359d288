"""Reads the Prometheus metrics of the demo's processes, as a monitoring system would."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

PREFIX = "livesegments_"


@dataclass(frozen=True, slots=True)
class Scrape:
    """The samples of one process at one moment: (name without the prefix, labels) -> value."""

    samples: dict[tuple[str, tuple[tuple[str, str], ...]], float]

    def total(self, name: str) -> int:
        """The sum of a metric over all its labels; 0 if there is none."""
        return round(sum(value for (found, _), value in self.samples.items() if found == name))

    def by(self, name: str, *labels: str) -> Counter[tuple[str, ...]]:
        """The values of a metric by the named labels."""
        counts: Counter[tuple[str, ...]] = Counter()
        for (found, pairs), value in self.samples.items():
            if found == name and value:
                known = dict(pairs)
                counts[tuple(known.get(label, "") for label in labels)] += round(value)
        return counts


def parse(text: str) -> Scrape:
    """The samples in Prometheus' text format; histogram buckets are left out."""
    return Scrape(
        {
            (sample.name.removeprefix(PREFIX), tuple(sorted(sample.labels.items()))): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            if sample.name.startswith(PREFIX) and not sample.name.endswith(("_bucket", "_created"))
        }
    )


async def scrape(session: aiohttp.ClientSession, port: int) -> Scrape | None:
    """The metrics of the process at a loopback port, None if it does not answer."""
    try:
        async with session.get(f"http://127.0.0.1:{port}/metrics") as response:
            return parse(await response.text())
    except aiohttp.ClientError:
        return None
