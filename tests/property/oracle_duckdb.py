"""Asks DuckDB who is in which segment, at many instants of a log in one query.

A segment's SQL goes to DuckDB as it stands in the book, but for what only a running system knows: ``now()`` becomes
the instant that is asked for, ``events`` becomes the customer's own events that had arrived by then, and
``in_segment('x')`` looks at the answer for x.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import duckdb

from stream.core.columns import COLUMNS
from tests.property.oracle_facts import ROW, Known, Row
from tests.property.oracle_words import ATTRIBUTES, NUMBER_FIELDS, TEXT_FIELDS

_TYPES = {
    "text": "VARCHAR",
    "number": "DOUBLE",
    "integer": "BIGINT",
    "boolean": "BOOLEAN",
    "timestamp": "TIMESTAMPTZ",
}
_KINDS = {**COLUMNS, **ATTRIBUTES}
_SPECIAL = re.compile(
    r"(?P<literal>'(?:[^']|'')*')"
    r"|(?P<now>\bnow\(\)|\bCURRENT_TIMESTAMP\b)|(?P<today>\bCURRENT_DATE\b)"
    r"|\bin_segment\('(?P<other>\w+)'\)"
    r"|\bFROM events\b(?: AS)?(?P<name> [a-z]\b)?"
)
_QUERY = re.compile(r"\s*SELECT (?:\w+\.)?customer_id FROM (?:customers|customer_data)(?: AS)?(?P<name> [a-z]\b)?")


@dataclass(frozen=True, slots=True)
class Asked:
    """A question: who is in at ``at`` (µs), over the first ``upto`` records of the log?"""

    at: int
    upto: int


@dataclass(slots=True)
class Answers:
    """What DuckDB said: for each question and segment the members. ``failed``: segments it could not answer for."""

    members: dict[tuple[int, str], set[str]] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)


class Oracle:
    """One DuckDB for many books and logs."""

    def __init__(self) -> None:
        self._db = duckdb.connect(config={"threads": 1})
        prepare(self._db)
        # DuckDB 2.0.0's optimizer takes INTERVAL '30 days' and INTERVAL '1 month' for the same constant, and merges
        # what differs in nothing else: t - one of them and t - the other. Its plans as written do not.
        self._db.execute("PRAGMA disable_optimizer")
        columns = ", ".join(f'"{name}" {_TYPES[_KINDS[name]]}' for name in ROW)
        fields = ", ".join(f"{name} VARCHAR" for name in TEXT_FIELDS) + "".join(f", {n} DOUBLE" for n in NUMBER_FIELDS)
        self._db.execute(f"CREATE TABLE states (upto BIGINT, {columns})")
        self._db.execute("CREATE TABLE asked (question BIGINT, asked_at TIMESTAMPTZ, upto BIGINT)")
        self._db.execute(f"CREATE TABLE facts (arrived BIGINT, customer_id VARCHAR, event_time TIMESTAMPTZ, {fields})")

    def close(self) -> None:
        """End the database and its threads."""
        self._db.close()

    def ask(
        self,
        segments: Mapping[str, str],
        facts: Sequence[Known],
        states: Mapping[int, Mapping[str, Row]],
        questions: Sequence[Asked],
    ) -> Answers:
        """The members of ``segments`` (name to SQL) for each of ``questions``; ``states`` are the rows by ``upto``."""
        self._fill(facts, states, questions)
        answers = Answers()
        try:
            found = self._members(segments, tuple(segments))
        except duckdb.Error:
            found = []
            for name in segments:
                try:
                    found += self._members(segments, (name,))
                except duckdb.Error as error:
                    answers.failed[name] = str(error)
        for name, question, customer in found:
            answers.members.setdefault((question, name), set()).add(customer)
        return answers

    def _members(self, segments: Mapping[str, str], wanted: Sequence[str]) -> list[tuple[str, int, str]]:
        customers = "SELECT question, asked_at, s.* FROM asked JOIN states s USING (upto)"
        return self._db.execute(query_of_all(segments, wanted, customers)).fetchall()

    def _fill(
        self, facts: Sequence[Known], states: Mapping[int, Mapping[str, Row]], questions: Sequence[Asked]
    ) -> None:
        rows = [(upto, row) for upto, of_all in states.items() for row in of_all.values()]
        self._insert(
            "states",
            [
                ("", [upto for upto, _ in rows]),
                *((_KINDS[name], [row[name] for _, row in rows]) for name in ROW),
            ],
        )
        self._insert(
            "asked",
            [
                ("", list(range(len(questions)))),
                ("timestamp", [q.at for q in questions]),
                ("", [q.upto for q in questions]),
            ],
        )
        self._insert(
            "facts",
            [
                ("", [fact.arrived for fact in facts]),
                ("text", [fact.event["customer_id"] for fact in facts]),
                ("timestamp", [fact.time for fact in facts]),
                *(("text", [fact.event.get(name) for fact in facts]) for name in TEXT_FIELDS),
                *(("number", [fact.event.get(name) for fact in facts]) for name in NUMBER_FIELDS),
            ],
        )

    def _insert(self, table: str, columns: Sequence[tuple[str, list[Any]]]) -> None:
        self._db.execute(f"TRUNCATE {table}")
        spelled = []
        for place, (kind, _) in enumerate(columns, 1):
            plain = f"unnest(${place}::{'BIGINT' if kind in ('', 'timestamp') else _TYPES[kind]}[])"
            spelled.append(f"make_timestamptz({plain})" if kind == "timestamp" else plain)
        self._db.execute(f"INSERT INTO {table} SELECT {', '.join(spelled)}", [values for _, values in columns])


def prepare(connection: duckdb.DuckDBPyConnection) -> None:
    """The session as segments mean it: UTC, and NULL where whole numbers are divided by zero."""
    connection.execute("SET TimeZone = 'UTC'")
    connection.execute("SET error_on_division_by_zero = false")


def query_of_all(segments: Mapping[str, str], wanted: Sequence[str], customers: str) -> str:
    """One query for the members of the wanted segments: rows of segment, question and customer.

    ``customers`` is the query of all customers' rows, with the columns ``question``, ``asked_at`` and ``upto`` beside
    their own; a table ``facts`` has all events and, as ``arrived``, the numbers of their records.
    """
    parts = [
        f"customers AS MATERIALIZED ({customers})",
        *(f'"in {name}" AS MATERIALIZED ({query_of(segments[name])})' for name in _needed(segments, wanted)),
    ]
    asked = " UNION ALL ".join(f"""SELECT '{name}', question, customer_id FROM "in {name}" """ for name in wanted)
    return f"WITH {', '.join(parts)} {asked}"


def _needed(segments: Mapping[str, str], wanted: Sequence[str]) -> list[str]:
    """The wanted segments and those that they refer to, what is referred to first."""
    order: dict[str, None] = {}

    def visit(name: str) -> None:
        if name not in order:
            for found in _SPECIAL.finditer(segments[name]):
                if found["other"]:
                    visit(found["other"])
            order[name] = None

    for name in wanted:
        visit(name)
    return list(order)


def query_of(sql: str) -> str:
    """The segment's SQL as a query of the question and the customer, for DuckDB."""
    found = _QUERY.match(sql)
    if found is None:
        sql = f"SELECT customer_id FROM customers WHERE {sql}"
        found = _QUERY.match(sql)
        assert found is not None
    name = (found["name"] or " customers").strip()
    head = f"SELECT {name}.question, {name}.customer_id FROM customers AS {name}"

    def special(part: re.Match[str]) -> str:
        if part["literal"]:
            return part[0]
        if part["now"]:
            return f"{name}.asked_at"
        if part["today"]:
            return f"CAST({name}.asked_at AS DATE)"
        if part["other"]:
            same = f"m.question = {name}.question AND m.customer_id = {name}.customer_id"
            return f'EXISTS (SELECT 1 FROM "in {part["other"]}" AS m WHERE {same})'
        known = f"facts.customer_id = {name}.customer_id AND facts.arrived <= {name}.upto"
        return f"FROM (SELECT * FROM facts WHERE {known}) AS {(part['name'] or ' events').strip()}"

    return head + _SPECIAL.sub(special, sql[found.end() :])
