"""How deeply YAML is nested, found before anything is built of it.

PyYAML recurses where it builds nodes, and not where it says what comes next; and the time that it takes grows with the
square of the levels.
"""

from __future__ import annotations

from typing import Any

import yaml


def too_deep(text: str, most: int, loader: Any = yaml.SafeLoader) -> int | None:
    """At which character there are first more than ``most`` levels of lists and mappings; None if there never are.

    Raises ``YAMLError``.
    """
    depth = 0
    for event in yaml.parse(text, Loader=loader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > most:
                return event.start_mark.index if event.start_mark else 0
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
    return None
