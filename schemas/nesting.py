"""What PyYAML leaves to who reads a file with it: how deeply it is nested, and values that are not what they look like.

PyYAML recurses where it builds nodes, and not where it says what comes next; and the time that it takes grows with the
square of the levels. So that is found before anything is built.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import yaml

#: Raised, besides ``YAMLError``, of a value that its tag or its look promises and is not: ``!!int x``, 2026-13-45.
UNREADABLE = (ValueError, AttributeError, TypeError, LookupError)


class Place(NamedTuple):
    """Of something in a text; both count from 0."""

    character: int
    line: int


def too_deep(text: str, most: int, loader: Any = yaml.SafeLoader) -> Place | None:
    """Where there are first more than ``most`` levels of lists and mappings; None if there never are.

    Raises ``YAMLError``.
    """
    depth = 0
    for event in yaml.parse(text, Loader=loader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > most:
                mark = event.start_mark
                return Place(mark.index, mark.line) if mark else Place(0, 0)
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
    return None
