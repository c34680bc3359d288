"""One contestant through the matrix, from an empty broker to the verdict."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Sequence

import orjson

from tests.faults.contestants import PARTITIONS, Contestant
from tests.faults.judging import judge
from tests.faults.result import STOCK_SECONDS, Beside, Result, tell
from tests.faults.rig import LOGS, Rig, Say, rig
from tests.faults.rows import BESIDE, LAST, ROWS
from tests.faults.waiting import until
from tests.faults.watch import everything

DRAIN_SECONDS = 40.0
DELIVERY_SECONDS = 90.0
#: How long the load runs where no row does anything to the workers.
CALM_SECONDS = 20.0
_PERIODS, _BAD_SECONDS, _KILLS = 6, 15.0, 3
#: How long an answer is held back for a kill; the deliverer gives up after ``mailer.TIMEOUT_SECONDS``.
_HOLD_SECONDS = 20.0


async def run(contestant: Contestant, seed: int, rate: float, chosen: Sequence[str], say: Say) -> Result:
    """Everything, from an empty broker to the verdict."""
    begun = time.monotonic()
    result = Result(contestant.name, seed, rate)
    async with rig(contestant, seed, rate, say) as made:
        made.begin("start")
        for slot in made.base:
            slot.start()
        # Before the first event: a rebalance under load would be a fault already.
        if not await made.assigned() or await _begin(made) is None:
            raise RuntimeError(f"{contestant.name} does not come up; its logs are in {LOGS / contestant.name}")
        say("the load runs, all partitions are served")
        beside, over = Beside(), asyncio.Event()
        background = asyncio.create_task(_beside(made, beside, over, [row for row in chosen if row in BESIDE]))
        for name, row in ROWS.items():
            if name in chosen and (made.contestant.ours or not row.stock):
                if not made.contestant.ours and name != LAST and time.monotonic() - begun > STOCK_SECONDS:
                    result.not_reached.append(name)
                    continue
                made.begin(name)
                try:
                    await row.run(made)
                except Exception as error:
                    result.broken_off.append(f"{name}: {error!r}")
                    say(f"{name} broke off: {error!r}")
        if not any(name in ROWS for name in chosen):
            await asyncio.gather(background, asyncio.sleep(CALM_SECONDS))
        over.set()
        await background
        made.begin("end")
        await made.sender.stop()
        result.drained = await made.covered(DRAIN_SECONDS)
        moment = time.time()
        await made.sender.beat()
        result.fresh = await made.served(moment, 30.0)
        say(f"drained in {result.drained} s; a fresh event took {result.fresh} s")
        if contestant.ours:
            await _received(made, beside, result)
        for slot in (*made.slots, made.deliverer):
            if slot.alive:
                await made.stop(slot)
        await made.watch.stop()
        result.seconds = time.monotonic() - begun
        say("reading the topics")
        verdict = await judge(made)
        say("judged")
        tell(made, beside, verdict, result, chosen)
        return result


async def _begin(rig: Rig) -> float | None:
    rig.sender.start()
    return await rig.served(time.time())


async def _beside(rig: Rig, beside: Beside, over: asyncio.Event, chosen: Sequence[str]) -> None:
    """B10 and B11, in the background."""
    if not rig.contestant.ours:
        return
    rig.deliverer.start()

    async def pause(seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(over.wait(), seconds)

    well = rig.platform.boxes["well"]

    async def kills() -> None:
        while "B10" in chosen and beside.kills < _KILLS and not over.is_set():
            await pause(rig.rng.uniform(14.0, 24.0))
            if over.is_set():
                return
            # Kill it in the middle of something: requests that are applied and not answered, or neither.
            rig.platform.hold(applied=beside.kills % 2 == 0)
            await until(lambda: well.unanswered or over.is_set(), _HOLD_SECONDS)
            beside.kills_hit += well.unanswered > 0 and rig.deliverer.alive
            rig.deliverer.kill()
            beside.kills += 1
            rig.platform.release()

    async def failures() -> None:
        while "B11" in chosen and beside.periods < _PERIODS and not over.is_set():
            await pause(5.0)
            rig.platform.all_bad(True)
            await pause(_BAD_SECONDS)
            rig.platform.all_bad(False)
            beside.periods += 1
            await pause(_BAD_SECONDS)

    await asyncio.gather(kills(), failures())
    beside.refusals = sum(box.refusals for box in rig.platform.boxes.values())


async def _received(rig: Rig, beside: Beside, result: Result) -> None:
    stored = await everything(rig.broker.address, rig.contestant.changes, PARTITIONS)
    changes = {change["id"]: change for part in stored for change in (orjson.loads(r.value or b"") for r in part)}
    await until(lambda: not any(rig.platform.missing(changes).values()), DELIVERY_SECONDS)
    boxes = rig.platform.boxes.values()
    result.receiver = {
        "changes": len(changes),
        "requests": sum(box.requests for box in boxes),
        "refused_or_failed": beside.refusals,
        "applied": {box.name: len(box.applied) for box in boxes},
        "again": sum(box.again for box in boxes),
        "missing": rig.platform.missing(changes),
        "out_of_order": rig.platform.out_of_order(),
        "broken": [each for box in boxes for each in box.broken][:10],
    }
