"""Laws of the lanes: order per customer, one on its way, nobody held up by another. Time is an argument."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.changes import ERASED, Change, Origin
from connectors.lanes import ERASE, NEVER, Lanes, Parcel


def change(customer: str, sequence: int, partition: int = 0, size: int = 2) -> Change:
    return Change(f"{customer}-{sequence}", customer, "s", "entered", "", sequence, b"x" * size, partition, sequence)


def names(parcel: Parcel | None) -> list[str]:
    assert parcel is not None
    return [change.id for change in parcel.changes]


@given(
    changes=st.lists(st.sampled_from("abcdefg"), max_size=60),
    fates=st.lists(st.sampled_from(["deliver", "retry", "split", "some"]), min_size=1, max_size=40),
    batch_size=st.integers(1, 5),
    in_flight=st.integers(1, 4),
)
def test_every_customer_s_changes_end_in_order_whatever_fails(
    changes: list[str], fates: list[str], batch_size: int, in_flight: int
) -> None:
    """Each exactly once, in order, and never two of a customer on their way at once."""
    lanes = Lanes(batch_size=batch_size, batch_wait=1.0)
    count: dict[str, int] = defaultdict(int)
    for customer in changes:
        count[customer] += 1
        lanes.add(change(customer, count[customer]), now=0.0)
    ended: dict[str, list[int]] = defaultdict(list)
    flying: list[Parcel] = []
    now, step = 0.0, 0
    while lanes.total:
        now += 1.0
        while len(flying) < in_flight and (parcel := lanes.take(now)) is not None:
            flying.append(parcel)
        if not flying:
            continue
        customers = [change.customer_id for parcel in flying for change in parcel.changes]
        assert len(customers) == len(set(customers))
        parcel = flying.pop(step % len(flying))
        fate = fates[step % len(fates)] if step < 200 else "deliver"
        step += 1
        if fate == "retry":
            lanes.park(parcel, now + step % 3)
        elif fate == "split" and len(parcel.changes) > 1:
            lanes.split(parcel, parcel.changes, now)
        else:
            kept = parcel.changes[::2] if fate == "some" else ()
            for one in parcel.changes:
                if one not in kept:
                    ended[one.customer_id].append(one.sequence)
                    lanes.finish(one)
            if kept:
                lanes.park(Parcel(kept), now)
    assert ended == {customer: list(range(1, last + 1)) for customer, last in count.items()}
    assert lanes.take(now + 100) is None
    assert lanes.next_due(now + 100) == NEVER
    assert not +lanes.pending


def test_a_customer_in_retry_holds_up_only_themselves() -> None:
    """The others' changes leave, theirs wait behind the one that failed."""
    lanes = Lanes()
    for one in (change("a", 1), change("a", 2), change("b", 1), change("b", 2)):
        lanes.add(one, 0.0)
    failed, delivered = lanes.take(0.0), lanes.take(0.0)
    assert failed and delivered and lanes.take(0.0) is None
    lanes.park(failed, due=60.0)
    lanes.finish(delivered.changes[0])
    assert names(lanes.take(1.0)) == ["b-2"]
    assert lanes.take(59.9) is None
    assert lanes.next_due(59.9) == 60.0
    assert lanes.take(60.0) is failed
    lanes.finish(failed.changes[0])
    assert names(lanes.take(60.0)) == ["a-2"]


def test_a_batch_leaves_when_it_is_full_or_has_waited_long_enough() -> None:
    """Whichever comes first; a single change does not wait longer than the batch wait."""
    lanes = Lanes(batch_size=3, batch_wait=0.25)
    lanes.add(change("a", 1), 10.0)
    lanes.add(change("b", 1), 10.1)
    assert lanes.take(10.2) is None
    assert lanes.next_due(10.2) == 10.25
    assert not lanes.is_ready(10.2)
    lanes.add(change("c", 1), 10.2)
    assert lanes.is_ready(10.2)
    assert names(lanes.take(10.2)) == ["a-1", "b-1", "c-1"]
    lanes.add(change("d", 1), 11.0)
    assert names(lanes.take(11.25)) == ["d-1"]


