"""What aggregates keep of the events that pass their filter: as little as decides, in lists for a customer's record.

Two shapes there are. What has no window keeps one running result: ``[events, time of the latest, …]``. What has one
keeps a table, ``[times in order …, their values …]``, of the events that can still decide something; of events of
one time the later in the log stands behind. Times are µs.
"""

from __future__ import annotations

import operator
from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from stream.core.segments.exact import added, added_whole
from stream.core.segments.numbers import compared
from stream.core.segments.tree import Aggregate, type_of

#: (what is held, time of the event, value) -> whether that can change an answer. Of nothing, an empty list is held.
Add: TypeAlias = Callable[[list[Any], int, Any], bool]
Better: TypeAlias = Callable[[Any, Any], bool]


@dataclass(frozen=True, slots=True)
class Kept:
    """How something is kept. ``columns`` of a table are 2 with values, 1 without; 0 is no table."""

    name: str
    columns: int
    add: Add
    keeps_null: bool = False


# -- running results ---------------------------------------------------------------------------------------


def _tally(held: list[Any], time: int, value: Any) -> bool:
    _count(held, time)
    return True


def _sum(held: list[Any], time: int, value: Any) -> bool:
    _count(held, time)
    held[2:] = added(held[2:] or [0.0], float(value))
    return True


def _whole_sum(held: list[Any], time: int, value: Any) -> bool:
    _count(held, time)
    held[2:] = [added_whole(held[2] if len(held) > 2 else 0, int(value))]
    return True


def _best(better: Better) -> Add:
    def best(held: list[Any], time: int, value: Any) -> bool:
        _count(held, time)
        if len(held) > 2 and not better(value, held[2]):
            return False
        held[2:] = [value]
        return True

    return best


def _end(better: Better) -> Add:
    def end(held: list[Any], time: int, value: Any) -> bool:
        _count(held, time)
        if len(held) > 2 and not better(time, held[2]):
            return False
        held[2:] = [time, value]
        return True

    return end


def _count(held: list[Any], time: int) -> None:
    if held:
        held[0] += 1
        held[1] = max(held[1], time)
    else:
        held[:] = [1, time]


# -- tables ------------------------------------------------------------------------------------------------


def _times(held: list[Any], time: int, value: Any) -> bool:
    insort(held, time)
    return True


def _rows(held: list[Any], time: int, value: Any) -> bool:
    number = len(held) // 2
    at = bisect_right(held, time, 0, number)
    held.insert(number + at, value)
    held.insert(at, time)
    return True


def _latest(held: list[Any], time: int, value: Any) -> bool:
    """Whatever the window, the last event is in it or none is."""
    if held and time < held[0]:
        return False
    held[:] = [time, value]
    return True


def _steps(better: Better) -> Add:
    """An event decides nothing while another one, of its time or later, is as good: that leaves the window after it."""

    def steps(held: list[Any], time: int, value: Any) -> bool:
        number = len(held) // 2
        at = bisect_left(held, time, 0, number)
        if at < number and not better(value, held[number + at]):
            return False
        end = bisect_right(held, time, at, number)
        begin = end
        while begin and not better(held[number + begin - 1], value):
            begin -= 1
        held[number + begin : number + end] = [value]
        held[begin:end] = [time]
        return True

    return steps


def _newest(held: list[Any], time: int, value: Any) -> bool:
    """Of each value the latest event is in the window or none is."""
    number = len(held) // 2
    for at in range(number, 2 * number):
        known = held[at]
        if known == value or (known != known and value != value):
            if time <= held[at - number]:
                return False
            del held[at], held[at - number]
            break
    return _rows(held, time, value)


#: By name. Of values of DOUBLE the ``-number`` ones, which know NaN.
KEPT: Final[Mapping[str, Kept]] = {
    kept.name: kept
    for kept in (
        Kept("tally", 0, _tally),
        Kept("sum-number", 0, _sum),
        Kept("sum", 0, _whole_sum),
        Kept("min", 0, _best(operator.lt)),
        Kept("max", 0, _best(operator.gt)),
        Kept("min-number", 0, _best(compared("<"))),
        Kept("max-number", 0, _best(compared(">"))),
        Kept("first", 0, _end(operator.le), keeps_null=True),
        Kept("last", 0, _end(operator.ge), keeps_null=True),
        Kept("times", 1, _times),
        Kept("rows", 2, _rows),
        Kept("rows-null", 2, _rows, keeps_null=True),
        Kept("latest", 2, _latest, keeps_null=True),
        Kept("falling", 2, _steps(operator.gt)),
        Kept("rising", 2, _steps(operator.lt)),
        Kept("falling-number", 2, _steps(compared(">"))),
        Kept("rising-number", 2, _steps(compared("<"))),
        Kept("newest", 2, _newest),
    )
}


def kept_of(node: Aggregate) -> Kept:
    """How ``node`` keeps what it needs. Raises ``TypeError`` if that would have no end."""
    name, window = node.function, node.window
    suffix = "-number" if node.argument is not None and type_of(node.argument) == "number" else ""
    if window.since is None:
        by_name = {
            "count": "tally",
            "sum": "sum" + suffix,
            "avg": "sum" + suffix,
            "min": "min" + suffix,
            "max": "max" + suffix,
            "first": "first",
            "last": "last",
        }
        if window.until is not None or name not in by_name:
            raise TypeError(f"{name} needs a window that begins at some time")
        return KEPT[by_name[name]]
    if name == "count":
        return KEPT["times"]
    if window.until is None:
        ending = {"count_distinct": "newest", "min": "rising" + suffix, "max": "falling" + suffix, "last": "latest"}
        if name in ending:
            return KEPT[ending[name]]
    return KEPT["rows-null" if name in ("first", "last") else "rows"]


def forget(held: list[Any], columns: int, before: int) -> None:
    """Drop from a table the events of time ``before`` (µs) and earlier."""
    number = len(held) // columns
    gone = bisect_right(held, before, 0, number)
    if columns == 2:
        del held[number : number + gone]
    del held[:gone]
