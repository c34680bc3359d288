"""Checks that two values can be compared, and brings literals to the type of the other side."""

from __future__ import annotations

from sqlglot import exp

from schemas.vocabulary import canonical_type
from stream.core.segments.literals import timestamp
from stream.core.segments.scope import EVENT_COLUMNS
from stream.core.segments.source import Source
from stream.core.segments.tree import MIRRORED, Column, Compare, EventCount, Literal, Null, Op, Shifted, Value

#: The most events that one count may have to remember per customer (8 bytes each).
MOST = 10_000

_CLASSES = {
    "text": "text",
    "number": "number",
    "integer": "number",
    "boolean": "boolean",
    "timestamp": "timestamp",
}


_A = {"number": "a number", "integer": "a whole number", "boolean": "true or false"}


def compare(op: Op, left: Value, right: Value, node: exp.Expr, source: Source) -> Compare:
    """``left op right`` with the columns on the left where there are any. Raises ``Refused``."""
    if isinstance(left, Null) or isinstance(right, Null):
        source.refuse(node, "comparing with NULL is never true", "write IS NULL or IS NOT NULL")
    if isinstance(left, EventCount) or isinstance(right, EventCount):
        return _count(op, left, right, node, source)
    if isinstance(left, Literal) and isinstance(right, Literal):
        source.refuse(node, "this compares two fixed values", "leave it out")
    if isinstance(left, Literal):
        left, right, op = right, left, MIRRORED[op]
    kind = _type(left)
    if isinstance(right, Literal):
        right = _brought_to(kind, right, left, node, source)
        _check_event_type(op, left, right, node, source)
    if _CLASSES[_type(right)] != _CLASSES[kind]:
        source.refuse(node, f"{_said(left)} cannot be compared with {_said(right)}", "compare values of one type")
    if kind == "boolean" and op not in ("=", "<>"):
        source.refuse(node, "booleans have no order", "use = or <>, or the column alone")
    return Compare(op, left, right)


def equals(left: Value, right: Value, node: exp.Expr, source: Source) -> Compare:
    """``left = right``, of one option of an IN."""
    return compare("=", left, right, node, source)


def _count(op: Op, left: Value, right: Value, node: exp.Expr, source: Source) -> Compare:
    if not isinstance(left, EventCount):
        left, right, op = right, left, MIRRORED[op]
    if not isinstance(right, Literal) or right.type != "integer":
        source.refuse(
            node,
            "a count is compared with a whole number as written; anything else is not supported yet",
            "write for example >= 3",
        )
    if int(right.value) >= MOST:
        source.refuse(
            node,
            f"this would have to remember {right.value} events of every customer",
            f"count to less than {MOST}, or use view_count or order_count",
        )
    return Compare(op, left, right)


def _check_event_type(op: Op, left: Value, right: Literal, node: exp.Expr, source: Source) -> None:
    """A name that events arrive under but do not keep would never be met."""
    if left != EVENT_COLUMNS["event_type"] or op not in ("=", "<>"):
        return
    ours = canonical_type(str(right.value))
    if ours != right.value:
        source.refuse(node, f"events of type '{right.value}' are called '{ours}' here", f"write '{ours}'")


def _type(value: Value) -> str:
    return value.type if isinstance(value, Column | Literal) else "timestamp"


def _said(value: Value) -> str:
    match value:
        case Column():
            return f"{value.name} ({value.type})"
        case Literal(type="text"):
            return f"the text '{value.value}'"
        case Literal(type="timestamp"):
            return "a timestamp"
        case Literal():
            return f"the {value.type} {str(value.value).lower()}"
        case Shifted(base=Column() as column):
            return f"{column.name} (timestamp)"
    return "now() (timestamp)"


def _brought_to(kind: str, literal: Literal, other: Value, node: exp.Expr, source: Source) -> Literal:
    """A text beside a timestamp becomes one; other literals stay. Says how to mend the usual slips."""
    if literal.type != "text" or kind == "text":
        if kind == "text" and literal.type in ("integer", "number", "boolean"):
            source.refuse(
                node,
                f"{_said(other)} cannot be compared with {_said(literal)}",
                f"write '{str(literal.value).lower()}' in quotes",
            )
        return literal
    text = str(literal.value)
    if kind == "timestamp":
        return timestamp(text, node, source)
    bare = text.strip().lower()
    fits = bare in ("true", "false") if kind == "boolean" else bare.lstrip("+-").replace(".", "", 1).isdigit()
    if fits:
        hint = f"write {bare} without quotes"
    elif isinstance(other, Column) and other.table == "attributes":
        hint = f"write {_A[kind]}, or declare `{other.name}: text` under `attributes:`"
    else:
        hint = f"write {_A[kind]}"
    source.refuse(node, f"{_said(other)} cannot be compared with {_said(literal)}", hint)