def test_without_batches_nothing_waits() -> None:
    """The batch wait is for batches."""
    lanes = Lanes(batch_size=1, batch_wait=60.0)
    lanes.add(change("a", 1), 5.0)
    assert names(lanes.take(5.0)) == ["a-1"]


def test_a_batch_keeps_to_its_bytes() -> None:
    """One change always fits, however large."""
    lanes = Lanes(batch_size=10, batch_bytes=100, batch_wait=0.0)
    for customer, size in (("a", 60), ("b", 40), ("c", 1), ("d", 500), ("e", 1)):
        lanes.add(change(customer, 1, size=size), 0.0)
    assert [names(lanes.take(0.0)) for _ in range(4)] == [["a-1", "b-1"], ["c-1"], ["d-1"], ["e-1"]]


def test_a_spoiled_batch_is_split_down_to_the_one_that_spoils_it() -> None:
    """In about 2·log2(n) requests; everything else is delivered."""
    lanes = Lanes(batch_size=64, batch_wait=0.0)
    for number in range(64):
        lanes.add(change(f"c{number:02}", 1), 0.0)
    requests, refused = 0, []
    while (parcel := lanes.take(0.0)) is not None:
        requests += 1
        if "c37" not in {one.customer_id for one in parcel.changes}:
            for one in parcel.changes:
                lanes.finish(one)
        elif len(parcel.changes) == 1:
            refused.append(parcel.changes[0].customer_id)
            lanes.finish(parcel.changes[0])
        else:
            lanes.split(parcel, parcel.changes, 0.0)
    assert (refused, requests, lanes.total) == (["c37"], 13, 0)


def test_when_the_destination_recovers_what_we_delayed_is_due_at_once() -> None:
    """But not what the platform itself asked to delay."""
    lanes = Lanes()
    for customer in "ab":
        lanes.add(change(customer, 1), 0.0)
    ours, theirs = lanes.take(0.0), lanes.take(0.0)
    assert ours and theirs
    lanes.park(ours, due=300.0)
    lanes.park(theirs, due=200.0, firm=True)
    lanes.release(10.0)
    assert lanes.take(10.0) is ours
    assert lanes.take(199.0) is None
    assert lanes.take(200.0) is theirs


def test_a_probe_prefers_what_has_not_failed() -> None:
    """What failed before may itself be what is wrong."""
    lanes = Lanes()
    lanes.add(change("a", 1), 0.0)
    failed = lanes.take(0.0)
    assert failed
    lanes.park(failed, due=0.0)
    lanes.add(change("b", 1), 0.0)
    assert names(lanes.take(0.0, fresh_first=True)) == ["b-1"]
    assert lanes.take(0.0, fresh_first=True) is failed


def test_what_is_pending_is_counted_by_partition() -> None:
    """So that reading can stop where too much waits."""
    lanes = Lanes()
    for one in (change("a", 1, 0), change("a", 2, 0), change("b", 1, 3)):
        lanes.add(one, 0.0)
    assert (lanes.pending["", 0], lanes.pending["", 3], lanes.total) == (2, 1, 3)
    parcel = lanes.take(0.0)
    assert parcel
    lanes.finish(parcel.changes[0])
    assert (lanes.pending["", 0], lanes.total) == (1, 2)


# Groups, coalescing, erasures, redeliveries.


def of(
    customer: str, sequence: int, segment: str = "s", *, origin: Origin = "live", offset: int | None = None
) -> Change:
    """A change whose raw bytes name it; `offset` is its place on its topic."""
    place = sequence if offset is None else offset
    topic = "changes" if origin == "live" else "again"
    name = f"{customer}-{sequence}" if origin == "live" else f"{customer}-{sequence}-{origin}"
    at = f"2026-01-02T03:04:{sequence:02}Z"
    return Change(name, customer, segment, "entered", at, sequence, b"xx", 0, place, 0.0, origin, topic)


