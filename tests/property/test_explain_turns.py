"""What `explain` says of the time to come is what then comes, whatever has happened before."""

from __future__ import annotations

from typing import Any

import orjson
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.core.explanation import Turn, explained
from stream.core.time import NEVER, format_iso, parse_iso
from stream.interpreter import Interpreter

MINUTE = 60_000_000
START = parse_iso("2026-03-28T12:00:00Z")
BOOK = """
segments:
  abandoned_cart:
    sql: cart_value > 0 AND cart_updated_at BETWEEN now() - INTERVAL '24 hours' AND now() - INTERVAL '30 minutes'
  twice:
    sql: >-
      (SELECT count(*) FROM events WHERE event_type = 'product_view'
       AND event_time >= now() - INTERVAL '90 minutes') BETWEEN 2 AND 3
  back_again:
    sql: >-
      last_seen_at < now() - INTERVAL '1 hour'
      AND (SELECT count(*) FROM events WHERE event_time > now() - INTERVAL '2 hours') >= 1
      OR last_seen_at < now() - INTERVAL '1 day'
"""
KINDS = ["product_view", "add_to_cart", "purchase", "search"]
happenings = st.lists(
    st.tuples(st.integers(0, 120), st.integers(0, 200), st.sampled_from(KINDS)), min_size=1, max_size=12
)


@settings(max_examples=150, deadline=None)
@given(happenings, st.integers(0, 3000))
def test_the_first_change_to_come_is_the_one_that_was_announced(steps: list[tuple[int, int, str]], later: int) -> None:
    """For every segment, of customers with late events too; and where nothing was announced, nothing comes."""
    log, at = Interpreter(BOOK), START
    for number, (pause, late, kind) in enumerate(steps):
        at += pause * MINUTE
        event: dict[str, Any] = {"event_id": str(number), "customer_id": "ann", "event_type": kind, "price": 5}
        event |= {"product_id": "P1", "timestamp": format_iso(at - late * MINUTE)}
        log.pipe(at, b"ann", orjson.dumps(event))
    log.advance(at + later * MINUTE)
    customer, edition = log.partition.customers["ann"], log.partition.membership.edition
    assert edition is not None
    told = explained(log.partition, customer, edition, list(edition.book.by_name), map(orjson.loads, log.changes))
    before = len(log.changes)
    log.advance(START + 365 * 24 * 60 * MINUTE)
    coming: dict[str, Turn] = {}
    for change in map(orjson.loads, log.changes[before:]):
        coming.setdefault(change["segment"], Turn(change["action"] == "entered", parse_iso(change["at"])))
    for segment in told.segments:
        assert segment.seen == NEVER
        assert segment.turn == coming.get(segment.name), segment.name
