"""Reads what is in our Markdown: fenced blocks with the file name above them, consoles, and tables."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```\n", re.MULTILINE | re.DOTALL)
_NAME = re.compile(r"(?:\A|\n)`([\w.-]+)`\n\n\Z")
_CODE = re.compile(r"`([^`]+)`")


class Block(NamedTuple):
    """A fenced block. ``name`` stands alone in the line above it; ``after`` is the rest of the page."""

    language: str
    text: str
    name: str | None
    after: str


class Command(NamedTuple):
    """A line behind ``$``, the lines that continue it included, and what it prints."""

    line: str
    output: str


def blocks(page: Path, *languages: str) -> list[Block]:
    """The fenced blocks of a page in these languages (all of them, if none is named), in their order."""
    text = page.read_text("utf-8")
    found = []
    for fence in _FENCE.finditer(text):
        name = _NAME.search(text[: fence.start()])
        if not languages or fence[1] in languages:
            found.append(Block(fence[1], fence[2], name and name[1], text[fence.end() :]))
    return found


def commands(block: Block) -> Iterator[Command]:
    """The commands of a console."""
    for part in re.split(r"^\$ ", block.text, flags=re.MULTILINE)[1:]:
        line = re.match(r"(?:.*\\\n)*.*\n", part)
        assert line is not None
        yield Command(line[0], part[line.end() :])


def table(page: Path, first: str) -> list[list[str]]:
    """The cells of the rows of the table whose head begins with ``first``."""
    lines = page.read_text("utf-8").splitlines()
    (head,) = (number for number, line in enumerate(lines) if line.startswith(f"| {first} |"))
    rows = []
    for line in lines[head + 2 :]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip("|").split("|")])
    return rows


def code(cell: str) -> list[str]:
    """What stands in backticks."""
    return _CODE.findall(cell)


def prose(page: Path) -> str:
    """The page without its fenced blocks."""
    return _FENCE.sub("", page.read_text("utf-8"))