def erasure(customer: str, at: int, offset: int) -> Change:
    return Change(
        f"{customer}-erased", customer, "", ERASED, f"2026-01-02T03:04:{at:02}Z", 0, b"{}", 0, offset, topic="changes"
    )


def another_try(customer: str, at: int, offset: int, *, even_if_returned: bool = False) -> Change:
    """The erasure of that instant, sent again."""
    once = replace(erasure(customer, at, offset), id=f"{customer}-erased-{at}")
    return replace(once, origin="replay", topic="again", even_if_returned=even_if_returned)


def ids(changes: list[Change]) -> list[str]:
    return [change.id for change in changes]


def drain(lanes: Lanes, now: float = 1e9) -> list[list[str]]:
    """Everything that leaves, parcel by parcel, all of it delivered."""
    left = []
    while (parcel := lanes.take(now)) is not None:
        left.append(names(parcel))
        for one in parcel.changes:
            lanes.finish(one, sent=True)
    return left


def test_a_parcel_is_of_one_group_and_each_group_fills_by_itself() -> None:
    """By size or by time; one that fills does not push another out."""
    lanes = Lanes(batch_size=2, batch_wait=1.0, group=lambda change: change.segment)
    lanes.add(of("a", 1, "x"), 0.0)
    lanes.add(of("b", 1, "y"), 0.5)
    assert lanes.take(0.5) is None
    lanes.add(of("c", 1, "y"), 0.6)
    assert names(lanes.take(0.6)) == ["b-1", "c-1"]
    assert lanes.take(0.9) is None
    assert lanes.next_due(0.9) == 1.0
    assert names(lanes.take(1.0)) == ["a-1"]


def test_a_group_whose_limit_is_spent_holds_up_no_other() -> None:
    """Neither what is fresh nor what is sent again; and it is packed only when it may leave."""
    lanes = Lanes(group=lambda change: change.segment, coalesce=True)
    lanes.add(of("a", 1, "x"), 0.0)
    failed = lanes.take(0.0)
    assert failed
    lanes.park(failed, 1.0)
    lanes.add(of("b", 1, "x"), 1.0)
    lanes.add(of("c", 1, "y"), 1.0)
    assert names(lanes.take(1.0, may=lambda group: group == "y")) == ["c-1"]
    assert lanes.take(1.0, may=lambda group: group == "y") is None
    lanes.add(of("b", 2, "x"), 1.0)
    assert ids(lanes.superseded()) == ["b-1"]
    assert [names(lanes.take(1.0)) for _ in range(2)] == [["a-1"], ["b-2"]]


def test_waiting_changes_of_a_customer_and_segment_coalesce_to_the_newest() -> None:
    """In the order of the customer's numbers; other segments are kept."""
    lanes = Lanes(batch_size=10, batch_wait=1.0, coalesce=True)
    for sequence, segment in ((1, "x"), (2, "y"), (3, "x"), (4, "z"), (5, "x")):
        lanes.add(of("a", sequence, segment), 0.1 * sequence)
    assert ids(lanes.superseded()) == ["a-1", "a-3"]
    assert drain(lanes) == [["a-2"], ["a-4"], ["a-5"]]
    assert not +lanes.pending and lanes.total == 0


def test_a_change_that_takes_another_s_place_has_waited_as_long() -> None:
    """Somebody whose changes keep coming is not put off for ever."""
    lanes = Lanes(batch_size=10, batch_wait=1.0, coalesce=True)
    for sequence in range(1, 9):
        lanes.add(of("a", sequence), 0.1 * sequence)
    assert lanes.next_due(0.8) == pytest.approx(1.1)
    assert names(lanes.take(1.15)) == ["a-8"]


