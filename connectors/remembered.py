"""What a platform said lately, by key: bounded in number and in age. Pure: time is an argument."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable


class Remembered:
    """Platforms' own ids of customers. The least lately used is dropped first; none is older than `seconds`."""

    def __init__(self, capacity: int = 100_000, seconds: float = 3600.0) -> None:
        self._capacity = capacity
        self._seconds = seconds
        self._entries: OrderedDict[str, tuple[str, float, Hashable]] = OrderedDict()

    def get(self, key: str, now: float, of: Hashable = None) -> str | None:
        """What was put for `key`, if it was said of the same thing (`of`)."""
        entry = self._entries.get(key)
        if entry is None or not 0 <= now - entry[1] < self._seconds or entry[2] != of:
            return None
        self._entries.move_to_end(key)
        return entry[0]

    def put(self, key: str, value: str, now: float, of: Hashable = None) -> None:
        self._entries[key] = (value, now, of)
        self._entries.move_to_end(key)
        while len(self._entries) > self._capacity:
            self._entries.popitem(last=False)

    def forget(self, key: str) -> None:
        self._entries.pop(key, None)

    def __repr__(self) -> str:
        return f"Remembered({len(self._entries)} of {self._capacity})"
