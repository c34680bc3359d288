"""What is left of the values of a column, once several tests have to be true of it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from stream.core.segments.tree import Op


@dataclass(slots=True)
class Range:
    """The values that are left to a column; of whole numbers and instants, whole ones."""

    type: str
    low: Any = None
    high: Any = None
    open_low: bool = False
    open_high: bool = False
    without: set[Any] = field(default_factory=set)
    only: set[Any] | None = None

    def apply(self, op: Op, value: Any) -> None:
        """Leave those of which ``op value`` is true."""
        if op == "=":
            self.among((value,), True)
        elif op == "<>":
            self.among((value,), False)
        elif op in (">", ">="):
            strict = op == ">"
            if self.type in ("integer", "timestamp"):
                value, strict = (math.floor(value) + 1 if strict else math.ceil(value)), False
            if self.low is None or value > self.low or (value == self.low and strict):
                self.low, self.open_low = value, strict
        else:
            strict = op == "<"
            if self.type in ("integer", "timestamp"):
                value, strict = (math.ceil(value) - 1 if strict else math.floor(value)), False
            if self.high is None or value < self.high or (value == self.high and strict):
                self.high, self.open_high = value, strict

    def among(self, options: Sequence[Any], inside: bool) -> None:
        """Leave those among the options, or the others."""
        if inside:
            self.only = set(options) if self.only is None else self.only & set(options)
        else:
            self.without |= set(options)

    def is_empty(self) -> bool:
        """Whether no value is left."""
        if self.only is not None:
            return not any(self._allows(value) for value in self.only)
        if self.type == "boolean":
            return {True, False} <= self.without
        if self.low is None or self.high is None:
            return False
        if self.low == self.high:
            return self.open_low or self.open_high or self.low in self.without
        if self.low > self.high:
            return True
        return self.type in ("integer", "timestamp") and all(self._gap())

    def _gap(self) -> Iterator[bool]:
        """Of each value that a short range leaves, whether it is taken out."""
        if self.high - self.low > 1000:
            yield False
            return
        for value in range(int(self.low), int(self.high) + 1):
            yield value in self.without

    def _allows(self, value: Any) -> bool:
        if value in self.without or (self.type in ("integer", "timestamp") and value != math.floor(value)):
            return False
        if self.low is not None and (value < self.low or (self.open_low and value == self.low)):
            return False
        return not (self.high is not None and (value > self.high or (self.open_high and value == self.high)))