def test_a_change_that_is_retried_is_replaced_when_it_would_be_sent() -> None:
    """Its customer's wait is kept: whoever failed is not asked sooner because something new came."""
    lanes = Lanes(batch_size=2, coalesce=True)
    lanes.add(of("a", 1), 0.0)
    lanes.add(of("b", 1), 0.0)
    failed = lanes.take(0.0)
    assert failed
    lanes.park(failed, 60.0)
    lanes.add(of("a", 2), 1.0)
    assert lanes.take(59.0) is None
    assert names(lanes.take(60.0)) == ["b-1"]
    assert ids(lanes.superseded()) == ["a-1"]
    assert names(lanes.take(60.0)) == ["a-2"]


def test_without_coalescing_every_change_is_sent() -> None:
    """Where the history is wanted."""
    lanes = Lanes()
    for sequence in (1, 2, 3):
        lanes.add(of("a", sequence), 0.0)
    assert drain(lanes) == [["a-1"], ["a-2"], ["a-3"]]
    assert lanes.superseded() == []


@pytest.mark.parametrize("coalesce", [True, False])
def test_an_erasure_supersedes_all_that_waits_and_what_comes_after_it_waits(coalesce: bool) -> None:
    """Also what waits to be sent again; and it leaves apart from changes."""
    lanes = Lanes(batch_size=10, batch_wait=0.0, coalesce=coalesce)
    lanes.add(of("a", 1), 0.0)
    failed = lanes.take(0.0)
    assert failed
    lanes.park(failed, 5.0)
    lanes.add(of("a", 2, "y"), 0.0)
    lanes.add(of("a", 2, "z", origin="replay"), 0.0)
    lanes.add(erasure("a", at=3, offset=3), 0.0)
    lanes.add(of("a", 1, "y", offset=4), 0.0)
    lanes.add(of("a", 2, origin="resync"), 0.0)
    assert ids(lanes.superseded()) == ["a-2", "a-2-replay", "a-2-resync"]
    assert lanes.take(4.0) is None
    erased = lanes.take(5.0)
    assert (names(erased), ids(lanes.superseded())) == (["a-erased"], ["a-1"])
    assert erased and erased.group == ERASE
    lanes.finish(erased.changes[0], sent=True)
    assert drain(lanes) == [["a-1"]]


def test_redeliveries_leave_when_nothing_live_can() -> None:
    """And a live change of the same customer goes before."""
    lanes = Lanes()
    lanes.add(of("a", 1, "x", origin="resync"), 0.0)
    lanes.add(of("b", 1, "x", origin="resync"), 0.0)
    lanes.add(of("c", 1), 0.0)
    lanes.add(of("a", 2, "y"), 0.0)
    assert drain(lanes) == [["c-1"], ["a-2"], ["b-1-resync"], ["a-1-resync"]]


@pytest.mark.parametrize("coalesce", [True, False])
def test_a_redelivery_that_something_newer_overtakes_is_not_sent(coalesce: bool) -> None:
    """Whether that waits, is on its way, or was sent while the redelivery waited."""
    lanes = Lanes(coalesce=coalesce)
    lanes.add(of("a", 5), 0.0)
    parcel = lanes.take(0.0)
    lanes.add(of("a", 3, origin="replay"), 0.0)
    assert ids(lanes.superseded()) == ["a-3-replay"]
    lanes.add(of("a", 7, origin="replay"), 0.0)
    assert parcel
    lanes.finish(parcel.changes[0], sent=True)
    again = lanes.take(0.0)
    assert names(again) == ["a-7-replay"]
    lanes.add(of("a", 6), 0.0)  # read late: older than what is on its way
    assert again
    lanes.finish(again.changes[0], sent=True)
    assert ids(lanes.superseded()) == ["a-6"]
    assert (lanes.take(0.0), lanes.total) == (None, 0)


