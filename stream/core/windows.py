"""What was seen lately: event ids in tumbling windows of log time, and contents for a few seconds.

An id is remembered as a digest of 128 bits, in linear-hashed buckets of plain bytes: exact for every purpose, 19 to 22
bytes per id, and grown one bucket at a time, so that no event waits for a rehash.
"""

from __future__ import annotations

from collections.abc import Iterator
from struct import Struct

from xxhash import xxh3_128_digest

DIGEST = 16
_EACH = Struct(f"{DIGEST}s")
#: Fast rather than safe against forgery: whoever can write to the log can use an id up without forging anything.
hashed = xxh3_128_digest
#: Ids per bucket on average: fewer cost more memory, more take longer to search, and to copy when one is added.
_FILL = 12


def digest(customer_id: str, what: bytes) -> bytes:
    """The 16 bytes under which ``what`` (an event id, a content) of a customer is remembered."""
    # The length in front keeps ("ab", "c") and ("a", "bc") apart.
    return hashed(f"{len(customer_id)}:{customer_id}".encode("utf-8", "surrogatepass") + what)


class IdSet:
    """A set of 16-byte digests; never forgets a single one."""

    __slots__ = ("_buckets", "_count", "_high", "_low", "_room", "_split")

    def __init__(self) -> None:
        self._buckets: list[bytes] = [b""]
        self._count = 0
        self._room = _FILL  # ids that the buckets are to hold
        self._low = 0  # mask of the buckets that existed when this round of splitting began
        self._high = 1  # and of those that there will be when it ends
        self._split = 0  # the next bucket to split; those below it already use the higher mask

    def __len__(self) -> int:
        return self._count

    def __contains__(self, item: bytes) -> bool:
        return self._find(self._buckets[self._index(item)], item)

    def add(self, item: bytes) -> bool:
        """Remember a digest; False if it was there already."""
        code = hash(item)  # the hot path: `_index` and `_find`, written out
        index = code & self._low
        if index < self._split:
            index = code & self._high
        bucket = self._buckets[index]
        if item in bucket and self._find(bucket, item):
            return False
        self._buckets[index] = bucket + item
        self._count += 1
        if self._count > self._room:
            self._grow()
        return True

    def nbytes(self) -> int:
        """Bytes held, the overhead of the buckets included."""
        return sum(bucket.__sizeof__() + 8 for bucket in self._buckets)

    def _index(self, item: bytes) -> int:
        code = hash(item)
        index = code & self._low
        return index if index >= self._split else code & self._high

    @staticmethod
    def _find(bucket: bytes, item: bytes) -> bool:
        at = bucket.find(item)
        while at >= 0:
            if at % DIGEST == 0:
                return True
            at = bucket.find(item, at + 1)
        return False

    def _grow(self) -> None:
        buckets, bit = self._buckets, self._low + 1
        items = [item for (item,) in _EACH.iter_unpack(buckets[self._split])]
        # Of what has this bucket's number in its lower bits, one more bit decides.
        buckets[self._split] = b"".join([item for item in items if not hash(item) & bit])
        buckets.append(b"".join([item for item in items if hash(item) & bit]))
        self._split += 1
        if self._split > self._low:
            self._low, self._high, self._split = self._high, self._high * 2 + 1, 0
        self._room += _FILL


class SeenIds:
    """Event ids seen in at least the last ``horizon`` µs of log time, in tumbling windows of half of that."""

    def __init__(self, horizon: int) -> None:
        self.horizon = horizon
        self.width = max(1, -(-horizon // 2))
        self._windows: dict[int, IdSet] = {}
        self._begins, self._ends = 0, -1  # of the window in which the last id came, in µs
        self._add = IdSet().add
        self._older: tuple[IdSet, ...] = ()
        self._fresh: dict[int, bytearray] = {}
        self._now = bytearray()  # the one of them that is being filled

    def __len__(self) -> int:
        return sum(map(len, self._windows.values()))

    def __contains__(self, item: bytes) -> bool:
        return any(item in window for window in self._windows.values())

    def nbytes(self) -> int:
        """Bytes held for all ids."""
        return sum(window.nbytes() for window in self._windows.values())

    def add(self, item: bytes, log_time: int) -> bool:
        """Remember a digest at ``log_time`` (µs); False if it was seen within the horizon."""
        if not self._begins <= log_time < self._ends:
            self._turn(log_time // self.width)
        for older in self._older:
            if item in older:
                return False
        if not self._add(item):
            return False
        self._now += item
        return True

    def _turn(self, window: int) -> None:
        self.expire(window * self.width)
        self._begins, self._ends = window * self.width, (window + 1) * self.width
        self._add = self._windows.setdefault(window, IdSet()).add
        self._now = self._fresh.setdefault(window, bytearray())
        self._older = tuple(ids for w, ids in self._windows.items() if w != window)

    def expire(self, log_time: int) -> None:
        """Forget the windows that ended ``horizon`` or longer before ``log_time`` (µs)."""
        for window in [w for w in self._windows if self.is_over(w, log_time)]:
            del self._windows[window]
            self._fresh.pop(window, None)

    def is_over(self, window: int, log_time: int) -> bool:
        """Whether a window has nothing more to say at ``log_time`` (µs)."""
        return (window + 1) * self.width + self.horizon <= log_time

    def take_fresh(self) -> dict[int, bytes]:
        """The digests that came since the last call, by window."""
        fresh = {window: bytes(items) for window, items in self._fresh.items() if items}
        self._fresh = {}
        self._ends = -1
        return fresh

    def restore(self, window: int, items: bytes) -> None:
        """Put a stored chunk back."""
        ids = self._windows.setdefault(window, IdSet())
        for at in range(0, len(items), DIGEST):
            ids.add(items[at : at + DIGEST])
        self._ends = -1


class SeenContents:
    """Contents of events without an id, each remembered for exactly ``horizon`` µs of log time."""

    def __init__(self, horizon: int) -> None:
        self.horizon = horizon
        self._seen: dict[bytes, int] = {}
        self._fresh: list[tuple[bytes, int]] = []

    def __len__(self) -> int:
        return len(self._seen)

    def add(self, item: bytes, log_time: int) -> bool:
        """Remember a content at ``log_time`` (µs); False if the same was accepted within the horizon."""
        seen = self._seen
        last = seen.get(item)
        if last is not None:
            if log_time - last <= self.horizon:
                return False
            del seen[item]
        self.expire(log_time)
        seen[item] = log_time
        self._fresh.append((item, log_time))
        return True

    def expire(self, log_time: int) -> None:
        """Forget what is older than the horizon at ``log_time`` (µs); the oldest come first in the dict."""
        over = log_time - self.horizon
        while self._seen:
            oldest = next(iter(self._seen))
            if self._seen[oldest] >= over:
                return
            del self._seen[oldest]

    def take_fresh(self) -> list[tuple[bytes, int]]:
        """What came since the last call."""
        fresh, self._fresh = self._fresh, []
        return fresh

    def restore(self, items: Iterator[tuple[bytes, int]]) -> None:
        """Put a stored chunk back; chunks come in the order of log time."""
        for item, log_time in items:
            self._seen.pop(item, None)
            self._seen[item] = log_time
