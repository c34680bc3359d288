"""One partition of the customer log: the step from a record to what it gives out. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from heapq import heappush
from typing import Any, Protocol

import msgspec

from stream.core.attributes import AttributeTypeError
from stream.core.bots import BotAgents
from stream.core.changes import cause_of
from stream.core.config import CoreSettings
from stream.core.customer import Customer, fold
from stream.core.decode import Fact, Unusable, check_depth, decode
from stream.core.filled import Filled, filled_of
from stream.core.membership import Membership, next_edition
from stream.core.output import (
    APPLIED,
    DEAD_LETTERED,
    DUPLICATE,
    REJECTED,
    LogRecord,
    Moved,
    Output,
    Refused,
)
from stream.core.routing import partition_of
from stream.core.segments import CompiledBook, DefinitionErrors, Plan, Segment, compile_book, load_book
from stream.core.segments.memory import MOST_BYTES
from stream.core.time import NEVER
from stream.core.windows import SeenContents, SeenIds, digest, hashed

_MS = 1000
#: The end of the year 9999 (µs): what comes later cannot be written down.
_LATEST = 253_402_300_799_999_999
_content = msgspec.json.Encoder(order="deterministic").encode
_NO_BOOK: dict[str, str] = {}


def content_of(fact: Fact) -> bytes:
    """What an event without an id says happened, and when if it says so; not who carried it here, or over what."""
    return _content(
        (
            fact.event_type,
            fact.time if fact.stamped else None,
            fact.product_id,
            fact.category,
            fact.price,
            fact.quantity,
            fact.currency,
            fact.order_id,
            fact.cart_id,
            fact.session_id,
            fact.properties,
        )
    )


class Filling(Protocol):
    """What ``stream.core.fill.Fill`` is to a partition."""

    @property
    def fact(self) -> Filled: ...
    @property
    def until(self) -> int: ...  # everything below this offset is in
    def memory(self, customer_id: str, /) -> dict[str, list[Any]]: ...


class Partition:
    """The state of one partition, and its step. A function of the log alone; batch cuts change nothing.

    ``number`` of ``partitions`` is its place in the topic. ``position`` is the offset of the last record that is in.
    """

    def __init__(self, number: int, partitions: int, settings: CoreSettings) -> None:
        self.number = number
        self.partitions = partitions
        self.settings = settings
        self.membership = Membership(settings.code)
        self.ids = SeenIds(settings.dedup_horizon)
        self.contents = SeenContents(settings.content_horizon)
        self.position = -1
        self.log_time = 0
        self.last_tick = 0
        self.met_facts = False  # whether the log had anything but control records so far
        #: Whoever hands over a ``filled`` fact has to put here what the log said up to it.
        self.fill: Filling | None = None
        self._is_bot = BotAgents()

    @property
    def customers(self) -> dict[str, Customer]:
        """The customers of this partition by id."""
        return self.membership.customers

    def process(self, records: Iterable[LogRecord], out: Output) -> None:
        """Take in records, in the order of the log."""
        # One function on purpose: this loop is the hot path, and a call per step would cost a tenth of it.
        membership = self.membership
        customers, touched, mark = membership.customers, membership.touched, membership.mark
        heap, changes, endings = membership.heap, out.changes, out.endings
        settings = self.settings
        limits, skew = settings.limits, settings.clock_skew
        rate_width, rate_limit = settings.rate_width, settings.rate_limit
        is_bot, verdicts = self._is_bot, self._is_bot.verdicts
        new_id, new_content = self.ids.add, self.contents.add
        now, last_tick, met_facts = self.log_time, self.last_tick, self.met_facts
        window, window_ends = 0, -1  # of the rate, as of `now`
        plans: dict[str, Plan] = {}
        plan: Plan | None = None
        turned: list[Segment] = []  # what a fact makes its customer enter or leave
        edition = membership.edition
        book = edition.book if edition else None
        number = edition.number if edition else 0
        declared = book.attributes if book else _NO_BOOK
        applied = 0
        for record in records:
            offset = record.offset
            stamp = record.timestamp * _MS
            fact_kind: bytes | None = None
            origin: str | None = None
            if record.headers:
                fact_kind, origin = _headers(record)
            if stamp > _LATEST:  # no time at all
                stamp = now
            if record.timestamp_type == 0 and last_tick and fact_kind != b"tick":
                # A producer's own clock is believed only so far. And what was moved says nothing about the time here:
                # its stamp is that of whoever moved it.
                most = last_tick if origin is not None else last_tick + skew
                if stamp > most:
                    stamp = most
            if stamp > now:
                now = stamp
            if heap and heap[0][0] <= now:
                membership.fire(now, offset - 1, changes)
            if fact_kind is not None:
                self.log_time = now
                if fact_kind == b"tick":
                    self.last_tick = last_tick = max(last_tick, stamp)
                    out.control += 1
                elif fact_kind == b"definitions" or fact_kind == b"filled":
                    self.met_facts = met_facts
                    if fact_kind == b"filled":
                        self._take_fill(record, out)
                    else:
                        self._adopt(record, out)
                    edition = membership.edition
                    book = edition.book if edition else None
                    number = edition.number if edition else 0
                    declared = book.attributes if book else _NO_BOOK
                    plans = {}
                else:
                    self._refuse(out, record, DEAD_LETTERED, "unknown_fact", repr(fact_kind[:64]))
                self.position = offset
                continue
            self.position = offset
            met_facts = True
            try:
                fact = decode(record.value, now, origin, limits)
            except Unusable as unusable:
                self.log_time = now
                self._refuse(out, record, unusable.ending, unusable.reason, unusable.detail)
                continue
            name = fact.customer_id
            customer = customers.get(name)
            if customer is None and self.partitions > 1 and partition_of(name, self.partitions) != self.number:
                self.log_time = now
                self._move(out, record, name)
                continue
            agent = fact.user_agent
            if agent is not None and verdicts.get(agent, True) and is_bot(agent):
                self.log_time = now
                self._refuse(out, record, REJECTED, "bot_user_agent", agent[:200])
                continue
            event_id = fact.event_id
            if event_id is not None:
                named = f"{len(name)}:{name}{event_id}".encode("utf-8", "surrogatepass")
                if not new_id(hashed(named), now):  # `digest`, written out
                    endings[DUPLICATE, "event_id"] += 1
                    continue
            elif not new_content(digest(name, content_of(fact)), now):
                endings[DUPLICATE, "content"] += 1
                continue
            kind = fact.event_type
            fresh = customer is None
            if customer is None:
                customer = Customer(offset - 1, name, fact.time, fact.time, number)
            elif customer.offset >= offset:
                out.skipped += 1  # a replay: the record already covers this fact, and its changes have left
                continue
            if customer.mark != mark:
                membership.touch(customer)
            if customer.book != number:
                membership.catch_up(customer, now, changes)
            if kind != "profile_update":
                if now >= window_ends:
                    window = now // rate_width
                    window_ends = (window + 1) * rate_width
                if customer.rate_window != window:
                    customer.rate_window = window
                    customer.rate_count = 1
                else:
                    customer.rate_count += 1
                    if customer.rate_count > rate_limit:
                        customer.offset = offset
                        self.log_time = now
                        self._refuse(out, record, REJECTED, "bot_rate", f"more than {rate_limit} events a window")
                        continue
            if book is not None:
                plan = plans.get(kind)
                if plan is None:
                    plan = plans[kind] = book.plan(kind)
                if plan.grows and plan.is_full(customer, now):
                    customer.offset = offset
                    self.log_time = now
                    self._refuse(out, record, REJECTED, "record_full", f"more than {MOST_BYTES} bytes in windows")
                    continue
            try:
                fold(customer, fact, declared)
            except AttributeTypeError as error:
                self.log_time = now
                self._refuse(out, record, REJECTED, "attribute_type", str(error))
                if fresh:
                    del touched[name]
                else:
                    customer.offset = offset
                continue
            customer.offset = offset
            if fresh:
                customers[name] = customer
            applied += 1
            if book is None:
                continue
            assert plan is not None
            if fresh:
                plan.feed(customer, fact, now)
                soonest = book.settle(customer, now, turned)
            elif plan.is_idle:
                continue
            else:
                fed = plan.feed(customer, fact, now)
                found = plan.touched.get(fed)
                soonest = (found or plan.look(fed)).settle(customer, now, turned)
            if turned:
                assert edition is not None
                membership.turn(customer, turned, now, cause_of(fact), edition, changes)
                turned.clear()
            # What was due before has its entry on the heap already.
            if soonest < NEVER and (not customer.wake or soonest < customer.wake):
                customer.wake = soonest
                heappush(heap, (soonest, name))
        self.log_time = now
        self.met_facts = met_facts
        if applied:
            endings[APPLIED, "fact"] += applied

    def sweep(self, budget: int, out: Output) -> int:
        """Bring up to ``budget`` customers to the newest definition book; returns how many were looked at."""
        return self.membership.sweep(budget, self.log_time, self.position, out.changes)

    def _adopt(self, record: LogRecord, out: Output) -> None:
        out.control += 1
        newest = self.membership.edition
        try:
            book = book_of(record.value or b"")
        except (DefinitionErrors, ValueError, Unusable) as error:
            self._refuse(out, record, DEAD_LETTERED, "bad_definitions", str(error)[:2000])
            return
        if newest is None or newest.book.version != book.version:
            self.membership.adopt(next_edition(newest, self.log_time, record.value or b"", book, self.met_facts))

    def takes_fill(self, value: bytes | None) -> Filled | None:
        """The ``filled`` fact in ``value``, None unless it fills something that the newest book misses."""
        fact, newest = filled_of(value), self.membership.edition
        if fact is None or newest is None or fact.version != newest.book.version:
            return None
        gained = all(key in newest.since and fact.since < newest.since[key] for key in fact.keys)
        return fact if fact.keys and gained else None

    def _take_fill(self, record: LogRecord, out: Output) -> None:
        out.control += 1
        fact, newest = self.takes_fill(record.value), self.membership.edition
        if fact is None or newest is None:
            return
        fill, self.fill = self.fill, None
        if fill is None or fill.fact != fact or fill.until < record.offset:
            raise LookupError(f"what the fact at offset {record.offset} fills was not read from the log before it")
        self.membership.adopt(
            newest._replace(
                number=newest.number + 1,
                at=self.log_time,
                since={**newest.since, **dict.fromkeys(fact.keys, fact.since)},
                filled=fill.memory,
                refilled=frozenset(fact.keys),
                redefined=frozenset(),
            )
        )

    def _move(self, out: Output, record: LogRecord, customer_id: str) -> None:
        if any(key == "moved" for key, _ in record.headers):
            detail = f"moved already, and still not in partition {partition_of(customer_id, self.partitions)}"
            self._refuse(out, record, DEAD_LETTERED, "misrouted", detail)
        else:
            out.moved.append(Moved(record, customer_id))

    def _refuse(self, out: Output, record: LogRecord, ending: str, reason: str, detail: str) -> None:
        out.endings[ending, reason] += 1
        out.refused.append(Refused(record, ending, reason, detail, self.log_time))


def _headers(record: LogRecord) -> tuple[bytes | None, str | None]:
    """The kind of a fact that is no event (or None), and the origin of a record that was moved (or None)."""
    kind: bytes | None = None
    origin: str | None = None
    for key, value in record.headers:
        if key == "fact":
            kind = value
        elif key == "origin" and value is not None:
            origin = value.decode("utf-8", "replace")
    return kind, origin


def book_of(source: bytes) -> CompiledBook:
    """The definition book in a ``definitions`` fact. Raises ``DefinitionErrors``, ``ValueError`` or ``Unusable``."""
    check_depth(source)
    fact: Any = msgspec.json.decode(source)
    if not isinstance(fact, dict) or "book" not in fact:
        raise ValueError("a definitions fact is an object with a 'book'")
    # JSON is YAML: one reader for what people write and for what is in the log.
    return compile_book(load_book(msgspec.json.encode(fact["book"]).decode()))
