"""One spelling of each rule over an event, so that equal filters of different segments are found to be equal.

Keys of memories are hashes of it and live in stored records: a change here forgets what rules remember.
"""

from __future__ import annotations

import json
from dataclasses import MISSING, fields, is_dataclass
from hashlib import blake2b
from typing import Any

from stream.core.segments.normal import AllOf, Always, Among, AnyOf, Formula, Missing, Rule, Test
from stream.core.segments.tree import Column, Literal, Value


def spell(rule: Rule) -> str:
    """The rule as text: the parts of AND and OR in order, literals as JSON."""
    match rule:
        case Always():
            return "true" if rule.truth else "false"
        case AllOf() | AnyOf():
            word = "and" if isinstance(rule, AllOf) else "or"
            return f"({word} {' '.join(sorted(spell(part) for part in rule.parts))})"
        case Test():
            right = json.dumps(rule.right.value) if isinstance(rule.right, Literal) else _name(rule.right)
            shift = f" {rule.shift:+}" if rule.shift else ""
            return f"({rule.op} {_name(rule.left)} {right}{shift} {_null(rule.null)})"
        case Among(options=(only,)):
            return f"({'=' if rule.inside else '<>'} {_name(rule.column)} {json.dumps(only)} {_null(rule.null)})"
        case Among():
            options = " ".join(sorted(json.dumps(option) for option in rule.options))
            return f"({'in' if rule.inside else 'not-in'} {_name(rule.column)} [{options}] {_null(rule.null)})"
        case Missing():
            return f"({'null' if rule.missing else 'not-null'} {_name(rule.column)})"
        case Formula():
            return f"({'is' if rule.truth else 'is-not'} {_written(rule.condition)} {_null(rule.null)})"
        case _:
            raise TypeError(f"{type(rule).__name__} has no place in a filter of events")


def key(rule: Rule) -> str:
    """16 hex digits that stand for the filter in customers' records."""
    return _hashed(spell(rule))


def key_of_kept(rule: Rule, kept: str, argument: Value | None) -> str:
    """16 hex digits for what is kept, in the way called ``kept``, of the argument in the events that pass ``rule``."""
    return _hashed(f"(keep {kept} {_written(argument)} {spell(rule)})")


def _hashed(text: str) -> str:
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()


def _name(column: Column) -> str:
    return column.name


def _null(null: bool) -> str:
    return "null-too" if null else "-"


def _written(node: Any) -> str:
    """A node of the tree as text. Fields that are what they are by default are left out, so that new ones may come."""
    if isinstance(node, Column):
        return node.name
    if isinstance(node, tuple):
        return f"[{' '.join(map(_written, node))}]"
    if not is_dataclass(node):
        return json.dumps(node)
    said = [
        f" {field.name}={_written(getattr(node, field.name))}"
        for field in fields(node)
        if field.default is MISSING or getattr(node, field.name) != field.default
    ]
    return f"({type(node).__name__}{''.join(said)})"