@pytest.mark.parametrize("ahead", [True, False])
def test_a_redelivery_that_waits_ends_when_something_newer_comes(ahead: bool) -> None:
    """Whether it is the customer's first or stands behind another; what is of other segments stays."""
    lanes = Lanes()
    if ahead:
        lanes.add(of("a", 1, "y"), 0.0)
    lanes.add(of("a", 4, origin="replay"), 0.0)
    lanes.add(of("a", 3, "y", origin="replay"), 0.0)
    lanes.add(of("a", 5), 0.0)
    assert ids(lanes.superseded()) == ["a-4-replay"]
    assert drain(lanes) == [*([["a-1"]] if ahead else []), ["a-5"], ["a-3-replay"]]


@pytest.mark.parametrize("coalesce", [True, False])
def test_of_two_redeliveries_the_older_is_not_sent_after_the_newer(coalesce: bool) -> None:
    """In whichever order they were asked for; where changes coalesce, a newer one takes the place of one in retry."""
    lanes = Lanes(coalesce=coalesce)
    lanes.add(of("a", 7, origin="replay"), 0.0)
    lanes.add(of("a", 5, origin="replay"), 0.0)
    assert ids(lanes.superseded()) == ["a-5-replay"]
    failed = lanes.take(0.0)
    assert failed
    lanes.park(failed, 1.0)
    lanes.add(of("a", 6, origin="replay"), 0.5)
    lanes.add(of("a", 8, origin="replay"), 0.5)
    assert ids(lanes.superseded()) == ["a-6-replay"]
    assert drain(lanes, 2.0) == ([["a-8-replay"]] if coalesce else [["a-7-replay"], ["a-8-replay"]])


def told(parcel: Parcel | None) -> list[str]:
    assert parcel is not None
    return ids(parcel.to_tell())


def test_the_ledger_hears_of_what_took_an_older_one_s_place_and_of_what_leaves_before_it() -> None:
    """Once each, when they first leave; of nothing else."""
    lanes = Lanes(batch_size=10, coalesce=True)
    for one in (of("a", 1, "x"), of("a", 2, "y"), of("a", 3, "x"), of("a", 4, "z"), of("b", 1, "x")):
        lanes.add(one, 0.0)
    parcel = lanes.take(0.0)
    assert (names(parcel), told(parcel)) == (["a-2", "b-1"], ["a-2"])
    assert parcel
    lanes.finish(parcel.changes[1], sent=True)
    lanes.park(parcel.part(parcel.changes[:1]), 0.0)
    again = lanes.take(0.0)
    assert told(again) == ["a-2"]  # it has not been told: an attempt that came to nothing before is no word
    assert again
    lanes.finish(again.changes[0], sent=True)
    third = lanes.take(0.0)
    assert (names(third), told(third)) == (["a-3"], ["a-3"])
    assert third
    lanes.finish(third.changes[0], sent=True)
    assert told(lanes.take(0.0)) == []


def test_the_ledger_hears_of_what_took_the_place_of_one_that_is_retried() -> None:
    """That may have arrived, or not."""
    lanes = Lanes(coalesce=True)
    lanes.add(of("a", 1), 0.0)
    failed = lanes.take(0.0)
    assert failed and told(failed) == []
    lanes.park(failed.part(failed.changes), 1.0)
    lanes.add(of("a", 2, "y"), 0.0)
    lanes.add(of("a", 3), 0.0)
    first = lanes.take(1.0)
    assert (names(first), told(first), ids(lanes.superseded())) == (["a-2"], ["a-2"], ["a-1"])
    assert first
    lanes.finish(first.changes[0], sent=True)
    assert told(lanes.take(1.0)) == ["a-3"]


