"""Reads a file of cases: what is written in it, brought onto the clock."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stream.casebook.clock import instant, length
from stream.casebook.written import ANYBODY, CasebookError, WrittenCase, WrittenChange, WrittenEvent, parse
from stream.core.time import format_iso

_MS = 1_000


@dataclass(frozen=True, slots=True)
class Happening:
    """An event that arrives at ``at`` (µs) and has to end as ``ends`` says: applied, duplicate, or a reason."""

    at: int
    event: Mapping[str, Any]
    ends: str
    place: str


@dataclass(frozen=True, slots=True, order=True)
class Expected:
    """A change at ``at`` (µs)."""

    at: int
    customer: str
    segment: str
    entered: bool


@dataclass(frozen=True, slots=True)
class Case:
    """One case. ``segments`` are those that it looks at, None for all; ``zero`` (µs) is what its clock counts from.

    Happenings are in the order of their arrival; time passes to ``until`` (µs).
    """

    name: str
    zero: int | None
    segments: frozenset[str] | None
    happenings: tuple[Happening, ...]
    expected: tuple[Expected, ...]
    until: int


@dataclass(frozen=True, slots=True)
class Casebook:
    """The cases of a file, and the segments file that it names, if it does."""

    path: Path
    book: Path | None
    cases: tuple[Case, ...]


def read_casebook(path: Path) -> Casebook:
    """The cases in a file. Raises ``CasebookError`` and ``OSError``."""
    file = parse(path)
    found, mistakes = [], []
    for name, case in file.cases.items():
        try:
            found.append(_case(name, case, file.clock))
        except ValueError as error:
            mistakes.append(f"{path}, case {name!r}, {error}")
    if mistakes:
        raise CasebookError("\n".join(mistakes))
    return Casebook(path, None if file.book is None else path.parent / file.book, tuple(found))


def _case(name: str, case: WrittenCase, clock: str | None) -> Case:
    clock = case.clock or clock
    zero = None if clock is None else _instant("clock", clock, None)
    happenings = [each for number, event in enumerate(case.events, 1) for each in _happenings(number, event, zero)]
    happenings.sort(key=lambda each: each.at)
    expected = [each for number, change in enumerate(case.changes, 1) for each in _expected(number, change, zero)]
    last = max([*(each.at for each in happenings), *(each.at for each in expected)])
    until = last if case.until is None else _instant("until", case.until, zero)
    if until < last:
        raise ValueError("until: something comes later than it")
    names = [case.segments] if isinstance(case.segments, str) else case.segments
    looked_at = None if names is None else frozenset(names)
    for each in expected:
        if looked_at is not None and each.segment not in looked_at:
            raise ValueError(f"changes: {each.segment} is none of the segments that the case looks at")
    return Case(name, zero, looked_at, tuple(happenings), tuple(sorted(expected)), until)


def _happenings(number: int, event: WrittenEvent, zero: int | None) -> list[Happening]:
    place = f"event {number}"
    first = _instant(f"{place}, at", event.at, zero)
    try:
        step = length(event.every)
    except ValueError as error:
        raise ValueError(f"{place}, every: {error}") from None
    found = []
    for repeat in range(event.times):
        at = first + repeat * step
        if at % _MS:
            raise ValueError(f"{place}, at: the log's time is in milliseconds, an event cannot arrive between two")
        fields = {"event_id": f"{number}.{repeat}", "customer_id": ANYBODY, **(event.model_extra or {})}
        when = fields.get("timestamp")
        if isinstance(when, str):
            fields["timestamp"] = format_iso(_instant(f"{place}, timestamp", when, zero) + repeat * step)
        elif when is None:
            fields["timestamp"] = format_iso(at)
        found.append(Happening(at, fields, event.ends, place if event.times == 1 else f"{place}, time {repeat + 1}"))
    return found


def _expected(number: int, change: WrittenChange, zero: int | None) -> list[Expected]:
    word, text = ("at", change.at) if change.at is not None else ("after", change.after or "")
    at = _instant(f"change {number}, {word}", text, zero) + (word == "after")
    return [
        Expected(at, change.customer, segment, entered)
        for segments, entered in ((change.enters, True), (change.exits, False))
        for segment in ([segments] if isinstance(segments, str) else segments)
    ]


def _instant(place: str, text: str, zero: int | None) -> int:
    try:
        return instant(text, zero)
    except ValueError as error:
        raise ValueError(f"{place}: {error}") from None
