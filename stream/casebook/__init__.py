"""Time-travel tests of segments: what happened, a clock, and the changes that have to follow."""

from stream.casebook.reading import Case, Casebook, Expected, Happening, read_casebook
from stream.casebook.running import Mismatch, Verdict, check_cases, run_case
from stream.casebook.written import CasebookError

__all__ = [
    "Case",
    "Casebook",
    "CasebookError",
    "Expected",
    "Happening",
    "Mismatch",
    "Verdict",
    "check_cases",
    "read_casebook",
    "run_case",
]