@pytest.mark.parametrize("coalesce", [True, False])
def test_the_ledger_hears_of_the_next_after_one_that_was_given_up(coalesce: bool) -> None:
    """However much later it comes, unless the one that was given up cannot be read again."""
    lanes = Lanes(coalesce=coalesce)
    for committed, expected in ((1, ["a-2"]), (2, [])):
        lanes.add(of("a", 1), 0.0)
        assert told(lanes.take(0.0)) == []
        lanes.finish(of("a", 1), sent=False)
        lanes.committed({0: committed})
        lanes.add(of("a", 2), 0.0)
        assert told(lanes.take(0.0)) == expected
        lanes.finish(of("a", 2), sent=True)


def test_the_ledger_hears_of_every_erasure_and_of_no_redelivery() -> None:
    """And of what takes another's place behind an erasure, where numbers begin again."""
    lanes = Lanes(coalesce=True)
    lanes.add(of("a", 7), 0.0)
    out = lanes.take(0.0)
    assert out
    lanes.add(erasure("a", at=8, offset=8), 0.0)
    lanes.add(of("a", 1, offset=9), 0.0)
    lanes.add(of("a", 2, offset=10), 0.0)
    lanes.finish(out.changes[0], sent=True)
    assert told(lanes.take(0.0)) == ["a-erased"]
    lanes.finish(erasure("a", at=8, offset=8), sent=True)
    assert told(lanes.take(0.0)) == ["a-2"]
    lanes.finish(of("a", 2, offset=10), sent=True)
    lanes.add(of("a", 2, origin="resync"), 0.0)
    assert told(lanes.take(0.0)) == []


def test_what_is_written_again_behind_something_newer_is_not_sent() -> None:
    """By a worker that was paused while another wrote on."""
    lanes = Lanes()
    for sequence, offset in ((1, 1), (2, 2), (1, 3), (2, 4)):
        lanes.add(of("a", sequence, offset=offset), 0.0)
    assert ids(lanes.superseded()) == ["a-1"]
    assert drain(lanes) == [["a-1"], ["a-2"], ["a-2"]]


@pytest.mark.parametrize("coalesce", [True, False])
def test_what_follows_an_erasure_is_not_older_than_a_redelivery_before_it(coalesce: bool) -> None:
    """Numbers begin again: the redelivery that was on its way is of before."""
    lanes = Lanes(coalesce=coalesce)
    lanes.add(of("a", 7, origin="replay"), 0.0)
    out = lanes.take(0.0)
    assert out
    lanes.add(erasure("a", at=8, offset=8), 0.0)
    lanes.add(replace(of("a", 1, offset=9), at="2026-01-02T03:04:09Z"), 0.0)
    lanes.add(replace(of("a", 1, "y", origin="resync"), at="2026-01-02T03:04:10Z"), 0.0)
    lanes.finish(out.changes[0], sent=True)
    assert lanes.superseded() == []
    assert drain(lanes) == [["a-erased"], ["a-1"], ["a-1-resync"]]


@pytest.mark.parametrize("origin", ["live", "replay"])
def test_a_redelivery_that_follows_an_erasure_is_not_older_than_what_is_on_its_way(origin: Origin) -> None:
    """That is of before, whatever its number."""
    lanes = Lanes()
    lanes.add(of("a", 7, origin=origin), 0.0)
    out = lanes.take(0.0)
    assert out
    lanes.add(erasure("a", at=8, offset=8), 0.0)
    lanes.add(replace(of("a", 1, origin="resync"), at="2026-01-02T03:04:10Z"), 0.0)
    lanes.finish(out.changes[0], sent=True)
    assert drain(lanes) == [["a-erased"], ["a-1-resync"]]


