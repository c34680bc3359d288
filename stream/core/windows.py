"""What was seen lately: event ids in tumbling windows of log time, and contents for a few seconds.

An id is remembered as a digest of 128 bits, in linear-hashed buckets of plain bytes: exact for every purpose, 19 to 22
bytes per id, and grown one bucket at a time, so that no event waits for a rehash.
"""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import blake2b

DIGEST = 16
#: Ids per bucket on average: fewer cost more memory, more take longer to search.
_FILL = 24


def digest(customer_id: str, what: bytes) -> bytes:
    """The 16 bytes under which ``what`` (an event id, a content) of a customer is remembered."""
    # The length in front keeps ("ab", "c") and ("a", "bc") apart.
    named = f"{len(customer_id)}:{customer_id}".encode("utf-8", "surrogatepass")
    return blake2b(named + what, digest_size=DIGEST).digest()


class IdSet:
    """A set of 16-byte digests; never forgets a single one."""

    __slots__ = ("_buckets", "_count", "_low", "_split")

    def __init__(self) -> None:
        self._buckets: list[bytearray] = [bytearray()]
        self._count = 0
        self._low = 0  # mask of the buckets that existed when this round of splitting began
        self._split = 0  # the next bucket to split; those below it already use one more bit

    def __len__(self) -> int:
        return self._count

    def __contains__(self, item: bytes) -> bool:
        return self._find(self._buckets[self._index(item)], item)

    def add(self, item: bytes) -> bool:
        """Remember a digest; False if it was there already."""
        code = hash(item)  # the hot path: `_index` and `_find`, written out
        index = code & self._low
        bucket = self._buckets[index if index >= self._split else code & (self._low * 2 + 1)]
        if bucket.find(item) >= 0 and self._find(bucket, item):
            return False
        bucket += item
        self._count += 1
        if self._count > len(self._buckets) * _FILL:
            self._grow()
        return True

    def nbytes(self) -> int:
        """Bytes held, the overhead of the buckets included."""
        return sum(bucket.__sizeof__() + 8 for bucket in self._buckets)

    def _index(self, item: bytes) -> int:
        code = hash(item)
        index = code & self._low
        return index if index >= self._split else code & (self._low * 2 + 1)

    @staticmethod
    def _find(bucket: bytearray, item: bytes) -> bool:
        at = bucket.find(item)
        while at >= 0:
            if at % DIGEST == 0:
                return True
            at = bucket.find(item, at + 1)
        return False

    def _grow(self) -> None:
        buckets, high = self._buckets, self._low * 2 + 1
        stay, move = bytearray(), bytearray()
        old = bytes(buckets[self._split])
        for at in range(0, len(old), DIGEST):
            item = old[at : at + DIGEST]
            if hash(item) & high == self._split:
                stay += item
            else:
                move += item
        buckets[self._split] = stay
        buckets.append(move)
        self._split += 1
        if self._split > self._low:
            self._low, self._split = high, 0


class SeenIds:
    """Event ids seen in at least the last ``horizon`` µs of log time, in tumbling windows of half of that."""

    def __init__(self, horizon: int) -> None:
        self.horizon = horizon
        self.width = max(1, -(-horizon // 2))
        self._windows: dict[int, IdSet] = {}
        self._current = -1
        self._set = IdSet()
        self._older: tuple[IdSet, ...] = ()
        self._fresh: dict[int, bytearray] = {}

    def __len__(self) -> int:
        return sum(map(len, self._windows.values()))

    def __contains__(self, item: bytes) -> bool:
        return any(item in window for window in self._windows.values())

    def nbytes(self) -> int:
        """Bytes held for all ids."""
        return sum(window.nbytes() for window in self._windows.values())

    def add(self, item: bytes, log_time: int) -> bool:
        """Remember a digest at ``log_time`` (µs); False if it was seen within the horizon."""
        window = log_time // self.width
        if window != self._current:
            self._turn(window)
        for older in self._older:
            if item in older:
                return False
        if not self._set.add(item):
            return False
        self._fresh[window] += item
        return True

    def _turn(self, window: int) -> None:
        self.expire(window * self.width)
        self._current = window
        self._set = self._windows.setdefault(window, IdSet())
        self._fresh.setdefault(window, bytearray())
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
        self._fresh = {self._current: bytearray()} if self._current >= 0 else {}
        return fresh

    def restore(self, window: int, items: bytes) -> None:
        """Put a stored chunk back."""
        ids = self._windows.setdefault(window, IdSet())
        for at in range(0, len(items), DIGEST):
            ids.add(items[at : at + DIGEST])
        self._current = -1


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
