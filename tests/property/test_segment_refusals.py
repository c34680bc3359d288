"""Whatever stands in a book, it is compiled or refused in words, and nothing else comes out."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.core.segments import Definition, DefinitionBook, DefinitionErrors, compile_book, load_book

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
    attributes = {"age": "integer", "location": "text", "consent": "boolean", "born": "timestamp"}
    try:
        compile_book(DefinitionBook(attributes, {"asked": Definition(sql)}))  # type: ignore[arg-type]
    except DefinitionErrors as refused:
        assert refused.errors
        for error in refused.errors:
            assert error.message
            assert 1 <= error.line <= sql.count("\n") + 1
            shown, carets = error.excerpt.split("\n")
            assert set(carets) <= {" ", "\t", "^"}
            assert carets.index("^") <= len(shown)


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
