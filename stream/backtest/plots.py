"""Sizes over time as pictures: of block characters for a terminal, by matplotlib for a file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

_EIGHTHS = " ▁▂▃▄▅▆▇█"


class NoPlots(Exception):
    """matplotlib is not there; the message says how to get it."""


def need_matplotlib() -> None:
    """Find out before hours of work that the picture cannot be made. Raises ``NoPlots``."""
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise NoPlots("--png needs the package matplotlib: pip install 'livesegments[plot]'") from error


def bars(values: Sequence[float], height: int = 1, width: int = 100) -> list[str]:
    """Bars of block characters, the largest value as high as ``height`` lines; the highest line first.

    Of more than ``width`` values, the largest of several neighbours is shown. What is above 0 is seen.
    """
    step = -(-len(values) // width)
    shown = [max(values[first : first + step]) for first in range(0, len(values), step)] if values else []
    most = max(shown, default=0) or 1
    eighths = [max(round(value / most * height * 8), int(value > 0)) for value in shown]
    return [
        "".join(_EIGHTHS[min(8, max(0, each - 8 * line))] for each in eighths).rstrip()
        for line in range(height - 1, -1, -1)
    ]


def chart(name: str, slices: Sequence[Mapping[str, Any]], height: int = 5, width: int = 100) -> list[str]:
    """One segment's size over time, with its largest value at the side and the first and last slice below."""
    sizes = [slice_["size"] for slice_ in slices]
    most = str(max(sizes))
    lines = bars(sizes, height, width)
    shown = -(-len(sizes) // -(-len(sizes) // width))
    first, last = _short(slices[0]["from"]), _short(slices[-1]["from"])
    below = first + last.rjust(max(0, shown - len(first))) if shown >= len(first) + len(last) + 1 else first
    sides = [most, *[""] * (height - 2), "0"] if height > 1 else [most]
    return [
        name,
        *(f"{side:>{len(most)}} ┤{line}" for side, line in zip(sides, lines, strict=True)),
        f"{'':>{len(most)}}  {below}",
    ]


def save_png(path: Path, figures: Mapping[str, Any]) -> None:
    """Sizes, and below them entries and exits, of every segment in ``figures``. Raises ``NoPlots``, ``OSError``."""
    need_matplotlib()
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    segments = figures["segments"]
    picture = Figure(figsize=(12, 8), layout="constrained")
    FigureCanvasAgg(picture)
    above, below = picture.subplots(2, 1, sharex=True, height_ratios=(3, 2))
    for number, (name, data) in enumerate(segments.items()):
        times = [datetime.fromisoformat(slice_["from"]) for slice_ in data["series"]]
        colour = f"C{number % 10}"
        above.step(times, [slice_["size"] for slice_ in data["series"]], where="post", label=name, color=colour)
        below.step(times, [slice_["entries"] for slice_ in data["series"]], where="post", color=colour)
        below.step(times, [-slice_["exits"] for slice_ in data["series"]], where="post", color=colour)
    above.set_title(f"{figures['from']} to {figures['to']}, version {figures['version']}")
    above.set_ylabel("customers at the end of a slice")
    below.set_ylabel("entries (up), exits (down) in a slice")
    below.axhline(0, color="black", linewidth=0.5)
    if segments:
        above.legend()
    picture.savefig(path, format="png", dpi=120)


def _short(at: str) -> str:
    """An instant to the minute."""
    return at[:16].replace("T", " ")
