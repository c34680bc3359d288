"""Membership: what each customer is in, when that next changes by itself, and the order in which it does.

A customer has at most one live entry on the heap of deadlines; it may be early (a later fact moved the deadline on)
and is then put back. Definition books reach a customer before anything else that is later than they are.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from heapq import heappop, heappush
from typing import Any, NamedTuple

import msgspec

from stream.core.attributes import AttributeTypeError, coerce, stated
from stream.core.changes import Change, change
from stream.core.customer import Customer
from stream.core.hysteresis import forget
from stream.core.segments import CompiledBook, Segment
from stream.core.segments.settle import settle

_TIME = {"kind": "time"}


class Edition(NamedTuple):
    """A definition book as one partition met it."""

    number: int
    at: int  # log time, µs
    source: bytes  # as in the log
    book: CompiledBook
    #: Key of a memory -> log time (µs) since which it has been fed; 0 if it has missed nothing.
    since: Mapping[str, int]
    #: Where some of its memories, ``refilled``, were read from the log: what they hold of each customer at its instant.
    filled: Callable[[str], dict[str, list[Any]]] | None = None
    refilled: frozenset[str] = frozenset()
    #: Segments that are written otherwise than in the edition before.
    redefined: frozenset[str] = frozenset()

    def complete_since(self, segment: Segment, at: int) -> int | None:
        """Since when (µs) the segment knows all that it counts; None if at ``at`` it misses nothing in its windows."""
        latest = 0
        for key in segment.memories:
            since = self.since[key]
            if since > latest and since > at - segment.horizons[key]:
                latest = since
        return latest or None


def next_edition(before: Edition | None, at: int, source: bytes, book: CompiledBook, missed: bool) -> Edition:
    """The edition that follows. What ``book`` remembers beyond the one before has missed the past, if there was one."""
    since: dict[str, int] = {}
    known = {memory.key: memory for memory in before.book.memories} if before else {}
    for memory in book.memories:
        old = known.get(memory.key)
        if before is not None and old is not None and memory.k <= old.k and memory.horizon <= old.horizon:
            since[memory.key] = before.since[memory.key]
        else:
            since[memory.key] = at if missed else 0
    number = before.number + 1 if before else 1
    return Edition(number, at, source, book, since, redefined=redefined(before.source if before else None, source))


def redefined(before: bytes | None, source: bytes) -> frozenset[str]:
    """The segments of the book in ``source`` that stand otherwise, or not at all, in the one before."""
    old: dict[str, Any] = {} if before is None else _segments(before)
    return frozenset(name for name, definition in _segments(source).items() if old.get(name) != definition)


def _segments(source: bytes) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.json.decode(source)["book"].get("segments") or {}
    return found


class Membership:
    """Evaluates customers of one partition. Pure: time comes as an argument, changes go into the list given."""

    def __init__(self, code: str) -> None:
        self.code = code
        self.customers: dict[str, Customer] = {}
        self.heap: list[tuple[int, str]] = []
        self.editions: list[Edition] = []
        self._laggards: Iterator[str] | None = None
        # Checkpoints: customers touched since the last, and those of the one in progress not yet in bytes.
        self.mark = 1  # the number of the checkpoint to come
        self.touched: dict[str, Customer] = {}
        self.pending: dict[str, Customer] = {}
        self.encoded: list[tuple[str, bytes]] = []
        self._encode = msgspec.msgpack.Encoder().encode

    # -- books ------------------------------------------------------------------------------------------------

    @property
    def edition(self) -> Edition | None:
        """The newest definition book."""
        return self.editions[-1] if self.editions else None

    def adopt(self, edition: Edition) -> None:
        """A new book is in force from its instant on; customers come to it when touched or swept."""
        self.editions.append(edition)
        self._laggards = iter(list(self.customers))

    @property
    def sweeping(self) -> bool:
        """Whether customers may still stand under an older book."""
        return self._laggards is not None

    def sweep(self, budget: int, log_time: int, offset: int, out: list[Change]) -> int:
        """Bring up to ``budget`` customers to the newest book; returns how many were looked at."""
        looked = 0
        if self._laggards is None:
            return looked
        newest = self.editions[-1].number
        for name in self._laggards:
            customer = self.customers.get(name)
            if customer is not None and customer.book < newest:
                self.touch(customer)
                self.catch_up(customer, log_time, out)
                customer.offset = max(customer.offset, offset)
            looked += 1
            if looked >= budget:
                return looked
        self._laggards = None
        self.editions = [self.editions[-1]._replace(filled=None)]
        return looked

    @property
    def filling(self) -> bool:
        """Whether customers are still to come to an edition that was read from the log: no checkpoint could hold it."""
        return any(edition.filled is not None for edition in self.editions)

    def restore(self, editions: Sequence[Edition]) -> None:
        """After a recovery: the books of the checkpoint, the heap, and who still has to be swept."""
        self.editions = list(editions)
        newest = editions[-1].number if editions else 0
        self.heap = []
        for name, customer in self.customers.items():
            customer.wake = customer.mark = 0
            if customer.due:
                customer.wake = min(customer.due.values())
                self.heap.append((customer.wake, name))
        self.heap.sort()
        behind = [name for name, customer in self.customers.items() if customer.book < newest]
        self._laggards = iter(behind) if behind or len(self.editions) > 1 else None

    # -- one customer -------------------------------------------------------------------------------------------

    def touch(self, customer: Customer) -> None:
        """Say that the customer is about to change; a checkpoint in progress takes its bytes first."""
        if customer.mark == self.mark:
            return
        customer.mark = self.mark
        name = customer.customer_id
        if self.pending and self.pending.pop(name, None) is not None:
            self.encoded.append((name, self._encode(customer)))
        self.touched[name] = customer

    def begin_checkpoint(self) -> None:
        """What was touched so far belongs to the checkpoint that begins now."""
        self.pending, self.touched = self.touched, {}
        self.mark += 1

    def encode_pending(self, budget: int) -> None:
        """Put up to ``budget`` customers of the checkpoint in progress into bytes."""
        pending, encoded, encode = self.pending, self.encoded, self._encode
        for _ in range(min(budget, len(pending))):
            name, customer = pending.popitem()
            encoded.append((name, encode(customer)))

    def catch_up(self, customer: Customer, log_time: int, out: list[Change]) -> None:
        """Let pass, in order, every book and every deadline of the customer up to ``log_time`` (µs)."""
        for edition in self.editions:
            if edition.number > customer.book:
                self._pass_time(customer, edition.at, out)
                self._change_book(customer, edition, out)
        self._pass_time(customer, log_time, out)
        self.schedule(customer)

    def evaluate(
        self,
        customer: Customer,
        segments: Sequence[Segment],
        at: int,
        cause: dict[str, Any],
        edition: Edition,
        out: list[Change],
    ) -> None:
        """Decide ``segments`` at ``at`` (µs) and write down when each next changes by itself."""
        turned: list[Segment] = []
        settle(segments, customer, at, turned)
        self.turn(customer, turned, at, cause, edition, out)

    def turn(
        self,
        customer: Customer,
        segments: Sequence[Segment],
        at: int,
        cause: dict[str, Any],
        edition: Edition,
        out: list[Change],
    ) -> None:
        """The customer leaves those of ``segments`` that it is in, and enters the others."""
        for segment in segments:
            self._flip(customer, segment, segment.name not in (customer.members or ()), at, cause, edition, out)

    def _flip(
        self,
        customer: Customer,
        segment: Segment,
        member: bool,
        at: int,
        cause: dict[str, Any],
        edition: Edition,
        out: list[Change],
    ) -> None:
        """The customer enters (``member``) or leaves the segment."""
        members = customer.members
        if members is None:
            members = customer.members = {}
        if member:
            members[segment.name] = at
        else:
            del members[segment.name]
        since = edition.complete_since(segment, at) if segment.memories else None
        evidence = segment.evidence(customer, at)
        out.append(change(customer, segment.name, member, at, edition.book, cause, evidence, self.code, since))

    def schedule(self, customer: Customer) -> None:
        """Put the customer's earliest deadline on the heap, unless an earlier entry of it is there."""
        due = customer.due
        if due:
            soonest = min(due.values())
            if not customer.wake or soonest < customer.wake:
                customer.wake = soonest
                heappush(self.heap, (soonest, customer.customer_id))

    def fire(self, log_time: int, offset: int, out: list[Change]) -> None:
        """Let pass every deadline of the partition up to ``log_time``, in the order of instant and customer.

        ``offset`` is the last record that is *in*: the one that moved the time on has not been folded yet.
        """
        heap = self.heap
        while heap and heap[0][0] <= log_time:
            instant, name = heappop(heap)
            customer = self.customers.get(name)
            if customer is None or customer.wake != instant:
                continue  # an entry that an earlier one has replaced
            customer.wake = 0
            due = customer.due
            if due and min(due.values()) <= instant:
                self.touch(customer)
                self.catch_up(customer, instant, out)
                customer.offset = max(customer.offset, offset)
            else:
                self.schedule(customer)

    # -- inside -------------------------------------------------------------------------------------------------

    def _edition_of(self, customer: Customer) -> Edition:
        for edition in self.editions:
            if edition.number == customer.book:
                return edition
        raise LookupError(f"no definition book {customer.book} in this partition")

    def _pass_time(self, customer: Customer, log_time: int, out: list[Change]) -> None:
        due = customer.due
        while due and (instant := min(due.values())) <= log_time:
            edition = self._edition_of(customer)
            by_name = edition.book.by_name
            segments = [by_name[name] for name in sorted(due) if due[name] == instant]
            self.evaluate(customer, segments, instant, _TIME, edition, out)

    def _change_book(self, customer: Customer, edition: Edition, out: list[Change]) -> None:
        book = edition.book
        cause = {"kind": "definition", "definition_version": book.version}
        before = next((e.book.attributes for e in self.editions if e.number == customer.book), {})
        customer.book = edition.number
        _retype(customer, before, book.attributes)
        names = {segment.name for segment in book.segments}
        customer.due = None
        for name in [name for name in customer.members or () if name not in names]:
            assert customer.members is not None
            del customer.members[name]
            out.append(change(customer, name, False, edition.at, book, cause, {}, self.code))
        memory = {key: held for key, held in (customer.memory or {}).items() if key in book.horizons}
        if edition.filled is not None:
            memory = {key: held for key, held in memory.items() if key not in edition.refilled}
            memory |= edition.filled(customer.customer_id)
        customer.memory = memory or None
        for name in [name for name in customer.holds or () if name not in names or name in edition.redefined]:
            forget(customer, name)
        # Nobody keeps a membership that a new rule does not give, however long one has to stay by it.
        members = customer.members or {}
        entered: dict[str, int] = {}
        for name in edition.redefined.intersection(members):
            if stay := book.by_name[name].min_stay:
                entered[name], members[name] = members[name], edition.at - stay
        self.evaluate(customer, book.segments, edition.at, cause, edition, out)
        members.update((name, at) for name, at in entered.items() if name in members)


def _retype(customer: Customer, before: Mapping[str, str], now: Mapping[str, str]) -> None:
    """Attributes that are no longer declared are forgotten; those of another type than before are brought to it."""
    for name, (value, time) in list((customer.attributes or {}).items()):
        assert customer.attributes is not None
        kind = now.get(name)
        if kind == before.get(name):
            continue
        del customer.attributes[name]
        if kind is not None:
            with contextlib.suppress(AttributeTypeError):
                said = stated(value, before.get(name, "text"))
                customer.attributes[name] = (coerce(name, said, kind), time)
