"""Numbers as DuckDB computes with them: BIGINT is ``int``, DOUBLE ``float``, with infinities and NaN.

Where DuckDB stops with an error (an overflow, a whole number divided by zero, a text that is no number) the answer is
None: NULL, as from its ``TRY(…)``.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any, TypeAlias

from stream.core.segments.getters import OPERATORS
from stream.core.segments.tree import Op

Number: TypeAlias = int | float

_MOST = 2**63
_DIGITS = r"\d+(?:_\d+)*"
_DECIMAL = re.compile(
    rf"([+-]?)(?=\.?\d)({_DIGITS})?\.?({_DIGITS})?(?:[eE]([+-]?{_DIGITS}))?",
    re.ASCII,
)
_OTHER_BASE = re.compile(r"0(?:[xX][0-9a-fA-F]+|[bB][01]+)", re.ASCII)
_SPACES = " \t\n\v\f\r"
#: Digits of the largest BIGINT.
_LONGEST = 19


def whole(value: int, bits: int = 64) -> int | None:
    """``value`` if a whole number of so many bits can hold it."""
    most = _MOST if bits == 64 else 2 ** (bits - 1)
    return value if -most <= value < most else None


def integer(digits: str) -> int | None:
    """Digits, perhaps with a sign and with _ between them, as a number; None for more of them than a BIGINT has.

    Zeros before them do not count. Python refuses to read thousands of digits, zeros as well.
    """
    shown = digits.replace("_", "").lstrip("+-").lstrip("0") or "0"
    if len(shown) > _LONGEST:
        return None
    return -int(shown) if digits.startswith("-") else int(shown)


def compared(op: Op) -> Callable[[Any, Any], bool]:
    """The comparison of numbers among which NaN can be: NaN equals itself and is greater than all others."""
    plain = OPERATORS[op]

    def compare(a: Number, b: Number) -> bool:
        if a == a and b == b:
            return plain(a, b)
        return plain(a != a, b != b)

    return compare


def divided(a: Number, b: Number) -> float:
    """``/``, which is always a DOUBLE; by zero it is infinite, and NaN for zero by zero."""
    a, b = float(a), float(b)
    if b != 0.0:
        return a / b
    if a == 0.0 or a != a:
        return -math.nan if a == a else a
    return math.copysign(math.inf, a) * math.copysign(1.0, b)


def quotient(a: int, b: int) -> int | None:
    """``//`` of whole numbers, towards zero."""
    if b == 0:
        return None
    found = abs(a) // abs(b)
    return whole(found if (a < 0) is (b < 0) else -found)


def remainder(a: int, b: int) -> int | None:
    """``%`` of whole numbers, with the sign of the first."""
    if b == 0:
        return None
    if b == -1 and a == -_MOST:
        return None  # DuckDB divides to find out
    found = abs(a) % abs(b)
    return -found if a < 0 else found


def remainder_of_doubles(a: Number, b: Number) -> float:
    """``%`` of DOUBLEs."""
    a, b = float(a), float(b)
    return math.nan if b == 0.0 or math.isinf(a) else math.fmod(a, b)


def rounded(value: float) -> float:
    """``round``: halves go away from zero."""
    if not math.isfinite(value):
        return value
    size = abs(value)
    below = math.floor(size)
    return math.copysign(float(below + 1 if size - below >= 0.5 else below), value)


def rounded_to(value: float, digits: int) -> float:
    """``round(value, digits)``, by way of a power of ten as DuckDB has it."""
    if digits < 0:
        power = math.pow(10.0, -digits) if digits >= -308 else math.inf
        found = rounded(value / power) * power
        return found if math.isfinite(found) else 0.0
    power = math.pow(10.0, digits) if digits <= 308 else math.inf
    found = rounded(value * power) / power
    return found if math.isfinite(found) else value


def rounded_whole(value: int, digits: int) -> int | None:
    """``round`` of a whole number to tens, hundreds, …"""
    if digits >= 0:
        return value
    if digits < -20:
        return 0
    power = 10**-digits
    half = (abs(value) + power // 2) // power * power
    return whole(-half if value < 0 else half)


def down(value: Number) -> float:
    """``floor``."""
    if not math.isfinite(value):
        return value
    found = float(math.floor(value))
    return found if found else math.copysign(0.0, value)


def up(value: Number) -> float:
    """``ceil``."""
    if not math.isfinite(value):
        return value
    found = float(math.ceil(value))
    return found if found else math.copysign(0.0, value)


# -- casts -------------------------------------------------------------------------------------------------


def whole_of_double(value: float) -> int | None:
    """``::BIGINT``: halves go to the even neighbour."""
    return whole(round(value)) if math.isfinite(value) else None


def whole_of_text(text: str) -> int | None:
    """A text as a BIGINT: halves go away from zero.

    As DuckDB reads them, 64 bits have to hold the digits before the point, and 16 the exponent; of the digits behind
    the point as many count as 64 bits hold.
    """
    text = text.strip(_SPACES)
    found = _DECIMAL.fullmatch(text)
    if found is None:
        return whole(int(text, 0)) if _OTHER_BASE.fullmatch(text) else None
    sign = -1 if found[1] == "-" else 1
    before, exponent = integer(found[2] or "0"), integer(found[4] or "0")
    if before is None or whole(sign * before) is None or exponent is None or whole(exponent, 16) is None:
        return None
    behind, places = _fraction(found[3] or "") if exponent >= 0 else (0, 0)
    if (before and exponent > _LONGEST) or (behind and exponent - places > _LONGEST):
        return None
    value, up = _shifted(before, exponent)
    more, half = _shifted(behind, exponent - places)
    return None if more >= _MOST else whole(sign * (value + more + (up or half)))


def _shifted(value: int, places: int) -> tuple[int, bool]:
    """``value``, of 64 bits, times 10^``places``, down to a whole number; and whether a half or more is lost."""
    if places >= 0 or not value:
        return value * 10 ** (places if value else 0), False
    power = 10 ** min(-places, _LONGEST + 1)  # the next takes every digit away, and the half with them
    left, rest = divmod(value, power)
    return left, 2 * rest >= power


def _fraction(digits: str) -> tuple[int, int]:
    """Digits behind the point as a whole number, and how many of them that are: those that do not fit do not count."""
    digits = digits.replace("_", "")
    kept = digits.lstrip("0")
    value, places = 0, len(digits) - len(kept)
    for digit in map(int, kept):
        if value > (_MOST - 1) // 10:
            break
        if value <= (_MOST - 1 - digit) // 10:
            value, places = value * 10 + digit, places + 1
    return value, places


def double_of_text(text: str) -> float | None:
    """A text as a DOUBLE."""
    text = text.strip(_SPACES)
    if _DECIMAL.fullmatch(text):
        return float(text.replace("_", ""))
    word = text.lstrip("+-").lower() if len(text) - len(text.lstrip("+-")) <= 1 else ""
    found = {"inf": math.inf, "infinity": math.inf, "nan": math.nan}.get(word)
    return None if found is None else -found if text.startswith("-") else found


def text_of_double(value: float) -> str:
    """A DOUBLE as text: the shortest that means the same."""
    return repr(value) if value == value or math.copysign(1.0, value) > 0 else "-nan"


_TRUE, _FALSE = {"true", "t", "1", "yes", "y"}, {"false", "f", "0", "no", "n"}


def boolean_of_text(text: str) -> bool | None:
    """A text as a BOOLEAN."""
    word = text.lower()
    return True if word in _TRUE else False if word in _FALSE else None
