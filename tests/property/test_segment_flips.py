"""P2 for one customer: a segment says what its SQL says, at every instant, and knows its next change.

The SQL is answered here a second time, by brute force over all events and without the compiler.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from stream.core.customer import Customer
from stream.core.fact import Fact
from stream.core.segments import Definition, DefinitionBook, compile_book
from stream.core.time import NEVER

SECOND = 1_000_000
START = 1_772_366_400 * SECOND
ATTRIBUTES: dict[str, Any] = {
    "age": "integer",
    "score": "number",
    "city": "text",
    "consent": "boolean",
    "born": "timestamp",
}
NUMBERS = ("age", "score", "cart_value", "view_count")
TEXTS = ("city", "recent_view_category", "last_viewed_product")
TIMES = ("born", "cart_updated_at", "last_seen_at")
OPS = ("=", "<>", "<", "<=", ">", ">=")
INTERVALS = (1, 2, 3, 5)


# -- a naive answer: SQL's three values, over everything that is known -------------------------------------


@dataclass
class World:
    """A customer's row and events, as a database would have them."""

    row: dict[str, Any]
    events: list[dict[str, Any]] = field(default_factory=list)


def compared(op: str, a: Any, b: Any) -> bool | None:
    if a is None or b is None:
        return None
    truth: dict[str, bool] = {"=": a == b, "<>": a != b, "<": a < b, "<=": a <= b, ">": a > b, ">=": a >= b}
    return truth[op]


def conjunction(values: list[bool | None]) -> bool | None:
    if False in values:
        return False
    return None if None in values else True


def negation(value: bool | None) -> bool | None:
    return None if value is None else not value


def answer(node: tuple[Any, ...], row: dict[str, Any], world: World, now: int) -> bool | None:
    """The value of the condition for ``row``, which is the customer or one event."""
    kind = node[0]
    if kind == "and":
        return conjunction([answer(part, row, world, now) for part in node[1]])
    if kind == "or":
        return negation(conjunction([negation(answer(part, row, world, now)) for part in node[1]]))
    if kind == "not":
        return negation(answer(node[1], row, world, now))
    if kind == "is":
        return (answer(node[1], row, world, now) is node[2]) is not node[3]
    if kind == "compare":
        return compared(node[1], row[node[2]], node[3])
    if kind == "columns":
        return compared(node[1], row[node[2]], row[node[3]])
    if kind == "between":
        value = row[node[1]]
        return conjunction([compared(">=", value, node[2]), compared("<=", value, node[3])])
    if kind == "in":
        found = [compared("=", row[node[1]], option) for option in node[2]]
        return negation(conjunction([negation(value) for value in found]))
    if kind == "null":
        return row[node[1]] is None
    if kind == "flag":
        flag: bool | None = row[node[1]]
        return flag
    if kind == "time":
        return compared(node[1], row[node[2]], now + node[3] * SECOND)
    if kind == "since":
        value = row[node[1]]
        return conjunction(
            [compared(">=", value, now - node[2] * SECOND), compared("<=", value, now - node[3] * SECOND)]
        )
    if kind == "fixed":
        return compared(node[1], now, node[2])
    assert kind == "count"
    _, op, number, condition, window, strict = node
    count = 0
    for event in world.events:
        inside = window is None or compared(">" if strict else ">=", event["time"], now - window * SECOND)
        if inside and (condition is None or answer(condition, event, world, now) is True):
            count += 1
    return compared(op, count, number)


# -- the same as SQL ---------------------------------------------------------------------------------------


def literal(value: Any, name: str = "") -> str:
    if value is None:
        return "NULL"
    if isinstance(value, bool):
        return str(value).upper()
    if name in TIMES:
        return f"TIMESTAMP '{(datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=value)).isoformat()}'"
    return repr(value) if not isinstance(value, str) else "'" + value.replace("'", "''") + "'"


def shifted(by: int) -> str:
    return f"now() {'+' if by > 0 else '-'} INTERVAL '{abs(by)} seconds'" if by else "now()"


