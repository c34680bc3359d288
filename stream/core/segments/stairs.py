"""Values that ``now()`` raises step by step, such as ``date_trunc('day', now())``, compared with what stands still.

Such a comparison changes at one or two steps, which may be months away; to ask at every midnight on the way there would
ask every customer for nothing. All instants are µs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from stream.core.segments import calendar
from stream.core.segments.calendar import DAY
from stream.core.segments.functions import unit_of, zone_of
from stream.core.segments.getters import OPERATORS
from stream.core.segments.moving import Timed
from stream.core.segments.tree import Call, Cast, Length, Literal, Now, Op, Shifted, Value, type_of
from stream.core.segments.zones import Zone
from stream.core.time import NEVER


class Stair(NamedTuple):
    """``height(n)`` is the value on step ``n``, never less than on the one before; ``near(value)`` a step close to it.

    Step n begins where the clock, UTC's if it is no ``place``'s, shows the beginning of the n-th ``unit`` less ``by``.
    """

    unit: str
    by: int
    place: Zone | None
    height: Callable[[int], int]
    near: Callable[[int], int]

    def step(self, least: int) -> int:
        """The first step of at least that height."""
        number, height = self.near(least), self.height
        while height(number) >= least:
            number -= 1
        while height(number) < least:
            number += 1
        return number

    def now(self, now: int) -> tuple[int, int]:
        """The present step, and until when it surely is."""
        offset, end = self.place.piece(now) if self.place is not None else (0, NEVER)
        shown = now + offset + self.by
        number = calendar.index(self.unit, shown)
        return number, min(now + calendar.start(self.unit, number + 1) - shown, end)

    def begins(self, number: int) -> tuple[int, int]:
        """When the step is first reached, and when it is left downwards no more: a clock may be set back over it."""
        local = calendar.start(self.unit, number) - self.by
        if self.place is None:
            return local, local
        return self.place.first(local), self.place.instant(local)


def stair(value: Value) -> Stair | None:
    """``value`` as a stair; None if it is none, or one that is not known to be."""
    match value:
        case Cast(type="date", value=inner):
            return steps_of("day", inner, lambda number: number, lambda day: day)
        case Call(name="date_trunc", args=(_, inner)):
            unit = unit_of(value)
            return steps_of(
                unit, inner, lambda number: calendar.start(unit, number), lambda at: calendar.index(unit, at)
            )
        case Cast(type="timestamp" | "local", value=inner):
            found = stair(inner)
            if found is None or type_of(inner) != "date":
                return found
            return _moved(found, lambda day: day * DAY, lambda at: at // DAY)
        case Call(name="+" | "-", args=(inner, Length() as length)) if type_of(inner) in ("timestamp", "local"):
            found = stair(inner)
            sign = 1 if value.name == "+" else -1
            months, by = sign * length.months, sign * length.by
            return found and _moved(
                found,
                lambda at: calendar.add_months(at, months) + by,
                lambda at: calendar.add_months(at - by, -months),
            )
        case Call(name="+" | "-", args=(inner, Literal(value=int() as days)), type="date"):
            found = stair(inner)
            more = days if value.name == "+" else -days
            return found and _moved(found, lambda day: day + more, lambda day: day - more)
        case Call(name="timezone", args=(_, inner)) if type_of(inner) == "local":
            found, place = stair(inner), zone_of(value)
            return found and _moved(found, place.instant, place.local)
    return None


def climbed(op: Op, steps: Stair, ends: Timed) -> Timed:
    """``op`` between the stair and something else, as a function ``(customer, now) -> (True, False or None, until)``.

    ``ends`` gives the first steps that are not below that, and above it, or None if it is NULL.
    """
    below, same, above = (OPERATORS[op](sign, 0) for sign in (-1, 0, 1))

    def compared(customer: Any, now: int) -> tuple[bool | None, int]:
        found, until = ends(customer, now)
        if found is None:
            return None, until
        lower, upper = found
        present, soon = steps.now(now)
        (first, sure), (top, safe) = steps.begins(lower), steps.begins(upper)
        if present < lower:
            truth, change = below, first if same is not below else top if above is not below else NEVER
        elif present < upper:
            # Down again is possible for as long as the clock may be set back.
            truth, change = same, soon if now < sure else top if above is not same else NEVER
        else:
            truth, change = above, soon if now < max(sure, safe) else NEVER
        return truth, min(change if change > now else soon, until)

    return compared


def _moved(inner: Stair, forth: Callable[[int], int], back: Callable[[int], int]) -> Stair:
    height, near = inner.height, inner.near
    return inner._replace(height=lambda number: forth(height(number)), near=lambda value: near(back(value)))


def steps_of(unit: str, inner: Value, height: Callable[[int], int], near: Callable[[int], int]) -> Stair | None:
    """The stair that ``inner``, ``now()`` a length of time later and on some clock, climbs; None if it is not that."""
    by, place = 0, None
    while True:
        match inner:
            case Now():
                return Stair(unit, by, place, height, near)
            case Shifted(base=Now(), by=more) if place is None:
                return Stair(unit, by + more, place, height, near)
            case Cast(type="timestamp" | "local", value=below) if type_of(below) in ("timestamp", "local"):
                inner = below
            case Call(name="timezone", args=(_, below)) as call if place is None and type_of(below) == "timestamp":
                inner, place = below, zone_of(call)
            case Call(name="+" | "-" as sign, args=(below, Length(by=more, months=0))) if place is None:
                inner, by = below, by + (more if sign == "+" else -more)
            case _:
                return None
