"""The source that rules are compiled from: what is in it, and what never is."""

from __future__ import annotations

from types import CodeType, FunctionType
from typing import Any

import pytest

from stream.core.customer import Customer
from stream.core.fact import Fact
from stream.core.segments import CompiledBook, Definition, DefinitionBook, Segment, compile_book
from stream.core.segments.getters import field, getter
from stream.core.segments.settle import settler
from stream.core.segments.tree import Column
from stream.core.time import NEVER

HOUR = 3_600_000_000
T = 1_772_366_400_000_000
HOSTILE = """a"b\\'c{0}\n    raise SystemExit; __import__(chr(34))"""
ATTRIBUTES: dict[str, Any] = {"age": "integer", "lambda": "text"}


def book_of(*queries: str) -> CompiledBook:
    return compile_book(
        DefinitionBook(ATTRIBUTES, {f"s{number}": Definition(sql) for number, sql in enumerate(queries)})
    )


def segments_of(*queries: str) -> tuple[Segment, ...]:
    return book_of(*queries).segments


def code_of(segment: Segment) -> CodeType:
    assert isinstance(segment.evaluate, FunctionType)
    return segment.evaluate.__code__


@pytest.mark.parametrize(
    "sql",
    [
        "last_viewed_product = {0}",
        "last_viewed_product <> {0} OR recent_view_category > {0}",
        "last_viewed_product NOT IN ({0}, 'b') AND last_viewed_at < now() - INTERVAL '1 hour'",
        '"lambda" = {0} AND age > 3',
        "EXISTS (SELECT 1 FROM events WHERE category = {0} AND event_time >= now() - INTERVAL '1 hour')",
    ],
)
def test_nothing_that_a_user_wrote_is_in_the_code(sql: str) -> None:
    """Neither texts nor numbers nor names of attributes: only truths, ``NEVER``, and fields of our own records."""
    quoted = "'" + HOSTILE.replace("'", "''") + "'"
    (segment,) = segments_of(sql.format(quoted))
    code = code_of(segment)
    assert set(code.co_consts) <= {None, True, False, NEVER}
    assert set(code.co_names) <= {*Customer.__struct_fields__, "get", "len"}
    for variable in (*code.co_varnames, *code.co_freevars):
        assert variable in ("row", "now") or (variable[0] in "kvtu" and variable[1:].isdecimal())


HOSTILE_TEXT = "'" + HOSTILE.replace("'", "''") + "'"


def test_nothing_that_a_user_wrote_is_in_what_decides_several_segments() -> None:
    """Nor the names of the segments."""
    definitions = {
        HOSTILE: Definition(f"last_viewed_product = {HOSTILE_TEXT}"),
        "b": Definition(f"recent_view_category <> {HOSTILE_TEXT} AND last_viewed_at > now() - INTERVAL '1 hour'"),
        "c": Definition("view_count > 71077", enter_after=HOUR),
        "d": Definition("EXISTS (SELECT 1 FROM events WHERE event_time >= now() - INTERVAL '1 hour')"),
    }
    code = settler(compile_book(DefinitionBook(ATTRIBUTES, definitions)).segments).__code__
    assert set(code.co_consts) <= {None, True, False, NEVER, ()}
    assert set(code.co_names) <= {*Customer.__struct_fields__, "get", "len", "append"}
    for variable in (*code.co_varnames, *code.co_freevars):
        assert variable in ("row", "now", "turned", "members", "due", "soonest") or (
            variable[0] in "kvtu" and variable[1:].isdecimal()
        )


def test_nothing_that_a_user_wrote_is_in_what_remembers_events() -> None:
    """One memory that all events of the type are shown to, one that a value demands, and one that keeps amounts."""
    sub = "(SELECT {0} FROM events WHERE {1} AND event_time >= now() - INTERVAL '1 hour') > 3"
    where = f"category = {HOSTILE_TEXT}"
    book = book_of(
        sub.format("count(*)", f"category <> {HOSTILE_TEXT}"),
        sub.format("count(*)", f"{where} AND price > 71077"),
        sub.format("sum(price)", f"event_type = {HOSTILE_TEXT}"),
    )
    feed = book.plan(HOSTILE).feed
    assert isinstance(feed, FunctionType)
    takers = [cell.cell_contents.__self__ for cell in feed.__closure__ or () if hasattr(cell.cell_contents, "__self__")]
    inner = [take for found in takers if isinstance(found, dict) for take in found.values()]
    assert inner
    for function in (feed, *inner):
        code = function.__code__
        assert set(code.co_consts) <= {None, 0, -1}
        assert set(code.co_names) <= {*Fact.__struct_fields__, "memory", "get", "append", "len"}
        for variable in (*code.co_varnames, *code.co_freevars):
            assert variable in ("customer", "row", "now", "held", "memory", "fed", "time") or (
                variable[0] in "fkv" and variable[1:].isdecimal()
            )


def test_a_hostile_text_is_compared_as_it_is() -> None:
    quoted = "'" + HOSTILE.replace("'", "''") + "'"
    (segment,) = segments_of(f"last_viewed_product = {quoted}")
    assert segment.evaluate(Customer(0, "c", T, T, last_viewed_product=HOSTILE), T) == (True, NEVER)
    assert segment.evaluate(Customer(0, "c", T, T, last_viewed_product="a"), T) == (False, NEVER)


def test_rules_of_one_shape_are_compiled_once() -> None:
    first, second, other = segments_of(
        "cart_value > 100 AND cart_updated_at < now() - INTERVAL '1 hour'",
        "total_spent > 7 AND last_order_at < now() - INTERVAL '2 hours'",
        "cart_value > 250 AND cart_updated_at < now() - INTERVAL '3 hours'",
    )
    assert code_of(first) is code_of(other)
    assert code_of(first) is not code_of(second)


@pytest.mark.parametrize("leaf", ["view_count <> {0}", "last_viewed_at < now() - INTERVAL '{0} seconds'"])
def test_what_is_nested_deeper_than_python_can_parse_is_decided_all_the_same(leaf: str) -> None:
    """Segments of segments, AND in OR in AND 24 levels deep; with time in it, it changes when it has to."""
    queries = [leaf.format(3600)]
    for level in range(24):
        queries.append(f"{leaf.format(3601 + level)} {'AND' if level % 2 else 'OR'} in_segment('s{level}')")
    asked = next(segment for segment in segments_of(*queries) if segment.name == "s24")
    somebody = Customer(0, "c", T, T, last_viewed_at=T, view_count=3600)
    truth, until = asked.evaluate(somebody, T + HOUR // 2)
    if "now()" not in leaf:
        assert (truth, until) == (True, NEVER)
        return
    # The outermost AND asks for the most; the OR inside of it is true by then.
    assert truth is False
    assert until == T + 3624 * 1_000_000 + 1
    assert asked.evaluate(somebody, until - 1) == (False, until)
    assert asked.evaluate(somebody, until) == (True, NEVER)


def test_a_column_that_no_record_has_is_an_error() -> None:
    for column in (Column("nothing", "text", "customers"), Column("__class__", "text", "events")):
        with pytest.raises(LookupError, match="no record has a field"):
            field(column)
    assert getter(Column("event_time", "timestamp", "events"))(Fact(None, "c", "seen", T, True)) == T
