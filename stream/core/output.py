"""What a step of the core gives out: changes, refused records, records to move, and their count."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from stream.core.changes import Change

APPLIED, DUPLICATE, REJECTED, DEAD_LETTERED = "applied", "duplicate", "rejected", "dead_lettered"


class LogRecord(Protocol):
    """One record of the customer log, as aiokafka's ``ConsumerRecord`` and the in-process log have it."""

    @property
    def offset(self) -> int: ...
    @property
    def timestamp(self) -> int: ...  # ms
    @property
    def timestamp_type(self) -> int: ...  # 0 CreateTime, 1 LogAppendTime
    @property
    def headers(self) -> Sequence[tuple[str, bytes]]: ...
    @property
    def key(self) -> bytes | None: ...
    @property
    def value(self) -> bytes | None: ...


class Refused(NamedTuple):
    """A record that ends in ``events-rejected`` or ``dead-letters``."""

    record: LogRecord
    ending: str
    reason: str
    detail: str
    log_time: int


class Moved(NamedTuple):
    """A record found in the wrong partition, to be sent once more under its customer's key."""

    record: LogRecord
    customer_id: str


@dataclass(slots=True)
class Output:
    """Collects what one or more steps give out."""

    changes: list[Change] = field(default_factory=list)
    refused: list[Refused] = field(default_factory=list)
    moved: list[Moved] = field(default_factory=list)
    #: (ending, reason) -> records; the reason of applied and duplicate records says by what.
    endings: Counter[tuple[str, str]] = field(default_factory=Counter)
    #: Facts that a replay met again and whose customer already covers them; never counted as read.
    skipped: int = 0
    #: Ticks and definition books.
    control: int = 0

    @property
    def read(self) -> int:
        """Records that came to one of the four endings."""
        return sum(self.endings.values())
