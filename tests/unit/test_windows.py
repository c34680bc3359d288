"""Laws of what was seen lately."""

from __future__ import annotations

import random

from stream.core.windows import IdSet, SeenContents, SeenIds, digest

HOUR = 3_600_000_000


def ids(count: int) -> list[bytes]:
    return [digest("c", str(n).encode()) for n in range(count)]


def test_an_id_is_new_once_and_never_again() -> None:
    """Growing bucket by bucket loses no id and invents none."""
    seen = IdSet()
    every = ids(30_000)
    assert all(seen.add(item) for item in every)
    random.Random(1).shuffle(every)
    assert not any(seen.add(item) for item in every)
    assert len(seen) == 30_000
    assert not any(digest("other", str(n).encode()) in seen for n in range(5_000))


def test_an_id_costs_at_most_24_bytes() -> None:
    """At every size from some thousands on, just after growth as well as just before."""
    seen = IdSet()
    for n, item in enumerate(ids(40_000), 1):
        seen.add(item)
        if n % 1_777 == 0:
            assert seen.nbytes() / n <= 24, n


def test_ids_that_only_look_alike_across_a_boundary_are_different() -> None:
    """A digest is found at its own place only, not where the end of one and the start of another spell it."""
    seen = IdSet()
    a, b = bytes(range(16)), bytes(range(16, 32))
    straddling = (a + b)[5:21]
    bucket = a + b
    assert straddling in bucket
    assert not seen._find(bucket, straddling)


def test_an_id_is_a_duplicate_for_at_least_its_horizon_and_forgotten_after_two() -> None:
    """Tumbling windows keep an id for 24 to 36 hours: exact within the horizon, bounded beyond."""
    for start in (0, 1, HOUR * 11, HOUR * 12 - 1):
        seen = SeenIds(24 * HOUR)
        (item,) = ids(1)
        assert seen.add(item, start)
        assert not seen.add(item, start + 24 * HOUR)
        assert seen.add(item, start + 36 * HOUR + 1)


def test_the_horizon_counts_from_the_first_time() -> None:
    """A duplicate does not keep its id alive: what is repeated for ever is let pass at times."""
    seen = SeenIds(2 * HOUR)
    (item,) = ids(1)
    passed = [hour for hour in range(12) if seen.add(item, hour * HOUR)]
    assert passed[0] == 0
    assert len(passed) > 1


def test_a_content_is_a_duplicate_for_exactly_its_horizon() -> None:
    """Ten seconds are ten seconds wherever they begin."""
    for start in (0, 7, 9_999_999):
        seen = SeenContents(10_000_000)
        (item,) = ids(1)
        assert seen.add(item, start)
        assert not seen.add(item, start + 10_000_000)
        assert seen.add(item, start + 10_000_001)


def test_ids_come_back_from_their_chunks() -> None:
    """What is taken as fresh and restored elsewhere remembers the same ids."""
    seen, again = SeenIds(24 * HOUR), SeenIds(24 * HOUR)
    every = ids(2_000)
    for n, item in enumerate(every):
        seen.add(item, n * HOUR // 100)
    chunks = seen.take_fresh()
    assert len(chunks) > 1
    assert not seen.take_fresh()
    for window, chunk in chunks.items():
        again.restore(window, chunk)
    assert not any(again.add(item, 20 * HOUR) for item in every)


def test_customers_do_not_share_ids() -> None:
    """The same event id of two customers is two events, and no two (customer, id) pairs run together."""
    assert digest("ab", b"c") != digest("a", b"bc")
