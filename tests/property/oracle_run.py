"""One case: a book and a log, run by the interpreter and by DuckDB, and compared wherever anything could differ."""

from __future__ import annotations

import json
import re
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from stream.core.segments import DefinitionErrors, compile_book, load_book
from stream.core.time import format_iso
from stream.interpreter import Interpreter
from tests.property.oracle_duckdb import Asked, Oracle
from tests.property.oracle_facts import CART, Row, accepted, rows_after
from tests.property.oracle_logs import Entry
from tests.property.oracle_words import ATTRIBUTES, DAY, HOUR, MINUTE, SECOND

#: Instants asked between two that are announced, at most: the truth has to be the same at all of them.
BETWEEN = 5
#: Ages at which generated windows like to end (µs); around them the truth is asked although nothing was announced.
_LENGTHS = (
    *(10 * SECOND, MINUTE, 5 * MINUTE, 30 * MINUTE, HOUR, 90 * MINUTE, 6 * HOUR, 12 * HOUR, DAY, 30 * HOUR),
    *(2 * DAY, 7 * DAY, 28 * DAY, 30 * DAY, 31 * DAY, 90 * DAY, 365 * DAY),
)
#: Said of a reference to a segment that was itself refused.
_LOST = "there is no segment"


class Difference(AssertionError):
    """The interpreter and DuckDB disagree."""


@dataclass(slots=True)
class Tally:
    """What was compared, over many cases."""

    cases: int = 0
    segments: int = 0
    compared: int = 0
    members: int = 0
    announced: int = 0
    #: Changes that time alone caused.
    by_time: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)
    constructs: Counter[str] = field(default_factory=Counter)

    @property
    def share_refused(self) -> float:
        """Of the generated segments, how many the compiler did not take."""
        refused = sum(self.refused.values())
        return refused / max(1, refused + self.segments)


@dataclass(frozen=True, slots=True)
class Case:
    """Segments by name with their SQL, later ones may refer to earlier ones, and a log."""

    segments: dict[str, str]
    log: list[Entry]

    @property
    def book(self) -> str:
        """The book as a file (JSON is YAML)."""
        return book_of(self.segments)

    def __str__(self) -> str:
        lines = [f"  {name}: {sql}" for name, sql in self.segments.items()]
        return "\n".join(["book:", *lines, "log:", *(f"  {n} {entry}" for n, entry in enumerate(self.log, 1))])


def book_of(segments: dict[str, str]) -> str:
    """A book of these segments, with all attributes declared."""
    return json.dumps({"attributes": ATTRIBUTES, "segments": {name: {"sql": sql} for name, sql in segments.items()}})


def compilable(segments: dict[str, str], refused: Counter[str]) -> dict[str, str]:
    """Those that the compiler takes; what it says of the others is counted."""
    left = dict(segments)
    while left:
        try:
            compile_book(load_book(book_of(left)))
            break
        except DefinitionErrors as found:
            reasons = {error.segment: error.message for error in found.errors if error.segment in left}
            if not reasons:
                raise
            refused.update(_kind_of(reason) for reason in reasons.values() if _LOST not in reason)
            left = {name: sql for name, sql in left.items() if name not in reasons}
    return left


def _kind_of(message: str) -> str:
    """The message without what it quotes."""
    return re.sub(r"\d+|'(?:[^']|'')*'|\"[^\"]*\"", "…", message)


@dataclass(slots=True)
class Seen:
    """What the interpreter said at the questions."""

    questions: list[Asked] = field(default_factory=list)
    members: list[dict[str, frozenset[str]]] = field(default_factory=list)
    states: dict[int, dict[str, Row]] = field(default_factory=dict)
    changes: list[bytes] = field(default_factory=list)
    announced: int = 0
    by_time: int = 0


