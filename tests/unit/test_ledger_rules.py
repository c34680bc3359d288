"""Laws of the ledger: what is still to be sent, and what a receipt says. Pure."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence

import pytest

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
    assert mark_of(erased) == Mark(2, "c", "", 0, Erasure(40, "2026-01-02T03:04:06Z"))


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
    begun = Erasure(40, erased.at, begun=True)
    assert begun_of(erased) == Mark(2, "c", "", 0, begun)
    assert verdict(erased, Known(0, begun)) is Verdict.SEND
    assert verdict(erased, Known(0, begun, live=1)) is Verdict.SUPERSEDED
    assert verdict(erased, Known(0, Erasure(41, erased.at, begun=True))) is Verdict.SUPERSEDED
    assert verdict(change(9, offset=39), Known(0, begun)) is Verdict.SUPERSEDED
    assert verdict(change(1, offset=41), Known(0, begun)) is Verdict.SEND


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


def said(status: str, one: Change, destination: str = "crm") -> bytes:
    return receipt(one, destination=destination, status=status, attempts=1, latency_ms=500, now=1_767_323_046.0)


def test_a_receipt_says_what_was_delivered_to_whom() -> None:
    """Not what was refused or superseded, nor what another destination has."""
    assert mark_of_receipt(said("delivered", change(7)), "crm", 2) == Mark(2, "c", "vip", 7)
    assert mark_of_receipt(said("dead_lettered", change(7)), "crm", 2) is None
    assert mark_of_receipt(said("superseded", change(7)), "crm", 2) is None
    assert mark_of_receipt(said("delivered", change(7), "crm2"), "crm", 2) is None
    erased = Change("id", "c", "", ERASED, "2026-01-02T03:04:05Z", 0, b"{}", 2, 40)
    assert mark_of_receipt(said("erased", erased), "crm", 2) == Mark(
        2, "c", "", 0, Erasure(40, "2026-01-02T03:04:05.500000Z")
    )
    # The customer's numbers begin again behind one that the platform refused, too.
    assert mark_of_receipt(said("dead_lettered", erased), "crm", 2) == Mark(
        2, "c", "", 0, Erasure(40, "2026-01-02T03:04:05.500000Z", begun=True)
    )


@pytest.mark.parametrize(
    "value", [None, b"", b"crm", b"\xffcrm", b'{"destination":"crm"}', json.dumps(["crm"]).encode()]
)
def test_what_is_no_receipt_says_nothing(value: bytes | None) -> None:
    """And ends no start."""
    assert mark_of_receipt(value, "crm", 0) is None
