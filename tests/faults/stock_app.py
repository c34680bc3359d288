"""The same job as a plain Faust app with Tables, as Faust's documentation would have one write it.

An agent over JSON events, at least once; a table for the customer's record; windowed tables for the ids that were seen
and for the rate; the same list of crawlers; segments in plain Python; a change produced, and awaited, for each. Bad
input is caught and goes to a topic, as careful users of Faust do (an exception in an agent would skip the event). Time
is the record's (`LogAppendTime`), not the wall clock, so that what the app has to say is a function of its log; exits
that only the passing of time causes are left out, which is less to fail at.

Settings: Faust's own, but for the session (as short as the other contestant's), the number of partitions, and no
changelogs for standbys, which tables in memory cannot use. Producers wait for all replicas, which is Faust's default.
"""

from __future__ import annotations

import json
import os
from datetime import timedelta
from functools import lru_cache
from typing import Any

import faust
from crawleruseragents import is_crawler

from tests.faults.stock_rules import RATE_LIMIT, RATE_SECONDS, Refused, decide, read

_env = os.environ.get
PREFIX = _env("STOCK_PREFIX", "")

app = faust.App(
    f"{PREFIX}stock",
    broker=f"kafka://{_env('STOCK_BROKER', 'localhost:9092')}",
    store="memory://",
    processing_guarantee="at_least_once",
    topic_partitions=int(_env("STOCK_PARTITIONS", "4")),
    topic_replication_factor=1,
    table_standby_replicas=0,
    broker_session_timeout=float(_env("STOCK_SESSION_SECONDS", "6")),
    broker_heartbeat_interval=float(_env("STOCK_SESSION_SECONDS", "6")) / 5,
    broker_max_poll_interval=float(_env("STOCK_MAX_POLL_SECONDS", "1000")),
    web_enabled=False,
    datadir=_env("STOCK_DATADIR", "stock-data"),
)
events_topic = app.topic(f"{PREFIX}events", key_serializer="raw", value_serializer="raw")
changes_topic = app.topic(f"{PREFIX}segment-changes", value_serializer="json")
refused_topic = app.topic(f"{PREFIX}dead-letters", value_serializer="json")

customers = app.Table("customers", default=dict)
seen = app.Table("seen", default=bool).tumbling(timedelta(hours=24), expires=timedelta(hours=24))
rates = app.Table("rates", default=int).tumbling(
    timedelta(seconds=RATE_SECONDS), expires=timedelta(seconds=6 * RATE_SECONDS)
)

is_bot = lru_cache(maxsize=50_000)(is_crawler)


@app.agent(events_topic)
async def segment(stream: faust.StreamT[Any]) -> None:
    """One event after the other."""
    async for record in stream.events():
        message = record.message
        now = message.timestamp
        try:
            event = read(record.value, now, is_bot)
            customer_id, event_id = event["customer_id"], event["event_id"]
            if event_id is not None:
                if seen[event_id].current():
                    continue
                seen[event_id] = True
            rates[customer_id] += 1
            if rates[customer_id].current() > RATE_LIMIT:
                raise Refused("bot_rate")
        except Refused as refused:
            value = {"partition": message.partition, "offset": message.offset, "reason": refused.reason}
            await refused_topic.send(key=message.key, value=value)
            continue
        customer = customers[customer_id]
        changes = decide(customer, event, now)
        customers[customer_id] = customer
        for change in changes:
            await changes_topic.send(key=customer_id, value=change)


def changelogs() -> list[str]:
    """The names of the topics that its state is in."""
    return [f"{PREFIX}stock-{name}-changelog" for name in ("customers", "seen", "rates")]


def encoded(change: dict[str, Any]) -> bytes:
    """A change as Faust's serializer writes it."""
    return json.dumps(change).encode()
