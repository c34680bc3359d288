"""The fact that windows were filled from the log, and which windows miss something (``stream.core.fill``)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import msgspec

from stream.core.membership import Edition
from stream.core.output import LogRecord


class Filled(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The value of a ``filled`` fact: from here on the memories ``keys`` hold what stands from offset ``first`` on."""

    version: str
    keys: list[str]
    first: int
    #: Log time (µs) since which they then miss nothing; 0 if nothing at all.
    since: int

    def encode(self) -> bytes:
        """As it stands in the log."""
        return msgspec.json.encode(self)


def filled_of(value: bytes | None) -> Filled | None:
    """The fact in a record's value, None if it is none."""
    try:
        return msgspec.json.decode(value or b"", type=Filled)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def is_fill(record: LogRecord) -> bool:
    """Whether the record is a ``filled`` fact."""
    return any(key == "fact" and value == b"filled" for key, value in record.headers)


def apart(records: Sequence[LogRecord]) -> Iterator[Sequence[LogRecord]]:
    """A batch, cut before every ``filled`` fact: what it fills has to be there when it is met."""
    begin = 0
    for at, record in enumerate(records):
        if record.headers and at and is_fill(record):
            yield records[begin:at]
            begin = at
    yield records[begin:]


def gaps(edition: Edition, log_time: int) -> dict[str, int]:
    """The memories that miss something at ``log_time`` (µs), with the log time since which they do not."""
    horizons = edition.book.horizons
    return {key: since for key, since in edition.since.items() if since and since > log_time - horizons[key]}


def gained(edition: Edition, missing: Mapping[str, int], first: int, since: int) -> Filled | None:
    """The fact that fills what is ``missing`` (``gaps``) from offset ``first`` on; None if that gains nothing.

    ``since`` is the log time (µs) of the record at ``first``, 0 if the log begins there.
    """
    keys = sorted(key for key, known in missing.items() if since < known)
    return Filled(edition.book.version, keys, first, since) if keys else None
