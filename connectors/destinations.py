"""`destinations.yaml`: where segment changes go. Pure but for `read`.

    destinations:
      <name>:
        platform: webhook
        …the platform's options

Errors name the line and the option, and never quote a value: it could be a secret that was written inline.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from connectors.options import Options
from connectors.platforms import discover
from schemas.nesting import UNREADABLE, too_deep

NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
"""A destination's name is part of its consumer group's and of its metrics' labels."""
_DEEPEST = 20


class DestinationErrors(ValueError):
    """Everything that is wrong with a file of destinations, one line each."""

    def __init__(self, source: str, errors: list[tuple[int, str]]) -> None:
        self.errors = [f"{source}:{line}: {message}" for line, message in sorted(errors)]
        super().__init__("\n".join(self.errors))


@dataclass(frozen=True)
class Destinations:
    by_name: Mapping[str, Options]

    def segments(self) -> frozenset[str]:
        """Every segment that some destination names: each should exist."""
        return frozenset(
            segment for options in self.by_name.values() if options.segments != "all" for segment in options.segments
        )


def read(path: Path) -> Destinations:
    """Load a file. Raises OSError, UnicodeDecodeError, DestinationErrors."""
    return load(path.read_text("utf-8"), source=str(path))


def load(text: str, source: str = "destinations.yaml") -> Destinations:
    """Parse and validate. Raises DestinationErrors with every error found."""
    try:
        deep = too_deep(text, _DEEPEST)
        if deep is not None:
            raise DestinationErrors(source, [(deep.line + 1, "nested too deeply")])
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise DestinationErrors(source, [(line, f"not YAML: {error.problem}")]) from None
    except yaml.YAMLError:
        raise DestinationErrors(source, [(1, "not YAML: a character that YAML does not allow")]) from None
    duplicates = list(_duplicates(root)) if root is not None else []
    if duplicates:
        raise DestinationErrors(source, duplicates)
    try:
        document = yaml.safe_load(text)
    except (yaml.YAMLError, *UNREADABLE):
        raise DestinationErrors(source, [(1, "not YAML: a value that cannot be read; quote it")]) from None
    if not isinstance(document, dict) or set(document) != {"destinations"}:
        raise DestinationErrors(source, [(1, "expected one top-level key, 'destinations'")])
    declared = document["destinations"]
    if not isinstance(declared, dict):
        raise DestinationErrors(source, [(1, "'destinations' is a mapping from a name to its options")])

    by_name: dict[str, Options] = {}
    errors: list[tuple[int, str]] = []
    for name, options in declared.items():
        at = ("destinations", name)
        if not isinstance(name, str) or not NAME.fullmatch(name):
            errors.append((_line(root, at), "a destination's name is of a-z, 0-9, '_' and '-', at most 63 of them"))
            continue
        try:
            by_name[name] = _validate(options)
        except ValidationError as error:
            for detail in error.errors(include_input=False, include_url=False, include_context=False):
                place = ".".join([name, *(str(part) for part in detail["loc"])])
                message = _message(detail, options)
                errors.append((_line(root, (*at, *detail["loc"])), f"{place}: {message}"))
        except ValueError as error:
            errors.append((_line(root, at), f"{name}: {error}"))
    if errors:
        raise DestinationErrors(source, errors)
    return Destinations(by_name)


def _message(detail: ErrorDetails, options: object) -> str:
    if detail["type"] != "extra_forbidden":
        return detail["msg"].removeprefix("Value error, ")
    assert isinstance(options, dict)
    near = difflib.get_close_matches(str(detail["loc"][-1]), _names(discover()[options["platform"]].Config), 1)
    return "there is no such option" + (f"; is {near[0]!r} meant?" if near else "")


def _names(model: type[BaseModel]) -> set[str]:
    """The options of a model and of the models within it."""
    found = set(model.model_fields)
    open_types = [field.annotation for field in model.model_fields.values()]
    while open_types:
        each = open_types.pop()
        open_types += get_args(each)
        if isinstance(each, type) and issubclass(each, BaseModel):
            found |= _names(each)
    return found


def _validate(options: object) -> Options:
    if not isinstance(options, dict):
        raise ValueError("expected a mapping of options")
    platforms = discover()
    platform = options.get("platform")
    if not isinstance(platform, str) or platform not in platforms:
        raise ValueError(f"'platform' must be one of: {', '.join(platforms)}")
    return platforms[platform].Config.model_validate(options)


def _line(root: yaml.Node | None, path: tuple[Any, ...]) -> int:
    """The line of the deepest part of `path` that the document has."""
    line = 1
    node = root
    for part in path:
        if isinstance(node, yaml.MappingNode):
            found = next(((key, value) for key, value in node.value if key.value == str(part)), None)
            if found is None:
                break
            line, node = found[0].start_mark.line + 1, found[1]
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            node = node.value[part]
            line = node.start_mark.line + 1
        else:
            break
    return line


def _duplicates(node: yaml.Node, seen: set[int] | None = None) -> Iterator[tuple[int, str]]:
    """Keys given twice: YAML would silently keep the last."""
    seen = seen if seen is not None else set()
    if id(node) in seen:  # an anchor may refer to what contains it
        return
    seen.add(id(node))
    if isinstance(node, yaml.MappingNode):
        keys: set[str] = set()
        for key, value in node.value:
            if isinstance(key, yaml.ScalarNode):
                if key.value in keys:
                    yield key.start_mark.line + 1, f"the key {key.value!r} is given twice"
                keys.add(key.value)
            yield from _duplicates(value, seen)
    elif isinstance(node, yaml.SequenceNode):
        for value in node.value:
            yield from _duplicates(value, seen)
