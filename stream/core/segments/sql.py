"""SQL text to a typed condition: ``SELECT customer_id FROM customers WHERE …``, or the condition alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from sqlglot import exp
from sqlglot.errors import ParseError
from sqlglot.tokenizer_core import TokenType

from stream.core.columns import ColumnType
from stream.core.segments import clauses
from stream.core.segments.conditions import condition, operand, query
from stream.core.segments.errors import DefinitionError, DefinitionErrors, Refused, excerpt
from stream.core.segments.kinds import exact
from stream.core.segments.scope import CUSTOMER_TABLES, Scope, customer_columns
from stream.core.segments.source import DIALECT, Source
from stream.core.segments.tree import Condition, Known, Value

#: Characters. Longer SQL is a list that belongs into an attribute.
LONGEST_SQL = 100_000

#: Levels of parentheses and the like, and NOTs on the way down.
DEEPEST = 16
#: Levels of the parsed text.
LONGEST_CHAIN = 64
_OPENING = (TokenType.L_PAREN, TokenType.L_BRACKET, TokenType.L_BRACE, TokenType.CASE)
_CLOSING = (TokenType.R_PAREN, TokenType.R_BRACKET, TokenType.R_BRACE, TokenType.END)
_PREFIXES = (TokenType.NOT, TokenType.DASH, TokenType.PLUS, TokenType.TILDE)

_ALLOWED_CLAUSES = frozenset({"expressions", "from_", "where", "distinct"})
_WORDS = {
    "And": "AND",
    "Or": "OR",
    "Not": "NOT",
    "EQ": "=",
    "NEQ": "<>",
    "LT": "<",
    "LTE": "<=",
    "GT": ">",
    "GTE": ">=",
    "Between": "BETWEEN",
    "Where": "WHERE",
}
_FOREIGN = ("GROUP BY", "ORDER BY", "HAVING", "LIMIT", "JOIN", "UNION", "WHERE", "SELECT")
_SHAPE = "write SELECT customer_id FROM customers WHERE …, or the condition alone"


@dataclass(frozen=True, slots=True)
class Parsed:
    """The SQL of a segment, cut into its parts and not yet understood. ``book_line`` only goes into errors.

    ``depth`` is by how many levels it nests.
    """

    source: Source
    node: exp.Expr
    depth: int
    segment: str
    book_line: int

    @property
    def references(self) -> list[tuple[str, exp.Expr]]:
        """The names that ``in_segment`` is asked for, as often as it is, each with its place."""
        found: list[tuple[str, exp.Expr]] = []
        if "in_segment" in self.source.text.lower():
            for call in self.node.find_all(exp.Anonymous):
                if call.name.lower() == "in_segment" and len(call.expressions) == 1:
                    found.append((call.expressions[0].name, call.expressions[0]))
        return found

    def errors(self, refusals: Iterable[Refused]) -> DefinitionErrors:
        """What was refused, in the order of the text."""
        ordered = sorted(refusals, key=lambda refused: refused.start)
        return DefinitionErrors([self.source.error(refused, self.segment, self.book_line) for refused in ordered])


def parse_sql(text: str, segment: str, book_line: int = 0) -> Parsed:
    """Cut the SQL of ``segment`` into its parts. Raises ``DefinitionErrors`` if it is no SQL."""
    try:
        source = Source(text)
    except Refused as refused:
        line, column, lines = excerpt(text, refused.start, refused.end)
        raise DefinitionErrors(
            [DefinitionError(segment, refused.message, refused.hint, line, column, lines, book_line, in_sql=True)]
        ) from None
    try:
        node = _parsed(source)
        depth = _depth(node, source)
    except Refused as refused:
        raise DefinitionErrors([source.error(refused, segment, book_line)]) from None
    return Parsed(source, node, depth, segment, book_line)


def read_sql(
    parsed: Parsed, attributes: Mapping[str, ColumnType], segments: Mapping[str, Condition | str] | None = None
) -> Condition:
    """What the SQL of a segment says. Raises ``DefinitionErrors`` with everything that is wrong with it.

    ``attributes`` are the declared ones, ``segments`` the conditions that ``in_segment`` may name, or why it may not.
    """
    scope = _scope(parsed, attributes, segments or {})
    try:
        found = _read(parsed.node, scope)
    except Refused as refused:
        scope.errors.append(refused)
    if scope.errors:
        raise parsed.errors(scope.errors)
    return found


def read_part(
    node: exp.Expr, parsed: Parsed, attributes: Mapping[str, ColumnType], segments: Mapping[str, Condition | str]
) -> Value | None:
    """A value within SQL that has been read already; None for what is none by itself."""
    scope = _scope(parsed, attributes, segments)
    if isinstance(parsed.node, exp.Select):
        scope.tables = (clauses.table(parsed.node, CUSTOMER_TABLES, parsed.source),)
    try:
        return exact(operand(node, scope))
    except Refused:
        return None


def _scope(parsed: Parsed, attributes: Mapping[str, ColumnType], segments: Mapping[str, Condition | str]) -> Scope:
    return Scope(
        parsed.source,
        customer_columns(attributes),
        CUSTOMER_TABLES,
        condition=condition,
        query=query,
        segments=segments,
    )


def _parsed(source: Source) -> exp.Expr:
    tokens = source.tokens
    while tokens and tokens[-1].token_type is TokenType.SEMICOLON:
        tokens = tokens[:-1]
    if not tokens:
        raise Refused("there is no SQL", _SHAPE, 0, 1)
    if len(source.text) > LONGEST_SQL:
        raise Refused(f"the SQL is longer than {LONGEST_SQL} characters", "put the list into an attribute", 0, 1)
    _check_nesting(source)
    if tokens[0].token_type in (TokenType.WITH, TokenType.FROM):
        raise Refused(f"a segment cannot begin with {tokens[0].text}", _SHAPE, tokens[0].start, tokens[0].end + 1)
    into: type[exp.Expr] = exp.Select if tokens[0].token_type is TokenType.SELECT else exp.Condition
    try:
        parsed = DIALECT.parser().parse_into(into, tokens, source.text)
    except ParseError as error:
        raise _syntax(source, error) from None
    except RecursionError:
        # By way of something that would be refused anyway: what is accepted nests by what has been counted.
        raise Refused("this is nested too deeply", "write it flatter", 0, 1) from None
    if len(parsed) != 1 or parsed[0] is None:
        raise Refused("a segment is one condition", _SHAPE, tokens[0].start, tokens[-1].end + 1)
    return parsed[0]


def _check_nesting(source: Source) -> None:
    """The parser recurses, and how deep it may depends on who calls it; what is accepted must not."""
    levels: list[int] = []
    run = 0
    for token in source.tokens:
        kind = token.token_type
        if kind in _OPENING:
            levels.append(run + 1)
        elif kind in _CLOSING and levels:
            levels.pop()
        run = run + 1 if kind in _PREFIXES else 0
        if sum(levels) + run > DEEPEST:
            raise Refused("this is nested too deeply", f"{DEEPEST} levels are the most", token.start, token.end + 1)


def _depth(node: exp.Expr, source: Source) -> int:
    """Chains of operators nest without parentheses; only those of AND and OR are read without recursion."""
    pending, deepest = [(node, 0)], 0
    while pending:
        above, depth = pending.pop()
        deepest = max(deepest, depth)
        if depth > LONGEST_CHAIN:
            source.refuse(above, "this is nested too deeply", f"chains of {LONGEST_CHAIN} operators are the longest")
        for below in above.iter_expressions():
            chained = isinstance(above, exp.And | exp.Or) and type(below) is type(above)
            pending.append((below, depth if chained else depth + 1))
    return deepest


def _syntax(source: Source, error: ParseError) -> Refused:
    """sqlglot's complaint in our words, at the token at which it stopped."""
    detail = error.errors[0] if error.errors else {}
    word = str(detail.get("highlight") or "")
    line, column = detail.get("line") or 1, detail.get("col") or 0  # where the word ends, from 1
    start = sum(len(text) + 1 for text in source.text.split("\n")[: line - 1]) + max(0, column - len(word))
    hint = "a condition is for example: cart_value > 0 AND location = 'NYC'"
    description = str(detail.get("description") or "")
    if word.upper() in _FOREIGN:
        message, hint = f"{word.upper()} is not supported in a segment", "write the condition alone"
    elif description.startswith("Required keyword"):
        message = _missing(description)
    elif description == "Expecting )":
        message, hint = "a parenthesis is not closed", "put the missing ) here or before"
    else:
        message = f"{word or 'the SQL'} is not expected here"
    return Refused(message, hint, start, start + len(word))


