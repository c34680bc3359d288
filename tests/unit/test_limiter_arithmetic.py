"""Laws of rates: never more than is published, less where the platform says so. Time is an argument."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.rates import COOLDOWN, LEAST_SHARE, Meter, Window, take
from connectors.retry import nothing_remains

START = 1_000_000.0


@given(
    windows=st.lists(st.tuples(st.integers(1, 30), st.sampled_from([0.5, 1.0, 3.0, 10.0])), min_size=1, max_size=3),
    asks=st.lists(st.tuples(st.floats(0, 2), st.integers(1, 20)), min_size=1, max_size=80),
)
def test_no_span_of_a_window_s_length_holds_more_than_it_allows(
    windows: list[tuple[int, float]], asks: list[tuple[float, int]]
) -> None:
    """Wherever the platform's own window begins, however much is asked for, of all windows at once."""
    meter = Meter()
    published = [Window(requests, seconds) for requests, seconds in windows]
    now = START
    granted: list[float] = []
    for pause, want in asks:
        now += pause
        grant = take([meter], [published], want, now)
        assert 0 <= grant.granted <= want
        assert (grant.wait > 0) == (grant.granted == 0)
        granted += [now] * grant.granted
    for window in published:
        for begin in granted:
            assert sum(begin <= at < begin + window.seconds for at in granted) <= window.requests


@pytest.mark.parametrize(("requests", "seconds"), [(75, 1.0), (750, 60.0), (1, 5.0), (3, 2.0)])
def test_waiting_as_told_uses_what_is_published_but_for_a_twentieth(requests: int, seconds: float) -> None:
    """A wait that is told is enough, and not much too long."""
    meter, published = Meter(), [Window(requests, seconds)]
    now, granted = START, 0
    while now < START + 40 * seconds:
        grant = take([meter], [published], 1_000, now)
        granted += grant.granted
        if not grant.granted:
            again = take([meter], [published], 1, now + grant.wait + 1e-6)
            assert again.granted == 1
            granted += 1
        now += grant.wait + 2e-6
    assert 0.9 * requests * 40 <= granted <= requests * 41


def test_a_request_counts_against_all_its_limits_or_none() -> None:
    """The account's and the endpoint's."""
    endpoint, account = Meter(), Meter()
    declared = [[Window(10, 1.0)], [Window(3, 1.0)]]
    assert take([endpoint, account], declared, 5, START).granted == 3
    assert take([endpoint, account], declared, 5, START).granted == 0
    assert take([endpoint], declared[:1], 50, START).granted == 7


def test_nothing_is_granted_while_the_platform_asks_to_wait() -> None:
    """However much the windows would allow; where none is published, too."""
    meter = Meter()
    meter.hold = START + 30
    for windows in ([Window(10, 1.0)], []):
        grant = take([meter], [windows], 5, START)
        assert (grant.granted, grant.wait, grant.limited) == (0, 30.0, True)
    assert take([meter], [[Window(10, 1.0)]], 5, START + 30).granted == 5


def test_a_throttling_halves_the_rate_and_it_recovers_bit_by_bit() -> None:
    """Many at once count once; each second gives back a sixtieth of what is published."""
    meter, published = Meter(), [Window(60, 1.0)]

    def rate(now: float) -> int:
        return take([meter], [published], 1_000, now).granted

    assert rate(START) == 60
    for _ in range(20):
        meter.throttle(published, 0.0, START + 2)
    assert rate(START + 2) == 30
    meter.throttle(published, 0.0, START + 2 + COOLDOWN)
    assert meter.current_share(START + 3) == pytest.approx((0.5 + 1 / 60) / 2)
    assert rate(START + 33.01) == 45
    assert rate(START + 100) == 60
    for second in range(1, 50):
        meter.throttle(published, 0.0, START + 100 + second * COOLDOWN)
    assert LEAST_SHARE <= meter.current_share(START + 149) < 0.02
    assert rate(START + 149) == 1  # never nothing: else it would never be known that it is over


def test_where_no_rate_is_published_the_one_that_was_too_fast_is_learned_and_forgotten_again() -> None:
    """At its double: the throttling may have had another cause."""
    meter = Meter()
    assert not take([meter], [[]], 1_000, START).limited
    meter.throttle([], 40.0, START)
    assert take([meter], [[]], 1_000, START).granted == 20
    assert take([meter], [[]], 1_000, START + 30.01).granted == 40
    assert take([meter], [[]], 1_000, START + 60.01).granted == 60
    assert not take([meter], [[]], 1_000, START + 91).limited
    meter.throttle([], 10.0, START + 100)
    assert take([meter], [[]], 1_000, START + 100).granted == 5


NOW = 1_772_366_400.0


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"ratelimit-remaining": "0", "ratelimit-reset": "7"}, 7.0),
        ({"x-ratelimit-remaining": "0", "x-ratelimit-reset": str(int(NOW) + 12)}, 12.0),
        ({"x-ratelimit-remaining": "3", "x-ratelimit-reset": "7"}, None),
        ({"x-ratelimit-reset": "7"}, None),
        ({"x-hubspot-ratelimit-remaining": "0", "x-hubspot-ratelimit-interval-milliseconds": "10000"}, 10.0),
        ({"x-hubspot-ratelimit-remaining": "0"}, None),
        ({"ratelimit": '"default";r=0;t=30'}, 30.0),
        ({"ratelimit": '"default";r=50;t=30'}, None),
        ({"ratelimit": "nonsense"}, None),
        ({}, None),
    ],
)
def test_an_answer_that_was_the_last_for_now_says_until_when(headers: dict[str, str], seconds: float | None) -> None:
    """By whichever headers the platform has."""
    assert nothing_remains(headers, NOW) == seconds
