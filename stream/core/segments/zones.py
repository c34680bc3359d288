"""The clocks of places. Instants are µs since the epoch, UTC; what a clock shows is µs too, as if it were UTC.

They mean what DuckDB means; a test compares them. The rules are those of the package ``tzdata``, which is pinned, and
not of the machine: all that read one log are to say the same.
"""

from __future__ import annotations

from bisect import bisect_right
from datetime import UTC, datetime, timedelta
from functools import cache
from importlib.resources import files
from typing import Final
from zoneinfo import ZoneInfo

import tzdata  # type: ignore[import-untyped]  # it holds files and nothing else

from stream.core.segments.calendar import DAY, HOUR, SECOND, date_of, days_of
from stream.core.time import NEVER

_EPOCH: Final = datetime(1970, 1, 1)
_FIRST, _LAST = -62_135_596_800 * SECOND, 253_402_300_800 * SECOND  # the years 1 to 9999


class Zone:
    """The clock of a place, by its name in the tz database."""

    def __init__(self, name: str) -> None:
        self.name = name
        with files(tzdata).joinpath("zoneinfo", *name.split("/")).open("rb") as rules:
            self._info = ZoneInfo.from_file(rules, key=name)
        self._years: dict[int, tuple[list[int], list[int]]] = {}
        self._last = (0, 0, 0)  # the piece that was asked for last: begin, end, offset

    def piece(self, instant: int) -> tuple[int, int]:
        """How far (µs) the clock is ahead of UTC at ``instant``, and until which instant that is sure."""
        begin, end, offset = self._last
        if begin <= instant < end:
            return offset, end
        if not _FIRST + 400 * DAY <= instant < _LAST - 400 * DAY:
            return self._offset(min(max(instant, _FIRST + DAY), _LAST - DAY)), NEVER
        year = date_of(instant // DAY)[0]
        known = self._years.get(year)
        if known is None:
            known = self._years[year] = self._year(year)
        starts, offsets = known
        place = bisect_right(starts, instant) - 1
        self._last = starts[place], starts[place + 1], offsets[place]
        return offsets[place], starts[place + 1]

    def local(self, instant: int) -> int:
        """What the clock shows at ``instant``."""
        return instant + self.piece(instant)[0]

    def instant(self, local: int) -> int:
        """When the clock shows ``local``: the later time of two, and the clock unchanged where it is skipped."""
        plain = self._far_from_changes(local)
        if plain is not None:
            return plain
        around = (self.piece(local - 26 * HOUR)[0], self.piece(local + 26 * HOUR)[0])
        offsets = {*around, self.piece(local)[0]}
        shown = [local - offset for offset in offsets if self.local(local - offset) == local]
        if shown:
            return max(shown)
        return local - self.piece(local - 26 * HOUR)[0]

    def first(self, local: int) -> int:
        """When the clock first shows ``local`` or later."""
        plain = self._far_from_changes(local)
        if plain is not None:
            return plain
        instant = local - 26 * HOUR
        while True:
            offset, end = self.piece(instant)
            if max(instant, local - offset) < end:
                return max(instant, local - offset)
            instant = end

    def _far_from_changes(self, local: int) -> int | None:
        """When the clock shows ``local``, if it is not set within more than a day of that."""
        offset, _ = self.piece(local)
        begin, end, _ = self._last
        instant = local - offset
        return instant if begin + 27 * HOUR <= instant < end - 27 * HOUR else None

    def _offset(self, instant: int) -> int:
        at = (_EPOCH + timedelta(microseconds=instant)).replace(tzinfo=UTC).astimezone(self._info)
        offset = at.utcoffset()
        assert offset is not None
        return (offset.days * 86_400 + offset.seconds) * SECOND + offset.microseconds

    def _year(self, year: int) -> tuple[list[int], list[int]]:
        """Where the year's pieces begin, with the end of the last, and how far ahead of UTC each is."""
        begin, end = days_of(year, 1, 1) * DAY, days_of(year + 1, 1, 1) * DAY
        starts, offsets = [begin], [self._offset(begin)]
        # No place has set its clock twice within six hours.
        for later in range(begin + 6 * HOUR, end + 1, 6 * HOUR):
            offset = self._offset(min(later, end - 1))
            if offset != offsets[-1]:
                low, high = later - 6 * HOUR, min(later, end - 1)
                while high - low > 1:
                    middle = (low + high) // 2
                    low, high = (middle, high) if self._offset(middle) == offsets[-1] else (low, middle)
                starts.append(high)
                offsets.append(offset)
        return [*starts, end], offsets


@cache
def zone(name: str) -> Zone | None:
    """The zone of this name, in whatever case; None if there is none that is a place's."""
    found = _names().get(name.lower())
    return Zone(found) if found is not None else None


@cache
def _names() -> dict[str, str]:
    """Places and UTC. Abbreviations mean different things to different people, and other databases."""
    known = files(tzdata).joinpath("zones").read_text("utf-8").split()
    listed = (name for name in known if "/" in name and not name.startswith(("Etc/", "SystemV/")))
    return {name.lower(): name for name in (*listed, "UTC", "GMT")}


def zone_names() -> tuple[str, ...]:
    """All names that ``zone`` knows."""
    return tuple(_names().values())
