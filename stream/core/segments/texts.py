"""Texts as DuckDB handles them: by code points, and in upper and lower case each code point for itself."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import TypeAlias

Matcher: TypeAlias = Callable[[str], bool]

#: What trim takes away if it is not told: Unicode's spaces, but no tabs and line breaks.
SPACES = "\u0020\u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u202f\u205f\u3000"


def lower(text: str) -> str:
    """``lower``."""
    return text.lower() if text.isascii() else "".join(map(_lower, text))


def upper(text: str) -> str:
    """``upper``."""
    return text.upper() if text.isascii() else "".join(map(_upper, text))


@lru_cache(8192)
def _lower(char: str) -> str:
    # The one that Python makes two of: İ.
    return char.lower() if char != "\u0130" else "i"


@lru_cache(8192)
def _upper(char: str) -> str:
    if char == "ß":
        return "ẞ"
    for found in (char.upper(), char.title()):
        if len(found) == 1:
            return found
    return char


def left(text: str, count: int) -> str:
    """The first ``count`` characters; all but the last, if it is negative."""
    return text[:count] if count >= 0 else text[: max(0, len(text) + count)]


def right(text: str, count: int) -> str:
    """The last ``count`` characters; all but the first, if it is negative."""
    return (text[-count:] if count else "") if count >= 0 else text[-count:]


def substring(text: str, start: int, count: int | None = None) -> str:
    """``count`` characters from the ``start``-th on; from the end, if that is negative; before it, if ``count`` is."""
    begin = start - 1 if start >= 0 else len(text) + start
    end = len(text) if count is None else begin + count
    begin, end = min(begin, end), max(begin, end)
    return text[max(0, begin) : max(0, end)]


def position(text: str, part: str) -> int:
    """Where ``part`` begins, counted from 1; 0 if it is not there."""
    return text.find(part) + 1


class EndsWithEscape(ValueError):
    """A pattern whose last character would take the meaning from nothing."""


def like(pattern: str, escape: str | None) -> Matcher:
    """LIKE with this pattern: ``%`` for any characters, ``_`` for one. Raises ``EndsWithEscape``.

    Without backtracking: what stands between two ``%`` is looked for from left to right.
    """
    pieces = _pieces(pattern, escape)
    first, last = pieces[0], pieces[-1]
    if len(pieces) == 1:
        return lambda text: len(text) == len(first) and _at(first, text, 0)
    between = [piece for piece in pieces[1:-1] if piece]
    least = len(first) + len(last)

    def matches(text: str) -> bool:
        end = len(text) - len(last)
        if len(text) < least or not _at(first, text, 0) or not _at(last, text, end):
            return False
        place = len(first)
        for piece in between:
            place = _find(piece, text, place, end)
            if place < 0:
                return False
            place += len(piece)
        return True

    return matches


@lru_cache(1024)
def matcher(pattern: str, escape: str | None, ignore_case: bool) -> Matcher | None:
    """The pattern ready for use; None if it ends with its escape character."""
    try:
        if not ignore_case:
            return like(pattern, escape)
        found = like(lower(pattern), escape)
    except EndsWithEscape:
        return None
    return lambda text: found(lower(text))


#: A piece of a pattern without ``%``; None stands for any one character.
_Piece: TypeAlias = tuple[str | None, ...]


def _pieces(pattern: str, escape: str | None) -> list[_Piece]:
    pieces: list[list[str | None]] = [[]]
    chars = iter(pattern)
    for char in chars:
        if char == escape:
            try:
                pieces[-1].append(next(chars))
            except StopIteration:
                raise EndsWithEscape(pattern) from None
        elif char == "%":
            pieces.append([])
        else:
            pieces[-1].append(None if char == "_" else char)
    return [tuple(piece) for piece in pieces]


def _at(piece: _Piece, text: str, place: int) -> bool:
    return all(char is None or text[place + index] == char for index, char in enumerate(piece))


def _find(piece: _Piece, text: str, begin: int, end: int) -> int:
    if None not in piece:
        return text.find("".join(char for char in piece if char is not None), begin, end)
    for place in range(begin, end - len(piece) + 1):
        if _at(piece, text, place):
            return place
    return -1
