"""Writes the pages that are made from code, ``docs/settings.md`` and ``docs/metrics.md``, or compares them.

``python -m stream.docs [--check]``; exit status 1 when a page differs from what it is made from.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from schemas.making import command
from schemas.rejections import DeadLetterReason, RejectionReason
from stream.metrics import DELIVERER, WORKER, Metric
from stream.settings import FILE_VARIABLE, ForeignTopicSettings, Settings

FOLDER = Path(__file__).parents[1] / "docs"
_KINDS = {
    "integer": "whole number",
    "number": "number",
    "string": "text",
    "boolean": "`true`, `false`",
    "object": "mapping",
}
_BOUNDS = {"minimum": "from", "exclusiveMinimum": "above", "maximum": "to"}
_MADE_BY = "<!-- Made by `python -m stream.docs`; do not edit. -->"


def pages() -> dict[str, str]:
    """File name -> text of every page that is made from code."""
    return {"settings.md": settings_page(), "metrics.md": metrics_page()}


def settings_page() -> str:
    """Every setting with its default, the values it takes, and what it is for."""
    prefix = Settings.model_config["env_prefix"]
    return _page(
        "# Settings",
        _MADE_BY,
        "Of all commands. A command line option wins over the environment, the environment over the YAML "
        f"file that `{FILE_VARIABLE}` names. In the file a setting has the name of its variable in small "
        f"letters, without `{prefix}`. Secrets belong into the environment, or into a file that others "
        "cannot read; no command prints one.",
        _settings(Settings, lambda name: f"{prefix}{name}".upper()),
        "## foreign_topics",
        "From the name of a topic to:",
        _settings(ForeignTopicSettings, str),
    )


def metrics_page() -> str:
    """Every metric under its name on ``/metrics``, and the values of the label ``reason``."""
    return _page(
        "# Metrics",
        _MADE_BY,
        "Prometheus, on `/metrics` of every worker and every deliverer. Labels take their values from "
        "closed vocabularies, or from what you declared yourself (segments, destinations, topics), "
        "never from events.",
        "## Worker",
        _metrics(WORKER),
        "## Deliverer",
        _metrics(DELIVERER),
        "## Endings and reasons",
        "Every record of the customer log that producers wrote ends exactly once.",
        _table(
            ("ending", "reason", "what happened"),
            [
                ("applied", "`fact`", "it is in the customer's record"),
                ("duplicate", "`event_id`", "the customer's event of this id is in already"),
                ("duplicate", "`content`", "it has no id, and the same was said some seconds ago"),
                *(("rejected", f"`{reason}`", reason.description) for reason in RejectionReason),
                *(("dead_lettered", f"`{reason}`", reason.description) for reason in DeadLetterReason),
            ],
        ),
    )


def exposed(metric: Metric) -> str:
    """The name that Prometheus has it by; a histogram has series in ``_bucket``, ``_sum`` and ``_count``."""
    return f"livesegments_{metric.name}" + ("_total" if metric.kind == "counter" else "")


def write(folder: Path = FOLDER) -> None:
    """Write every page."""
    for name, text in pages().items():
        (folder / name).write_text(text, "utf-8")


def drift(folder: Path = FOLDER) -> list[str]:
    """One line per page that is missing or differs."""
    lines = []
    for name, text in pages().items():
        page = folder / name
        if not page.exists():
            lines.append(f"{name} is missing")
        elif page.read_text("utf-8") != text:
            lines.append(f"{name} differs from what it is made from")
    return lines


def main(arguments: Sequence[str] | None = None, folder: Path = FOLDER) -> int:
    """The command line; gives the exit status."""
    return command(
        arguments,
        folder,
        write,
        drift,
        prog="python -m stream.docs",
        description="Make the pages from the code.",
        again="make docs",
    )


def _page(*parts: str) -> str:
    return "\n\n".join(parts) + "\n"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(map(_cell, line)) + " |" for line in lines)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")


def _settings(model: type[BaseModel], shown: Callable[[str], str]) -> str:
    schemas = model.model_json_schema()["properties"]
    rows = [
        (f"`{shown(name)}`", _default(field), _values(schemas[name]), field.description or "")
        for name, field in model.model_fields.items()
    ]
    return _table(("name", "default", "values", "what for"), rows)


def _metrics(metrics: Iterable[Metric]) -> str:
    rows = []
    for metric in metrics:
        labels = ", ".join(f"`{label}`" for label in metric.labels)
        rows.append((f"`{exposed(metric)}`", metric.kind, labels, metric.help))
    return _table(("metric", "kind", "labels", "what it says"), rows)


def _default(field: FieldInfo) -> str:
    default = field.default
    if field.is_required():
        return "has to be there"
    if default is None or default == "" or default == {}:
        return ""
    if isinstance(default, float):
        return f"`{default:g}`"
    return f"`{str(default).lower() if isinstance(default, bool) else default}`"


def _values(schema: Mapping[str, Any]) -> str:
    if "anyOf" in schema:
        return " or ".join(_values(each) for each in schema["anyOf"] if each.get("type") != "null")
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    if schema.get("writeOnly"):
        return "secret"
    if schema.get("format") == "path":
        return "path"
    words = [_KINDS[schema["type"]]]
    words += [f"{word} {schema[bound]:g}" for bound, word in _BOUNDS.items() if bound in schema]
    return " ".join(words)


if __name__ == "__main__":
    sys.exit(main())