@pytest.mark.parametrize("coalesce", [True, False])
def test_what_comes_behind_an_erasure_that_is_sent_again_waits_for_it(coalesce: bool) -> None:
    """Also while it is retried: it would delete what came. Of what only waits to be sent again, the older ends."""
    lanes = Lanes(coalesce=coalesce)
    lanes.add(of("a", 1, "old", origin="replay"), 0.0)
    lanes.add(of("a", 5, "new", origin="resync"), 0.0)
    lanes.add(another_try("a", at=3, offset=9), 0.0)
    lanes.add(of("a", 2, "older", origin="replay"), 0.0)
    assert ids(lanes.superseded()) == ["a-1-replay", "a-2-replay"]
    failed = lanes.take(0.0)
    assert failed and (names(failed), failed.group, told(failed)) == (["a-erased-3"], ERASE, [])
    lanes.park(failed, 5.0)
    lanes.add(of("a", 6), 0.0)
    lanes.add(of("b", 1), 0.0)
    assert drain(lanes, 4.0) == [["b-1"]]
    assert drain(lanes, 5.0) == [["a-erased-3"], ["a-6"], ["a-5-resync"]]
    assert (lanes.superseded(), lanes.total) == ([], 0)


@pytest.mark.parametrize("newer", ["waits", "leaves", "leaves again"])
def test_an_erasure_is_not_sent_again_behind_something_newer_unless_that_is_meant(newer: str) -> None:
    """It would delete it. What is meant to go is deleted once it has arrived, and not before."""
    for even_if_returned in (False, True):
        lanes = Lanes(coalesce=True)
        one = of("a", 5, origin="replay" if newer == "leaves again" else "live")
        lanes.add(one, 0.0)
        out = lanes.take(0.0) if newer != "waits" else None
        lanes.add(another_try("a", at=3, offset=9, even_if_returned=even_if_returned), 0.0)
        assert ids(lanes.superseded()) == ([] if even_if_returned else ["a-erased-3"])
        lanes.add(of("a", 6), 0.0)  # has to wait as long, and takes the place of what waits
        if out:
            assert lanes.take(0.0) is None
            lanes.finish(one, sent=True)
        else:
            assert ids(lanes.superseded()) == ["a-5"]
        assert drain(lanes) == [*([["a-erased-3"]] if even_if_returned else []), ["a-6"]]
        assert (lanes.superseded(), lanes.total) == ([], 0)


def test_two_erasures_of_a_customer_are_both_sent_again_and_each_once() -> None:
    """They may be of different contacts. What was asked for twice, or has a live one behind it, is not."""
    lanes = Lanes(coalesce=True)
    for at, offset in ((3, 7), (4, 8), (5, 9), (4, 10), (3, 11)):
        lanes.add(another_try("a", at=at, offset=offset, even_if_returned=True), 0.0)
    lanes.add(of("b", 1), 0.0)
    assert ids(lanes.superseded()) == ["a-erased-4", "a-erased-3"]
    assert drain(lanes) == [["a-erased-3"], ["b-1"], ["a-erased-4"], ["a-erased-5"]]
    for at, offset in ((3, 12), (4, 13)):
        lanes.add(another_try("a", at=at, offset=offset), 0.0)
    out = lanes.take(0.0)
    assert names(out) == ["a-erased-3"]
    lanes.add(erasure("a", at=6, offset=14), 0.0)
    lanes.add(another_try("a", at=5, offset=15), 0.0)
    assert ids(lanes.superseded()) == ["a-erased-4", "a-erased-5"]
    assert out
    lanes.park(out, 1.0)
    assert drain(lanes) == [["a-erased"]]
    assert (ids(lanes.superseded()), lanes.total) == (["a-erased-3"], 0)


def test_an_erasure_that_is_sent_again_and_given_up_again_leaves_nothing_behind() -> None:
    """The ledger has to hear of nothing: it was begun when it was live."""
    lanes = Lanes()
    lanes.add(another_try("a", at=3, offset=9), 0.0)
    out = lanes.take(0.0)
    assert out
    lanes.finish(out.changes[0], sent=False)
    lanes.add(of("a", 6), 0.0)
    assert told(lanes.take(0.0)) == []


