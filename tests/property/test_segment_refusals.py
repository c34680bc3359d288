"""Whatever stands in a book, it is compiled or refused in words, and nothing else comes out."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.core.customer import Customer
from stream.core.fact import Fact
from stream.core.segments import Definition, DefinitionBook, DefinitionErrors, compile_book, load_book

ATTRIBUTES: dict[str, Any] = {
    "age": "integer",
    "score": "number",
    "location": "text",
    "consent": "boolean",
    "born": "timestamp",
}
SQL_WORDS = """
age location consent born cart_value customers events e customer_id event_time event_type price
SELECT FROM WHERE AND OR NOT IN IS NULL TRUE BETWEEN EXISTS ( ) ( ) , . ; = <> < >= + - * / % || :: ->
[ ] { } : ? $1 @ ~ ! & | ^ 1 2.5 1e9 'x' '' '2026-01-01' "age" now() now INTERVAL '1' day hours
count(*) sum CASE WHEN THEN ELSE END CAST AS text TIMESTAMP DATE LIKE ILIKE DISTINCT GROUP BY ORDER
LIMIT JOIN ON UNION ALL WITH OVER FILTER XOR ANY LATERAL VALUES PIVOT -- /* */ ' \" \\ é 🛒 \0
"""
YAML_WORDS = """
attributes: segments: sql: description: a: b: age text integer
{ } [ ] , : - | > ' \" # & * ! ? null 1 true é %
"""
WORDS = SQL_WORDS.split()
PIECES = YAML_WORDS.split()


@settings(max_examples=400, deadline=None)
@given(st.lists(st.sampled_from(WORDS), max_size=14).map(" ".join) | st.text(max_size=30))
def test_sql_is_compiled_or_refused_at_a_place(sql: str) -> None:
    """The place lies in the text, and the excerpt shows it."""
    try:
        compile_book(DefinitionBook(ATTRIBUTES, {"asked": Definition(sql)}))
    except DefinitionErrors as refused:
        assert refused.errors
        for error in refused.errors:
            assert error.message
            assert 1 <= error.line <= sql.count("\n") + 1
            shown, carets = error.excerpt.split("\n")
            assert set(carets) <= {" ", "\t", "^"}
            assert carets.index("^") <= len(shown)


#: Forms with room for others. Most of what comes of them has the wrong types somewhere.
FORMS = """
_ + _|_ - _|_ * _|_ / _|_ // _|_ % _|_ || _|-_|_ = _|_ < _|_ >= _|_ <> _|_ AND _|_ OR _|NOT _|_ IS NULL|(_) IS TRUE
_ IN (_, _)|_ BETWEEN _ AND _|_ LIKE _|_ NOT ILIKE _|_ LIKE _ ESCAPE '!'|_ IS DISTINCT FROM _|_ IS NOT DISTINCT FROM _
lower(_)|length(_)|trim(_)|left(_, _)|replace(_, _, _)|contains(_, _)|abs(_)|round(_, _)|round(_)|floor(_)|concat(_, _)
coalesce(_, _)|nullif(_, _)|greatest(_, _)|CASE WHEN _ THEN _ ELSE _ END|CASE _ WHEN _ THEN _ END|if(_, _, _)
_::BIGINT|_::VARCHAR|_::DATE|CAST(_ AS DOUBLE)|TRY_CAST(_ AS BOOLEAN)|_::TIMESTAMP|_::TIMESTAMPTZ|_::INTERVAL
date_trunc('day', _)|date_trunc('month', _)|date_part('hour', _)|EXTRACT(dow FROM _)|date_diff('week', _, _)|year(_)
_ AT TIME ZONE 'Europe/Berlin'|_ + INTERVAL '1 month'|_ - INTERVAL '3 hours'|(_)|in_segment(_)
EXISTS (SELECT 1 FROM events WHERE _)|(SELECT count(*) FROM events WHERE _)|(SELECT sum(_) FROM events)
(SELECT max(_) FROM events)|(SELECT last(_ ORDER BY event_time) FROM events WHERE _)
(SELECT count(*) FROM events WHERE event_time > _)
"""
LEAVES = """
age|score|location|consent|born|now()|CURRENT_DATE|NULL|TRUE|1|2.5|1e3|'x'|'2026-01-01'|DATE '2026-01-01'|price
event_time|TIMESTAMP '2026-01-01 10:00:00'|INTERVAL '1 day'|INTERVAL '2 months'|view_count|last_order_at
category|'vip'|0
"""


def forms(text: str) -> st.SearchStrategy[str]:
    return st.sampled_from([form for line in text.split("\n") for form in line.split("|") if form])


@st.composite
def grown(draw: st.DrawFn, depth: int = 4) -> str:
    """A form, filled with others."""
    form = draw(forms(LEAVES if depth == 0 else FORMS))
    if depth == 0:
        return form
    pieces = re.split(r"(?<!\w)_(?!\w)", form)
    filled = pieces[0]
    for piece in pieces[1:]:
        filled += draw(grown(draw(st.integers(0, depth - 1)))) + piece
    return filled


@settings(max_examples=400, deadline=None)
@given(grown(), st.integers(0, 10**16))
def test_what_is_compiled_is_answered(sql: str, now: int) -> None:
    """And explained, and checked; what is not is refused in words."""
    definitions = {"asked": Definition(sql), "vip": Definition("total_spent > 500")}
    try:
        book = compile_book(DefinitionBook(ATTRIBUTES, definitions))
    except DefinitionErrors:
        return
    segment = book.by_name["asked"]
    assert isinstance(book.warnings, tuple)
    person: dict[str, Any] = {"age": 3, "score": 0.5, "location": "x", "consent": True, "born": 10**15}
    for known in ({}, person):
        customer = Customer(0, "c", 0, 0)
        customer.attributes = {name: (value, 0) for name, value in known.items()}
        for event_type, price in (("a", 1.5), ("b", None)):
            fact = Fact(None, "c", event_type, now // 2, True, price=price, category="x")
            book.plan(event_type).feed(customer, fact, now)
        member, until = segment.evaluate(customer, now)
        assert until > now
        assert (segment.explain(customer, now).truth is True) is member
        segment.evidence(customer, now)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.sampled_from([*PIECES, "\n", "\n ", "\n  ", "\n    ", "\t"]), max_size=16).map(" ".join)
    | st.text(max_size=40)
)
def test_a_book_is_read_or_refused(text: str) -> None:
    """From a file that somebody is in the middle of writing, too."""
    try:
        load_book(text)
    except DefinitionErrors as refused:
        assert refused.errors
        assert str(refused)


@pytest.mark.parametrize("word", sorted(set(WORDS)))
def test_no_word_repeated_breaks_the_parser(word: str) -> None:
    """Not even where the parser recurses."""
    for sql in (f"{word} " * 3000, f"age > {word} " * 500, f"age IN ({word} " * 15):
        with pytest.raises(DefinitionErrors):
            compile_book(DefinitionBook({"age": "integer"}, {"asked": Definition(sql)}))
