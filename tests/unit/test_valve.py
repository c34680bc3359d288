"""Laws of the valve: when a destination is sent to, and how it comes back. Time is an argument."""

from __future__ import annotations

from connectors.breaker import Breaker, BreakerPolicy
from connectors.valve import PausePolicy, State, Valve


def probes(valve: Valve, start: float, end: float, outcome: str = "pause") -> list[float]:
    """The instants, in half seconds, at which the valve lets a probe leave that then fails."""
    found = []
    for step in range(int((end - start) * 2)):
        now = start + step / 2
        if valve.permits(now):
            found.append(now)
            probe = valve.sending()
            assert probe
            assert not valve.permits(now + 1000)  # one probe at a time
            if outcome == "pause":
                valve.pause("http_401", probe, now)
            else:
                valve.failed(probe, now)
    return found


def test_a_paused_destination_is_probed_at_growing_intervals() -> None:
    """From one second to five minutes, so that it resumes by itself and is not hammered."""
    valve = Valve(pause=PausePolicy(base=1.0, cap=300.0))
    valve.pause("http_401", valve.sending(), 0.0)
    assert (valve.state, valve.reason) == (State.PAUSED, "http_401")
    times = probes(valve, 0.0, 2000.0)
    gaps = [later - earlier for earlier, later in zip([0.0, *times], times, strict=False)]
    assert gaps[:9] == [1, 2, 4, 8, 16, 32, 64, 128, 256]
    assert set(gaps[9:]) == {300.0}


def test_a_probe_that_succeeds_opens_the_valve() -> None:
    """And the next pause begins with the short interval again."""
    valve = Valve()
    valve.pause("http_403", False, 0.0)
    probes(valve, 0.0, 100.0)
    probe = valve.sending()
    assert valve.succeeded(probe, 200.0)
    assert (valve.state, valve.reason) == (State.ACTIVE, "")
    assert valve.permits(200.0)
    valve.pause("http_403", valve.sending(), 200.0)
    assert not valve.permits(200.9)
    assert valve.permits(201.0)


def test_what_was_sent_before_the_pause_proves_nothing() -> None:
    """A success on its way does not open the valve, and a second 401 does not lengthen the pause."""
    valve = Valve()
    valve.pause("http_401", False, 0.0)
    assert not valve.succeeded(False, 0.1)
    valve.pause("http_401", False, 0.2)
    assert valve.state is State.PAUSED
    assert not valve.permits(0.9)
    assert valve.permits(1.0)


def test_an_endpoint_that_mostly_fails_is_left_alone() -> None:
    """After ten attempts of which seven failed; one probe at a time then decides."""
    valve = Valve(BreakerPolicy(open_base=1.0, open_cap=60.0))
    for number in range(9):
        valve.failed(valve.sending(), number / 10)
        assert valve.state is State.ACTIVE
    valve.failed(valve.sending(), 1.0)
    assert (valve.state, valve.reason) == (State.BROKEN, "breaker_open")
    times = probes(valve, 1.0, 500.0, outcome="fail")
    gaps = [later - earlier for earlier, later in zip([1.0, *times], times, strict=False)]
    assert gaps[:6] == [1, 2, 4, 8, 16, 32]
    assert set(gaps[6:]) == {60.0}
    assert valve.succeeded(valve.sending(), 600.0)
    valve.failed(valve.sending(), 600.1)
    assert valve.state is State.ACTIVE  # what failed before is forgotten


def test_a_few_failures_among_successes_break_nothing() -> None:
    """A customer whose changes fail must not stop the others."""
    valve = Valve()
    for number in range(1000):
        if number % 3:
            valve.failed(valve.sending(), number / 100)
        else:
            valve.succeeded(valve.sending(), number / 100)
        assert valve.permits(number / 100)


def test_old_failures_do_not_count() -> None:
    """The breaker looks at a window of time."""
    breaker = Breaker(BreakerPolicy(window=30.0, requests=10))
    assert not any(breaker.record(False, number * 4.0) for number in range(100))
    assert any(breaker.record(False, 1000 + number * 2.0) for number in range(100))


def test_a_hold_delays_everything_and_needs_no_probe() -> None:
    """`Retry-After` of a 429 speaks for the whole destination."""
    valve = Valve()
    valve.hold(30.0)
    assert not valve.permits(29.9)
    assert valve.next_at() == 30.0
    assert valve.permits(30.0)
    assert not valve.sending()
    assert valve.permits(30.0)


def test_a_paused_destination_that_then_fails_stays_paused() -> None:
    """A 503 to a probe says nothing about the key."""
    valve = Valve()
    valve.pause("http_401", False, 0.0)
    valve.failed(valve.sending(), 1.0)
    assert (valve.state, valve.reason) == (State.PAUSED, "http_401")
    assert not valve.permits(2.9)
    assert valve.permits(3.0)


def test_a_broken_destination_can_turn_out_to_be_paused() -> None:
    """Whatever the probe is told."""
    valve = Valve(BreakerPolicy(requests=1))
    valve.failed(valve.sending(), 0.0)
    valve.pause("http_410", valve.sending(), 1.0)
    assert (valve.state, valve.reason) == (State.PAUSED, "http_410")
    assert valve.permits(2.0)


def test_a_probe_that_is_taken_back_does_not_block_the_next() -> None:
    """A rebalance may cancel it."""
    valve = Valve()
    valve.pause("http_401", False, 0.0)
    probe = valve.sending()
    assert valve.next_at() is None
    valve.abandon(probe)
    assert valve.permits(1.0)
