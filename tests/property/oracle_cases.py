"""Generated cases: a world, a book of segments written in it, and a log that plays in it."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import strategies as st

from tests.property import oracle_words as words
from tests.property.oracle_conditions import CONDITIONS
from tests.property.oracle_logs import Entry, logs
from tests.property.oracle_numbers import INTEGERS, NUMBERS
from tests.property.oracle_pen import OPERATORS, Construct, Grammar, Pen
from tests.property.oracle_run import Case
from tests.property.oracle_subqueries import AGGREGATES, Aggregating
from tests.property.oracle_texts import TEXTS
from tests.property.oracle_times import DATES, LOCALS, TIMES

MAX_SEGMENTS = 8
#: Which of two events of one instant is the last SQL leaves open, so a log for these has no such events.
_ORDERED = {"first_or_last", "first_or_last_ordered", "first_or_last_row"}
GRAMMARS: dict[str, Grammar] = {
    "number": NUMBERS,
    "integer": INTEGERS,
    "text": TEXTS,
    "timestamp": TIMES,
    "local": LOCALS,
    "date": DATES,
    "boolean": CONDITIONS,
}


def _compared(kind: str, construct: Construct) -> Construct:
    """A condition in which the value of the construct, of this type, matters."""

    def write(pen: Pen, depth: int) -> str:
        other = pen.varying(kind, depth)
        if pen.chance(6):
            return f"coalesce({construct(pen, depth)}, {other}) {pen.choose(OPERATORS)} {pen.value(kind, 0)}"
        return f"{construct(pen, depth)} {pen.choose(OPERATORS)} {other}"

    return construct if kind == "boolean" else write


def _of_events(kind: str, aggregate: Aggregating) -> Construct:
    return _compared(kind, lambda pen, depth: aggregate(pen, kind))


#: What a book can be made around: each construct of the grammar by its name.
FOCI: dict[str, Construct] = {
    **{of.__name__: _compared(kind, of) for kind, grammar in GRAMMARS.items() for of in grammar.constructs},
    **{f"{of.__name__} of {kind}": _of_events(kind, of) for kind, every in AGGREGATES.items() for of in every},
}


@dataclass(frozen=True, slots=True)
class Draft:
    """A case as drawn: the compiler may refuse some of the segments."""

    segments: dict[str, str]
    used: dict[str, frozenset[str]]
    log: list[Entry]
    cuts: list[int]

    def __repr__(self) -> str:
        return str(Case(self.segments, self.log))


@st.composite
def drafts(draw: st.DrawFn, focus: str) -> Draft:
    """Books over the whole grammar, with one segment that begins with the construct ``focus``, and logs."""
    world = words.World(draw(st.sampled_from(words.ANCHORS)), draw(st.sampled_from(words.PACES)))
    segments: dict[str, str] = {}
    used: dict[str, frozenset[str]] = {}
    count = draw(st.integers(2, MAX_SEGMENTS))
    for place in range(count):
        name = f"s{place}"
        alias, head = draw(st.sampled_from(_HEADS))
        pen = Pen(draw, world, GRAMMARS, tuple(segments), alias)
        depth = draw(st.integers(1, 4))
        if place == count - 1:
            pen.used.add(focus)
            pen.used.add(focus.split(" of ")[0])
            segments[name] = head + FOCI[focus](pen, depth)
        else:
            segments[name] = head + pen.condition(depth)
        used[name] = frozenset(pen.used)
    ties = _ORDERED.isdisjoint(set().union(*used.values()))
    log = draw(logs(world, ties))
    cuts = draw(st.lists(st.integers(0, len(log)), max_size=3))
    return Draft(segments, used, log, cuts)


_HEADS = (
    ("", ""),
    ("", ""),
    ("", "SELECT customer_id FROM customers WHERE "),
    ("c", "SELECT c.customer_id FROM customer_data AS c WHERE "),
    ("c", "SELECT customer_id FROM customers c WHERE "),
)
