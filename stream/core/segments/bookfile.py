"""Reads a definition book from YAML (JSON is YAML too), and says by line and column what is wrong."""

from __future__ import annotations

import re
from collections.abc import Iterable
from difflib import get_close_matches

import yaml

from schemas.nesting import too_deep
from stream.core.columns import COLUMNS, ColumnType
from stream.core.segments.book import ATTRIBUTE_TYPES, LENGTHS, Definition, DefinitionBook
from stream.core.segments.bookjson import json_node
from stream.core.segments.errors import DefinitionError, DefinitionErrors, excerpt
from stream.core.segments.literals import length

#: The one in C where there is one: a book of a thousand segments takes seconds otherwise.
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
#: Levels of lists and mappings; a book has three.
DEEPEST = 8
#: Every record and every change carries all attributes that a customer has.
MAX_ATTRIBUTES = 500
_SEGMENT_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}", re.ASCII)
_ATTRIBUTE_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}", re.ASCII)
_SURROGATE = re.compile("[\ud800-\udfff]")
_TYPE_OF: dict[str, ColumnType] = {kind: kind for kind in ATTRIBUTE_TYPES}
_OTHER_NAMES = {
    "int": "integer",
    "bigint": "integer",
    "float": "number",
    "double": "number",
    "decimal": "number",
    "string": "text",
    "str": "text",
    "varchar": "text",
    "bool": "boolean",
    "date": "timestamp",
    "datetime": "timestamp",
}


def load_book(text: str) -> DefinitionBook:
    """The book in ``text``. Raises ``DefinitionErrors``; the SQL itself is looked at by ``compile_book``."""
    root = json_node(text, DEEPEST)
    if root is None:
        try:
            _check_nesting(text)
            root = yaml.compose(text, Loader=_LOADER)
        except yaml.YAMLError as error:
            raise DefinitionErrors([_not_yaml(text, error)]) from None
    reader = _Reader(text)
    book = reader.book(root)
    if reader.errors:
        raise DefinitionErrors(reader.errors)
    return book


def _check_nesting(text: str) -> None:
    place = too_deep(text, DEEPEST, _LOADER)
    if place is not None:
        error = DefinitionError(
            None, "the book is nested too deeply", "", *excerpt(text, place.character, place.character)
        )
        raise DefinitionErrors([error])


def _not_yaml(text: str, error: yaml.YAMLError) -> DefinitionError:
    mark = getattr(error, "problem_mark", None)
    if mark is None:
        position = getattr(error, "position", 0)
        return DefinitionError(None, "this is not YAML: a character is not allowed", "", *excerpt(text, position, 0))
    problem = getattr(error, "problem", None) or "unexpected text"
    return DefinitionError(
        None,
        f"this is not YAML: {problem}",
        "quote what contains a colon or a #, or write SQL as a block after `sql: |`",
        *excerpt(text, mark.index, mark.index + 1),
    )


