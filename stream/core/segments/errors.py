"""What is wrong with a definition book: where, why, and what to write instead."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, TypeAlias

Severity: TypeAlias = Literal["error", "warning"]


@dataclass(frozen=True, slots=True)
class DefinitionError:
    """One reason why a book is refused; or, of severity ``warning``, what its author may not have meant.

    ``line`` and ``column`` count from 1 and are 0 where unknown. They are places in the segment's SQL if
    ``in_sql``, else in the book's file. ``book_line`` is the line of the file on which the segment begins (0
    if unknown). ``excerpt`` is the line in question with a second line of carets under the place.
    """

    segment: str | None
    message: str
    hint: str = ""
    line: int = 0
    column: int = 0
    excerpt: str = ""
    book_line: int = 0
    in_sql: bool = False
    severity: Severity = "error"

    @property
    def place(self) -> str:
        """Where it is, in words."""
        parts = []
        if self.segment is not None:
            parts.append(f"segment {self.segment}")
            if self.in_sql and self.book_line:
                parts[0] += f" (line {self.book_line} of the book)"
        if self.line:
            parts.append(f"line {self.line}, column {self.column}" + (" of its SQL" if self.in_sql else ""))
        return ", ".join(parts) or "definition book"

    def __str__(self) -> str:
        lines = [f"{self.place}: {self.message}"]
        lines += ["    " + line for line in self.excerpt.splitlines()]
        if self.hint:
            lines.append(f"  {self.hint}")
        return "\n".join(lines)


class DefinitionErrors(ValueError):
    """A book that is refused, with everything that was found wrong with it."""

    def __init__(self, errors: Iterable[DefinitionError]) -> None:
        self.errors: tuple[DefinitionError, ...] = tuple(errors)
        super().__init__("\n".join(str(error) for error in self.errors))


class Refused(Exception):
    """Raised while a segment's SQL is read; ``start`` and ``end`` are character offsets, end exclusive."""

    def __init__(self, message: str, hint: str, start: int, end: int) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.start = start
        self.end = end


#: Characters of a line that an excerpt shows.
WIDEST = 160


def excerpt(text: str, start: int, end: int) -> tuple[int, int, str]:
    """Line and column (from 1) of ``start`` in ``text``, and that line with carets up to ``end``."""
    start = max(0, min(start, len(text)))
    before = text[:start]
    line = before.count("\n") + 1
    begin = before.rfind("\n") + 1
    stop = text.find("\n", start)
    whole = text[begin : stop if stop >= 0 else len(text)]
    column = start - begin + 1
    width = max(1, min(end - start, len(whole) - column + 1))
    if len(whole) > WIDEST:
        begin = max(0, column - 1 - WIDEST // 2)
        head, tail = "…" if begin else "", "…" if len(whole) > begin + WIDEST else ""
        whole = head + whole[begin : begin + WIDEST] + tail
        return line, column, _underlined(whole, column - 1 - begin + len(head), width)
    return line, column, _underlined(whole, column - 1, width)


def _underlined(text: str, start: int, width: int) -> str:
    # Tabs stay tabs, so that the carets stand under their place whatever a tab is wide.
    pad = "".join("\t" if char == "\t" else " " for char in text[:start])
    return f"{text}\n{pad}{'^' * min(width, max(1, len(text) - start))}"
