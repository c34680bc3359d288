"""``make faults``: the fault matrix on Apache Kafka, livesegments and a stock Faust app side by side.

    python -m tests.faults --seed N [--rows B1,B2] [--contestant ours|stock|both] [--rate 300]

Each contestant runs in a process of its own on a broker of its own, both at once. Prints a table, writes
build/faults/report.json, and ends with 1 if livesegments lost, invented or repeated wrongly anything, or got stuck.
The same seed draws the same load and the same schedule of faults; what the machine makes of it differs a little.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import logging
import os
import sys
import time
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console

from stream.embedded.kafka import CACHE, available
from tests.faults import table
from tests.faults.contestants import Contestant, Name
from tests.faults.fleet import ROOT
from tests.faults.matrix import run
from tests.faults.result import Result
from tests.faults.rows import BESIDE, ROWS

#: The stock app gets this part of the load: at all of it, it would be behind before anything happened to it.
STOCK_SHARE = 6
REPORT = ROOT / "build/faults/report.json"


def _rows(text: str) -> list[str]:
    chosen = [name.strip().upper() for name in text.split(",") if name.strip()]
    if unknown := sorted(set(chosen) - ROWS.keys() - BESIDE.keys()):
        raise argparse.ArgumentTypeError(f"no such row: {', '.join(unknown)}")
    return chosen


def _arguments() -> argparse.Namespace:
    listed = "\n".join(
        f"  {name:<4} {ROWS[name].title if name in ROWS else BESIDE[name]}"
        for name in sorted({**ROWS, **BESIDE}, key=_order)
    )
    parser = argparse.ArgumentParser(
        prog="python -m tests.faults",
        description=__doc__,
        epilog=f"rows:\n{listed}\n\nB10 and B11 go on beside all others.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--seed", type=int, help="of the load and of the schedule (default: the time)")
    parser.add_argument("--rows", type=_rows, help="some rows only, as B1,B2 (default: all)")
    parser.add_argument("--contestant", choices=("ours", "stock", "both"), default="both", help="(default: both)")
    parser.add_argument(
        "--rate", type=float, default=300.0, help=f"events per second; 1/{STOCK_SHARE} of it for stock (default: 300)"
    )
    parser.add_argument("--report", type=Path, default=REPORT, help="(default: build/faults/report.json)")
    return parser.parse_args()


def _order(name: str) -> int:
    return int(name[1:])


async def _one(name: Name, arguments: argparse.Namespace, chosen: list[str]) -> Result:
    begun = time.monotonic()

    def say(text: str) -> None:
        sys.stdout.write(f"{time.monotonic() - begun:6.1f} {name:<5} {text}\n")
        sys.stdout.flush()

    rate = arguments.rate / (STOCK_SHARE if name == "stock" else 1)
    return await run(Contestant(name, f"{name}-"), arguments.seed, rate, chosen, say)


async def _both(arguments: argparse.Namespace, chosen: list[str]) -> list[dict[str, Any]]:
    """Two children, which share nothing but the machine."""

    async def child(name: Name) -> list[dict[str, Any]]:
        report = arguments.report.with_suffix(f".{name}.json")
        report.unlink(missing_ok=True)
        command = [sys.executable, "-m", "tests.faults", "--seed", str(arguments.seed), "--contestant", name]
        command += ["--rate", str(arguments.rate), "--rows", ",".join(chosen), "--report", str(report)]
        process = await asyncio.create_subprocess_exec(
            *command, cwd=ROOT, env={**os.environ, "FAULTS_QUIET": "1"}, start_new_session=True
        )
        try:
            await process.wait()
        finally:
            if process.returncode is None:
                process.terminate()
                await process.wait()
        if not report.exists():  # it has said why
            return []
        found: list[dict[str, Any]] = json.loads(report.read_text())["contestants"]
        report.unlink()
        return found

    return [*itertools.chain(*await asyncio.gather(child("ours"), child("stock")))]


def main() -> int:
    """The exit code."""
    arguments = _arguments()
    if (why := available(ROOT / CACHE)) is not None:
        sys.stderr.write(f"make faults: {why}\n")
        return 2
    arguments.seed = int(time.time()) if arguments.seed is None else arguments.seed
    chosen = arguments.rows or sorted({**ROWS, **BESIDE}, key=_order)
    arguments.report.parent.mkdir(parents=True, exist_ok=True)
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL + 1)  # the driver's own clients meet every fault, too
    begun = time.monotonic()
    if arguments.contestant == "both":
        results = asyncio.run(_both(arguments, chosen))
    else:
        result = asyncio.run(_one(arguments.contestant, arguments, chosen))
        results = [asdict(result) | {"clean": result.clean}]
    report = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "seed": arguments.seed,
        "rate": arguments.rate,
        "rows": chosen,
        "cores": os.cpu_count(),
        "load_average": round(os.getloadavg()[2], 1),
        "seconds": round(time.monotonic() - begun),
        "contestants": results,
    }
    arguments.report.write_text(json.dumps(report, indent=2) + "\n", "utf-8")
    if not os.environ.get("FAULTS_QUIET"):
        console = Console()
        console.width = max(console.width, 130)
        table.show(report, console)
        sys.stdout.write(f"{report['seconds']} s; {arguments.report}\n")
        sys.stdout.write(f"again: make faults SEED={arguments.seed}\n")
    wanted = {"both": ["ours", "stock"]}.get(arguments.contestant, [arguments.contestant])
    complete = [each["contestant"] for each in results] == wanted
    return 0 if complete and all(each["clean"] for each in results if each["contestant"] == "ours") else 1


if __name__ == "__main__":
    sys.exit(main())
