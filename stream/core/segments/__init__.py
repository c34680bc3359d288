"""Segments: SQL to functions that say who is in, and when that next changes by itself.

The way of a definition through the modules::

    bookfile   YAML to a book, errors by line              book       the book as a value, its version
    sql        SQL to a typed tree (tree), by way of       normal     three values to two: rules
               clauses, conditions, comparisons,           predicates, instants   rules to functions
               subqueries, values, literals, scope         memory, plan           what facts feed and touch
    compile    all of it, once per version                 errors, source         where, why, what instead
"""

from stream.core.segments.book import Definition, DefinitionBook, canonical_json, version
from stream.core.segments.bookfile import load_book
from stream.core.segments.compile import CompiledBook, compile_book
from stream.core.segments.errors import DefinitionError, DefinitionErrors
from stream.core.segments.memory import Memory
from stream.core.segments.plan import Plan
from stream.core.segments.segment import Segment

__all__ = [
    "CompiledBook",
    "Definition",
    "DefinitionBook",
    "DefinitionError",
    "DefinitionErrors",
    "Memory",
    "Plan",
    "Segment",
    "canonical_json",
    "compile_book",
    "load_book",
    "version",
]
