"""Python source for a rule: one function where closures would call each other five deep.

Nothing that a user wrote is ever in the source. It is made of the operators below, of the field names of our own
records, and of names that stand for values (``k0``, ``k1``, …); the values are handed to the compiled code as they
are. So rules of one shape have one source, and it is compiled once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, Final

from stream.core.segments.tree import Op

#: SQL's comparisons in Python.
SYMBOLS: Final[dict[Op, str]] = {"=": "==", "<>": "!=", "<": "<", "<=": "<=", ">": ">", ">=": ">="}
#: Characters of a source above which it is of one rule only, and not worth remembering.
_SHARED = 4_000
_INDENT = "    "


class Source:
    """The body of one function under construction, and the values that its names stand for."""

    def __init__(self, *parameters: str) -> None:
        self._parameters = parameters
        self._lines: list[str] = []
        self._depth = 2
        self._values: list[Any] = []
        self._locals = 0

    def value(self, value: Any) -> str:
        """A name for a value."""
        self._values.append(value)
        return f"k{len(self._values) - 1}"

    def local(self, prefix: str) -> str:
        """The name of a variable that is not used yet."""
        self._locals += 1
        return f"{prefix}{self._locals}"

    def line(self, text: str) -> None:
        """Add a statement."""
        self._lines.append(_INDENT * self._depth + text)

    @contextmanager
    def block(self, head: str) -> Iterator[None]:
        """``with source.block("if …:")``: what is added inside stands under it."""
        self.line(head)
        self._depth += 1
        yield
        self._depth -= 1

    def function(self) -> Callable[..., Any]:
        """The function, compiled."""
        names = ", ".join(f"k{number}" for number in range(len(self._values)))
        head = f"def make({names}):\n{_INDENT}def rule({', '.join(self._parameters)}):\n"
        text = "\n".join([head + self._lines[0], *self._lines[1:], f"{_INDENT}return rule"])
        make = _shared(text) if len(text) <= _SHARED else _maker(text)
        made: Callable[..., Any] = make(*self._values)
        return made


def _maker(text: str) -> Callable[..., Any]:
    found: dict[str, Any] = {}
    exec(compile(text, "<rule>", "exec"), found)  # nothing of it is a user's
    make: Callable[..., Any] = found["make"]
    return make


_shared = lru_cache(maxsize=1024)(_maker)