class _Reader:
    """Goes through the nodes of a book and notes what is wrong where."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.errors: list[DefinitionError] = []

    def note(self, node: yaml.Node, message: str, hint: str = "", segment: str | None = None) -> None:
        end = node.end_mark.index if isinstance(node, yaml.ScalarNode) else node.start_mark.index + 1
        line, column, lines = excerpt(self.text, node.start_mark.index, end)
        begins = line if segment is not None else 0
        self.errors.append(DefinitionError(segment, message, hint, line, column, lines, begins))

    def book(self, root: yaml.Node | None) -> DefinitionBook:
        attributes: dict[str, ColumnType] = {}
        segments: dict[str, Definition] = {}
        if root is None:
            self.errors.append(DefinitionError(None, "the book is empty", "it needs `segments:`"))
            return DefinitionBook(attributes, segments)
        found = self.fields(root, "the book", ("attributes", "segments"))
        if "attributes" in found:
            for key, node in self.pairs(found["attributes"], "`attributes:`"):
                self.attribute(key, node, attributes)
            if len(attributes) > MAX_ATTRIBUTES:
                said = f"{len(attributes)} attributes are declared, and {MAX_ATTRIBUTES} are the most"
                self.note(found["attributes"], said, "every change carries all of them: declare those that are used")
        if "segments" in found:
            for key, node in self.pairs(found["segments"], "`segments:`"):
                self.segment(key, node, segments)
        elif isinstance(root, yaml.MappingNode):
            self.note(root, "the book has no `segments:`", "write `segments: {}` for a book without any")
        return DefinitionBook(attributes, segments)

    def attribute(self, key: yaml.ScalarNode, node: yaml.Node, attributes: dict[str, ColumnType]) -> None:
        name = key.value
        if not _ATTRIBUTE_NAME.fullmatch(name):
            self.note(key, f'"{name}" cannot name an attribute', "use letters, digits and _, at most 64")
        elif name.lower() in COLUMNS:
            self.note(key, f'"{name}" is a live column already', "choose another name for the attribute")
        elif any(name.lower() == other.lower() for other in attributes):
            self.note(key, f'"{name}" is declared twice', "SQL's names know no upper and lower case")
        kind = node.value if isinstance(node, yaml.ScalarNode) else ""
        if kind not in _TYPE_OF:
            meant = _OTHER_NAMES.get(kind.lower(), kind.lower())
            hint = f"write {meant}" if meant in _TYPE_OF else "the types are " + ", ".join(ATTRIBUTE_TYPES)
            self.note(node, f'"{kind}" is not a type of attribute' if kind else "an attribute needs a type", hint)
        attributes[name] = _TYPE_OF.get(kind, "text")

    def segment(self, key: yaml.ScalarNode, node: yaml.Node, segments: dict[str, Definition]) -> None:
        name = key.value
        if not _SEGMENT_NAME.fullmatch(name):
            self.note(key, f'"{name}" cannot name a segment', "begin with a-z, then a-z, 0-9 and _, at most 64")
        if isinstance(node, yaml.ScalarNode):
            self.note(node, "a segment has `sql:` and may have `description:`", "write `sql:` before it", name)
            return
        found = self.fields(node, f"segment {name}", ("sql", "description", *LENGTHS), name)
        values = {field: self.text_of(value, field, name) for field, value in found.items()}
        if "sql" not in found and isinstance(node, yaml.MappingNode):
            self.note(key, "the segment has no `sql:`", "", name)
        description = " ".join(values.get("description", "").split())
        lengths = {field: self.length(found[field], values[field], field, name) for field in LENGTHS if field in found}
        segments[name] = Definition(values.get("sql", "").strip(), description, line=key.start_mark.line + 1, **lengths)

    def length(self, node: yaml.Node, text: str, field: str, segment: str) -> int:
        """A length of time in µs, 0 if it is wrong."""
        if not isinstance(node, yaml.ScalarNode):
            return 0
        found = length(text)
        hint = f"write for example `{field}: 10 minutes`, in seconds, minutes, hours, days or weeks"
        if isinstance(found, str):
            self.note(node, found if text else f"`{field}:` says no length of time", hint, segment)
        elif found.months:
            self.note(node, "months and years are not always equally long", hint, segment)
        elif found.by <= 0:
            self.note(node, f"`{field}:` has to be longer than nothing", "leave it out for none", segment)
        else:
            return found.by
        return 0

    def text_of(self, node: yaml.Node, field: str, segment: str) -> str:
        if isinstance(node, yaml.ScalarNode):
            if _SURROGATE.search(node.value):
                self.note(node, f"`{field}:` holds half a character", "save the book as UTF-8", segment)
            return str(node.value)
        self.note(node, f"`{field}:` is a text", "quote it if it begins with [ or {", segment)
        return ""

    def fields(
        self, node: yaml.Node, what: str, known: tuple[str, ...], segment: str | None = None
    ) -> dict[str, yaml.Node]:
        found: dict[str, yaml.Node] = {}
        for key, value in self.pairs(node, what, segment):
            if key.value not in known:
                near = get_close_matches(key.value, known, n=1)
                hint = f"did you mean {near[0]}?" if near else "known are " + ", ".join(known)
                self.note(key, f'{what} has no "{key.value}"', hint, segment)
            else:
                found[key.value] = value
        return found

    def pairs(
        self, node: yaml.Node, what: str, segment: str | None = None
    ) -> Iterable[tuple[yaml.ScalarNode, yaml.Node]]:
        if isinstance(node, yaml.ScalarNode) and node.tag == "tag:yaml.org,2002:null":
            return
        if not isinstance(node, yaml.MappingNode):
            self.note(node, f"{what} has to be a list of `name: value`", "", segment)
            return
        seen: set[str] = set()
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                self.note(key, "a name has to be a text", "", segment)
            elif key.value in seen:
                self.note(key, f'"{key.value}" is there twice', "", segment)
            else:
                seen.add(key.value)
                yield key, value
