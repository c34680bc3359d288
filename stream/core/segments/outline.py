"""The parts of a condition, each with its text as it was written."""

from __future__ import annotations

from dataclasses import dataclass

from sqlglot import exp
from sqlglot.tokenizer_core import Token, TokenType

from stream.core.segments.source import Source, bare
from stream.core.segments.tree import And, Condition, Not, Or

_DEEPER = (TokenType.L_PAREN, TokenType.CASE)
_BACK = (TokenType.R_PAREN, TokenType.END)


@dataclass(frozen=True, slots=True)
class Outline:
    """A condition, what it consists of, and where it was parsed from."""

    text: str
    condition: Condition
    node: exp.Expr
    parts: tuple[Outline, ...]


def outline(source: Source, node: exp.Expr, condition: Condition) -> Outline:
    """The outline of a segment's whole SQL."""
    tokens = [token for token in source.tokens if token.token_type is not TokenType.SEMICOLON]
    if isinstance(node, exp.Select):
        where = node.args.get("where")
        if where is None:
            return Outline(source.joined(tokens), condition, node, ())
        start = next(number for number, token in enumerate(tokens) if token.token_type is TokenType.WHERE)
        node, tokens = where.this, tokens[start + 1 :]
    return _outline(source, node, condition, tokens)


def _outline(source: Source, node: exp.Expr, condition: Condition, tokens: list[Token]) -> Outline:
    node = bare(node)
    while _is_wrapped(tokens):
        tokens = tokens[1:-1]
    parts: tuple[Outline, ...] = ()
    if isinstance(node, exp.And | exp.Or) and isinstance(condition, And | Or):
        word = TokenType.AND if isinstance(node, exp.And) else TokenType.OR
        pieces, nodes = _split(tokens, word), list(node.flatten())
        if len(pieces) == len(nodes) == len(condition.parts):
            parts = tuple(
                _outline(source, each, said, piece)
                for each, said, piece in zip(nodes, condition.parts, pieces, strict=True)
            )
    elif isinstance(node, exp.Not) and isinstance(condition, Not) and tokens[0].token_type is TokenType.NOT:
        inner = _outline(source, node.this, condition.condition, tokens[1:])
        parts = (inner,) if inner.parts or isinstance(inner.node, exp.Anonymous) else ()
    return Outline(source.joined(tokens), condition, node, parts)


def _is_wrapped(tokens: list[Token]) -> bool:
    """Whether the first parenthesis is closed by the last."""
    if len(tokens) < 3 or tokens[0].token_type is not TokenType.L_PAREN:
        return False
    depth = 0
    for number, token in enumerate(tokens):
        depth += (token.token_type is TokenType.L_PAREN) - (token.token_type is TokenType.R_PAREN)
        if depth == 0:
            return number == len(tokens) - 1
    return False


def _split(tokens: list[Token], word: TokenType) -> list[list[Token]]:
    """The tokens between the ``word`` s that are not in parentheses, nor belong to a BETWEEN."""
    pieces: list[list[Token]] = [[]]
    depth = between = 0
    for token in tokens:
        kind = token.token_type
        depth += (kind in _DEEPER) - (kind in _BACK)
        if depth == 0 and kind is TokenType.BETWEEN:
            between += 1
        elif depth == 0 and kind is TokenType.AND and between:
            between -= 1
        elif depth == 0 and kind is word:
            pieces.append([])
            continue
        pieces[-1].append(token)
    return pieces
