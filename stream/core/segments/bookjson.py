"""A book that is JSON, as in the log, read as JSON and not as YAML.

YAML folds some of the line breaks that JSON leaves alone (U+0085, U+2028), and does not know surrogate pairs.
"""

from __future__ import annotations

import json
import re

import yaml

_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[\[\]{}]', re.DOTALL)
# What programs write has no places to show. Line -1 is 0 when counted from 1, which is "unknown".
_NOWHERE = yaml.Mark("book", 0, -1, 0, None, 0)


def json_node(text: str, deepest: int) -> yaml.Node | None:
    """The YAML node for the JSON object in ``text``; None if it is none, or has too many levels."""
    if not text.lstrip().startswith("{") or _depth(text) > deepest:
        return None
    try:
        return _node(json.loads(text, object_pairs_hook=_Pairs))
    except ValueError:
        return None


class _Pairs(list[tuple[str, object]]):
    """The members of an object, also those of one name."""


def _depth(text: str) -> int:
    depth = most = 0
    for token in _TOKEN.findall(text):
        depth += {"{": 1, "[": 1, "}": -1, "]": -1}.get(token, 0)
        most = max(most, depth)
    return most


def _node(value: object) -> yaml.Node:
    if isinstance(value, _Pairs):
        members = [(_node(name), _node(member)) for name, member in value]
        return yaml.MappingNode("tag:yaml.org,2002:map", members, _NOWHERE, _NOWHERE)
    if isinstance(value, list):
        return yaml.SequenceNode("tag:yaml.org,2002:seq", [_node(item) for item in value], _NOWHERE, _NOWHERE)
    if value is None:
        return yaml.ScalarNode("tag:yaml.org,2002:null", "", _NOWHERE, _NOWHERE)
    text = value if isinstance(value, str) else json.dumps(value)
    return yaml.ScalarNode("tag:yaml.org,2002:str", text, _NOWHERE, _NOWHERE)
