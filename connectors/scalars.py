"""Values for platforms whose fields hold one value each. Pure."""

from __future__ import annotations

from typing import Any

import msgspec


def scalar(value: Any) -> str | int | float | bool | None:
    """A value of a profile as it is; a list or an object as its JSON."""
    if value is None or isinstance(value, str | int | float | bool):
        return value
    return msgspec.json.encode(value).decode()
