"""One destination: takes changes in, sends them, retries, and says when they are finished.

What is finished (delivered, dead-lettered, not wanted) is first written down (`deliveries`, `dead-letters`,
acknowledged), then committed. What is not committed is sent again after a crash, with the same ids and
bytes.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Coroutine, Iterable, Sequence
from typing import Any

from aiokafka import ConsumerRecord

from connectors.accounts import Accounts
from connectors.changes import Change, UnreadableChange, read_change
from connectors.conversation import converse
from connectors.intake import Intake
from connectors.lanes import NEVER, Lanes, Parcel
from connectors.options import Options
from connectors.platforms import Connector
from connectors.records import Source
from connectors.results import Outcome, Result
from connectors.sender import Sender
from connectors.settings import DeliverySettings
from connectors.valve import State, Valve

logger = logging.getLogger(__name__)

_WRONG = frozenset({Outcome.PAUSE, Outcome.DISABLE})

HELD_STATUSES = frozenset({429, 503})
"""Their `Retry-After` speaks of the whole service (RFC 6585 §4, RFC 9110 §15.6.4), that of others of the
request.
"""


class Deliverer:
    """The intake that `run` is given awaits `give_up` when partitions are taken away."""

    def __init__(
        self,
        options: Options,
        connector: Connector,
        settings: DeliverySettings,
        accounts: Accounts,
    ) -> None:
        self._name = accounts.destination
        self._options = options
        self._connector = connector
        self._settings = settings
        self._accounts = accounts
        self._metrics = accounts.metrics
        self._retry = options.retry_policy()
        self._valve = Valve()
        self._lanes = self._new_lanes()
        self._sender = Sender(options)
        self._open = False  # may parcels leave at all
        self._in_flight: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._flushing = asyncio.Lock()

    async def run(self, intake: Intake, stop: asyncio.Event) -> None:
        """Deliver until `stop` is set, then finish what is in flight and commit. Raises what breaks it."""
        self._intake = intake
        self._loop = asyncio.get_running_loop()
        self._broken: asyncio.Future[None] = self._loop.create_future()
        self._metrics.state(self._name, True, "")
        async with self._sender:
            try:
                await self._until(stop, intake.start())
                await self._until(stop, self._read(), self._keep())
                await self._come_to_rest(self._settings.stop_grace)
            finally:
                self._open = False
                self._cancel_timer()
                await _cancel(self._in_flight)
                await intake.stop()
                self._broken.cancel()

    async def give_up(self) -> None:
        """The partitions are being taken away: finish or abandon what is in flight, commit, forget."""
        try:
            await self._come_to_rest(self._settings.handover_grace)
        except Exception as error:  # whoever called would only log it
            self._break(error)
        self._lanes = self._new_lanes()

    async def _until(self, stop: asyncio.Event, *loops: Coroutine[Any, Any, None]) -> None:
        """Run the loops until `stop`, or until one of them, or an attempt, fails."""
        tasks: list[asyncio.Future[Any]] = [asyncio.ensure_future(loop) for loop in loops]
        tasks.append(asyncio.ensure_future(stop.wait()))
        try:
            done, _ = await asyncio.wait([*tasks, self._broken], return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            await _cancel(tasks)

    # In.

    async def _read(self) -> None:
        while True:
            records = await self._intake.read(self._settings.fetch_records)
            if records is None:
                continue
            self._open = True
            for partition in records.values():
                self._take_in(partition)
            self._pump()
            self._intake.press_back(self._lanes.pending, self._settings.pending_limit)

    def _take_in(self, records: Sequence[ConsumerRecord]) -> None:
        now = self._loop.time()
        skipped = 0
        for record in records:
            if not self._intake.noted(record):
                skipped += 1
                continue
            place = {"partition": record.partition, "offset": record.offset}
            try:
                change = read_change(record.value, **place, logged_at=record.timestamp / 1000)
            except UnreadableChange as error:
                source = Source(record.topic, **place)
                self._accounts.unreadable(source, record.key or b"", record.value, str(error))
                self._intake.finish(**place)
                continue
            if self._options.wants(change.segment):
                self._lanes.add(change, now)
            else:
                skipped += 1
                self._intake.finish(**place)
        self._accounts.skipped(skipped)

    # Out.

    def _pump(self) -> None:
        """Let leave what may leave now, and wake again when more may by time alone."""
        self._cancel_timer()
        if not self._open:
            return
        now = self._loop.time()
        room = self._options.concurrency - len(self._in_flight)
        while room > 0 and self._valve.permits(now):
            parcel = self._lanes.take(now, fresh_first=self._valve.state is not State.ACTIVE)
            if parcel is None:
                break
            room -= 1
            task = self._loop.create_task(self._attempt(parcel, self._valve.sending()))
            self._in_flight.add(task)
            task.add_done_callback(self._attempted)
        if room > 0:
            allowed = self._valve.next_at()
            wake = NEVER if allowed is None else max(self._lanes.next_due(), allowed)
            if wake != NEVER:
                self._timer = self._loop.call_at(wake, self._pump)

    async def _attempt(self, parcel: Parcel, probe: bool) -> None:
        started = self._loop.time()
        answered = False
        try:
            steps = self._connector.deliver(parcel.changes, time.time())
            results = await converse(steps, self._sender.send, len(parcel.changes))
            answered = True
        finally:
            if not answered:  # cancelled or broken: the parcel is forgotten together with its partitions
                self._valve.abandon(probe)
        now = self._loop.time()
        self._metrics.attempt(self._name, now - started)
        parcel.attempts += 1
        self._judge(results, probe, now)
        self._settle(parcel, results, now)

    def _attempted(self, task: asyncio.Task[None]) -> None:
        self._in_flight.discard(task)
        if task.cancelled():
            return
        error = task.exception()
        if error is not None:
            self._break(error)
        self._pump()

    def _judge(self, results: Sequence[Result], probe: bool, now: float) -> None:
        """What an attempt says about the destination as a whole."""
        before = self._valve.state
        paused = next((result for result in results if result.outcome in _WRONG), None)
        failed = next((result for result in results if result.outcome is Outcome.RETRY), None)
        if paused is not None:
            self._valve.pause(paused.reason, probe, now)
        elif failed is not None:
            self._valve.failed(probe, now)
            if failed.after is not None and failed.status in HELD_STATUSES:
                self._valve.hold(now + min(failed.after, self._retry.retry_after_cap))
        elif self._valve.succeeded(probe, now):
            self._lanes.release(now)
        if self._valve.state is not before:
            self._announce()

    def _announce(self) -> None:
        state, reason = self._valve.state, self._valve.reason
        self._metrics.state(self._name, state is State.ACTIVE, reason)
        place = f"destination {self._name} ({self._connector.endpoint})"
        if state is State.ACTIVE:
            logger.info("%s is sent to again", place)
        elif reason == "http_410":
            logger.warning("%s is paused: it says that it is gone for good; nothing is lost", place)
        else:
            logger.warning("%s is %s: %s; nothing is lost, a probe follows", place, state, reason)

    # What became of the changes.

    def _settle(self, parcel: Parcel, results: Sequence[Result], now: float) -> None:
        again: list[Change] = []
        split: list[Change] = []
        longest: Result | None = None
        for change, result in zip(parcel.changes, results, strict=True):
            match result.outcome:
                case Outcome.DELIVERED:
                    self._accounts.delivered(change, parcel.attempts)
                    self._finish(change)
                case Outcome.REFUSED:
                    self._metrics.delivery(self._name, "refused")
                    self._accounts.gave_up(change, "refused", result, parcel.attempts)
                    self._finish(change)
                case Outcome.RETRY if self._is_exhausted(parcel, now):
                    self._accounts.gave_up(change, "retries_exhausted", result, parcel.attempts)
                    self._finish(change)
                case Outcome.SPLIT:
                    split.append(change)
                case Outcome.RETRY | Outcome.PAUSE | Outcome.RENEW | Outcome.DISABLE:
                    again.append(change)
                    if longest is None or (result.after or 0.0) > (longest.after or 0.0):
                        longest = result
        if split:
            self._lanes.split(parcel, tuple(split), now)
        if longest is not None:
            self._send_again(parcel, tuple(again), longest, now)

    def _is_exhausted(self, parcel: Parcel, now: float) -> bool:
        return parcel.first_failed is not None and self._retry.exhausted(parcel.first_failed, now)

    def _send_again(self, parcel: Parcel, changes: tuple[Change, ...], result: Result, now: float) -> None:
        if len(changes) < len(parcel.changes):
            parcel = Parcel(changes, parcel.attempts, parcel.first_failed)
        if result.outcome in _WRONG:
            parcel.first_failed = None  # while the destination is wrong, no change comes nearer to its horizon
        elif parcel.first_failed is None:
            parcel.first_failed = now
        self._metrics.delivery(self._name, "retried", len(changes))
        delay = self._retry.delay(parcel.attempts, result.after, random.random())
        self._lanes.park(parcel, now + delay, firm=result.after is not None)

    def _finish(self, change: Change) -> None:
        self._lanes.finish(change)
        self._intake.finish(change.partition, change.offset)

    # Writing down and committing.

    async def _keep(self) -> None:
        """Commit and report, every commit interval."""
        while True:
            await asyncio.sleep(self._settings.commit_interval)
            await self._flush()
            self._report()
            await self._intake.watch(self._loop.time())

    async def _flush(self) -> None:
        """Write receipts and dead letters, then commit what they cover."""
        async with self._flushing:
            marks = self._intake.marks()
            await self._accounts.outbox.write()
            await self._intake.commit(marks)

    async def _come_to_rest(self, grace: float) -> None:
        """Send nothing more; what is in flight has `grace` seconds. Then write down and commit."""
        self._open = False
        self._cancel_timer()
        if self._in_flight:
            await asyncio.wait(set(self._in_flight), timeout=grace)
        await _cancel(self._in_flight)
        await self._flush()
        self._report()

    def _report(self) -> None:
        self._metrics.pending(self._name, self._lanes.total)
        self._metrics.lag(self._name, self._intake.lag())

    def _new_lanes(self) -> Lanes:
        options = self._options
        return Lanes(batch_size=options.batch_size, batch_bytes=options.batch_bytes, batch_wait=options.batch_wait)

    def _break(self, error: BaseException) -> None:
        if not self._broken.done():
            self._broken.set_exception(error)

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


async def _cancel(tasks: Iterable[asyncio.Future[Any]]) -> None:
    tasks = list(tasks)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
