"""Laws of the reference page of the language: its examples mean what they mean in DuckDB, and its refusals happen."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from stream.core.columns import COLUMNS
from stream.core.customer import Customer
from stream.core.fact import Fact
from stream.core.segments import CompiledBook, Definition, DefinitionBook, DefinitionErrors, compile_book, load_book
from stream.core.segments.functions import NAMES
from stream.core.time import parse_iso
from tests.unit.markdown import blocks, code

duckdb = pytest.importorskip("duckdb")

PAGE = Path(__file__).parents[2] / "docs" / "segment-language.md"
BOOK = load_book(blocks(PAGE, "yaml")[0].text)
NOW = parse_iso("2026-03-30T10:15:00Z")
HOUR = 3_600_000_000
IN_DUCKDB = {
    "integer": "BIGINT",
    "number": "DOUBLE",
    "text": "VARCHAR",
    "boolean": "BOOLEAN",
    "timestamp": "TIMESTAMPTZ",
}
FIELDS = {name: "DOUBLE" if name in ("price", "quantity") else "VARCHAR" for name in (
    "event_type", "product_id", "category", "price", "quantity", "currency", "order_id", "cart_id", "session_id",
)}  # fmt: skip


def examples() -> list[str]:
    """Each line of SQL that is not indented begins one."""
    found = []
    for block in blocks(PAGE, "sql"):
        found += re.split(r"\n(?=\S)", block.text.strip())
    return found


def compiled(sql: str) -> CompiledBook:
    return compile_book(DefinitionBook(BOOK.attributes, {"asked": Definition(sql), **BOOK.segments}))


def ago(hours: float | None) -> int | None:
    return None if hours is None else NOW - int(hours * HOUR)


#: Attributes, live columns and events (type, hours ago, category, price, quantity) of some customers.
PEOPLE: list[tuple[dict[str, Any], dict[str, Any], list[tuple[Any, ...]]]] = [
    ({}, {}, []),
    (
        {"age": 30, "score": 2.5, "location": "NYC", "email": "ann@example.com", "newsletter": True,
         "renews_at": parse_iso("2026-03-31T12:00:00Z")},
        {"cart_value": 120.0, "cart_updated_at": ago(2), "view_count": 4, "order_count": 1, "total_spent": 90.0,
         "last_order_at": ago(24 * 45), "last_viewed_at": ago(1), "last_viewed_product": "A1X2"},
        [("product_view", 1, "Games", 20.0, None), ("product_view", 30, "Games", 5.0, None),
         ("product_view", 24 * 6, "Toys", 150.0, None), ("purchase", 24 * 45, "Toys", 90.0, 1.0),
         ("search", 24 * 2, None, None, None)],
    ),
    (
        {"age": 17, "score": 0.5, "location": "New York City", "email": "", "newsletter": False,
         "renews_at": parse_iso("2025-03-30T10:00:00Z")},
        {"cart_value": 51.0, "cart_updated_at": ago(24 * 8), "view_count": 2, "order_count": 9, "total_spent": 900.0,
         "last_order_at": ago(24 * 7.5), "last_viewed_at": ago(24 * 7.4)},
        [("purchase", 24 * 7.5, "Games", 300.0, 2.0), ("store_visit", 24 * 40, None, None, None),
         ("search", 24 * 7.6, "Games", None, None), ("purchase", 24 * 35, "games", 120.0, 1.0)],
    ),
    (
        {"age": 34, "location": "100%", "email": "100%", "newsletter": None},
        {"cart_value": 0.0, "view_count": 7, "last_order_at": ago(12), "last_viewed_at": ago(11.5)},
        [("product_view", 24 * 70, "Toys", 10.0, None), ("product_view", 24 * 65, "Toys", 12.0, None)],
    ),
    ({"age": 40, "score": -7.25, "location": "12", "email": "+1"}, {"last_order_at": ago(744), "view_count": 1}, []),
    ({"score": 3.0, "location": "*NYC-", "newsletter": True}, {"cart_value": 200.0, "cart_updated_at": ago(72)}, []),
]  # fmt: skip


def rows() -> list[tuple[dict[str, Any], list[dict[str, Any]]]]:
    """The people as rows of the two tables."""
    found = []
    for number, (attributes, columns, events) in enumerate(PEOPLE):
        first, last = NOW - 24 * 90 * HOUR, NOW - HOUR * (number * 30 + 1)
        customer = Customer(0, f"c{number}", first, last, **columns)
        row = {name: getattr(customer, name) for name in COLUMNS} | {
            name: attributes.get(name) for name in BOOK.attributes
        }
        facts: list[dict[str, Any]] = [
            {"customer_id": f"c{number}", "event_time": ago(hours), **dict.fromkeys(FIELDS)}
            | {"event_type": kind, "category": category, "price": price, "quantity": quantity}
            for kind, hours, category, price, quantity in events
        ]
        found.append((row, sorted(facts, key=lambda fact: fact["event_time"])))
    return found


ROWS = rows()


@pytest.fixture(scope="module")
def databases() -> Iterator[list[Any]]:
    """One for each customer, so that all events are their own."""
    found = []
    columns = {name: IN_DUCKDB[kind] for name, kind in {**COLUMNS, **BOOK.attributes}.items()}
    of_events = {"customer_id": "VARCHAR", "event_time": "TIMESTAMPTZ", **FIELDS}
    for row, facts in ROWS:
        connection = duckdb.connect()
        connection.execute("SET TimeZone = 'UTC'")
        for table, kinds, held in (("customers", columns, [row]), ("events", of_events, facts)):
            connection.execute(f"CREATE TABLE {table} ({', '.join(f'{n} {k}' for n, k in kinds.items())})")
            for each in held:
                values = [moment(each[name]) if kind == "TIMESTAMPTZ" else each[name] for name, kind in kinds.items()]
                connection.execute(f"INSERT INTO {table} VALUES ({', '.join('?' * len(kinds))})", values)
        connection.execute("CREATE VIEW customer_data AS SELECT * FROM customers")
        found.append(connection)
    yield found
    for connection in found:
        connection.close()


def moment(us: int | None) -> datetime | None:
    return None if us is None else datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=us)


def theirs(database: Any, sql: str) -> bool:
    sql = re.sub(r"in_segment\('(\w+)'\)", lambda name: f"(({BOOK.segments[name[1]].sql}) IS TRUE)", sql)
    sql = re.sub(r"now\(\)|current_timestamp", f"make_timestamptz({NOW})", sql, flags=re.IGNORECASE)
    sql = re.sub("CURRENT_DATE", f"make_timestamptz({NOW})::DATE", sql)
    query = sql if sql.upper().startswith("SELECT") else f"SELECT customer_id FROM customers WHERE ({sql}\n)"
    return bool(database.execute(query).fetchall())


def ours(sql: str, number: int) -> bool:
    row, facts = ROWS[number]
    book = compiled(sql)
    columns = {name: row[name] for name in COLUMNS}
    customer = Customer(
        0, columns.pop("customer_id"), columns.pop("first_seen_at"), columns.pop("last_seen_at"), **columns
    )
    held = {name: (row[name], NOW) for name in BOOK.attributes if row[name] is not None}
    customer.attributes = held or None
    for fields in facts:
        given = {name: fields[name] for name in FIELDS if name != "event_type"}
        fact = Fact(None, fields["customer_id"], fields["event_type"], fields["event_time"], True, **given)
        book.plan(fact.event_type).feed(customer, fact, fact.time)
    return book.by_name["asked"].evaluate(customer, NOW)[0]


@pytest.mark.parametrize("sql", examples())
def test_an_example_means_what_it_means_in_duckdb(databases: list[Any], sql: str) -> None:
    """For each of the people."""
    there = [theirs(database, sql) for database in databases]
    assert [ours(sql, number) for number in range(len(ROWS))] == there


def test_the_people_tell_the_examples_apart() -> None:
    """Nearly all examples are true of somebody, and not of everybody; so a wrong one would be noticed."""
    answers = {sql: {ours(sql, number) for number in range(len(ROWS))} for sql in examples()}
    told_apart = [sql for sql, found in answers.items() if found == {True, False}]
    assert len(answers) > 120
    assert len(told_apart) > 0.8 * len(answers), [sql for sql in answers if sql not in told_apart]


def table(first: str) -> list[list[str]]:
    """The rows of all tables whose head begins so."""
    text = PAGE.read_text("utf-8")
    found = []
    for part in re.findall(rf"^\| {re.escape(first)} \|.*\n\|[-|]+\|\n((?:\|.*\n)+)", text, re.MULTILINE):
        found += [[cell.strip() for cell in line.strip("|").split("|")] for line in part.splitlines()]
    return found


def test_what_is_refused_says_what_the_page_says_and_what_is_written_instead_is_not() -> None:
    refused = [row for row in table("you write") if len(row) == 3]
    assert len(refused) > 12
    for written, says, instead in refused:
        with pytest.raises(DefinitionErrors) as caught:
            compiled(code(written)[0])
        assert says in caught.value.errors[0].message.replace("|", ""), written
        assert compiled(code(instead)[0])


def test_what_is_odd_is_found_as_the_page_says() -> None:
    odd = [row for row in table("you write") if len(row) == 2]
    assert len(odd) == 4
    for written, says in odd:
        warnings = compiled(code(written)[0]).warnings
        assert [says in each.message for each in warnings if each.segment == "asked"] == [True], written


def test_every_function_and_every_type_has_an_example() -> None:
    told = " ".join(examples()).lower()
    assert [name for name in NAMES if f"{name}(" not in told] == []
    for row in table("type"):
        assert compiled(f"{code(row[2])[0]} IS DISTINCT FROM {SAME.get(row[1].split(',')[0], 'renews_at')}")


SAME = {
    "VARCHAR": "location",
    "BIGINT": "age",
    "DOUBLE": "score",
    "BOOLEAN": "newsletter",
    "INTERVAL": "(renews_at - last_seen_at)",
}
