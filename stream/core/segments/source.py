"""The text of a segment's SQL: its tokens, and the place in it from which a parsed node comes."""

from __future__ import annotations

from typing import NoReturn

from sqlglot import exp
from sqlglot.dialects.dialect import Dialect
from sqlglot.errors import TokenError
from sqlglot.tokenizer_core import Token

from stream.core.segments.errors import DefinitionError, Refused, excerpt

#: DuckDB's SQL: what an analyst runs in the warehouse, and what the answers are compared with.
DIALECT = Dialect.get_or_raise("duckdb")

# sqlglot keeps no place for these, so they are looked for by the word with which they begin.
_FIRST_WORDS: dict[type[exp.Expr], str] = {exp.Interval: "INTERVAL", exp.Null: "NULL", exp.Placeholder: "?"}


class Source:
    """SQL text and its tokens. Raises ``Refused`` if the text cannot even be cut into tokens."""

    def __init__(self, text: str) -> None:
        self.text = text
        try:
            self.tokens: list[Token] = list(DIALECT.tokenize(text))
        except TokenError:
            raise Refused(
                "a quote or comment is opened and never closed",
                "texts stand in single quotes; a quote inside of a text is written twice: 'it''s'",
                _unclosed(text),
                len(text),
            ) from None

    def span(self, node: exp.Expr) -> tuple[int, int]:
        """Offsets of the node's first and past its last character, as well as sqlglot lets us know."""
        known = _known(node)
        if known is not None:
            return known
        above: exp.Expr | None = node.parent
        while above is not None:
            around = _known(above)
            if around is not None:
                word = _FIRST_WORDS.get(type(node))
                before = node.parent is not None and node.parent.this is node
                return (self._word_before(word, around[0]) if before else self._word(word, around[0])) or around
            above = above.parent
        return self._word(_FIRST_WORDS.get(type(node)), 0) or (0, len(self.text))

    def _word(self, word: str | None, start: int) -> tuple[int, int] | None:
        for token in self.tokens:
            if token.start >= start and token.text.upper() == word:
                return token.start, token.end + 1
        return None

    def _word_before(self, word: str | None, end: int) -> tuple[int, int] | None:
        for token in reversed(self.tokens):
            if token.start < end and token.text.upper() == word:
                return token.start, token.end + 1
        return None

    def refuse(self, node: exp.Expr, message: str, hint: str = "") -> NoReturn:
        """Raise ``Refused`` at the place of ``node``."""
        start, end = self.span(node)
        raise Refused(message, hint, start, end)

    def error(self, refused: Refused, segment: str, book_line: int) -> DefinitionError:
        """The refusal as an error of ``segment``, with line, column and excerpt."""
        line, column, lines = excerpt(self.text, refused.start, refused.end)
        return DefinitionError(segment, refused.message, refused.hint, line, column, lines, book_line, in_sql=True)

    def within_parentheses(self, node: exp.Expr) -> str:
        """The text from the parenthesis around ``node`` to its end, white space and comments evened out."""
        inside = self.span(node)[0]
        opened: list[int] = []
        for index, token in enumerate(self.tokens):
            if token.start >= inside:
                break
            if token.text == "(" and _is_symbol(token):
                opened.append(index)
            elif token.text == ")" and _is_symbol(token):
                opened.pop()
        depth = 0
        for index in range(opened[-1], len(self.tokens)):
            token = self.tokens[index]
            if _is_symbol(token):
                depth += {"(": 1, ")": -1}.get(token.text, 0)
            if depth == 0:
                return self.joined(self.tokens[opened[-1] : index + 1])
        raise AssertionError("the parser accepted parentheses that do not close")

    def joined(self, tokens: list[Token]) -> str:
        """The text of the tokens, white space and comments evened out."""
        pieces: list[str] = []
        last = tokens[0].start
        for token in tokens:
            if token.start > last:
                pieces.append(" ")
            pieces.append(self.text[token.start : token.end + 1])
            last = token.end + 1
        return "".join(pieces)


def bare(node: exp.Expr) -> exp.Expr:
    """The node without parentheses that only group; a sub-query keeps its own (sqlglot's unnest takes it)."""
    while isinstance(node, exp.Paren):
        node = node.this
    return node


def _is_symbol(token: Token) -> bool:
    """Whether the token is as long as its text: a quoted parenthesis is longer."""
    return token.end - token.start + 1 == len(token.text)


def _known(node: exp.Expr) -> tuple[int, int] | None:
    start, end = -1, -1
    for inner in node.walk():
        meta = inner.meta
        if "start" in meta:
            start = meta["start"] if start < 0 else min(start, meta["start"])
            end = max(end, meta["end"] + 1)
    return None if start < 0 else (start, end)


def _unclosed(text: str) -> int:
    """Where the quote begins that is never closed; the start of the text if that cannot be told."""
    quote, begin = "", 0
    for index, char in enumerate(text):
        if not quote and char in "'\"":
            quote, begin = char, index
        elif char == quote:
            quote = ""
    return begin if quote else 0
