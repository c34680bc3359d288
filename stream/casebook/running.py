"""Runs cases on the in-process log, and compares what it says with what has to be."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from stream.casebook.reading import Case, Expected
from stream.casebook.written import CasebookError
from stream.core.changes import Change
from stream.core.config import CoreSettings
from stream.core.output import APPLIED, DUPLICATE
from stream.core.segments import CompiledBook
from stream.interpreter import Interpreter

_MS = 1_000


@dataclass(frozen=True, slots=True)
class Mismatch:
    """A change that had to be and was not (``happened`` False), or was and had not to be; ``why`` is its cause."""

    change: Expected
    happened: bool
    why: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of a case: changes as they had to be, those that differ, and events that ended otherwise."""

    case: Case
    right: tuple[Expected, ...]
    mismatches: tuple[Mismatch, ...]
    endings: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """Whether everything was as it had to be."""
        return not self.mismatches and not self.endings


def check_cases(cases: Iterable[Case], book: CompiledBook) -> None:
    """Raises ``CasebookError`` where a case names a segment that the book has not."""
    for case in cases:
        named = {each.segment for each in case.expected} | (case.segments or set())
        for name in sorted(named - book.by_name.keys()):
            raise CasebookError(f"case {case.name!r}: the book has no segment {name}")


def run_case(case: Case, book_text: str, settings: CoreSettings) -> Verdict:
    """Let it happen. The book is in force from the beginning; it has to compile."""
    log = Interpreter(book_text, settings)
    endings = []
    for each in case.happenings:
        before = Counter(log.endings)
        log.pipe(each.at, str(each.event["customer_id"]).encode(), msgspec.json.encode(each.event))
        ended = _ending(log, log.endings - before)
        if each.ends not in ended:
            endings.append(f"{each.place} was to end as {each.ends}, and ended as {': '.join(ended)}")
    log.advance(-(-case.until // _MS) * _MS)
    happened = [(_as_expected(change), change) for change in log.decided]
    looked_at = [
        (each, change)
        for each, change in happened
        if each.at <= case.until and (case.segments is None or each.segment in case.segments)
    ]
    right, mismatches = _compare(case.expected, looked_at)
    return Verdict(case, right, mismatches, tuple(endings))


def _compare(
    expected: Sequence[Expected], happened: Sequence[tuple[Expected, Change]]
) -> tuple[tuple[Expected, ...], tuple[Mismatch, ...]]:
    missing = Counter(expected)
    right, mismatches = [], []
    for each, change in happened:
        if missing[each]:
            missing[each] -= 1
            right.append(each)
        else:
            mismatches.append(Mismatch(each, True, _cause(change)))
    mismatches += [Mismatch(each, False) for each in missing.elements()]
    return tuple(right), tuple(sorted(mismatches, key=lambda mismatch: (mismatch.change, mismatch.happened)))


def _as_expected(change: Change) -> Expected:
    return Expected(change.at, change.customer_id, change.segment, change.action == "entered")


def _cause(change: Change) -> str:
    """What brought a change about, in words."""
    cause: dict[str, Any] = msgspec.json.decode(change.value)["cause"]
    return f"by {cause['event_type']}" if cause["kind"] == "event" else f"by {cause['kind']}"


def _ending(log: Interpreter, count: Counter[tuple[str, str]]) -> tuple[str, ...]:
    """How the last record ended: in one word, the reason, and what there is to say about it."""
    ((ending, reason),) = count
    if ending in (APPLIED, DUPLICATE):
        return (ending,)
    return ending, reason, log.refused[-1].detail
