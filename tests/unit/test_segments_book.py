"""The definition book: read from YAML with errors by line, and one value wherever it comes from."""

from __future__ import annotations

import pytest

from stream.core.segments import (
    Definition,
    DefinitionBook,
    DefinitionError,
    DefinitionErrors,
    canonical_json,
    compile_book,
    load_book,
    version,
)

BOOK = """\
attributes: {age: integer, location: text}
segments:
  vip:
    description: spent a lot,
      and lately
    sql: total_spent > 500
  abandoned_cart:
    sql: >
      cart_value > 0
      AND age > 3
"""


def errors(text: str) -> tuple[DefinitionError, ...]:
    with pytest.raises(DefinitionErrors) as caught:
        load_book(text)
    return caught.value.errors


def test_a_book_is_attributes_with_types_and_segments_with_sql() -> None:
    """Text may be folded as YAML does."""
    book = load_book(BOOK)
    assert book.attributes == {"age": "integer", "location": "text"}
    assert book.segments == {
        "vip": Definition("total_spent > 500", "spent a lot, and lately"),
        "abandoned_cart": Definition("cart_value > 0 AND age > 3"),
    }
    assert [book.segments[name].line for name in ("vip", "abandoned_cart")] == [3, 7]


def test_the_same_content_is_the_same_version_whatever_its_order_and_place() -> None:
    """And comes back from its canonical JSON, which is YAML too."""
    book = load_book(BOOK)
    again = load_book(canonical_json(book).decode())
    assert again == book
    shuffled = DefinitionBook(
        dict(reversed(list(book.attributes.items()))), dict(reversed(list(book.segments.items())))
    )
    assert canonical_json(again) == canonical_json(book) == canonical_json(shuffled)
    assert version(book) == version(again) == version(shuffled) == compile_book(book).version
    assert version(load_book(BOOK.replace("500", "501"))) != version(book)
    assert version(load_book(BOOK.replace("lately", "soon"))) != version(book)
    assert canonical_json(load_book("segments: {}")) == b'{"attributes":{},"segments":{}}'


def test_lengths_of_time_are_part_of_a_segment_and_written_only_where_there_are_any() -> None:
    """Books without them keep their version; `90 minutes` and `1 hour 30 minutes` are the same."""
    book = load_book(BOOK.replace("sql: total", "enter_after: 90 minutes\n    min_stay: 1 day\n    sql: total"))
    assert book.segments["vip"] == Definition(
        "total_spent > 500", "spent a lot, and lately", enter_after=90 * 60_000_000, min_stay=86_400_000_000
    )
    again = canonical_json(book).decode()
    assert '"enter_after":"1 hour 30 minutes","min_stay":"1 day","sql"' in again
    assert "cooldown" not in again
    assert load_book(again) == book
    assert version(book) != version(load_book(BOOK))
    assert version(load_book(BOOK.replace("sql: total", "cooldown: 3600 seconds\n    sql: total"))) == version(
        load_book(BOOK.replace("sql: total", "cooldown: 1 HOUR\n    sql: total"))
    )
    compiled = compile_book(book).by_name["vip"]
    assert (compiled.enter_after, compiled.min_stay, compiled.cooldown) == (5_400_000_000, 86_400_000_000, 0)


def test_text_of_every_script_survives_the_log() -> None:
    """Emoji, control characters and quotes included."""
    sql = "location = 'Zürich 🛒 \u0085\u2028\x7f\t \" \\ ''' OR location = '東京'"
    book = DefinitionBook({"location": "text"}, {"a": Definition(sql, "naïve ✓")})
    assert load_book(canonical_json(book).decode()) == book


def test_a_book_in_json_is_held_to_the_same_rules() -> None:
    """Names that come twice, levels without end, and halves of characters among them."""
    assert "twice" in errors('{"segments": {"a": {"sql": "x"}, "a": {"sql": "y"}}}')[0].message
    assert "is a text" in errors('{"segments": {"a": {"sql": ["x"]}}}')[0].message
    assert "half a character" in errors('{"segments": {"a": {"sql": "\\ud83d"}}}')[0].message
    assert "nested too deeply" in errors('{"segments": ' + "[" * 9999 + "]" * 9999 + "}")[0].message
    assert load_book('{"segments": null}') == DefinitionBook({}, {})
    assert load_book("{segments: {a: {sql: age > 3}}}").segments["a"].sql == "age > 3"


def test_segments_are_compiled_in_the_order_of_their_names() -> None:
    """So that the file, and the log in which its order is lost, say the same in the same order."""
    book = compile_book(load_book(BOOK))
    assert [(segment.index, segment.name) for segment in book.segments] == [(0, "abandoned_cart"), (1, "vip")]


