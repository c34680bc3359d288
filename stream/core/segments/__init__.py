"""Segments: SQL to functions that say who is in, and when that next changes by itself.

The way of a definition through the modules::

    bookfile, bookjson   YAML to a book, errors by line       book         the book as a value, its version
    references           segments that ask for segments       difference   two books
    sql                  SQL to a typed tree (tree), by way of clauses, conditions, comparisons, values, calls,
                         arithmetic, times, subqueries, bounds, literals, kinds, scope
    normal, rules        three values to two: rules           checks, ranges      what is odd about a rule
    predicates           rules without time                   instants     rules with time
    rows, functions      values and conditions of a row       formula      of a customer and a time
    numbers, texts       what they do with them               calendar, zones     units, months, clocks
    moving, stairs       where now() itself is compared       aggregates   sums and the like of events
    memory, plan         what facts feed and touch            evidence, explain   why
    compile, segment     all of it, once per version          errors, source      where, why, what instead
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
