"""Writes the JSON Schema of every contract on a topic to ``schemas/json``, or compares it with ``--check``.

``python -m schemas.export [--check]``; exit status 1 when a file differs from its model.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

from pydantic import BaseModel

from schemas.making import command
from schemas.topics import TOPICS

FOLDER = Path(__file__).parent / "json"


def contracts() -> dict[str, type[BaseModel]]:
    """File name -> model, for the value of every topic in the registry."""
    models = {model.__name__: model for topic in TOPICS for model in topic.value}
    return {f"{_dashed(name)}.schema.json": models[name] for name in sorted(models)}


def _dashed(name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "-", name).lower()


def text_of(model: type[BaseModel]) -> str:
    """The model's JSON Schema as the file's text."""
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", **model.model_json_schema()}
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def write(folder: Path = FOLDER) -> None:
    """Write every schema, and remove those without a model."""
    folder.mkdir(exist_ok=True)
    wanted = contracts()
    for name, model in wanted.items():
        (folder / name).write_text(text_of(model), encoding="utf-8")
    for path in folder.glob("*.schema.json"):
        if path.name not in wanted:
            path.unlink()


def drift(folder: Path = FOLDER) -> list[str]:
    """One line per file that is missing, differs from its model, or has none."""
    wanted = contracts()
    found = {path.name: path.read_text(encoding="utf-8") for path in folder.glob("*.schema.json")}
    lines = []
    for name in sorted(wanted.keys() | found.keys()):
        if name not in found:
            lines.append(f"{name} is missing")
        elif name not in wanted:
            lines.append(f"{name} has no model on any topic")
        elif found[name] != text_of(wanted[name]):
            lines.append(f"{name} differs from {wanted[name].__module__}.{wanted[name].__name__}")
    return lines


def main(arguments: list[str] | None = None, folder: Path = FOLDER) -> int:
    """The command line; gives the exit status."""
    return command(
        arguments,
        folder,
        write,
        drift,
        prog="python -m schemas.export",
        description="Export the JSON Schemas.",
        again="python -m schemas.export",
    )


if __name__ == "__main__":
    sys.exit(main())