@given(data=st.data(), coalesce=st.booleans(), batch_size=st.integers(1, 4))
def test_whatever_comes_ends_once_and_nothing_older_is_sent_after_something_newer(
    data: st.DataObject, coalesce: bool, batch_size: int
) -> None:
    """Live changes, redeliveries and erasures, with failures: each ends sent or superseded; the last state arrives.
    What is sent again is what the ledger would let in.
    """
    lanes = Lanes(batch_size=batch_size, coalesce=coalesce, group=lambda change: change.segment)
    newest: dict[tuple[str, str], int] = {}
    delivered: dict[tuple[str, str], int] = {}
    refused: dict[str, Change] = {}
    counts: Counter[str] = Counter()
    erased_at: dict[str, int] = {}
    fates: Counter[tuple[str, int]] = Counter()
    flying: list[Parcel] = []
    expected = 0
    now = 0.0

    def end_superseded() -> None:
        for one in lanes.superseded():
            fates[one.topic, one.offset] += 1

    def send(fail: bool, refuse: bool = False) -> None:
        nonlocal now
        now += 1.0
        while (parcel := lanes.take(now)) is not None:
            flying.append(parcel)
            if len(flying) > 3:
                break
        end_superseded()
        if not flying:
            return
        customers = [one.customer_id for parcel in flying for one in parcel.changes]
        assert len(customers) == len(set(customers))
        parcel = flying.pop(0)
        assert len({(one.segment, one.action == ERASED) for one in parcel.changes}) == 1
        if fail:
            lanes.park(parcel, now + 2.0)
            return
        for one in parcel.changes:
            fates[one.topic, one.offset] += 1
            mine = [key for key in delivered if key[0] == one.customer_id]
            if one.action == ERASED and one.origin == "live":
                for key in mine:
                    del delivered[key]
                if refuse:
                    refused[one.customer_id] = one
            elif one.action == ERASED:
                assert one.even_if_returned or not mine
            else:
                key = one.customer_id, one.segment
                assert delivered.get(key, 0) <= one.sequence
                delivered[key] = one.sequence
            lanes.finish(one, sent=not (refuse and one.action == ERASED))
        end_superseded()

    for step in range(data.draw(st.integers(0, 40))):
        kinds = ["live", "live", "live", "again", "erase", "erase again", "send", "refuse", "fail"]
        kind = data.draw(st.sampled_from(kinds))
        customer = data.draw(st.sampled_from("abc"))
        segment = data.draw(st.sampled_from("xy"))
        match kind:
            case "live":
                counts[customer] += 1
                one = of(customer, counts[customer], segment, offset=step)
                newest[customer, segment] = counts[customer]
            case "again" if counts[customer] > erased_at.get(customer, 0):
                # Something that was said of this segment before: what the ledger would let in.
                sequence = data.draw(st.integers(erased_at.get(customer, 0) + 1, counts[customer]))
                if sequence < delivered.get((customer, segment), 0) or sequence > newest.get((customer, segment), 0):
                    continue
                one = replace(of(customer, sequence, segment, origin="replay", offset=step), id=f"again-{step}")
            case "erase":
                one = replace(erasure(customer, counts[customer], step), id=f"erasure-{step}")
                erased_at[customer] = counts[customer]
                for key in [key for key in newest if key[0] == customer]:
                    del newest[key]
            case "erase again" if customer in refused:
                meant = data.draw(st.booleans())
                if not meant and any(key[0] == customer for key in delivered):
                    continue
                one = replace(refused[customer], origin="replay", topic="again", offset=step, even_if_returned=meant)
            case "send" | "fail" | "refuse":
                send(fail=kind == "fail", refuse=kind == "refuse")
                continue
            case _:
                continue
        expected += 1
        lanes.add(one, now)
    for _ in range(200):
        send(fail=False)
    assert (lanes.total, +lanes.pending) == (0, Counter())
    assert sum(fates.values()) == len(fates) == expected
    assert delivered == newest
