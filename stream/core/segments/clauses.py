"""What surrounds a WHERE: which clauses a SELECT may have, and from which table it may select."""

from __future__ import annotations

from collections.abc import Collection

from sqlglot import exp

from stream.core.segments.source import Source

_CLAUSES = {"joins": "JOIN", "group": "GROUP BY", "with_": "WITH", "order": "ORDER BY", "from_": "FROM"}
_HINTS = {
    "joins": "ask for events in a sub-query: EXISTS (SELECT 1 FROM events WHERE …)",
    "group": "count in a sub-query: (SELECT count(*) FROM events WHERE …) >= 3",
    "having": "count in a sub-query: (SELECT count(*) FROM events WHERE …) >= 3",
}


def refuse_others(select: exp.Select, allowed: Collection[str], source: Source) -> None:
    """Refuse every clause of ``select`` that is not in ``allowed`` (sqlglot's names)."""
    for name, clause in select.args.items():
        if not clause or name in allowed:
            continue
        first = clause[0] if isinstance(clause, list) else clause
        source.refuse(
            first if isinstance(first, exp.Expr) else select,
            f"{_CLAUSES.get(name, name.upper().strip('_'))} is not supported in a segment",
            _HINTS.get(name, "leave it out"),
        )


def table(select: exp.Select, names: tuple[str, ...], source: Source) -> str:
    """The (lower-case) name by which the one table of ``select`` is called: its alias, else its own.

    Refuses anything but one of the tables ``names``.
    """
    clause = select.args.get("from_")
    if clause is None:
        source.refuse(select, "the SELECT names no table", f"write FROM {names[0]}")
    found = clause.this
    plain = isinstance(found, exp.Table) and not any(
        extra for key, extra in found.args.items() if key not in ("this", "alias")
    )
    if not plain or found.name.lower() not in names:
        known = " or ".join(names)
        source.refuse(clause, f"a segment cannot select from {found.sql()} here", f"the table here is {known}")
    alias = found.args.get("alias")
    if alias is not None and alias.args.get("columns"):
        source.refuse(clause, "renaming the columns of a table is not supported", "leave the names out")
    return str(found.alias_or_name).lower()