@pytest.mark.parametrize(
    ("text", "line", "column", "message", "hint"),
    [
        ("", 0, 0, "the book is empty", "segments:"),
        ("segments: {", 1, 12, "this is not YAML", ""),
        ("segments:\n  a:\n    sql: x: y\n", 3, 11, "this is not YAML", "sql: |"),
        ("a\0b", 1, 2, "this is not YAML", ""),
        ("- a\n- b", 1, 1, "the book has to be a list of `name: value`", ""),
        ("attributes: {age: integer}", 1, 1, "the book has no `segments:`", "segments: {}"),
        ("segments: {}\nsegment: {}", 2, 1, 'the book has no "segment"', "did you mean segments?"),
        ("segments: {}\nversion: 1", 2, 1, 'the book has no "version"', "attributes, segments"),
        ("segments: [a]", 1, 11, "`segments:` has to be a list of", ""),
        ("segments: {a: {sql: x, sql: y}}", 1, 24, '"sql" is there twice', ""),
        ("segments:\n  a: {sql: x}\n  a: {sql: y}", 3, 3, '"a" is there twice', ""),
        ("segments:\n  VIP: {sql: x}", 2, 3, '"VIP" cannot name a segment', "a-z"),
        (f"segments:\n  {'a' * 65}: {{sql: x}}", 2, 3, "cannot name a segment", "64"),
        ("segments:\n  a: total_spent > 5", 2, 6, "a segment has `sql:`", "write `sql:` before it"),
        ("segments:\n  a: {description: x}", 2, 3, "the segment has no `sql:`", ""),
        ("segments:\n  a: {sql: x, sqll: y}", 2, 15, 'segment a has no "sqll"', "did you mean sql?"),
        (
            "segments:\n  a: {sql: x, min_stay: soon}",
            2,
            25,
            "the length of time 'soon' is not understood",
            "10 minutes",
        ),
        ("segments:\n  a: {sql: x, min_stay: 10}", 2, 25, "the length of time '10' is not understood", "10 minutes"),
        ("segments:\n  a: {sql: x, min_stay: 3 moons}", 2, 25, 'no unit "moons"', "days or weeks"),
        ("segments:\n  a: {sql: x, cooldown: 1 month}", 2, 25, "not always equally long", "days"),
        ("segments:\n  a: {sql: x, cooldown: 0 days}", 2, 25, "longer than nothing", "leave it out"),
        ("segments:\n  a: {sql: x, cooldown: -1 day}", 2, 25, "longer than nothing", "leave it out"),
        ("segments:\n  a: {sql: x, enter_after: }", 2, 28, "says no length of time", "10 minutes"),
        ("segments:\n  a: {sql: x, enter_after: [x]}", 2, 28, "is a text", "quote it"),
        ("segments:\n  a: {sql: x, enter: 1 day}", 2, 15, 'no "enter"', "did you mean enter_after?"),
        ("segments:\n  a: {sql: [x]}", 2, 12, "`sql:` is a text", "quote it"),
        ("segments:\n  ? [x]\n  : {sql: x}", 2, 5, "a name has to be a text", ""),
        ("attributes: {age: int}\nsegments: {}", 1, 19, '"int" is not a type of attribute', "write integer"),
        ("attributes: {age: years}\nsegments: {}", 1, 19, '"years" is not a type', "text, integer, number"),
        ("attributes: {age: [x]}\nsegments: {}", 1, 19, "an attribute needs a type", "text, integer"),
        ("attributes: {1st: text}\nsegments: {}", 1, 14, '"1st" cannot name an attribute', "letters"),
        ("attributes: {cart_value: number}\nsegments: {}", 1, 14, "a live column already", "another name"),
        ("attributes: {Age: text, age: text}\nsegments: {}", 1, 25, "declared twice", "upper and lower"),
        ("segments: " + "[" * 100 + "]" * 100, 1, 18, "nested too deeply", ""),
    ],
)
def test_a_book_that_cannot_be_read_says_where_and_why(
    text: str, line: int, column: int, message: str, hint: str
) -> None:
    """By line and column of the file."""
    error = errors(text)[0]
    assert message in error.message
    assert hint in error.hint
    assert (error.line, error.column) == (line, column)
    assert not error.in_sql


def test_places_are_counted_in_characters() -> None:
    """Not in bytes, whatever stands before them."""
    (error,) = errors("# Zürich 🛒\nsegments:\n  a: {description: 'ü🛒', sql: x, x: y}")
    assert (error.line, error.column) == (3, 34)
    assert error.excerpt.split("\n")[1].index("^") == 33


def test_everything_that_is_wrong_with_a_book_is_reported_at_once() -> None:
    """An hour of guessing is not saved by the first error alone."""
    found = errors("attributes: {a: int, b: blob}\nsegments:\n  A: {sql: x, y: z}\n  b: {}")
    assert [error.line for error in found] == [1, 1, 3, 3, 4]
    assert [error.segment for error in found] == [None, None, None, "A", "b"]
