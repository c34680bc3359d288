"""What is mutated: valid books, SQL, changes and settings, found in the repository, and the words that break things."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from textwrap import dedent
from typing import NamedTuple

import yaml

from connectors.platforms import discover
from schemas.vocabulary import CANONICAL
from stream.core.columns import COLUMNS
from stream.core.segments import DefinitionErrors, compile_book, load_book
from stream.settings import Settings
from tests.conformance.scenarios import BOOK
from tests.unit.markdown import blocks

ROOT = Path(__file__).parents[2]
_PAGE = ROOT / "docs" / "segment-language.md"
_TOKEN = re.compile(r"'[^'\n]*'|\"[^\"\n]*\"|\w+|\s+|[^\w\s]")

#: Texts at the edges of what a reader of text, numbers, instants, JSON, YAML or SQL believes.
ODD = (
    "", " ", "\t", "\r\n", "\x00", "\x1b[2J", "\u2028", "\x85", "\ufeff", "\ud800", "\U0001f600", "İ", "ß",
    "\U0001d7d9", "\u0661", "e\u0301",
    "'", '"', "\\", "\\u0000", "\\ud800", "--", "/*", "*/", ";", "$$", "?", ":x", "@", "#", "%", "`",
    "(", ")", "[", "]", "{", "}", "<", ">", ",", ".", "|", "&a", "*a", "<<", "<<: *a", "- ", "? ", ": ", "---", "...",
    "!!binary x", "!!timestamp x", "!!python/name:os.system", "!!set", "!!float x", "%YAML 9.9",
    "0", "-0", "-1", "1e308", "1e999", "-1e999", "NaN", "Infinity", "-Infinity", ".inf", ".nan", "0x1F", "0o7", "1_000",
    "190:20:30", "9" * 19, "9" * 400, "9" * 5000, str(2**63), str(2**64), "1e-400", "5e-324", "1" + "0" * 15,
    "null", "~", "true", "yes", "off", "2026-02-30", "0000-00-00", "9999-12-31T23:59:59.9999999Z",
    "0001-01-01T00:00:00+23:59",
    "2026-03-29T02:30:00", "NULL", "TRUE", "NOT", "AND", "OR", "SELECT", "FROM", "WHERE", "CASE", "WHEN",
    "END", "IN", "LIKE",
    "BETWEEN", "IS", "DISTINCT", "EXISTS", "INTERVAL", "now()", "CAST(", "::", "||", "INTERVAL '999999999 years'",
    "INTERVAL '1 month'", "AT TIME ZONE 'Mars/Base'", "in_segment('vip')", "count(*)", "DATE '2026-01-01'", "%s", "{0}",
    "[" * 2000, '{"a":' * 2000, "(" * 2000, "- " * 2000, "NOT " * 500,
)  # fmt: skip
WORDS = tuple(word.encode("utf-8", "surrogatepass") for word in ODD)
NUMBERS = (
    0,
    -1,
    1,
    2.5,
    -0.0,
    1e15,
    1e16,
    1e308,
    5e-324,
    2**31,
    2**53,
    2**63,
    -(2**63) - 1,
    10**30,
    float("inf"),
    float("nan"),
)


class Seed(NamedTuple):
    """A valid book. ``horizons`` are the keys of its memories."""

    text: str
    version: str
    horizons: tuple[str, ...]


@cache
def books() -> tuple[Seed, ...]:
    """The valid books of the demo, the documentation and the conformance suite."""
    texts = [BOOK, *(path.read_text("utf-8") for path in sorted((ROOT / "stream" / "demo").glob("*.yaml")))]
    for page in sorted((ROOT / "docs").glob("*.md")):
        texts += [block.text for block in blocks(page, "yaml") if "segments:" in block.text]
    found = []
    for text in texts:
        try:
            book = compile_book(load_book(text))
        except DefinitionErrors:
            continue  # a page also shows what is none
        found.append(Seed(text, book.version, tuple(sorted(book.horizons))))
    return tuple(found)


@cache
def attributes() -> str:
    """The attributes of the page of the language, as YAML."""
    (first, *_) = blocks(_PAGE, "yaml")
    return first.text.split("segments:")[0]


@cache
def conditions() -> tuple[str, ...]:
    """Every example of the page of the language, and the SQL of every book."""
    found = [definition.sql for seed in books() for definition in load_book(seed.text).segments.values()]
    for block in blocks(_PAGE, "sql"):
        found += re.split(r"\n(?=\S)", block.text.strip())
    return tuple(found)


def tokens(text: str) -> list[str]:
    """Words, texts, spaces and signs: together they are the text."""
    return _TOKEN.findall(text)


@cache
def sql_words() -> tuple[str, ...]:
    """What SQL is made of here."""
    found = {token for sql in conditions() for token in tokens(sql) if not token.isspace()}
    return (*sorted(found | COLUMNS.keys()), *ODD)


@cache
def destinations() -> tuple[str, ...]:
    """The example at the head of each platform's module, and those of the documentation and the manifests."""
    found = [
        dedent(" " * 4 + example[0])
        for platform in discover().values()
        for example in [re.search(r"destinations:\n(?: {6,}.*\n)+", platform.__doc__ or "")]
        if example
    ]
    found += [block.text for page in sorted((ROOT / "docs").glob("*.md")) for block in blocks(page, "yaml")]
    found += [path.read_text("utf-8") for path in sorted((ROOT / "deploy").rglob("destinations.yaml"))]
    return tuple(text for text in found if "destinations:\n" in text)


@cache
def settings() -> dict[str, str]:
    """Every setting that is written as text or as JSON, with its default as YAML has it."""
    dumped = Settings.model_construct().model_dump(mode="json")
    return {
        name: yaml.safe_dump(value, default_flow_style=True).removesuffix("...\n").strip()
        for name, value in dumped.items()
    }


EVENT_TYPES = (*sorted(CANONICAL), "quiz_done", "")
