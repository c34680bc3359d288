"""A partition's state as records of the ``state`` topic, and back (decision 0005). Pure.

====================  ==================================================================================
key                   value
====================  ==================================================================================
``c`` + customer id   the customer's record (MessagePack array), stamped with the last offset it covers
``i`` + window + range  event ids first seen in that range of offsets, 16 bytes each
``d`` + range         contents first seen in that range, 16 bytes and 8 of log time each
``p``                 the checkpoint record
====================  ==================================================================================

A chunk of ids carries the range of log offsets that it came from and counts only if the checkpoint record covers the
whole of it. So what a crash left behind without its checkpoint is not met again in the replay, and a chunk that an
interrupted or a paused worker wrote says nothing false: its range holds those same ids for every reader.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from operator import itemgetter

import msgspec

from stream.core.config import CoreSettings
from stream.core.customer import Customer
from stream.core.membership import Edition, redefined
from stream.core.partition import Partition, book_of
from stream.core.windows import DIGEST

CHECKPOINT = b"p"
_CUSTOMER, _IDS, _CONTENTS = b"c", b"i", b"d"
_CONTENT = struct.Struct(f">{DIGEST}sq")
#: Bytes of ids in one record of the state topic.
CHUNK = 256 * 1024

StateRecord = tuple[bytes, bytes | None]


class Checkpoint(msgspec.Struct, array_like=True):
    """The checkpoint record of one partition: what is in, and from where to read on."""

    position: int  # offset of the last record of `events` that is in
    log_time: int  # µs
    last_tick: int  # µs
    met_facts: bool
    #: Number, log time, source and ``Edition.since`` of the books that some customer may stand under.
    editions: list[tuple[int, int, bytes, dict[str, int]]]
    changes: int  # offset in `segment-changes` of the first change that `position` does not cover
    code: str  # version of the code that wrote it


def customer_key(customer_id: str) -> bytes:
    """The key of a customer's record in the state topic."""
    return _CUSTOMER + customer_id.encode("utf-8", "surrogatepass")


