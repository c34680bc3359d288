"""What a destination makes of the records that it reads: changes to send, or endings at once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from aiokafka import ConsumerRecord, TopicPartition

from connectors.accounts import Accounts
from connectors.changes import ERASED, Change, UnreadableChange, read_change, read_erasure, read_redelivery
from connectors.intake import Intake, Records
from connectors.ledger import Ledger, Verdict
from connectors.options import Options
from connectors.records import Source
from schemas.changes import ERASURE
from schemas.facts import FACT_HEADER


class Reading:
    """Reads records into changes. What needs no sending is finished at once."""

    def __init__(self, options: Options, accounts: Accounts, redeliveries_topic: str) -> None:
        self._options = options
        self._accounts = accounts
        self._redeliveries = redeliveries_topic

    def changes(self, records: Records, intake: Intake) -> list[Change]:
        """Those that this destination wants, in order."""
        found: list[Change] = []
        for partition, batch in records.items():
            read = self._redelivered if partition.topic == self._redeliveries else self._live
            found += read(partition, batch, intake)
        return found

    def _live(self, partition: TopicPartition, batch: Sequence[ConsumerRecord], intake: Intake) -> list[Change]:
        topic, number = partition
        wants = self._options.wants
        found = []
        skipped = 0
        for record in batch:
            offset = record.offset
            if not intake.noted(partition, offset):
                skipped += 1
                continue
            try:
                if record.headers and _is_erasure(record):
                    change = read_erasure(
                        record.value, partition=number, offset=offset, logged_at=record.timestamp / 1000, topic=topic
                    )
                else:
                    change = read_change(
                        record.value, partition=number, offset=offset, logged_at=record.timestamp / 1000, topic=topic
                    )
            except UnreadableChange as error:
                self._unreadable(record, str(error), intake)
                continue
            if change.action == ERASED or wants(change.segment):
                found.append(change)
            else:
                skipped += 1
                intake.finish(topic, number, offset)
        self._accounts.skipped(skipped)
        return found

    def _redelivered(self, partition: TopicPartition, batch: Sequence[ConsumerRecord], intake: Intake) -> list[Change]:
        topic, number = partition
        found = []
        for record in batch:
            offset = record.offset
            if not intake.noted(partition, offset):
                continue
            try:
                destination, change = read_redelivery(
                    record.value, partition=number, offset=offset, logged_at=record.timestamp / 1000, topic=topic
                )
            except UnreadableChange as error:
                self._unreadable(record, str(error), intake)
                continue
            wanted = change.action == ERASED or self._options.wants(change.segment)
            if destination == self._accounts.destination and wanted:
                found.append(change)
            else:
                intake.finish(topic, number, offset)
        return found

    def _unreadable(self, record: ConsumerRecord, error: str, intake: Intake) -> None:
        source = Source(record.topic, record.partition, record.offset)
        self._accounts.unreadable(source, record.key or b"", record.value, error)
        intake.finish(record.topic, record.partition, record.offset)


def _is_erasure(record: ConsumerRecord) -> bool:
    return (FACT_HEADER, ERASURE.encode()) in record.headers


class Doorkeeper:
    """Lets in only what is still to be sent, by the ledger. Remembers who is about to be forgotten: what comes after
    an erasure is numbered anew, and the ledger does not know it yet. (It knows one that is sent again: that was begun.)
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._erasing: Counter[str] = Counter()

    async def verdicts(self, changes: Sequence[Change]) -> list[Verdict]:
        """In the order of the changes; to be followed, change by change, by `admit`."""
        return await self._ledger.verdicts(changes) if changes else []

    def admit(self, change: Change, verdict: Verdict) -> Verdict:
        """What becomes of a change, those before it admitted."""
        if change.action == ERASED:
            if verdict is Verdict.SEND and change.origin == "live":
                self._erasing[change.customer_id] += 1
            return verdict
        return Verdict.SEND if self._erasing and change.customer_id in self._erasing else verdict

    def ended(self, change: Change) -> None:
        """A change that was let in has ended."""
        if change.action == ERASED and change.origin == "live" and change.customer_id in self._erasing:
            self._erasing[change.customer_id] -= 1
            if not self._erasing[change.customer_id]:
                del self._erasing[change.customer_id]

    def forget(self) -> None:
        """The partitions are taken away."""
        self._erasing.clear()
