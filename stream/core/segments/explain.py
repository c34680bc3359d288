"""What each part of a segment's condition says of a customer, and why."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, TypeAlias

from sqlglot import exp

from stream.core.columns import ColumnType
from stream.core.segments.book import Definition, DefinitionBook
from stream.core.segments.evidence import evidence, shown
from stream.core.segments.formula import value_at
from stream.core.segments.instants import evaluator
from stream.core.segments.moving import Timed, moves
from stream.core.segments.normal import settle
from stream.core.segments.outline import Outline, outline
from stream.core.segments.sql import Parsed, parse_sql, read_part, read_sql
from stream.core.segments.tree import Condition, ValueType, type_of
from stream.core.time import NEVER

if TYPE_CHECKING:
    from stream.core.customer import Customer


@dataclass(frozen=True, slots=True)
class Explained:
    """One condition of a segment at an instant.

    ``text`` is its SQL as written, ``truth`` None for NULL. ``values`` are what it reads and computes, by their SQL, as
    in the evidence of a change. ``until`` (µs) is when time alone may change its truth, ``NEVER`` if it cannot.
    """

    text: str
    truth: bool | None
    values: Mapping[str, Any]
    until: int
    parts: tuple[Explained, ...] = ()


Explain: TypeAlias = Callable[[Any, int], Explained]
#: Segments within segments that are shown.
_DEEPEST = 3


@dataclass(frozen=True, slots=True)
class _Book:
    """What the SQL of a segment is read with: see ``read_sql``; and the SQL of those that ``in_segment`` may name."""

    attributes: Mapping[str, ColumnType]
    known: Mapping[str, Condition | str]
    definitions: Mapping[str, Definition]


def explainer(name: str, source: DefinitionBook, known: Mapping[str, Condition | str]) -> Explain:
    """The explanation of the segment ``name`` of a book that has been read, worked out when it is first asked for.

    Until then it holds nothing but the text: what is parsed takes a hundred times its room.
    """
    book = _Book(source.attributes, known, source.segments)
    ready = cache(lambda: _segment(name, book, 0))
    return lambda customer, now: ready()(customer, now)


def _segment(name: str, book: _Book, depth: int) -> Explain:
    parsed = parse_sql(book.definitions[name].sql, name)
    condition = read_sql(parsed, book.attributes, book.known)
    return _explain(outline(parsed.source, parsed.node, condition), parsed, book, depth)


def _explain(part: Outline, parsed: Parsed, book: _Book, depth: int) -> Explain:
    is_true, is_false = (evaluator(settle(part.condition, truth)) for truth in (True, False))
    below = [_explain(each, parsed, book, depth) for each in part.parts]
    node = part.node
    if isinstance(node, exp.Anonymous) and node.name.lower() == "in_segment" and depth < _DEEPEST:
        below = [_segment(node.expressions[0].name, book, depth + 1)]
    read = evidence(settle(part.condition))
    computed = [] if below else _computed(node, parsed, book)

    def explain(customer: Customer, now: int) -> Explained:
        (true, until), (false, then) = is_true(customer, now), is_false(customer, now)
        values = dict(read(customer, now)) if not below else {}
        for text, get, kind in computed:
            values[text] = shown(get(customer, now)[0], kind)
        return Explained(
            part.text,
            True if true else False if false else None,
            values,
            min(until, then),
            tuple(each(customer, now) for each in below),
        )

    return explain


def _computed(node: exp.Expr, parsed: Parsed, book: _Book) -> list[tuple[str, Timed, ValueType]]:
    """The sides of a comparison that are more than a column or a fixed value."""
    sides = [side for side in (node.args.get("this"), node.args.get("expression")) if isinstance(side, exp.Expr)]
    found = []
    for side in sides:
        if isinstance(side, exp.Func | exp.Binary | exp.Case) and not side.find(exp.Query):
            value = read_part(side, parsed, book.attributes, book.known)
            if value is not None and not moves(value):
                text = side.sql("duckdb", normalize_functions="lower")
                found.append((text, value_at(value), type_of(value)))
    return found


def never(customer: Any, now: int) -> Explained:
    """The explanation of a segment of which nothing is known."""
    return Explained("", None, {}, NEVER)