def sql(node: tuple[Any, ...]) -> str:
    kind = node[0]
    if kind in ("and", "or"):
        return "(" + f" {kind.upper()} ".join(sql(part) for part in node[1]) + ")"
    if kind == "not":
        return f"NOT ({sql(node[1])})"
    if kind == "is":
        return f"(({sql(node[1])}) IS {'NOT ' if node[3] else ''}{literal(node[2])})"
    if kind == "compare":
        return f"{node[2]} {node[1]} {literal(node[3], node[2])}"
    if kind == "columns":
        return f"{node[2]} {node[1]} {node[3]}"
    if kind == "between":
        return f"{node[1]} BETWEEN {literal(node[2], node[1])} AND {literal(node[3], node[1])}"
    if kind == "in":
        return f"{node[1]} IN ({', '.join(literal(option, node[1]) for option in node[2])})"
    if kind == "null":
        return f"{node[1]} IS NULL"
    if kind == "flag":
        return str(node[1])
    if kind == "time":
        if node[4] == "shifted":
            return f"{node[2]} - INTERVAL '{node[3]} seconds' {node[1]} now()"
        if node[4] == "mirrored":
            mirror = {"<": ">", ">": "<", "<=": ">=", ">=": "<="}.get(node[1], node[1])
            return f"{shifted(node[3])} {mirror} {node[2]}"
        return f"{node[2]} {node[1]} {shifted(node[3])}"
    if kind == "since":
        return f"{node[1]} BETWEEN {shifted(-node[2])} AND {shifted(-node[3])}"
    if kind == "fixed":
        return f"now() {node[1]} {literal(node[2], 'born')}"
    _, op, number, condition, window, strict = node
    where = [] if condition is None else [sql(condition)]
    if window is not None:
        where.append(f"event_time {'>' if strict else '>='} {shifted(-window)}")
    text = "FROM events" + (" WHERE " + " AND ".join(where) if where else "")
    if op == ">=" and number == 1:
        return f"EXISTS (SELECT 1 {text})"
    return f"(SELECT count(*) {text}) {op} {number}"


# -- what is tried -----------------------------------------------------------------------------------------

moments = st.builds(
    lambda second, micro: START + second * SECOND + micro,
    st.integers(0, 9),
    st.sampled_from((-1, 0, 0, 0, 1)),
)
numbers = st.integers(-1, 3)
texts = st.sampled_from(("a", "b", "it's", ""))
operators = st.sampled_from(OPS)


def about(numeric: tuple[str, ...], textual: tuple[str, ...]) -> list[st.SearchStrategy[tuple[Any, ...]]]:
    """Conditions without time over these columns."""
    number, text = st.sampled_from(numeric), st.sampled_from(textual)
    with_null = st.one_of(st.none(), numbers)
    return [
        st.tuples(st.just("compare"), operators, number, numbers | st.sampled_from((0.5, 2.5))),
        st.tuples(st.just("compare"), operators, text, texts),
        st.tuples(st.just("columns"), operators, number, number),
        st.tuples(st.just("between"), number, numbers, numbers),
        st.tuples(st.just("in"), number, st.lists(with_null, max_size=3).map(lambda some: [*some, 1])),
        st.tuples(st.just("in"), text, st.lists(st.none() | texts, max_size=2).map(lambda some: ["a", *some])),
        st.tuples(st.just("null"), number | text),
    ]


def nested(leaf: st.SearchStrategy[tuple[Any, ...]], most: int) -> st.SearchStrategy[tuple[Any, ...]]:
    def around(inner: st.SearchStrategy[tuple[Any, ...]]) -> st.SearchStrategy[tuple[Any, ...]]:
        return st.one_of(
            st.tuples(st.just("not"), inner),
            st.tuples(st.just("is"), inner, st.sampled_from((True, False, None)), st.booleans()),
        )

    def joined(inner: st.SearchStrategy[tuple[Any, ...]]) -> st.SearchStrategy[tuple[Any, ...]]:
        several = st.tuples(st.sampled_from(("and", "or")), st.lists(inner, min_size=2, max_size=4))
        return st.one_of(several, several, around(inner))

    return st.recursive(st.one_of(leaf, leaf, around(leaf)), joined, max_leaves=most)


# A few filters come again and again, so that segments share memories.
common = st.sampled_from((None, ("compare", "=", "event_type", "x"), ("compare", ">", "price", 0)))
filters = common | nested(
    st.one_of(
        st.tuples(st.just("compare"), st.sampled_from(("=", "<>")), st.just("event_type"), st.sampled_from("xyz")),
        *about(("price", "quantity"), ("category", "event_type", "product_id")),
    ),
    3,
)
timed = st.one_of(
    st.tuples(
        st.just("time"),
        operators,
        st.sampled_from(TIMES),
        st.sampled_from([sign * length for length in INTERVALS for sign in (1, -1)] + [0]),
        st.sampled_from(("plain", "mirrored")),
    ),
    st.tuples(st.just("time"), operators, st.sampled_from(TIMES), st.sampled_from(INTERVALS), st.just("shifted")),
    st.tuples(st.just("since"), st.sampled_from(TIMES), st.sampled_from(INTERVALS), st.sampled_from((0, 1, 2))),
    st.tuples(st.just("fixed"), operators, moments),
    st.tuples(
        st.just("count"),
        operators,
        st.integers(-1, 4),
        filters,
        st.none() | st.sampled_from(INTERVALS),
        st.booleans(),
    ),
)
plain = st.one_of(
    *about(NUMBERS, TEXTS),
    st.tuples(st.just("flag"), st.just("consent")),
    st.tuples(st.just("compare"), st.sampled_from(("=", "<>")), st.just("consent"), st.booleans()),
    st.tuples(st.just("compare"), operators, st.sampled_from(TIMES), moments),
    st.tuples(st.just("columns"), operators, st.sampled_from(TIMES), st.sampled_from(TIMES)),
    st.tuples(st.just("in"), st.sampled_from(TIMES), st.lists(moments, min_size=1, max_size=2)),
)
conditions = nested(st.one_of(timed, timed, timed, plain), 6)
maybe = st.none()
rows = st.fixed_dictionaries(
    {
        "age": maybe | numbers,
        "score": maybe | numbers.map(float) | st.just(2.5),
        "cart_value": numbers.map(float),
        "view_count": st.integers(0, 3),
        "city": maybe | texts,
        "recent_view_category": maybe | texts,
        "last_viewed_product": maybe | texts,
        "consent": maybe | st.booleans(),
        "born": maybe | moments,
        "cart_updated_at": maybe | moments,
        "last_seen_at": moments,
    }
)
events = st.lists(
    st.fixed_dictionaries(
        {
            "event_type": st.sampled_from("xyzw"),
            "time": moments,
            "category": maybe | texts,
            "product_id": maybe | texts,
            "price": maybe | numbers.map(float),
            "quantity": maybe | numbers.map(float),
        }
    ),
    max_size=12,
)
worlds = st.builds(World, rows, events)


