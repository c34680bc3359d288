"""How a single field of an event may be written, and what it becomes. Null and blank text are absent.

- A text is trimmed. A whole number becomes its decimal text (``12`` and ``12.0`` both ``"12"``); other
  numbers and booleans do not fit.
- A number may be text in decimal notation (``"12.50"``). It is finite and within ±1e15, so that no sum or
  product of two overflows. Below zero is legal: a return, a discount.
- An instant: see ``schemas.instants``; not before the year 2000, which is where broken clocks and zeros end
  up.

What does not fit raises ``PydanticCustomError``, whose type is the reason of the rejection.
"""

from __future__ import annotations

import math
import re
from datetime import datetime
from typing import Any

from pydantic_core import PydanticCustomError

from schemas.instants import from_datetime, parse_instant, to_datetime

#: Characters of a text after trimming, at most: ids, category, currency, ip.
MAX_TEXT = 256
MAX_EVENT_TYPE = 128
#: Characters of a user agent that are kept; the rest is cut off.
MAX_USER_AGENT = 1024
#: Magnitude of a number, at most.
MAX_NUMBER = 1e15
#: Objects and arrays within each other, the event itself included, at most.
MAX_DEPTH = 32
#: µs since the epoch; an earlier event is too old.
EARLIEST = 946_684_800_000_000

#: Whole floats up to here are exact, so their decimal text is what was meant.
_EXACT = 2.0**53
_NUMBER = re.compile(r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII).fullmatch


def text(value: Any, limit: int = MAX_TEXT) -> str | None:
    """A trimmed text of at most ``limit`` characters."""
    kept = whole_text(value)
    if kept is not None and len(kept) > limit:
        raise PydanticCustomError("id_too_long", "longer than {limit} characters", {"limit": limit})
    return kept


def whole_text(value: Any) -> str | None:
    """A trimmed text of any length."""
    if value is None:
        return None
    if isinstance(value, float) and value.is_integer() and abs(value) <= _EXACT:
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool):
        try:
            return str(value)
        except ValueError:  # thousands of digits: Python refuses to write them out
            raise PydanticCustomError("invalid_type", "not a text") from None
    if not isinstance(value, str):
        raise PydanticCustomError("invalid_type", "not a text")
    return value.strip() or None


def number(value: Any) -> float | None:
    """A finite number within ±``MAX_NUMBER``."""
    if isinstance(value, str):
        value = value.strip()
        if not value:
            return None
        if not _NUMBER(value):
            raise PydanticCustomError("invalid_type", "not a number")
        value = float(value)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise PydanticCustomError("invalid_type", "not a number")
    if not -MAX_NUMBER <= value <= MAX_NUMBER:  # NaN is within nothing
        raise PydanticCustomError("invalid_type", "not a finite number within ±1e15")
    return float(value)


def instant(value: Any) -> datetime | None:
    """An instant from the year 2000 on, as an aware datetime in UTC."""
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    if isinstance(value, datetime):
        micros = from_datetime(value)
    elif isinstance(value, bool) or not isinstance(value, str | int | float):
        raise PydanticCustomError("invalid_type", "not an instant")
    elif isinstance(value, float) and not math.isfinite(value):
        raise PydanticCustomError("invalid_type", "not a finite number")
    else:
        try:
            micros = parse_instant(value)
        except ValueError as error:
            raise PydanticCustomError("invalid_timestamp", "{why}", {"why": str(error)}) from None
    if micros < EARLIEST:
        raise PydanticCustomError("too_old", "before the year 2000")
    return to_datetime(micros)


def finite(value: Any) -> Any:
    """The JSON value as it is, if every number in it is finite."""
    pending = [value]
    while pending:
        item = pending.pop()
        if isinstance(item, dict):
            pending.extend(item.values())
        elif isinstance(item, list):
            pending.extend(item)
        elif isinstance(item, float) and not math.isfinite(item):
            raise PydanticCustomError("invalid_type", "a number in it is not finite")
    return value


def not_too_deep(value: Any) -> None:
    """Refuses objects and arrays nested more than ``MAX_DEPTH`` deep."""
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [
            inner
            for item in level
            if isinstance(item, dict | list)
            for inner in (item.values() if isinstance(item, dict) else item)
        ]
        if not level:
            return
    if any(isinstance(item, dict | list) for item in level):
        raise PydanticCustomError("too_deep", "nested more than {limit} deep", {"limit": MAX_DEPTH})