def _missing(description: str) -> str:
    """What ``Required keyword: 'expression' missing for <class '….And'>`` means."""
    side = description.split("'")[1]
    word = _WORDS.get(description.rsplit(".", 1)[-1].rstrip("'>"))
    if word is None:
        return "something is missing here"
    return (
        f"nothing stands before {word}"
        if side == "this" and word not in ("NOT", "WHERE")
        else f"{word} lacks what follows"
    )


def _read(node: exp.Expr, scope: Scope) -> Condition:
    source = scope.source
    if isinstance(node, exp.SetOperation):
        source.refuse(
            node,
            f"{type(node).__name__.upper()} is not supported in a segment",
            "join conditions by AND or OR",
        )
    if not isinstance(node, exp.Select):
        return condition(node, scope)
    clauses.refuse_others(node, _ALLOWED_CLAUSES, source)
    distinct = node.args.get("distinct")
    if distinct is not None and distinct.args.get("on"):
        source.refuse(distinct, "DISTINCT ON is not supported in a segment", "leave it out")
    scope.tables = (clauses.table(node, CUSTOMER_TABLES, source),)
    items = node.expressions
    if len(items) != 1 or not isinstance(items[0], exp.Column) or items[0].name.lower() != "customer_id":
        source.refuse(items[0] if items else node, "a segment selects customer_id and nothing else", _SHAPE)
    scope.column(items[0])
    where = node.args.get("where")
    return Known(True) if where is None else condition(where.this, scope)
