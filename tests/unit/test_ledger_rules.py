"""Laws of the ledger: what is still to be sent, and what a receipt says. Pure."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.changes import ERASED, Change, Origin
from connectors.ledger import LIVE, NOTHING, Erasure, Known, Ledger, Mark, Verdict, begun_of, mark_of, verdict
from connectors.ledgerstore import MemoryStore
from connectors.rebuild import mark_of as mark_of_receipt
from connectors.records import receipt


def change(sequence: int, *, origin: Origin = "live", offset: int = 50, at: str = "2026-01-02T03:04:05Z") -> Change:
    return Change("id", "c", "vip", "entered", at, sequence, b"{}", 2, offset, origin=origin)


@pytest.mark.parametrize(
    ("sequence", "origin", "expected"),
    [
        (6, "live", Verdict.SUPERSEDED),
        (7, "live", Verdict.DELIVERED),
        (8, "live", Verdict.SEND),
        (6, "replay", Verdict.SUPERSEDED),
        (7, "replay", Verdict.SEND),
        (8, "replay", Verdict.SEND),
        (6, "resync", Verdict.SUPERSEDED),
        (7, "resync", Verdict.SEND),
        (8, "resync", Verdict.SEND),
    ],
)
def test_nothing_older_than_what_was_delivered_is_sent(sequence: int, origin: Origin, expected: Verdict) -> None:
    """The same again only where somebody asked for it."""
    assert verdict(change(sequence, origin=origin), Known(7)) is expected
    assert verdict(change(sequence, origin=origin), NOTHING) is Verdict.SEND


def test_what_ended_in_order_before_something_that_was_delivered_is_not_begun_again() -> None:
    """A crash may forget that a newer change had taken its place; that one comes later. A redelivery is no proof."""
    assert verdict(change(6), Known(0, None, live=7)) is Verdict.SUPERSEDED
    assert verdict(change(8), Known(0, None, live=7)) is Verdict.SEND
    assert verdict(change(6, origin="resync"), Known(0, None, live=7)) is Verdict.SEND
    assert mark_of(change(7)).live and not mark_of(change(7, origin="resync")).live


@pytest.mark.parametrize(
    ("one", "expected"),
    [
        (change(9, offset=39), Verdict.SUPERSEDED),
        (change(1, offset=41), Verdict.SEND),
        (change(9, origin="replay", offset=99, at="2026-01-02T03:04:05.5Z"), Verdict.SUPERSEDED),
        (change(9, origin="replay", offset=99, at="2026-01-02T03:04:06Z"), Verdict.SUPERSEDED),
        (change(1, origin="resync", offset=1, at="2026-01-02T03:04:06.000001Z"), Verdict.SEND),
    ],
)
def test_nothing_of_somebody_who_was_forgotten_is_sent(one: Change, expected: Verdict) -> None:
    """What came after the erasure is: the customer is a new one, numbered anew."""
    assert verdict(one, Known(0, Erasure(40, "2026-01-02T03:04:06Z"))) is expected


def test_an_erasure_is_sent_once() -> None:
    """And again where a later one says so."""
    erased = Change("id", "c", "", ERASED, "2026-01-02T03:04:06Z", 0, b"{}", 2, 40)
    assert verdict(erased, NOTHING) is Verdict.SEND
    assert verdict(erased, Known(0, Erasure(39, ""))) is Verdict.SEND
    assert verdict(erased, Known(0, Erasure(40, ""))) is Verdict.DELIVERED
    assert mark_of(erased) == Mark(2, "c", "", 0, Erasure(40, "2026-01-02T03:04:06Z", id="id"))


def test_what_was_begun_is_sent_again_and_nothing_before_it() -> None:
    """A redelivery of something older is what somebody asked for."""
    assert begun_of(change(7)) == Mark(2, "c", LIVE, 7, live=False)
    assert verdict(change(7), Known(5, None, live=7)) is Verdict.SEND
    assert verdict(change(6), Known(5, None, live=7)) is Verdict.SUPERSEDED
    assert verdict(change(5), Known(5, None, live=7)) is Verdict.DELIVERED
    assert verdict(change(6, origin="replay"), Known(5, None, live=7)) is Verdict.SEND


def test_an_erasure_that_was_begun_is_sent_again_unless_something_followed() -> None:
    """Then it was given up. What is older than it is not sent, in either case."""
    erased = Change("id", "c", "", ERASED, "2026-01-02T03:04:06Z", 0, b"{}", 2, 40)
    begun = Erasure(40, erased.at, begun=True, id="id")
    assert begun_of(erased) == Mark(2, "c", "", 0, begun)
    assert verdict(erased, Known(0, begun)) is Verdict.SEND
    assert verdict(erased, Known(0, begun, live=1)) is Verdict.SUPERSEDED
    assert verdict(erased, Known(0, Erasure(41, erased.at, begun=True))) is Verdict.SUPERSEDED
    assert verdict(change(9, offset=39), Known(0, begun)) is Verdict.SUPERSEDED
    assert verdict(change(1, offset=41), Known(0, begun)) is Verdict.SEND


def another_try(of: str = "id", *, even_if_returned: bool = False) -> Change:
    """An erasure that was given up, sent again: at another place of another topic."""
    fields = (of, "c", "", ERASED, "2026-01-02T03:04:06Z", 0, b"{}", 2, 7)
    return Change(*fields, origin="replay", even_if_returned=even_if_returned)


@pytest.mark.parametrize(
    ("known", "expected", "meant"),
    [
        (NOTHING, Verdict.SEND, Verdict.SEND),
        (Known(0, Erasure(40, "", begun=True, id="id")), Verdict.SEND, Verdict.SEND),
        (Known(0, Erasure(40, "", begun=True, id="id"), followed=True), Verdict.SUPERSEDED, Verdict.SEND),
        (Known(0, Erasure(40, "", id="id")), Verdict.DELIVERED, Verdict.DELIVERED),
        (Known(0, Erasure(40, "", id="id"), live=3, followed=True), Verdict.DELIVERED, Verdict.DELIVERED),
        # Of an earlier one than the last; and of one whose id an older version did not keep.
        (Known(0, Erasure(50, "", id="later")), Verdict.SEND, Verdict.SEND),
        (Known(0, Erasure(40, "", begun=True)), Verdict.SEND, Verdict.SEND),
        (Known(0, Erasure(40, "", begun=True), followed=True), Verdict.SUPERSEDED, Verdict.SEND),
        (Known(followed=True), Verdict.SUPERSEDED, Verdict.SEND),
    ],
)
def test_an_erasure_is_sent_again_unless_something_followed_it(known: Known, expected: Verdict, meant: Verdict) -> None:
    """Which it would delete, too: that has to be meant. What has arrived is not sent again in either case."""
    assert verdict(another_try(), known) is expected
    assert verdict(another_try(even_if_returned=True), known) is meant


async def test_of_an_erasure_that_arrived_after_all_the_ledger_knows() -> None:
    """By its id, and what came after the first attempt stays known. Of any but the last erasure it does not."""
    store, live = await opened(), replace(another_try(), origin="live")
    asked = [another_try(), another_try("other"), change(1), replace(change(1), offset=39)]
    send, delivered, superseded = Verdict.SEND, Verdict.DELIVERED, Verdict.SUPERSEDED
    await store.mark([begun_of(replace(live, offset=40)), mark_of(another_try("other"))])
    assert await said_by(store, asked) == [send, send, send, superseded]
    await store.mark([mark_of(change(1))])
    assert await said_by(store, asked) == [superseded, superseded, delivered, superseded]
    await store.mark([mark_of(another_try())])
    assert await said_by(store, asked) == [delivered, superseded, delivered, superseded]


class Slow(MemoryStore):
    """A store whose look answers as of before it was asked, and whose marks are written when it is told."""

    def __init__(self) -> None:
        super().__init__()
        self.looked, self.answer, self.writing = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def look(self, wanted: Sequence[Change]) -> Sequence[Known]:
        known = await super().look(wanted)
        self.looked.set()
        await self.answer.wait()
        return known

    async def mark(self, marks: Sequence[Mark]) -> None:
        await self.writing.wait()
        await super().mark(marks)


@pytest.mark.parametrize("before", [True, False])
def test_what_is_marked_while_somebody_looks_is_known(before: bool) -> None:
    """Also what was on its way to the store when the look began; and an erasure ends what the look had found."""

    async def run() -> None:
        store = Slow()
        ledger = Ledger(store, lambda _, committed: store.rebuilt(2, 0, 0), changed=lambda: None)
        await ledger.adopt({2: 0}, {2: 9})
        await MemoryStore.mark(store, [mark_of(change(50)), mark_of(_of_d(50, 39))])
        forgotten = Change("id", "d", "", ERASED, "2026-01-02T03:04:06Z", 0, b"{}", 2, 40)
        other = Change("id", "c", "other", "entered", "2026-01-02T03:04:05Z", 52, b"{}", 2, 50)
        asked = [change(52), other, change(53), change(54), _of_d(1, 41), _of_d(50, 39)]

        def happen() -> None:
            ledger.mark(change(53), lambda: None)
            ledger.mark(forgotten, lambda: None)

        if before:
            happen()
            await asyncio.sleep(0)
        looking = asyncio.create_task(ledger.verdicts(asked))
        await store.looked.wait()
        if not before:
            happen()
        store.writing.set()
        await ledger.settle(5.0)
        store.answer.set()
        superseded, delivered, send = Verdict.SUPERSEDED, Verdict.DELIVERED, Verdict.SEND
        assert await looking == [superseded, superseded, delivered, send, send, superseded]

    asyncio.run(run())


def _of_d(sequence: int, offset: int) -> Change:
    return Change("id", "d", "vip", "entered", "2026-01-02T03:04:05Z", sequence, b"{}", 2, offset)


@pytest.mark.parametrize("what", ["delivered", "begun"])
def test_what_is_marked_while_an_erasure_is_looked_up_has_followed_it(what: str) -> None:
    """Else it would be deleted."""

    async def run() -> None:
        store = Slow()
        ledger = Ledger(store, lambda _, committed: store.rebuilt(2, 0, 0), changed=lambda: None)
        await ledger.adopt({2: 0}, {2: 9})
        store.writing.set()
        await store.mark([begun_of(replace(another_try(), origin="live"))])
        looking = asyncio.create_task(ledger.verdicts([another_try(), another_try(even_if_returned=True)]))
        await store.looked.wait()
        if what == "begun":
            await ledger.begin([change(1)])
        else:
            ledger.mark(change(1), lambda: None)
            await ledger.settle(5.0)
        store.answer.set()
        assert await looking == [Verdict.SUPERSEDED, Verdict.SEND]

    asyncio.run(run())


def said(status: str, one: Change, destination: str = "crm", since: float = 1_767_323_045.5) -> bytes:
    """The receipt of something that was logged then."""
    now = 1_767_323_046.0
    latency = (now - since) * 1000
    return receipt(one, destination=destination, status=status, attempts=1, latency_ms=latency, now=now)


def test_a_receipt_says_what_was_delivered_to_whom() -> None:
    """Not what was refused or superseded, nor what another destination has."""
    assert mark_of_receipt(said("delivered", change(7)), "crm", 2) == Mark(2, "c", "vip", 7)
    assert mark_of_receipt(said("dead_lettered", change(7)), "crm", 2) is None
    assert mark_of_receipt(said("superseded", change(7)), "crm", 2) is None
    assert mark_of_receipt(said("delivered", change(7), "crm2"), "crm", 2) is None
    erased = Change("id", "c", "", ERASED, "2026-01-02T03:04:05Z", 0, b"{}", 2, 40)
    assert mark_of_receipt(said("erased", erased), "crm", 2) == Mark(
        2, "c", "", 0, Erasure(40, "2026-01-02T03:04:05.500000Z", id="id")
    )
    # The customer's numbers begin again behind one that the platform refused, too.
    assert mark_of_receipt(said("dead_lettered", erased), "crm", 2) == Mark(
        2, "c", "", 0, Erasure(40, "2026-01-02T03:04:05.500000Z", begun=True, id="id")
    )
    # One that was sent again says that it arrived, and not where it stood; refused once more, it says nothing.
    marked = mark_of_receipt(said("erased", another_try()), "crm", 2)
    assert marked and (marked.live, marked.erasure and marked.erasure.id) == (False, "id")
    assert mark_of_receipt(said("dead_lettered", another_try()), "crm", 2) is None


@pytest.mark.parametrize(
    "value", [None, b"", b"crm", b"\xffcrm", b'{"destination":"crm"}', json.dumps(["crm"]).encode()]
)
def test_what_is_no_receipt_says_nothing(value: bytes | None) -> None:
    """And ends no start."""
    assert mark_of_receipt(value, "crm", 0) is None


ENDINGS: dict[str, Callable[[Change], list[Mark]]] = {
    "delivered": lambda one: [mark_of(one)],
    "erased": lambda one: [begun_of(one), mark_of(one)] if one.origin == "live" else [mark_of(one)],
    "dead_lettered": lambda one: [begun_of(one)] if one.action == ERASED and one.origin == "live" else [],
    "superseded": lambda one: [],
}
"""What a deliverer marks of something that ends so."""


@given(
    st.lists(
        st.tuples(st.sampled_from(["live", "resync", "erase", "erase again"]), st.booleans(), st.integers(0, 3)),
        max_size=12,
    ),
    st.integers(0, 12),
)
def test_from_receipts_the_ledger_says_the_same(facts: list[tuple[str, bool, int]], again: int) -> None:
    """Of everything that may be asked, whatever was delivered, refused, erased, and erased after all. And again where
    they are read from the middle into a ledger that knows them all.
    """
    ended: list[tuple[Change, str]] = []
    erasures: list[Change] = []
    sequence = 0
    for number, (kind, well, which) in enumerate(facts, start=1):
        at = f"2026-01-02T03:04:{number:02}Z"
        logged = 1_767_323_040.0 + number
        if kind == "erase":
            sequence = 0
            one = Change(f"e{number}", "c", "", ERASED, at, 0, b"{}", 2, number, logged)
            erasures.append(one)
        elif kind == "erase again":
            if not erasures:
                continue
            one = replace(erasures[which % len(erasures)], origin="replay", offset=number)
        else:
            sequence += kind == "live"
            fields = (f"c{number}", "c", f"s{which}", "entered", at, max(sequence, 1), b"{}", 2, number, logged)
            one = Change(*fields, origin="live" if kind == "live" else "resync")
        ended.append((one, ("erased" if one.action == ERASED else "delivered") if well else "dead_lettered"))
    asked = [
        *(
            replace(one, origin="replay", offset=99, even_if_returned=meant)
            for one in erasures
            for meant in (False, True)
        ),
        *erasures,
        *(one for one, _ in ended),
        *(replace(one, origin="replay", offset=99) for one, _ in ended if one.action != ERASED),
        *(replace(change(sequence), segment=f"s{n}") for n in range(4) for sequence in (1, 2, 9)),
    ]

    async def run() -> None:
        live, rebuilt = await opened(), await opened()
        for one, ending in ended:
            await live.mark(ENDINGS[ending](one))
        marks = [
            mark for one, ending in ended if (mark := mark_of_receipt(said(ending, one, since=one.logged_at), "crm", 2))
        ]
        await rebuilt.mark(marks)
        expected = await said_by(live, asked)
        assert await said_by(rebuilt, asked) == expected
        await live.mark(marks[min(again, len(marks)) :])
        assert await said_by(live, asked) == expected

    asyncio.run(run())


async def opened() -> MemoryStore:
    store = MemoryStore()
    await store.adopt({2: 0}, {2: 0})
    return store


async def said_by(store: MemoryStore, asked: Sequence[Change]) -> list[Verdict]:
    return [verdict(change, known) for change, known in zip(asked, await store.look(asked), strict=True)]
