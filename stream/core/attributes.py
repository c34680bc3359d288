"""Profile attributes: declared by name and type in the definition book, and brought to that type on arrival."""

from __future__ import annotations

import math
from typing import TypeAlias

from stream.core.time import format_iso, parse_iso

AttributeValue: TypeAlias = str | int | float | bool | None


#: Characters of a text attribute.
MAX_TEXT = 1_000
#: Characters of all text attributes of a customer: the record and every change of theirs hold them all.
MAX_TEXTS = 50_000


class AttributeTypeError(ValueError):
    """A profile update gives an attribute a value that its declared type cannot hold."""

    def __init__(self, name: str, kind: str) -> None:
        super().__init__(f"attribute {name!r} is declared {kind}, and the value is not (or is too long)")


class TooMuchText(AttributeTypeError):
    """With what a profile update gives, a customer's text attributes would be longer than ``MAX_TEXTS``."""

    def __init__(self) -> None:
        ValueError.__init__(self, f"the text attributes of the customer would have more than {MAX_TEXTS} characters")


def coerce(name: str, value: object, kind: str) -> AttributeValue:
    """Bring ``value`` to the declared type ``kind``; None (JSON null) unsets the attribute.

    Numbers may come as text ("34"), timestamps as ISO 8601 (kept as µs). Raises ``AttributeTypeError``.
    """
    if value is None:
        return None
    try:
        if kind == "text":
            if isinstance(value, str) and len(value) <= MAX_TEXT:
                return value.strip()
            if isinstance(value, int | float) and not isinstance(value, bool):
                return str(value)
        elif kind == "boolean":
            if isinstance(value, bool):
                return value
            if isinstance(value, str) and value.strip().lower() in ("true", "false"):
                return value.strip().lower() == "true"
        elif isinstance(value, bool):
            pass
        elif kind == "integer":
            number = int(value) if isinstance(value, str | int) else float(value)  # type: ignore[arg-type]
            if number == int(number) and abs(number) < 2**63:
                return int(number)
        elif kind == "number":
            number = float(value)  # type: ignore[arg-type]
            if math.isfinite(number):
                return number
        elif kind == "timestamp" and isinstance(value, str):
            return parse_iso(value)
    except (TypeError, ValueError, OverflowError):
        raise AttributeTypeError(name, kind) from None
    raise AttributeTypeError(name, kind)


def stated(value: AttributeValue, kind: str) -> AttributeValue:
    """A held value as people and JSON say it: a timestamp as ISO 8601."""
    return format_iso(value) if kind == "timestamp" and isinstance(value, int) else value
