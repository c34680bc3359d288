"""One destination: takes changes in, sends them, retries, and says when they are finished.

What is finished (delivered, superseded, dead-lettered, not wanted) is first written down (`deliveries`,
`dead-letters`, acknowledged), then committed. What is not committed is looked at again after a crash: what
the ledger does not know as delivered is sent again, with the same ids and bytes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable, Mapping, Sequence
from typing import Any

from connectors.accounts import Accounts
from connectors.attempts import Attempts, is_throttled
from connectors.books import Books
from connectors.changes import Change
from connectors.endings import WRONG, Endings
from connectors.intake import Intake
from connectors.lanes import NEVER, Lanes, Parcel
from connectors.ledger import Ledger, Rebuild, Store, Verdict
from connectors.limiter import Limiter
from connectors.options import Options
from connectors.ratestore import Rates
from connectors.results import Outcome, Result
from connectors.sender import Sender
from connectors.settings import DeliverySettings
from connectors.standing import Standing
from connectors.states import Board
from connectors.taking_in import Doorkeeper, Reading
from connectors.valve import State

CANCEL_SECONDS = 1.0
"""After which a task that was cancelled, and has not ended, is cancelled again."""


class Deliverer:
    """The intake that `run` is given awaits `give_up` when partitions are taken away."""

    def __init__(
        self,
        options: Options,
        settings: DeliverySettings,
        accounts: Accounts,
        *,
        board: Board,
        rates: Rates,
        store: Store,
        rebuild: Rebuild,
    ) -> None:
        self._name = accounts.destination
        self._options = options
        self._connector = connector = accounts.connector
        self._settings = settings
        self._accounts = accounts
        self._metrics = accounts.metrics
        retry = options.retry_policy()
        self._standing = Standing(self._name, connector.endpoint, self._metrics, board, recovered=self._recover)
        self._ledger = Ledger(store, rebuild, changed=self._ledger_changed)
        self._doorkeeper = Doorkeeper(self._ledger)
        self._reading = Reading(options, accounts, settings.redeliveries_topic)
        self._limiter = Limiter(
            rates,
            connector.account or self._name,
            connector.limits,
            options.requests_per_second,
            wake=self._pump,
            told=lambda limit, share: self._metrics.rate(self._name, limit, share),
            waited=lambda limit, seconds: self._metrics.rate_wait(self._name, limit, seconds),
        )
        self._sender = Sender(options)
        self._attempts = Attempts(
            self._name, connector, self._sender, self._limiter, retry, self._metrics, self._ledger.begin
        )
        self._books = Books(accounts.outbox, self._ledger, self._finish, self._committed)
        self._endings = Endings(accounts, self._ledger, retry, self._finish, self._books.bury)
        self._lanes = self._new_lanes()
        self._open = False  # may parcels leave at all
        self._adopted = -1  # the intake's generation that the ledger is ready for
        self._in_flight: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._pumping: asyncio.Handle | None = None

    async def run(self, intake: Intake, stop: asyncio.Event) -> None:
        """Deliver until `stop` is set, then finish what is in flight and commit. Raises what breaks it."""
        self._intake = intake
        self._loop = asyncio.get_running_loop()
        self._broken: asyncio.Future[None] = self._loop.create_future()
        self._standing.begin()
        async with self._sender:
            try:
                await self._until(stop, intake.start())
                limit = self._settings.stall_limit
                keeping = self._books.keep(intake, self._settings.commit_interval, self._report, limit)
                await self._until(stop, self._read(), keeping, self._watch())
                async with asyncio.timeout(2 * self._settings.stop_grace):
                    await self._come_to_rest(self._settings.stop_grace)
            finally:
                self._open = False
                self._cancel_timer()
                await cancel(self._in_flight)
                await self._ledger.settle(0)
                await self._books.close()
                await self._limiter.close()
                await intake.stop(self._settings.stop_grace)
                self._broken.cancel()

    async def give_up(self) -> None:
        """The partitions are being taken away: finish or abandon what is in flight, commit, forget."""
        try:
            async with asyncio.timeout(self._settings.rebalance_timeout):  # after which the group goes on without us
                await self._come_to_rest(self._settings.handover_grace)
        except Exception as error:  # whoever called would only log it
            self._break(error)
        self._lanes = self._new_lanes()
        self._books.forget()
        self._doorkeeper.forget()

    async def _until(self, stop: asyncio.Event, *loops: Coroutine[Any, Any, None]) -> None:
        """Run the loops until `stop`, or until one of them, or an attempt, fails."""
        tasks: list[asyncio.Future[Any]] = [asyncio.ensure_future(loop) for loop in loops]
        tasks.append(asyncio.ensure_future(stop.wait()))
        try:
            done, _ = await asyncio.wait([*tasks, self._broken], return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            await cancel(tasks)

    # In.

    async def _read(self) -> None:
        while True:
            records = await self._intake.read(self._settings.fetch_records)
            if records is None:
                continue
            generation = self._intake.generation
            if self._adopted != generation:
                committed, ends = await self._intake.bounds()
                await self._ledger.adopt(committed, ends)
                if self._intake.generation != generation:
                    continue
                self._adopted = generation
            changes = self._reading.changes(records, self._intake)
            verdicts = await self._doorkeeper.verdicts(changes)
            # Where the partitions have changed hands meanwhile, all of it is read again.
            if self._intake.generation == generation:
                self._open = True
                self._take_in(changes, verdicts)
                self._pump()
                self._intake.press_back(self._lanes.pending, self._settings.pending_limit)

    def _take_in(self, changes: Sequence[Change], verdicts: Sequence[Verdict]) -> None:
        now = self._loop.time()
        for change, said in zip(changes, verdicts, strict=True):
            match self._doorkeeper.admit(change, said):
                case Verdict.SEND:
                    self._lanes.add(change, now)
                case Verdict.DELIVERED:
                    self._accounts.delivered_before(change)
                    self._intake.finish(change.topic, change.partition, change.offset)
                case Verdict.SUPERSEDED:
                    self._accounts.superseded(change)
                    self._intake.finish(change.topic, change.partition, change.offset)
        self._end_superseded()

    def _end_superseded(self) -> None:
        for change in self._lanes.superseded():
            self._accounts.superseded(change)
            self._intake.finish(change.topic, change.partition, change.offset)
            self._doorkeeper.ended(change)

    # Out.

    def _pump(self) -> None:
        """Let leave what may leave now, and wake again when more may by time alone."""
        self._cancel_timer()
        if not self._open or not self._standing.open:
            return
        now = self._loop.time()
        valve = self._standing.valve
        while len(self._in_flight) < self._options.concurrency and valve.permits(now):
            parcel = self._lanes.take(now, may=self._may, fresh_first=valve.state is not State.ACTIVE)
            if parcel is None:
                break
            permit = self._attempts.limit_of(parcel.group)
            task = self._loop.create_task(self._attempt(parcel, permit, valve.sending()))
            self._in_flight.add(task)
            task.add_done_callback(self._attempted)
        self._end_superseded()
        if len(self._in_flight) < self._options.concurrency:
            self._wake_later(valve.next_at(), now)

    def _may(self, group: str) -> bool:
        """Take the permit that a parcel of the group begins with, or ask for as many as could be used."""
        limit = self._attempts.limit_of(group)
        if limit is None or self._limiter.ready(limit):
            return True
        self._limiter.want(limit, max(1, min(self._options.concurrency - len(self._in_flight), self._lanes.ready())))
        return False

    def _wake_later(self, allowed: float | None, now: float) -> None:
        if allowed is None:  # the answer to a probe will
            return
        wake = self._lanes.next_due(now)  # what is ready waits for its permits, which wake us
        if allowed > now:
            wake = allowed if self._lanes.is_ready(now) else max(wake, allowed)
        if wake != NEVER:
            self._timer = self._loop.call_at(wake, self._pump)

    def _pump_soon(self) -> None:
        """Once, for all that ends in this turn of the loop."""
        if self._pumping is None:
            self._pumping = self._loop.call_soon(self._pump_now)

    def _pump_now(self) -> None:
        self._pumping = None
        self._pump()

    async def _attempt(self, parcel: Parcel, permit: str | None, probe: bool) -> None:
        started = self._loop.time()
        valve = self._standing.valve
        answered = False
        try:
            results = await self._attempts.deliver(parcel, permit)
            answered = True
        finally:
            if not answered:  # cancelled or broken: the parcel is forgotten together with its partitions
                valve.abandon(probe)
        now = self._loop.time()
        self._metrics.attempt(self._name, now - started)
        parcel.attempts += 1
        self._judge(results, probe, now)
        self._endings.settle(self._lanes, parcel, results, now)

    def _attempted(self, task: asyncio.Task[None]) -> None:
        self._in_flight.discard(task)
        if task.cancelled():
            return
        error = task.exception()
        if error is not None:
            self._break(error)
        self._pump_soon()

    def _judge(self, results: Sequence[Result], probe: bool, now: float) -> None:
        """What an attempt says about the destination as a whole."""
        valve = self._standing.valve
        wrong = next((result for result in results if result.outcome in WRONG), None)
        failed = next((result for result in results if _is_failure(result)), None)
        if wrong is not None and wrong.outcome is Outcome.DISABLE:
            valve.abandon(probe)
            self._standing.disable(wrong.reason)
        elif wrong is not None:
            valve.pause(wrong.reason, probe, now)
        elif all(result.outcome is Outcome.RENEW for result in results):
            valve.abandon(probe)
        elif failed is not None and not any(_is_answer(result) for result in results):
            valve.failed(probe, now)
        elif probe and any(is_throttled(result) for result in results):
            valve.failed(probe, now)  # alive, and no proof of more
        elif not all(is_throttled(result) for result in results) and valve.succeeded(probe, now):
            self._lanes.release(now)
        self._standing.tell()

    def _recover(self) -> None:
        """An order ended: everything that waited may be tried."""
        self._lanes.release(self._loop.time())
        self._pump()

    def _ledger_changed(self) -> None:
        self._standing.ledger_available = self._ledger.available
        self._standing.tell()
        self._pump_soon()

    # Ends.

    def _finish(self, change: Change, sent: bool) -> None:
        """A change has ended and is accounted for: its customer's next may leave."""
        self._lanes.finish(change, sent=sent)
        self._intake.finish(change.topic, change.partition, change.offset)
        self._doorkeeper.ended(change)
        self._end_superseded()
        self._pump_soon()

    def _committed(self, offsets: Mapping[int, int]) -> None:
        self._lanes.committed(offsets)

    # Coming to rest.

    async def _come_to_rest(self, grace: float) -> None:
        """Send nothing more; what is in flight has `grace` seconds. Then write down and commit."""
        self._open = False
        self._cancel_timer()
        until = self._loop.time() + grace
        if self._in_flight:
            await asyncio.wait(set(self._in_flight), timeout=grace)
        await cancel(self._in_flight)
        await self._ledger.settle(max(0.0, until - self._loop.time()))
        await self._books.flush(self._intake)
        self._report()

    async def _watch(self) -> None:
        """Apart from all else: what it looks for may have stopped anything."""
        while True:
            await asyncio.sleep(self._settings.commit_interval)
            async with asyncio.timeout(self._settings.stall_limit):
                await self._intake.watch(self._loop.time())

    def _report(self) -> None:
        self._metrics.pending(self._name, self._lanes.total)
        self._metrics.lag(self._name, self._intake.lag())
        self._metrics.redeliveries(self._name, self._intake.redeliveries())

    def _new_lanes(self) -> Lanes:
        options = self._options
        return Lanes(
            batch_size=options.batch_size,
            batch_bytes=options.batch_bytes,
            batch_wait=options.batch_wait,
            coalesce=options.coalesce,
            group=self._connector.group,
        )

    def _break(self, error: BaseException) -> None:
        if not self._broken.done():
            self._broken.set_exception(error)

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def _is_answer(result: Result) -> bool:
    """Does a result show that the platform takes requests for what they are?"""
    return result.outcome in (Outcome.DELIVERED, Outcome.REFUSED, Outcome.SPLIT)


def _is_failure(result: Result) -> bool:
    """Does a result speak against the endpoint? Not a throttling, and not what is to be sent again in other company."""
    if result.outcome is not Outcome.RETRY or is_throttled(result):
        return False
    return result.status is None or result.status >= 500 or result.status in (408, 425)


async def cancel(tasks: Iterable[asyncio.Future[Any]]) -> None:
    """Cancel until all have ended: a library may lose a cancellation that comes together with what it waits for, and
    its caller would go on as if nothing had been said.
    """
    pending = set(tasks)
    while pending:
        for task in pending:
            task.cancel()
        done, pending = await asyncio.wait(pending, timeout=CANCEL_SECONDS)
        for task in done:
            if not task.cancelled():
                task.exception()  # seen: what breaks the deliverer has been said by now
