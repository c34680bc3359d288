"""Laws of the lanes: order per customer, one on its way, nobody held up by another. Time is an argument."""

from __future__ import annotations

from collections import defaultdict

from hypothesis import given
from hypothesis import strategies as st

from connectors.changes import Change
from connectors.lanes import NEVER, Lanes, Parcel


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
    assert lanes.next_due() == NEVER
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
    assert lanes.next_due() == 60.0
    assert lanes.take(60.0) is failed
    lanes.finish(failed.changes[0])
    assert names(lanes.take(60.0)) == ["a-2"]


def test_a_batch_leaves_when_it_is_full_or_has_waited_long_enough() -> None:
    """Whichever comes first; a single change does not wait longer than the batch wait."""
    lanes = Lanes(batch_size=3, batch_wait=0.25)
    lanes.add(change("a", 1), 10.0)
    lanes.add(change("b", 1), 10.1)
    assert lanes.take(10.2) is None
    assert lanes.next_due() == 10.25
    lanes.add(change("c", 1), 10.2)
    assert lanes.next_due() < 10.2
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
    assert (lanes.pending[0], lanes.pending[3], lanes.total) == (2, 1, 3)
    parcel = lanes.take(0.0)
    assert parcel
    lanes.finish(parcel.changes[0])
    assert (lanes.pending[0], lanes.total) == (1, 2)
