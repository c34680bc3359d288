"""What one definition book says otherwise than another, field by field, in the words of the canonical JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from stream.core.segments.book import DefinitionBook, canonical_json

#: A segment as the canonical JSON has it: ``sql``, ``description``, and what else is set.
Written: TypeAlias = Mapping[str, str]
#: ``attributes`` and ``segments``, each by name.
WrittenBook: TypeAlias = Mapping[str, Mapping[str, Any]]
#: What there is before the first book.
NOTHING: WrittenBook = {"attributes": {}, "segments": {}}

_IN_SEGMENT = re.compile(r"in_segment\s*\(\s*'([^']*)'", re.IGNORECASE)
#: Who is a member does not depend on these.
_FOR_PEOPLE = frozenset({"description"})


@dataclass(frozen=True, slots=True)
class Altered:
    """Something of one name, before and after; None where it is not there."""

    name: str
    before: str | None
    after: str | None


@dataclass(frozen=True, slots=True)
class SegmentDifference:
    """One segment that differs. ``before`` or ``after`` is None where the segment is new or gone."""

    name: str
    before: Written | None
    after: Written | None

    @property
    def fields(self) -> tuple[Altered, ...]:
        """The fields that differ, ``sql`` last: it is the longest to read."""
        found = _altered(self.before or {}, self.after or {})
        return tuple(Altered(*each) for each in sorted(found, key=lambda each: (each[0] == "sql", each[0])))

    @property
    def kind(self) -> str:
        """``added``, ``removed``, ``changed``, or ``described`` where only the description differs."""
        if self.before is None:
            return "added"
        if self.after is None:
            return "removed"
        return "described" if {field.name for field in self.fields} <= _FOR_PEOPLE else "changed"


@dataclass(frozen=True, slots=True)
class Difference:
    """All that differs, by name; attributes with their types."""

    attributes: tuple[Altered, ...]
    segments: tuple[SegmentDifference, ...]
    #: Segments that stand as they stood, and ask for one whose condition is different: name -> the one.
    follow: Mapping[str, str]

    def __bool__(self) -> bool:
        return bool(self.attributes or self.segments)

    def only(self, segment: str | None) -> Difference:
        """What of it concerns one segment; all of it, if None."""
        if segment is None:
            return self
        follow = {name: asked for name, asked in self.follow.items() if name == segment}
        return Difference((), tuple(each for each in self.segments if each.name == segment), follow)


def difference(before: WrittenBook, after: WrittenBook) -> Difference:
    """What has to be done to ``before`` to make it ``after``."""
    segments = tuple(SegmentDifference(*each) for each in _altered(before["segments"], after["segments"]))
    return Difference(
        tuple(Altered(*each) for each in _altered(before["attributes"], after["attributes"])),
        segments,
        _follow(after["segments"], {each.name: each.kind for each in segments}),
    )


def written(book: DefinitionBook) -> WrittenBook:
    """The book as plain data, as the log has it."""
    plain: WrittenBook = json.loads(canonical_json(book))
    return plain


def _follow(segments: Mapping[str, Written], kinds: Mapping[str, str]) -> dict[str, str]:
    asked = {name: _IN_SEGMENT.findall(each["sql"]) for name, each in segments.items()}
    moved = [name for name, kind in kinds.items() if kind == "changed"]
    follow: dict[str, str] = {}
    for one in moved:  # grows: what follows is followed
        for name, others in asked.items():
            if one in others and name not in kinds and name not in follow:
                follow[name] = one
                moved.append(name)
    return dict(sorted(follow.items()))


def _altered(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    for name in sorted(before.keys() | after.keys()):
        if before.get(name) != after.get(name):
            yield name, before.get(name), after.get(name)
