"""P4 for segments: whatever producers say of a customer, every segment that the compiler takes decides and explains.

The books are those of the comparison with DuckDB, whose customers are ordinary ones. These are not: their numbers lie
at the ends of their types, their texts look like numbers that no type holds, their instants are the first and the last
of the calendar. A function that raised there would end the worker of the partition at the same record again and again.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings

from schemas.scalars import MAX_NUMBER
from stream.core.time import format_iso
from stream.interpreter import Interpreter
from tests.property.oracle_cases import FOCI, Draft, drafts
from tests.property.oracle_run import book_of, compilable
from tests.property.oracle_words import ANCHORS, DAY, HOUR, MINUTE

#: Books around each construct of the grammar, and records of a log.
BOOKS, RECORDS = 3, 30

_INTEGERS = (2**63 - 1, -(2**63), 2**53 + 1, -(2**62), 1, 0, -1)
_NUMBERS = (1.7976931348623157e308, -1.7976931348623157e308, 5e-324, -0.0, 9.3e18, -9.3e18, 2.0**62, 0.1)
_FIELDS = (MAX_NUMBER, -MAX_NUMBER, 999_999_999_999_999.9, 5e-324, -0.0, 0.1, 1e-300)
_TEXTS = (
    *("1e99999999999999999999", "-1e-99999999999999999999") * 4,
    *("0e-40000", "9223372036854775808", "1_0", "inf", "-nan"),
    *("0x" + "f" * 200, "9" * 250, "", "\0", "%" * 200, "\\", " 12 ", "İ", "ß" * 200, "e\u0301", "\U0010ffff"),
)
_LONG = ("9" * 6_000, "0b" + "1" * 5_000, "a" * 30_000)
_INSTANTS = (
    *("0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999Z") * 2,
    *("0001-01-01T00:00:00.000001Z", "1582-10-10T00:00:00Z", "1969-12-31T23:59:59.999999Z"),
    *("9900-01-01T00:00:00Z", "9999-12-31T00:00:00Z"),
)
_ATTRIBUTES: dict[str, tuple[Any, ...]] = {
    "age": _INTEGERS,
    "score": _NUMBERS,
    "city": (*_TEXTS, *_LONG),
    "newsletter": (True, False),
    "renews_at": _INSTANTS,
}
_EVENT: dict[str, tuple[Any, ...]] = {
    "event_type": ("purchase", "product_view", "add_to_cart", "remove_from_cart"),
    "product_id": _TEXTS,
    "category": _TEXTS,
    "price": _FIELDS,
    "quantity": _FIELDS,
}


def _some(rng: random.Random, words: dict[str, tuple[Any, ...]]) -> dict[str, Any]:
    return {name: rng.choice(values) for name, values in words.items() if rng.random() < 0.8 or name == "event_type"}


def _log(rng: random.Random) -> Iterator[tuple[int, dict[str, Any]]]:
    """Log times (µs), and what arrives at them."""
    now = rng.choice(ANCHORS)
    for number in range(RECORDS):
        now += rng.choice((0, 1_000, MINUTE, HOUR, 20 * DAY))
        said = _some(rng, _EVENT)
        if rng.random() < 0.5:
            said = {"event_type": "profile_update", "properties": _some(rng, _ATTRIBUTES)}
        time = format_iso(now - rng.choice((0, 0, 1, DAY)))
        yield now, {"customer_id": "ann", "event_id": f"{number}", "timestamp": time, **said}


def _decides(draft: Draft, rng: random.Random, ends: Counter[tuple[str, str]]) -> None:
    segments = compilable(draft.segments, Counter())
    if not segments:
        return
    live = Interpreter(book_of(segments))
    edition = live.partition.membership.edition
    assert edition is not None
    for at, event in _log(rng):
        live.pipe(at, None, msgspec.json.encode(event))
        for customer in live.partition.customers.values():
            for segment in edition.book.by_name.values():
                member, until = segment.evaluate(customer, at)
                assert until > at
                assert (segment.explain(customer, at).truth is True) == member, segments[segment.name]
    live.advance(live.partition.log_time + 40 * DAY)
    ends.update(live.endings)


@pytest.mark.timeout(900)
def test_no_customer_stops_a_segment() -> None:
    ends: Counter[tuple[str, str]] = Counter()
    rng = random.Random(1)
    for number, focus in enumerate(FOCI):

        @seed(number)
        @settings(
            max_examples=BOOKS,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
            phases=(Phase.generate,),
        )
        @given(drafts(focus))
        def run(draft: Draft) -> None:
            _decides(draft, rng, ends)

        run()
    applied = ends["applied", "fact"]
    assert applied > 2_000, ends
    assert applied > 0.8 * ends.total(), "most of what is said is taken, and not refused"
