"""Laws of retrying: when a failed delivery is tried again. Time and chance are arguments."""

from __future__ import annotations

from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.retry import RetryPolicy, retry_after

NOW = 1_767_323_045.5  # 2026-01-02T03:04:05.5Z

attempts = st.integers(1, 10_000)
draws = st.floats(0, 1, exclude_max=True)


@given(attempts, draws)
def test_backoff_is_a_share_of_an_exponential_up_to_the_cap(attempts: int, draw: float) -> None:
    """Full jitter: anything from zero to base·2^(n-1), never beyond the cap."""
    policy = RetryPolicy(base=1.0, cap=300.0)
    delay = policy.delay(attempts, None, draw)
    assert 0 <= delay <= min(300.0, 2.0 ** min(attempts - 1, 40))


@given(attempts, draws, st.floats(0, 3600))
def test_a_retry_never_comes_before_what_retry_after_asks(attempts: int, draw: float, after: float) -> None:
    """However small the backoff."""
    assert RetryPolicy().delay(attempts, after, draw) >= after


def test_an_absurd_retry_after_is_cut() -> None:
    """A header that asks for a year must not park a customer for a year."""
    assert RetryPolicy(retry_after_cap=3600).delay(1, 31_536_000, 0.0) == 3600


def test_retries_go_on_for_a_day_by_default() -> None:
    """The promise is at least 24 hours after the first failure."""
    policy = RetryPolicy()
    assert not policy.exhausted(first_failed=100.0, now=100.0 + 24 * 3600 - 1)
    assert policy.exhausted(first_failed=100.0, now=100.0 + 24 * 3600)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("0", 0.0),
        ("120", 120.0),
        (" 7 ", 7.0),
        ("0.25", 0.25),
        ("-5", 0.0),
        (str(NOW + 30), 30.0),
        (formatdate(NOW + 90, usegmt=True), 89.5),
        ("Fri, 02 Jan 2026 03:05:05 GMT", 59.5),
        ("Fri, 02 Jan 2026 03:05:05 -0000", 59.5),
        ("Friday, 02-Jan-26 03:05:05 GMT", 59.5),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0),
    ],
)
def test_retry_after_is_read_in_every_form(header: str, seconds: float) -> None:
    """Whole and fractional seconds, epoch seconds, an HTTP date; the past means at once."""
    assert retry_after(header, NOW) == pytest.approx(seconds, abs=1e-3)


@pytest.mark.parametrize(
    "header",
    [
        "Fri, 02 Jan 99999999999999999999 03:05:05 GMT",
        "1 12 1,2,5,1",
        None,
        "",
        "soon",
        "nan",
        "inf",
        "1 minute",
        "Fri, 99 Jan 2026 03:05:05 GMT",
    ],
)
def test_an_unreadable_retry_after_says_nothing(header: str | None) -> None:
    """Then the backoff decides alone."""
    assert retry_after(header, NOW) is None


@given(st.text())
def test_no_retry_after_breaks_the_reader(header: str) -> None:
    """A header is what a stranger wrote."""
    seconds = retry_after(header, NOW)
    assert seconds is None or seconds >= 0
