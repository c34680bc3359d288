"""SIGTERM on a broker that is slow: one budget for the whole stop, whatever it has no time for."""

from __future__ import annotations

import time

import pytest

from stream.engine.transport import TransportSettings
from tests.faults.contestants import Contestant
from tests.faults.judging import judge
from tests.faults.rig import Rig, rig
from tests.faults.waiting import until

BUDGET = TransportSettings().stop_seconds
#: For the interpreter to end, on a machine that does other things as well (s).
MARGIN = 2.0
SAYS_SO = b"is replayed: the process ends"


async def slow_stop(rig: Rig, delay: float) -> tuple[int, float, bytes]:
    """Stop a worker that has work in hand behind ``delay`` seconds each way; its code, how long it took, its log."""
    slot, proxy = rig.slots[0], rig.proxies[0]
    assert await rig.served(time.time()) is not None
    told = len(slot.log.read_bytes())
    proxy.delay = delay
    # No commit since, and more in the log than a batch: there is something to finish and to write.
    before = dict(rig.watch.committed)
    assert await until(lambda: rig.watch.in_flight() > 300 or rig.watch.committed != before, 20.0)
    code, seconds = await slot.stop()
    proxy.delay = 0.0
    return code, seconds, slot.log.read_bytes()[told:]


@pytest.mark.kafka
@pytest.mark.asyncio
@pytest.mark.timeout(300)
async def test_a_stop_on_a_slow_broker_is_over_in_time_and_nothing_is_lost_or_said_twice() -> None:
    """A little slow: all is written. Too slow for a checkpoint, and for any answer: in time all the same, and loud."""
    async with rig(Contestant("ours", "stop-"), 1, 150.0, lambda text: None) as made:
        made.begin("stop")
        slot = made.slots[0]
        slot.start()
        made.sender.start()
        for delay, enough in ((0.1, True), (1.3, False), (4.0, False)):
            code, seconds, log = await slow_stop(made, delay)
            assert seconds < BUDGET + MARGIN, log.decode()
            assert code == (0 if enough else 70), log.decode()
            assert (SAYS_SO in log) is not enough, log.decode()
            slot.start()
        assert await made.served(time.time()) is not None
        await made.sender.stop()
        assert await made.covered(40.0) is not None
        assert (await slot.stop())[0] == 0
        await made.watch.stop()
        verdict = await judge(made)
        assert not verdict.findings, verdict.findings[:5]
        assert not verdict.twice
        assert verdict.changes > 500
        assert made.tally()[1] == 0
