"""The grammar of conditions: one small function for each construct, giving SQL text."""

from __future__ import annotations

from stream.core.time import format_iso
from tests.property import oracle_words as words
from tests.property.oracle_live import OF_CUSTOMERS
from tests.property.oracle_pen import OPERATORS, Grammar, Pen, quoted

# -- comparisons -------------------------------------------------------------------------------------------


def comparison(pen: Pen, depth: int) -> str:
    left, right = _pair(pen, depth)
    return f"{left} {pen.choose(OPERATORS)} {right}"


def between(pen: Pen, depth: int) -> str:
    of = _kind(pen)
    word = pen.choose(("BETWEEN", "NOT BETWEEN"))
    return f"{pen.varying(of, depth)} {word} {pen.value(of, depth)} AND {pen.value(of, depth)}"


def one_of_several(pen: Pen, depth: int) -> str:
    of, literals = pen.choose((("text", _texts), ("integer", _integers), ("number", _numbers)))
    options = [*literals(pen), *(("NULL",) if pen.chance(4) else ())]
    return f"{pen.varying(of, depth)} {pen.choose(('IN', 'NOT IN'))} ({', '.join(options)})"


def like(pen: Pen, depth: int) -> str:
    word = pen.choose(("LIKE", "ILIKE", "NOT LIKE", "NOT ILIKE"))
    pattern = pen.choose(("N%", "%a%", "_YC", "a\\_b", "%", "", "k_LN", "g%s", "new _ork", "O''%"))
    escape = " ESCAPE '\\'" if "\\" in pattern else ""
    return f"{pen.varying('text', depth)} {word} '{pattern}'{escape}"


def like_a_value(pen: Pen, depth: int) -> str:
    return f"{pen.varying('text', depth)} {pen.choose(('LIKE', 'ILIKE'))} {pen.value('text', depth)}"


def beginning(pen: Pen, depth: int) -> str:
    function = pen.choose(("starts_with", "contains", "ends_with"))
    return f"{function}({pen.varying('text', depth)}, {quoted(pen.choose(('N', 'a', '', 'ö', 'Game')))})"


def null_or_not(pen: Pen, depth: int) -> str:
    return f"{pen.varying(_kind(pen), depth)} {pen.choose(('IS NULL', 'IS NOT NULL'))}"


def distinct_from(pen: Pen, depth: int) -> str:
    left, right = _pair(pen, depth)
    return f"{left} {pen.choose(('IS DISTINCT FROM', 'IS NOT DISTINCT FROM'))} {right}"


def flag(pen: Pen, depth: int) -> str:
    return pen.column("boolean") if pen.has("boolean") else comparison(pen, depth)


def flag_compared(pen: Pen, depth: int) -> str:
    if not pen.has("boolean"):
        return null_or_not(pen, depth)
    how = pen.choose(("= TRUE", "<> TRUE", "IS DISTINCT FROM FALSE", "= (", "IN (TRUE, NULL)"))
    return f"{pen.column('boolean')} {how}{pen.condition(depth - 1) + ')' if how[-1] == '(' else ''}"


def one_of_values(pen: Pen, depth: int) -> str:
    of = pen.choose(("text", "integer", "number"))
    options = f"{pen.value(of, depth)}, {pen.value(of, 0)}"
    return f"{pen.varying(of, depth)} {pen.choose(('IN', 'NOT IN'))} ({options})"


def time_against_text(pen: Pen, depth: int) -> str:
    instant = format_iso(pen.choose(pen.world.instants()))
    of, written = pen.choose((("timestamp", instant), ("timestamp", instant[:10]), ("date", instant[:10])))
    return f"{pen.varying(of, depth)} {pen.choose(OPERATORS)} '{written}'"


def comparison_of_columns(pen: Pen, depth: int) -> str:
    kind = pen.choose(("number", "text", "timestamp"))
    return f"{pen.column(kind)} {pen.choose(OPERATORS)} {pen.column(kind)}"


# -- connectives -------------------------------------------------------------------------------------------


def both_or_either(pen: Pen, depth: int) -> str:
    """Now and then without parentheses: what binds closer is the parser's business."""
    parts = [pen.condition(depth - 1) for _ in range(pen.choose((2, 2, 3)))]
    bare = pen.chance(3)
    words = [pen.choose(("AND", "OR")) for _ in parts[1:]]
    spelled = [part if bare else f"({part})" for part in parts]
    return spelled[0] + "".join(f" {word} {part}" for word, part in zip(words, spelled[1:], strict=True))


def negation(pen: Pen, depth: int) -> str:
    inner = pen.condition(depth - 1)
    return f"NOT {inner}" if pen.chance(4) else f"NOT ({inner})"


def truth_of(pen: Pen, depth: int) -> str:
    word = pen.choose(("IS TRUE", "IS NOT TRUE", "IS FALSE", "IS NOT FALSE", "IS NULL", "IS NOT NULL"))
    return f"({pen.condition(depth - 1)}) {word}"


def case_of_conditions(pen: Pen, depth: int) -> str:
    asked, yes, no = (pen.condition(depth - 1) for _ in range(3))
    return f"CASE WHEN {asked} THEN {yes} ELSE {no} END"


def coalesced_condition(pen: Pen, depth: int) -> str:
    return f"coalesce({pen.condition(depth - 1)}, {pen.choose(('TRUE', 'FALSE'))})"


# -- shared ------------------------------------------------------------------------------------------------


def _kind(pen: Pen) -> str:
    return pen.choose(_KINDS)


def _pair(pen: Pen, depth: int) -> tuple[str, str]:
    """Two values that can be compared."""
    left, right = pen.choose((*((kind, kind) for kind in _KINDS), ("integer", "number")))
    return pen.varying(left, depth), pen.value(right, depth)


def _texts(pen: Pen) -> list[str]:
    return [quoted(pen.choose((*words.CATEGORIES, *words.CITIES, *words.PRODUCTS))) for _ in range(2)]


def _integers(pen: Pen) -> list[str]:
    return [str(pen.choose((*words.AGES, 2, 3))) for _ in range(3)]


def _numbers(pen: Pen) -> list[str]:
    return [str(pen.choose((*words.PRICES, *words.SCORES))) for _ in range(3)]


_KINDS = ("number", "text", "integer", "timestamp", "date", "local")
_LEAVES = (comparison_of_columns, comparison, null_or_not, flag)
_CONDITIONS = (
    comparison,
    comparison,
    between,
    one_of_several,
    like,
    like_a_value,
    beginning,
    null_or_not,
    distinct_from,
    flag,
    flag_compared,
    one_of_values,
    time_against_text,
    both_or_either,
    both_or_either,
    negation,
    truth_of,
    case_of_conditions,
    coalesced_condition,
)
CONDITIONS = Grammar(_LEAVES, _CONDITIONS, OF_CUSTOMERS)
