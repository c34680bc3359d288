"""Puts a planted bug into the running engine, and takes it out again."""

from __future__ import annotations
import __future__

import inspect
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from typing import Any, cast


@dataclass(frozen=True)
class Mutant:
    """``edits``: texts of the function ``where`` (``module:Class.method``) and what stands there instead."""

    name: str
    where: str
    edits: tuple[tuple[str, str], ...]
    #: Further functions that have to change with it.
    also: tuple[tuple[str, tuple[tuple[str, str], ...]], ...] = ()

    @property
    def places(self) -> tuple[tuple[str, tuple[tuple[str, str], ...]], ...]:
        """Every function with its edits."""
        return (self.where, self.edits), *self.also


def mutated(where: str, edits: tuple[tuple[str, str], ...]) -> tuple[Any, str, Any]:
    """The owner of the function, its name, and the function with the edits. ``LookupError`` if a text is not there."""
    module_name, path = where.split(":")
    module = import_module(module_name)
    owner: Any = module
    *classes, name = path.split(".")
    for part in classes:
        owner = getattr(owner, part)
    there = inspect.getattr_static(owner, name)
    source = textwrap.dedent(inspect.getsource(cast(Any, there.fget if isinstance(there, property) else there)))
    for old, new in edits:
        if source.count(old) != 1:
            raise LookupError(f"{where}: {old!r} stands there {source.count(old)} times")
        source = source.replace(old, new)
    found: dict[str, Any] = {}
    code = compile(source, f"<mutant of {where}>", "exec", flags=__future__.annotations.compiler_flag)
    exec(code, module.__dict__, found)
    return owner, name, found[name]


@contextmanager
def planted(mutant: Mutant) -> Iterator[None]:
    """The engine with the bug, until the end of the block."""
    before: list[tuple[Any, str, Any]] = []
    try:
        for where, edits in mutant.places:
            owner, name, function = mutated(where, edits)
            before.append((owner, name, inspect.getattr_static(owner, name)))
            setattr(owner, name, function)
        yield
    finally:
        for owner, name, function in reversed(before):
            setattr(owner, name, function)
