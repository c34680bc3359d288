"""Checks that two values can be compared, and brings both sides to one type."""

from __future__ import annotations

from sqlglot import exp

from schemas.vocabulary import canonical_type
from stream.core.segments.kinds import NUMBERS, TIMES, as_type, date, exact, said
from stream.core.segments.literals import timestamp
from stream.core.segments.moving import moves
from stream.core.segments.rows import length
from stream.core.segments.scope import EVENT_COLUMNS
from stream.core.segments.source import Source
from stream.core.segments.tree import (
    MIRRORED,
    Call,
    Column,
    Compare,
    EventCount,
    Length,
    Literal,
    Now,
    Null,
    Op,
    Shifted,
    Value,
    ValueType,
    type_of,
)

#: The most events that one count may have to remember per customer (8 bytes each).
MOST = 10_000
_LARGEST = 2**53  # whole numbers up to here are DOUBLEs too

_A: dict[ValueType, str] = {
    "number": "a number",
    "decimal": "a number",
    "integer": "a whole number",
    "boolean": "true or false",
    "interval": "INTERVAL '…'",
}


def compare(op: Op, left: Value, right: Value, node: exp.Expr, source: Source) -> Compare:
    """``left op right`` with the columns on the left where there are any. Raises ``Refused``."""
    if isinstance(left, Null) or isinstance(right, Null):
        source.refuse(node, "comparing with NULL is never true", "write IS NULL or IS NOT NULL")
    if isinstance(right, EventCount) and isinstance(left, Literal):
        left, right, op = right, left, MIRRORED[op]
    if isinstance(left, EventCount) and isinstance(right, Literal) and right.type == "integer":
        _check_count(right, node, source)
        return Compare(op, left, right)
    if isinstance(left, Literal | Length) and isinstance(right, Literal | Length):
        source.refuse(node, "this compares two fixed values", "leave it out")
    if isinstance(left, Literal | Length):
        left, right, op = right, left, MIRRORED[op]
    left, right = brought_together(exact(left), exact(right), op, node, source)
    if type_of(left) == "boolean" and op not in ("=", "<>"):
        source.refuse(node, "booleans have no order", "use = or <>, or the column alone")
    return _plain(op, left, right) or Compare(op, left, right)


def equals(left: Value, right: Value, node: exp.Expr, source: Source) -> Compare:
    """``left = right``, of one option of an IN."""
    return compare("=", left, right, node, source)


def brought_together(left: Value, right: Value, op: Op, node: exp.Expr, source: Source) -> tuple[Value, Value]:
    """Both sides as values that can be compared. Raises ``Refused`` where they cannot."""
    if isinstance(right, Literal):
        right = _literal(type_of(left), right, left, node, source)
        _check_event_type(op, left, right, node, source)
    elif isinstance(left, Literal):
        left = _literal(type_of(right), left, right, node, source)
    kinds = {type_of(left), type_of(right)}
    if len(kinds) > 1:
        if kinds <= TIMES:
            left, right = as_type(left, "timestamp"), as_type(right, "timestamp")
        elif not kinds <= NUMBERS:
            slip = "boolean" in kinds and isinstance(right, Literal) and right.value in (0, 1)
            hint = "write TRUE or FALSE" if slip else "compare values of one type"
            source.refuse(node, f"{said(left)} cannot be compared with {said(right)}", hint)
    if moves(left) and moves(right) and not all(_is_now(side) for side in (left, right)):
        source.refuse(node, "now() stands on both sides of this", "bring it to one side")
    return left, right


def _is_now(value: Value) -> bool:
    return isinstance(value, Now | Shifted)


def _plain(op: Op, left: Value, right: Value) -> Compare | None:
    """``now() - column > INTERVAL`` is ``column < now() - INTERVAL``, for which there is a rule."""
    if isinstance(right, Call):
        left, right, op = right, left, MIRRORED[op]
    match left, right:
        case (Call(name="-", args=(now, Column() | Literal() as fixed), type="interval"), Length()) if _of_now(now):
            return Compare(MIRRORED[op], fixed, _later(now, -length(right)))
        case (Call(name="-", args=(Column() | Literal() as fixed, now), type="interval"), Length()) if _of_now(now):
            return Compare(op, fixed, _later(now, length(right)))
    return None


def _of_now(value: Value) -> bool:
    return isinstance(value, Now) or (isinstance(value, Shifted) and isinstance(value.base, Now))


def _later(now: Value, by: int) -> Value:
    by += now.by if isinstance(now, Shifted) else 0
    return Shifted(Now(), by) if by else Now()


def _check_count(right: Literal, node: exp.Expr, source: Source) -> None:
    if int(right.value) >= MOST:
        source.refuse(
            node,
            f"this would have to remember {right.value} events of every customer",
            f"count to less than {MOST}, or use view_count or order_count",
        )


def _check_event_type(op: Op, left: Value, right: Literal, node: exp.Expr, source: Source) -> None:
    """A name that events arrive under but do not keep would never be met."""
    if left != EVENT_COLUMNS["event_type"] or op not in ("=", "<>"):
        return
    ours = canonical_type(str(right.value))
    if ours != right.value:
        source.refuse(node, f"events of type '{right.value}' are called '{ours}' here", f"write '{ours}'")


def _literal(kind: ValueType, literal: Literal, other: Value, node: exp.Expr, source: Source) -> Literal:
    """The literal beside a value of ``kind``, as one of its type. Says how to mend the usual slips."""
    if kind == "text" and literal.type in ("integer", "number", "decimal", "boolean"):
        source.refuse(
            node,
            f"{said(other)} cannot be compared with {said(literal)}",
            f"write '{str(literal.value).lower()}' in quotes",
        )
    if literal.type == "decimal" or (kind == "number" and literal.type == "integer" and abs(literal.value) > _LARGEST):  # type: ignore[arg-type]
        return Literal(float(literal.value), "number")
    if kind in ("timestamp", "local") and literal.type in TIMES:
        found = as_type(literal, "timestamp" if kind == "timestamp" else "local")
        return found if isinstance(found, Literal) else Literal(literal.value, kind)
    if literal.type != "text" or kind == "text":
        return literal
    text = str(literal.value)
    if kind in ("timestamp", "local"):
        return Literal(timestamp(text, node, source).value, kind)
    if kind == "date":
        return date(text, node, source)
    bare = text.strip().lower()
    fits = bare in ("true", "false") if kind == "boolean" else bare.lstrip("+-").replace(".", "", 1).isdigit()
    if fits:
        hint = f"write {bare} without quotes"
    elif isinstance(other, Column) and other.table == "attributes":
        hint = f"write {_A[kind]}, or declare `{other.name}: text` under `attributes:`"
    else:
        hint = f"write {_A[kind]}"
    source.refuse(node, f"{said(other)} cannot be compared with {said(literal)}", hint)