def observe(case: Case) -> Seen:
    """Run the case record by record; look after each, at every announced instant, just before it, and in between."""
    log = Interpreter(case.book)
    seen = Seen()
    facts = accepted(case.log)
    suspects = sorted(
        {f.time + sign * by + e for f in facts for by in (0, *_LENGTHS) for sign in (1, -1) for e in (0, 1)}
    )
    customers = log.partition.customers

    def look(at: int, upto: int) -> None:
        seen.questions.append(Asked(at, upto))
        seen.members.append({name: frozenset(customer.members or ()) for name, customer in customers.items()})

    def cart_of(name: str) -> Row:
        return {column: getattr(customers[name], column) for column in CART}

    now = 0
    for upto, entry in enumerate(case.log, 1):
        for instant, announced in _instants(log, now, entry.at, suspects):
            if announced:
                _let_pass(log, instant)
                seen.announced += 1
            look(instant, upto - 1)
        log.feed([entry.record(upto)])
        now = entry.at
        seen.states[upto] = rows_after(upto, facts, cart_of)
        look(now, upto)
    if log.endings["applied", "fact"] != len(facts):
        raise Difference(f"{dict(log.endings)}, and by hand {len(facts)} facts\n{case}")
    seen.changes = log.changes
    seen.by_time = sum(change.cause == "time" for change in log.decided)
    return seen


def _instants(log: Interpreter, now: int, until: int, suspects: Sequence[int]) -> Iterator[tuple[int, bool]]:
    """What to ask after ``now`` and before ``until``, and whether it was announced: then it is let pass first."""
    while now < until:
        dues = [min(c.due.values()) for c in log.partition.customers.values() if c.due]
        soonest = min(dues, default=until)
        end = min(soonest, until)
        inside = suspects[bisect_right(suspects, now) : bisect_left(suspects, end)] if now else ()
        picked = {*inside[:: max(1, len(inside) // BETWEEN)][:BETWEEN], (now + end) // 2, end - 1}
        if now:
            yield from ((instant, False) for instant in sorted(picked) if now < instant < end)
        if soonest >= until:
            return
        if soonest <= now:
            raise Difference(f"announced at {now}, and not later than that: {soonest}")
        yield soonest, True
        now = soonest


def _let_pass(log: Interpreter, instant: int) -> None:
    """Let time pass to the µs; a tick would do so to the ms."""
    partition = log.partition
    partition.membership.fire(instant, partition.position, log.decided)


def in_one_go(case: Case, cuts: Sequence[int] = ()) -> list[bytes]:
    """The changes when the log comes in batches that end at ``cuts``."""
    log = Interpreter(case.book)
    records = [entry.record(offset) for offset, entry in enumerate(case.log, 1)]
    start = 0
    for cut in (*sorted(set(cuts)), len(records)):
        log.feed(records[start:cut])
        start = cut
    return log.changes


def check(case: Case, oracle: Oracle, tally: Tally, cuts: Sequence[int] = ()) -> None:
    """Compare, count. Raises ``Difference`` with the book, the log and the first thing on which they disagree."""
    seen = observe(case)
    answers = oracle.ask(case.segments, accepted(case.log), seen.states, seen.questions)
    tally.cases += 1
    tally.segments += len(case.segments)
    tally.announced += seen.announced
    tally.by_time += seen.by_time
    for error in answers.failed.values():
        tally.failed[error.split("\n")[0][:100]] += 1
    for number, (asked, members) in enumerate(zip(seen.questions, seen.members, strict=True)):
        for segment in case.segments:
            if segment in answers.failed:
                continue
            said = {name for name, of in members.items() if segment in of}
            expected = answers.members.get((number, segment), set())
            tally.compared += len(members)
            tally.members += len(expected)
            if said != expected:
                raise Difference(_difference(case, segment, asked, said, expected, seen))
    for several in (cuts, ()):
        if in_one_go(case, several) != seen.changes:
            raise Difference(f"cut at {several} the log says something else\n{case}")


def _difference(case: Case, segment: str, asked: Asked, said: set[str], expected: set[str], seen: Seen) -> str:
    rows = seen.states.get(asked.upto, {})
    whom = sorted(said ^ expected)
    return "\n".join(
        [
            f"segment {segment} at {format_iso(asked.at)} after record {asked.upto}:"
            f" livesegments says {sorted(said)}, DuckDB says {sorted(expected)}",
            f"  {case.segments[segment]}",
            *(f"  {name}: { {k: v for k, v in rows[name].items() if v is not None} }" for name in whom),
            str(case),
        ]
    )
