"""Sums that are rounded once, at their end: no order of events, and no restart, can change them.

A running sum of DOUBLEs is kept as a few of them that do not overlap (Shewchuk's expansions, as in ``math.fsum``), a
running sum of BIGINTs as a whole number of any size. Both fit into a customer's record: lists of numbers and texts.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

_MOST = 2**63


def total(values: Sequence[float]) -> float:
    """The sum of DOUBLEs, rounded once. Infinite where it is too large for one; NaN of both infinities."""
    try:
        return math.fsum(values)
    except ValueError:
        return math.nan
    except OverflowError:
        # Of a sum on the way, not of the whole sum for sure.
        special = [value for value in values if not math.isfinite(value)]
        if special:
            return sum(special)
        whole = sum(map(Fraction, values), Fraction())
        try:
            return float(whole)
        except OverflowError:
            return math.inf if whole > 0 else -math.inf


def added(held: Sequence[float], value: float) -> list[float]:
    """The running sum ``held`` with ``value`` in it. Of nothing it is ``[0.0]``.

    It is ``[what infinities and NaNs make, *parts of the rest]``. What once is too large for a DOUBLE is infinite.
    """
    special, *rest = held
    if not math.isfinite(value):
        return [special + value, *rest]
    parts = [special]
    for part in rest:
        if abs(value) < abs(part):
            value, part = part, value
        high = value + part
        if math.isinf(high):
            return [special + high]
        low = part - (high - value)
        if low:
            parts.append(low)
        value = high
    if value:
        parts.append(value)
    return parts


def running_total(held: Sequence[float]) -> float:
    """The value of a running sum, rounded once."""
    special = held[0]
    return total(held[1:]) if special == 0.0 else special


def added_whole(held: int | str, value: int) -> int | str:
    """A running sum of whole numbers with ``value`` in it; as text where 64 bits do not hold it."""
    found = int(held) + value
    return found if -_MOST <= found < _MOST else str(found)


def distinct(values: Sequence[Any]) -> int:
    """How many different values there are. NaN is one value, and so are 0.0 and -0.0, as in DuckDB."""
    found = set(values)
    unlike = [value for value in found if value != value]
    return len(found) - len(unlike) + bool(unlike)
