"""What may be written in a file of cases (YAML), and in which case and place of it something is wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import ErrorDetails

from schemas.nesting import UNREADABLE, too_deep

#: Who is meant where nobody is named.
ANYBODY = "customer"
#: Levels of lists and mappings: twice what an event may have, so that a case can show that it is refused.
_DEEPEST = 64


class CasebookError(ValueError):
    """A file of cases that is not understood; the message has one line for each mistake."""


class WrittenChange(BaseModel):
    """What follows."""

    model_config = ConfigDict(extra="forbid", coerce_numbers_to_str=True)

    at: str | None = None
    after: str | None = None
    customer: str = ANYBODY
    enters: str | list[str] = []
    exits: str | list[str] = []

    @model_validator(mode="after")
    def _says_when_and_what(self) -> WrittenChange:
        if (self.at is None) == (self.after is None):
            raise ValueError("a change has `at:`, or `after:` for the first microsecond after an instant")
        if not self.enters and not self.exits:
            raise ValueError("a change has `enters:` or `exits:`, a segment or a list of them")
        return self


class WrittenEvent(BaseModel):
    """What happens."""

    # Whatever else there is belongs to the event.
    model_config = ConfigDict(extra="allow")

    at: str
    times: Annotated[int, Field(ge=1, le=100_000)] = 1
    every: str = "1 minute"
    ends: str = "applied"


class WrittenCase(BaseModel):
    """One case."""

    model_config = ConfigDict(extra="forbid")

    clock: str | None = None
    segments: str | list[str] | None = None
    events: Annotated[list[WrittenEvent], Field(min_length=1)]
    until: str | None = None
    changes: list[WrittenChange]


class WrittenFile(BaseModel):
    """The whole file."""

    model_config = ConfigDict(extra="forbid")

    book: str | None = None
    clock: str | None = None
    cases: Annotated[dict[str, WrittenCase], Field(min_length=1)]


def parse(path: Path) -> WrittenFile:
    """What is written in a file. Raises ``CasebookError`` and ``OSError``."""
    try:
        content = _content(path)
        return WrittenFile.model_validate(content if content is not None else {})
    except UnicodeDecodeError:
        raise CasebookError(f"{path} is not UTF-8") from None
    except yaml.YAMLError as error:
        raise CasebookError(f"{path} is not understood: {' '.join(str(error).split())}") from None
    except ValidationError as error:
        lines = [f"{path}, {_place(each)}: {_why(each)}" for each in error.errors(include_url=False)]
        raise CasebookError("\n".join(lines)) from None


def _content(path: Path) -> Any:
    text = path.read_text("utf-8")
    place = too_deep(text, _DEEPEST)
    if place is not None:
        raise CasebookError(f"{path}, line {place.line + 1}: nested too deeply")
    try:
        return yaml.load(text, _Loader)  # noqa: S506 - a SafeLoader
    except UNREADABLE:
        raise CasebookError(f"{path} is not understood: a value that cannot be read; quote it") from None


def _place(error: ErrorDetails) -> str:
    """Where pydantic found something, in words: ``case 'x', event 2, at``."""
    words: list[str] = []
    parts = list(error["loc"])
    while parts:
        part = parts.pop(0)
        if part == "cases" and parts:
            words.append(f"case {parts.pop(0)!r}")
        elif part in ("events", "changes") and parts:
            words.append(f"{str(part).removesuffix('s')} {int(parts.pop(0)) + 1}")
        elif part not in ("str", "list[str]"):
            words.append(str(part))
    return ", ".join(words) or "the whole file"


def _why(error: ErrorDetails) -> str:
    if error["type"] == "extra_forbidden":
        return "there is nothing of this name"
    if error["type"] == "missing":
        return "is missing"
    return error["msg"].removeprefix("Value error, ")


class _Loader(yaml.SafeLoader):
    """Leaves instants the texts that they are, and takes no name twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        names = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        for place, name in enumerate(names):
            if name in names[:place]:
                raise yaml.constructor.ConstructorError(None, None, f"{name!r} is there twice", node.start_mark)
        return super().construct_mapping(node, deep)


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
