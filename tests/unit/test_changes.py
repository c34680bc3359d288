"""Laws of a segment change: it says all that a receiver needs, and follows from the log alone (P1, P3)."""

from __future__ import annotations

import json
from typing import Any

import pytest

from schemas.changes import SegmentChange
from stream.core.changes import CODE, change_id
from stream.core.config import MINUTE, CoreSettings
from stream.core.output import Output
from stream.core.partition import Partition
from stream.core.time import parse_iso
from stream.interpreter import InMemoryRecord, Interpreter, definitions

T = parse_iso("2026-03-02T08:00:00Z")
BOOK = """
attributes: {age: integer, since: timestamp, location: text}
segments:
  buyer: {sql: total_spent > 0}
  looking: {sql: "(SELECT count(*) FROM events WHERE event_type = 'product_view' AND event_time >= now() - INTERVAL '5 minutes') >= 2"}
  member: {sql: since IS NOT NULL}
"""  # noqa: E501


def event(kind: str, **fields: Any) -> bytes:
    return json.dumps({"customer_id": "c-1", "event_type": kind, **fields}).encode()


LOG: list[tuple[int, bytes]] = [
    (0, event("profile_update", properties={"age": 30, "since": "2020-01-01", "location": "NYC"})),
    (1, event("product_view", product_id="p", category="Books", event_id="v1")),
    (2, event("product_view", product_id="q", category="Toys", timestamp=(T + 90_500_000) // 1000)),
    (3, event("add_to_cart", product_id="q", price=12.5, quantity=2)),
    (4, event("Order Completed", event_id="o1", properties={"order_id": "o", "revenue": 20, "products": []})),
    (60, event("page_view")),
]


def said(settings: CoreSettings | None = None, book: str = BOOK) -> list[bytes]:
    """What the log says."""
    log = Interpreter(book, settings or CoreSettings())
    for minute, value in LOG:
        log.pipe(T + minute * MINUTE, None, value)
    return log.changes


def bodies() -> list[dict[str, Any]]:
    return [json.loads(value) for value in said()]


def test_the_log_says_the_same_bytes_each_time() -> None:
    """By another process, in one batch or in many: nothing in a change is random or of a clock."""
    once = said()
    assert len(once) == 4
    assert said() == once
    partition, out = Partition(0, 1, CoreSettings()), Output()
    records = [InMemoryRecord(0, 0, None, definitions(BOOK), (("fact", b"definitions"),))]
    records += [InMemoryRecord(n, (T + m * MINUTE) // 1000, None, v) for n, (m, v) in enumerate(LOG, 1)]
    partition.process(records, out)
    assert [change.value for change in out.changes] == once


def test_every_change_is_valid_by_its_contract() -> None:
    """And what the contract reads of it is what is written."""
    for value in said():
        read = SegmentChange.model_validate_json(value)
        assert json.loads(read.model_dump_json(exclude_unset=True)) == json.loads(value)


def test_a_change_says_who_what_when_and_why() -> None:
    """Customer, segment, direction, the exact instant, its number, and the fact or the time behind it."""
    member, entered, buyer, exited = bodies()
    assert {each["customer_id"] for each in bodies()} == {"c-1"}
    assert [each["sequence"] for each in bodies()] == [1, 2, 3, 4]
    assert (member["segment"], member["action"], member["at"]) == (
        "member",
        "entered",
        "2026-03-02T08:00:00Z",
    )
    assert (entered["segment"], entered["action"], entered["at"]) == (
        "looking",
        "entered",
        "2026-03-02T08:02:00Z",
    )
    assert entered["cause"] == {
        "kind": "event",
        "event_id": None,
        "event_type": "product_view",
        "event_time": "2026-03-02T08:01:30.500000Z",
    }
    assert (buyer["segment"], buyer["cause"]["event_id"], buyer["cause"]["event_type"]) == (
        "buyer",
        "o1",
        "purchase",
    )
    assert (exited["segment"], exited["action"]) == ("looking", "exited")
    assert exited["at"] == "2026-03-02T08:06:00.000001Z", "five minutes after the first view, and not with the tick"
    assert exited["cause"] == {"kind": "time"}


def test_a_change_brings_the_values_that_decided() -> None:
    """Columns under their names, sub-queries under their text."""
    member, entered, buyer, exited = (each["evidence"] for each in bodies())
    assert member == {"since": "2020-01-01T00:00:00Z"}
    assert buyer == {"total_spent": 20}
    (entered_by,), (exited_by,) = entered.values(), exited.values()
    assert (entered_by["count"], entered_by["latest"]) == (2, "2026-03-02T08:01:30.500000Z")
    assert exited_by["count"] == 1


def test_a_change_brings_what_templates_use_as_it_was_at_that_time() -> None:
    """Instants as ISO 8601, those of attributes too."""
    member, _, buyer, exited = (each["profile"] for each in bodies())
    assert member == {
        "last_viewed_product": None,
        "recent_view_category": None,
        "cart_value": 0,
        "cart_items": 0,
        "last_order_at": None,
        "order_count": 0,
        "total_spent": 0,
        "age": 30,
        "since": "2020-01-01T00:00:00Z",
        "location": "NYC",
    }
    assert buyer == exited
    assert buyer["last_viewed_product"] == "q"
    assert buyer["recent_view_category"] == "Toys"
    assert (buyer["cart_items"], buyer["order_count"], buyer["total_spent"]) == (0, 1, 20)
    assert buyer["last_order_at"] == "2026-03-02T08:04:00Z"


PARTS = ("c-1", "buyer", "entered", 3, T, "0123456789abcdef")


@pytest.mark.parametrize(
    "other",
    [
        ("c-2", "buyer", "entered", 3, T, "0123456789abcdef"),
        ("c-1", "buyers", "entered", 3, T, "0123456789abcdef"),
        ("c-1", "buyer", "exited", 3, T, "0123456789abcdef"),
        ("c-1", "buyer", "entered", 4, T, "0123456789abcdef"),
        ("c-1", "buyer", "entered", 3, T + 1, "0123456789abcdef"),
        ("c-1", "buyer", "entered", 3, T, "0123456789abcdee"),
    ],
    ids=["customer", "segment", "action", "sequence", "instant", "version"],
)
def test_the_id_depends_on_each_thing_that_determines_the_change(other: tuple[Any, ...]) -> None:
    """And on nothing else."""
    assert change_id(*other) != change_id(*PARTS)
    assert change_id(*PARTS) == change_id(*PARTS)


def test_ids_do_not_run_together() -> None:
    """Customer ids are anybody's text: no two of them make one id by moving a separator."""
    texts = ("c", "c:", ":c", "c:buyer", "1:c", "c:1", "ü", "c\n", "")
    assert len({change_id(text, *PARTS[1:]) for text in texts}) == len(texts)


def test_no_two_changes_of_a_log_share_an_id() -> None:
    """Sequence numbers are the customer's own and have no gaps, so ids differ."""
    log = Interpreter(BOOK)
    for n in range(200):
        for customer in (f"c{n % 7}", f"c{n % 5}"):
            value = {"customer_id": customer, "event_type": "product_view", "event_id": f"{n}"}
            log.pipe(T + n * 3 * MINUTE, None, json.dumps(value).encode())
    ids = [json.loads(value)["id"] for value in log.changes]
    assert len(ids) > 50
    assert len(set(ids)) == len(ids)
    for customer in {change.customer_id for change in log.decided}:
        numbers = [change.sequence for change in log.decided if change.customer_id == customer]
        assert numbers == list(range(1, len(numbers) + 1))


def test_a_change_names_the_code_and_the_settings_that_decided() -> None:
    """A replay under others is not held against what had left before."""
    (code,) = {each["code"] for each in bodies()}
    assert code.startswith(f"{CODE}.")
    others = {json.loads(said(CoreSettings(rate_limit=n))[0])["code"] for n in (7, 8)}
    assert len(others | {code}) == 3


def test_the_id_does_not_depend_on_the_code() -> None:
    """A receiver that has it from an older version need not get it again from a newer one."""
    other = CoreSettings(rate_limit=7)
    assert [json.loads(value)["id"] for value in said(other)] == [each["id"] for each in bodies()]


def test_the_head_of_the_change_is_its_value() -> None:
    """What the engine counts and compares by is what stands in the bytes."""
    log = Interpreter(BOOK)
    for minute, value in LOG:
        log.pipe(T + minute * MINUTE, None, value)
    for change in log.decided:
        body = json.loads(change.value)
        assert (change.customer_id, change.sequence) == (body["customer_id"], body["sequence"])
        assert (change.segment, change.action) == (body["segment"], body["action"])
        assert change.at == parse_iso(body["at"])
        assert change.cause == body["cause"]["kind"]
        assert body["id"] == change_id(
            change.customer_id,
            change.segment,
            change.action,
            change.sequence,
            change.at,
            body["definition_version"],
        )
