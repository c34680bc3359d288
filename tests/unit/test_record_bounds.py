"""A customer's record has bounds, so that nobody, by mistake or on purpose, makes one that the log does not take."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from itertools import count
from typing import Any

import msgspec
import pytest

from schemas import topics
from stream.core.config import CoreSettings
from stream.core.output import Output
from stream.core.partition import Partition
from stream.core.segments import DefinitionErrors, load_book
from stream.core.time import format_iso, parse_iso
from stream.interpreter import InMemoryRecord, definitions

START = parse_iso("2026-03-02T08:00:00Z")
DAY = 86_400_000_000
#: Four bytes in UTF-8, one character.
WIDE = "\N{GRINNING FACE}"


class Log:
    """One partition, and what it says of events that are told it."""

    def __init__(self, book: Mapping[str, Any]) -> None:
        self._offsets = count()
        self._partition = Partition(0, 1, CoreSettings(rate_limit=10**9))
        self._take(START, None, definitions(json.dumps(book)), (("fact", b"definitions"),))
        self.endings: Counter[tuple[str, str]] = Counter()

    def _take(self, at: int, key: bytes | None, value: bytes, headers: Any = ()) -> Output:
        out = Output()
        self._partition.process([InMemoryRecord(next(self._offsets), at // 1000, key, value, headers)], out)
        return out

    def tell(self, event_type: str, at: int = START, customer: str = "ann", **fields: Any) -> tuple[str, str]:
        """How the event ends."""
        event = {"customer_id": customer, "event_type": event_type, "timestamp": format_iso(at), **fields}
        event["event_id"] = f"e{next(self._offsets)}"
        out = self._take(at, None, json.dumps(event).encode())
        (ending,) = out.endings
        return ending

    def record(self, customer: str = "ann") -> Any:
        return self._partition.customers[customer]

    def nbytes(self, customer: str = "ann") -> int:
        return len(msgspec.msgpack.encode(self.record(customer)))


def test_an_item_of_a_list_whose_name_is_too_long_is_passed_over() -> None:
    """As an item without a name is; at the top level of an event, such a name is refused."""
    log = Log({"segments": {}})
    items = [{"product_id": "1" * 257, "price": 3}, {"product_id": "2" * 256, "price": 5}, {"product_id": "3" * 9999}]
    assert log.tell("add_to_cart", properties={"items": items}) == ("applied", "fact")
    assert (log.record().cart_items, log.record().cart_value) == (1, 5)
    assert log.tell("add_to_cart", product_id="1" * 257) == ("rejected", "id_too_long")


def test_the_texts_of_a_customer_have_a_bound_together() -> None:
    """What would pass it is refused as a whole and changes nothing; what takes a text's place is not added to it."""
    log = Log({"attributes": {f"a{number}": "text" for number in range(52)}, "segments": {}})
    for number in range(50):
        assert log.tell("profile_update", properties={f"a{number}": WIDE * 1_000}) == ("applied", "fact")
    before = dict(log.record().attributes)
    assert log.tell("profile_update", properties={"a50": "x", "a0": WIDE * 1_000}) == ("rejected", "attribute_type")
    assert log.record().attributes == before
    assert log.tell("profile_update", properties={"a50": "x", "a0": "y"}) == ("applied", "fact")
    assert log.tell("profile_update", properties={"a1": None, "a51": "x" * 1_000}) == ("applied", "fact")


def test_a_book_with_too_many_attributes_is_refused() -> None:
    text = json.dumps({"attributes": {f"a{number}": "integer" for number in range(501)}, "segments": {}})
    with pytest.raises(DefinitionErrors, match="501 attributes are declared, and 500 are the most"):
        load_book(text)


def test_what_windows_remember_of_a_customer_has_a_bound() -> None:
    """Beyond it what would be remembered is refused; other events and customers go on, and with time so do these."""
    log = Log(
        {
            "segments": {
                "curious": {
                    "sql": "(SELECT count(DISTINCT product_id) FROM events WHERE event_type = 'product_view' "
                    "AND event_time >= now() - INTERVAL '30 days') >= 3"
                }
            }
        }
    )
    told: Counter[tuple[str, str]] = Counter()
    for number in range(2_000):
        told[log.tell("product_view", START + number * 1_000_000, product_id=f"{number:04}" + WIDE * 252)] += 1
    assert set(told) == {("applied", "fact"), ("rejected", "record_full")}
    assert told["applied", "fact"] > 1_000  # nobody looks at as many
    assert log.nbytes() < 2 << 20
    now = START + 2_000 * 1_000_000
    assert log.tell("page_view", now) == ("applied", "fact")
    assert log.tell("product_view", now, "bob", product_id="p") == ("applied", "fact")
    assert log.tell("product_view", now + 31 * DAY, product_id="p") == ("applied", "fact")
    assert log.nbytes() < 2_000


def test_a_record_at_all_of_its_bounds_is_one_that_the_topic_takes() -> None:
    log = Log(
        {
            "attributes": {f"a{number}": "text" for number in range(50)},
            "segments": {
                "curious": {
                    "sql": "(SELECT count(DISTINCT product_id) FROM events WHERE event_type = 'product_view' "
                    "AND event_time >= now() - INTERVAL '30 days') >= 3"
                }
            },
        }
    )
    for number in range(50):
        log.tell("profile_update", properties={f"a{number}": WIDE * 1_000})
    for number in range(2_000):
        log.tell("product_view", START + number, product_id=f"{number:04}" + WIDE * 252)
    for cart in range(8):
        for line in range(100):
            for entry in range(16):
                product = {"product_id": f"{line:03}" + WIDE * 253, "cart_id": f"{cart}" + WIDE * 255}
                log.tell("add_to_cart", START + 10_000 + entry, quantity=1.5, price=2.5, **product)
    assert 2 << 20 < log.nbytes() < int(topics.STATE.config["max.message.bytes"]) // 2
