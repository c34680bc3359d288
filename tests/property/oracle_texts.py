"""The grammar of texts: one small function for each construct, giving SQL text of the type that it is listed under.

What is compound stands in parentheses wherever something could stick to it.
"""

from __future__ import annotations

from tests.property import oracle_words as words
from tests.property.oracle_choices import choice
from tests.property.oracle_pen import Grammar, Pen, quoted
from tests.property.oracle_subqueries import aggregate


def text_column(pen: Pen, depth: int) -> str:
    return pen.column("text")


def text_literal(pen: Pen, depth: int) -> str:
    options = words.CATEGORIES + words.PRODUCTS if pen.events else words.CATEGORIES + words.CITIES + ("12", "2.5")
    return quoted(pen.choose(options))


def case_of_letters(pen: Pen, depth: int) -> str:
    return f"{pen.choose(('lower', 'upper'))}({pen.value('text', depth - 1)})"


def trimmed(pen: Pen, depth: int) -> str:
    return f"trim({pen.value('text', depth - 1)})"


def joined(pen: Pen, depth: int) -> str:
    a, b = pen.value("text", depth - 1), pen.value("text", depth - 1)
    return pen.choose((f"({a} || {b})", f"concat({a}, '-', {b})"))


def text_choice(pen: Pen, depth: int) -> str:
    return choice(pen, depth, "text")


def text_of_integer(pen: Pen, depth: int) -> str:
    inner = pen.value("integer", depth - 1)
    return pen.choose((f"CAST({inner} AS VARCHAR)", f"({inner})::VARCHAR"))


def part_of_text(pen: Pen, depth: int) -> str:
    inner = pen.value("text", depth - 1)
    return pen.choose(
        (
            f"left({inner}, {pen.choose((1, 2, 0, -1))})",
            f"right({inner}, {pen.choose((1, 3, -2))})",
            f"replace({inner}, 'N', 'oo')",
            f"ltrim({inner})",
            f"rtrim({inner})",
        )
    )


def text_of_anything(pen: Pen, depth: int) -> str:
    inner = pen.varying(pen.choose(("number", "timestamp", "date", "local")), depth - 1)
    return f"CAST({inner} AS VARCHAR)"


def text_of_truth(pen: Pen, depth: int) -> str:
    return f"CAST(({pen.condition(depth - 1)}) AS VARCHAR)"


def aggregated_text(pen: Pen, depth: int) -> str:
    return aggregate(pen, "text")


_TEXT_LEAVES = (text_column, text_literal)
_TEXTS = (case_of_letters, trimmed, part_of_text, joined, text_choice, text_of_integer, text_of_anything, text_of_truth)
_TEXTS_OF_CUSTOMERS = (aggregated_text,) * 2
TEXTS = Grammar(_TEXT_LEAVES, _TEXTS, _TEXTS_OF_CUSTOMERS)
