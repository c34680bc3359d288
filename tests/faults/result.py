"""What came of a contestant, as it stands in the report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import Any

from tests.faults.rig import Rig
from tests.faults.rows import BESIDE, NO_DELIVERER, ROWS
from tests.faults.verdict import KINDS, Verdict

#: The stock app begins no row after this but the last; it may be stuck for a minute in each.
STOCK_SECONDS = 400


@dataclass
class Beside:
    """What was done to the deliverer while the rows went on."""

    kills: int = 0
    kills_hit: int = 0
    periods: int = 0
    refusals: int = 0


@dataclass
class Result:
    """Everything about one contestant, as it stands in the report."""

    contestant: str
    seed: int
    rate: float
    seconds: float = 0.0
    rows: list[dict[str, Any]] = field(default_factory=list)
    total: dict[str, Any] = field(default_factory=dict)
    load: dict[str, int] = field(default_factory=dict)
    lateness: dict[str, Any] = field(default_factory=dict)
    exits: dict[str, int] = field(default_factory=dict)
    graceful: dict[str, Any] = field(default_factory=dict)
    receiver: dict[str, Any] = field(default_factory=dict)
    drained: float | None = None
    fresh: float | None = None
    findings: list[str] = field(default_factory=list)
    #: Rows for which the stock app left no time.
    not_reached: list[str] = field(default_factory=list)
    #: Rows that the matrix itself could not finish.
    broken_off: list[str] = field(default_factory=list)

    @property
    def clean(self) -> bool:
        """Whether nothing at all was found."""
        found = self.total
        kept = all(row["stuck"] == 0 for row in self.rows) and self.drained is not None and self.fresh is not None
        boxes = self.receiver.get("missing", {})
        received = not any(boxes.values()) and not self.receiver.get("out_of_order") and not self.receiver.get("broken")
        return kept and received and not self.findings and not self.broken_off and not found["different"]


def tell(rig: Rig, beside: Beside, verdict: Verdict, result: Result, chosen: Sequence[str]) -> None:
    """Fill in everything that is counted."""

    def row_at(at_ms: int) -> str:
        return next((name for name, begun in reversed(rig.rows) if at_ms >= begun), "start")

    by_row = verdict.by_row(row_at)
    compared, different = rig.tally()
    for name in (*ROWS, *BESIDE):
        if name not in chosen:
            continue
        faults = [fault for fault in rig.faults if fault.row == name]
        counts = by_row.get(name, Counter())
        times = [fault.recovery for fault in faults if fault.recovery is not None]
        row: dict[str, Any] = {
            "row": name,
            "title": ROWS[name].title if name in ROWS else BESIDE[name],
            "tried": len(faults),
            "hit": sum(fault.hit for fault in faults),
            "stuck": sum(fault.recovery is None for fault in faults),
            **{kind: counts[kind] for kind in ("lost", "phantom", "wrong", "order", "beyond", "twice")},
            "recovery_p50": median(times) if times else None,
            "recovery_max": max(times) if times else None,
            "note": "; ".join(rig.notes.get(name, [])),
            "no_sense": "",
            "faults": [asdict(fault) for fault in faults],
        }
        if name in BESIDE:
            hit, tried = (beside.kills_hit, beside.kills) if name == "B10" else (beside.periods, beside.periods)
            row |= {"tried": tried, "hit": hit}
        if not rig.contestant.ours:
            row["no_sense"] = NO_DELIVERER if name in BESIDE else ROWS[name].stock
        if name in result.not_reached:
            row["no_sense"] = f"not reached: {STOCK_SECONDS} s were over"
        result.rows.append(row)
    told = sorted((fault.at * 1000, fault.row, fault.what) for fault in rig.faults)
    after = Counter(next((f"{row} {what}" for at, row, what in reversed(told) if at <= t), "-") for t in verdict.twice)
    elsewhere = Counter[str]()
    for name, counts in by_row.items():
        if name not in chosen:
            elsewhere += counts
    records = sum(verdict.counts().values())
    result.total = {
        "changes": verdict.changes,
        **{kind: verdict.counts()[kind] for kind in KINDS},
        "findings": records,
        "between_rows": dict(elsewhere),
        "twice": len(verdict.twice),
        "twice_per_million": round(len(verdict.twice) / max(1, verdict.changes) * 1e6, 1),
        "twice_after": dict(after),
        "refused_twice": verdict.refused_twice,
        "compared": compared,
        "different": different,
        "stuck": sum(row["stuck"] for row in result.rows),
        "samples": len(rig.watch.samples),
    }
    result.load = dict(rig.sender.load.counts) | {"given_up": rig.sender.given_up}
    result.lateness = _lateness(rig)
    ends = Counter(f"{'asked' if end.wanted else 'by itself or killed'}: {end.code}" for end in rig.ends)
    result.exits = dict(ends)
    stops = [stop for stop in rig.stops if stop[0] != "end"]
    if stops:
        result.graceful = {
            "stops": len(stops),
            "median_seconds": median(seconds for _, seconds, _ in stops),
            "max_seconds": max(seconds for _, seconds, _ in stops),
            "not_0": sum(code != 0 for _, _, code in stops),
        }
    result.findings = [
        f"{row_at(f.at_ms) if f.at_ms else '-'} {f.kind}: {f.what}"
        for f in sorted(verdict.findings, key=lambda f: f.at_ms)
    ][:40]


def _lateness(rig: Rig) -> dict[str, Any]:
    """Of changes by time alone, how long after their instant they arrived (s), with and without a fault going on."""
    spans = [(fault.at, fault.at + (fault.recovery or 60.0)) for fault in rig.faults]
    calm: list[float] = []
    faulty: list[float] = []
    for at, late in rig.watch.lateness:
        (faulty if any(begin <= at <= end + 1.0 for begin, end in spans) else calm).append(late)

    def told(values: list[float]) -> dict[str, float]:
        values = sorted(values)
        if not values:
            return {"count": 0}
        return {
            "count": len(values),
            "p50": round(values[len(values) // 2], 3),
            "p99": round(values[int(len(values) * 0.99)], 3),
            "max": round(values[-1], 3),
        }

    return {"calm": told(calm), "during_faults": told(faulty)}
