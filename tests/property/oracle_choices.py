"""What chooses between values of one type, whichever it is."""

from __future__ import annotations

from tests.property.oracle_pen import Pen


def choice(pen: Pen, depth: int, of: str) -> str:
    """What chooses between values of one type: COALESCE, NULLIF, greatest, least, CASE."""
    a, b = pen.value(of, depth - 1), pen.value(of, depth - 1)
    kind = pen.choose(("coalesce", "nullif", "greatest", "least", "case", "simple_case", "if"))
    pen.used.add(kind)
    if kind == "case":
        default = f" ELSE {b}" if not pen.chance(3) else ""
        return f"CASE WHEN {pen.condition(depth - 1)} THEN {a}{default} END"
    if kind == "if":
        return f"if({pen.condition(depth - 1)}, {a}, {b})"
    if kind == "simple_case":
        return f"CASE {pen.varying(of, 0)} WHEN {pen.value(of, 0)} THEN {a} ELSE {b} END"
    return f"{kind}({a}, {b})"