def customer_of(world: World) -> Customer:
    known = {name: value for name, value in world.row.items() if name not in ATTRIBUTES}
    customer = Customer(0, "c", START, **known)
    customer.attributes = {
        name: (world.row[name], START) for name in ATTRIBUTES if world.row[name] is not None or name == "age"
    }
    return customer


def remember(customer: Customer, world: World, book: Any) -> None:
    """Feed the events in the order of their arrival, which is not that of their times."""
    for event in world.events:
        fact = Fact(None, "c", event["event_type"], event["time"], True)
        for name in ("category", "product_id", "price", "quantity"):
            setattr(fact, name, event[name])
        for memory in book.plan(fact.event_type).memories:
            if memory.matches(fact):
                if customer.memory is None:
                    customer.memory = {}
                memory.remember(customer.memory, fact, START - 6 * SECOND)
    for memory in book.memories:
        assert len((customer.memory or {}).get(memory.key, [])) <= memory.k


def candidates(world: World) -> list[int]:
    """Every instant at which anything at all could change, its neighbours, and some before and after."""
    bases = [event["time"] for event in world.events]
    bases += [world.row[name] for name in TIMES if world.row[name] is not None]
    bases += [START + second * SECOND + micro for second in range(10) for micro in (-1, 0, 1)]
    shifts = {0} | {sign * length for length in INTERVALS for sign in (1, -1)}
    instants = {base + by * SECOND + micro for base in bases for by in shifts for micro in (-1, 0, 1, 2)}
    return sorted(instants)


windows = st.none() | st.sampled_from(INTERVALS)
counts = st.lists(st.tuples(operators, st.integers(0, 4), windows, st.booleans()), min_size=1, max_size=3)


@st.composite
def alike(draw: st.DrawFn) -> tuple[Any, ...]:
    """Two conditions that count by the same filter, so that one memory has to serve both."""
    condition = draw(filters)
    both = [
        (
            word,
            [("count", op, number, condition, window, strict) for op, number, window, strict in draw(counts)],
        )
        for word in ("and", "or")
    ]
    return tuple(both)


def check(conditions: tuple[tuple[Any, ...], ...], world: World, start: int) -> None:
    """Compile the conditions into one book, feed it the events, go from one announced instant to the next."""
    definitions = {f"s{number}": Definition(sql(node)) for number, node in enumerate(conditions)}
    book = compile_book(DefinitionBook(ATTRIBUTES, definitions))
    customer = customer_of(world)
    remember(customer, world, book)
    instants = candidates(world)
    for segment, asked in zip(book.segments, conditions, strict=True):
        now = START + start * SECOND
        steps = 0
        while now < NEVER:
            member, until = segment.evaluate(customer, now)
            assert until > now
            quiet = [now, *(instant for instant in instants if now < instant < until)]
            if until < NEVER:
                quiet.append(until - 1)
            for instant in quiet:
                expected = answer(asked, world.row, world, instant) is True
                assert expected is member, (definitions, now, until, instant)
            # What is asked in between agrees, and announces nothing that lies behind.
            for instant in quiet[1::5]:
                again, then = segment.evaluate(customer, instant)
                assert again is member
                assert then > instant
            segment.evidence(customer, now)
            now = until
            steps += 1
        assert steps <= len(instants)


@settings(max_examples=900, deadline=None)
@given(conditions, worlds, st.integers(-6, 12))
def test_a_segment_is_what_its_sql_says_until_the_instant_that_it_announces(
    condition: tuple[Any, ...], world: World, start: int
) -> None:
    """The truth is SQL's, stays so to ``until - 1``, and from one ``until`` to the next none is missed."""
    check((condition,), world, start)


@settings(max_examples=400, deadline=None)
@given(alike(), worlds, st.integers(-6, 12))
def test_segments_that_count_alike_share_a_memory_and_are_each_exact(
    pair: tuple[tuple[Any, ...], ...], world: World, start: int
) -> None:
    """Windows and numbers may differ: one memory is large enough for all, late events included."""
    check(pair, world, start)