class Checkpointer:
    """Takes a partition's checkpoints: begins one, gives its records in slices, ends it.

    Between ``begin`` and the last slice the partition may go on; a customer touched meanwhile is put into bytes first.
    """

    def __init__(self, partition: Partition, covered: int, chunks: dict[bytes, int] | None = None) -> None:
        self._partition = partition
        self._covered = covered  # position of the last checkpoint
        self._expiry = chunks if chunks is not None else {}  # chunk key -> log time at which it has nothing to say
        self._over_at = 0  # log time of the last checkpoint that is known to be written
        self._header: Checkpoint | None = None
        self._small: list[StateRecord] = []

    @property
    def active(self) -> bool:
        """Whether a checkpoint has begun and not ended."""
        return self._header is not None

    def begin(self) -> None:
        """Freeze the partition as it is between two batches."""
        assert self._header is None, "a checkpoint is in progress"
        partition = self._partition
        membership = partition.membership
        editions = [(e.number, e.at, e.source, dict(e.since)) for e in membership.editions]
        self._header = Checkpoint(
            partition.position,
            partition.log_time,
            partition.last_tick,
            partition.met_facts,
            editions,
            0,
            partition.settings.code,
        )
        membership.begin_checkpoint()
        self._small = [*self._chunks(), *self._tombstones()]

    def slice(self, budget: int) -> list[StateRecord]:
        """Up to ``budget`` customers more, and what touching has put into bytes; empty when all has been given."""
        membership = self._partition.membership
        membership.encode_pending(budget)
        encoded, membership.encoded = membership.encoded, []
        records: list[StateRecord] = [(customer_key(name), value) for name, value in encoded]
        if self._small:
            records += self._small
            self._small = []
        return records

    @property
    def remaining(self) -> int:
        """Customers that are not yet in bytes."""
        return len(self._partition.membership.pending)

    def record(self, changes: int) -> StateRecord:
        """The checkpoint record, to be written when all else is acknowledged. ``changes`` is Y of decision 0005."""
        assert self._header is not None
        self._header.changes = changes
        return CHECKPOINT, msgspec.msgpack.encode(self._header)

    def end(self) -> None:
        """The checkpoint record is acknowledged."""
        assert self._header is not None
        self._covered = self._header.position
        self._over_at = self._header.log_time
        self._header = None

    def _chunks(self) -> Iterator[StateRecord]:
        partition = self._partition
        span = f"{self._covered + 1}:{partition.position}".encode()
        for window, ids in partition.ids.take_fresh().items():
            over = (window + 1) * partition.ids.width + partition.ids.horizon
            for part in range(0, len(ids), CHUNK):
                key = b"%b%d:%b:%d" % (_IDS, window, span, part)
                self._expiry[key] = over
                yield key, ids[part : part + CHUNK]
        contents = partition.contents.take_fresh()
        for part in range(0, len(contents), CHUNK // _CONTENT.size):
            some = contents[part : part + CHUNK // _CONTENT.size]
            key = b"%b%b:%d" % (_CONTENTS, span, part)
            self._expiry[key] = some[-1][1] + partition.contents.horizon + 1
            yield key, b"".join(_CONTENT.pack(*item) for item in some)

    def _tombstones(self) -> Iterator[StateRecord]:
        # By the log time of the last checkpoint that is written: an older one, read after a crash, may need the rest.
        for key in [key for key, over in self._expiry.items() if over <= self._over_at]:
            del self._expiry[key]
            yield key, None


def _age(customer: Customer) -> tuple[int, int, int]:
    """What grows with everything that happens to a record: time alone changes it without a later stamp."""
    return customer.offset, customer.book, customer.sequence


def _editions(checkpoint: Checkpoint) -> list[Edition]:
    found: list[Edition] = []
    for number, at, source, since in checkpoint.editions:
        # Whoever stands under the oldest of them never comes to it: what it changed does not matter any more.
        before = found[-1].source if found else source
        found.append(
            Edition(number, at, source, book_of(source), since, redefined=redefined(before, source)),
        )
    return found


class Loader:
    """Reads a partition's state back, record by record in the order of the topic."""

    def __init__(self) -> None:
        self._customers: dict[bytes, Customer] = {}
        self._chunks: dict[bytes, bytes] = {}
        self._checkpoint: Checkpoint | None = None
        self._overtaken: set[bytes] = set()  # whose newest record is not the last, which compaction will keep
        self._decode = msgspec.msgpack.Decoder(Customer).decode
        self.records = 0

    def apply(self, key: bytes, value: bytes | None) -> None:
        """Take in one record. Of two records of a customer the newer one holds, wherever they stand."""
        self.records += 1
        kind = key[:1]
        if kind == _CUSTOMER:
            if value is None:
                self._customers.pop(key, None)
                return
            customer = self._decode(value)
            known = self._customers.get(key)
            if known is None or _age(customer) >= _age(known):
                self._customers[key] = customer
                self._overtaken.discard(key)
            else:
                self._overtaken.add(key)
        elif kind == CHECKPOINT:
            if value is not None:
                found = msgspec.msgpack.decode(value, type=Checkpoint)
                if self._checkpoint is None or found.position >= self._checkpoint.position:
                    self._checkpoint = found
        elif value is None:
            self._chunks.pop(key, None)
        else:
            self._chunks[key] = value

    def finish(
        self, number: int, partitions: int, settings: CoreSettings
    ) -> tuple[Partition, Checkpointer, Checkpoint | None]:
        """The partition as of its checkpoint; where there is none, what a crash left of a first one is kept."""
        partition = Partition(number, partitions, settings)
        checkpoint = self._checkpoint
        covered = checkpoint.position if checkpoint else -1
        partition.membership.customers = {c.customer_id: c for c in self._customers.values()}
        if checkpoint is not None:
            partition.position = checkpoint.position
            partition.log_time = checkpoint.log_time
            partition.last_tick = checkpoint.last_tick
            partition.met_facts = checkpoint.met_facts
            partition.membership.restore(_editions(checkpoint))
        else:
            partition.membership.restore([])
        for key in self._overtaken:
            partition.membership.touch(self._customers[key])
        return partition, Checkpointer(partition, covered, self._restore_chunks(partition, covered)), checkpoint

    def _restore_chunks(self, partition: Partition, covered: int) -> dict[bytes, int]:
        expiry: dict[bytes, int] = {}
        contents: dict[bytes, int] = {}
        for key, value in self._chunks.items():
            fields = key[1:].split(b":")
            last = int(fields[-2])
            if key[:1] == _IDS:
                window = int(fields[0])
                expiry[key] = (window + 1) * partition.ids.width + partition.ids.horizon
                if last <= covered and not partition.ids.is_over(window, partition.log_time):
                    partition.ids.restore(window, value)
            else:
                expiry[key] = (
                    _CONTENT.unpack_from(value, len(value) - _CONTENT.size)[1] + partition.contents.horizon + 1
                )
                if last <= covered:
                    # Ranges of two owners may overlap: of a content that was accepted twice, the later time holds.
                    for item, at in _CONTENT.iter_unpack(value):
                        contents[item] = max(at, contents.get(item, at))
        partition.contents.restore(iter(sorted(contents.items(), key=itemgetter(1))))
        return expiry
