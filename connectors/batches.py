"""Batches read to the item: whom an answer names, and what becomes of the others. Pure."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from typing import TypeVar

from connectors.answers import judge, result
from connectors.changes import Change
from connectors.exchange import Answer, Request, Response, Steps
from connectors.results import Outcome, Result

Item = TypeVar("Item")

NO_IDENTITY = Result.refused("no_identity")
"""The change lacks what the platform knows a customer by."""

REASON_CHARACTERS = 200
"""A platform's reason is cut to this: it is a label of the dead letter, whose excerpt has the rest."""

_WORST_FIRST = (
    Outcome.DISABLE,
    Outcome.PAUSE,
    Outcome.RENEW,
    Outcome.RETRY,
    Outcome.SPLIT,
    Outcome.REFUSED,
    Outcome.DELIVERED,
)


def identified(
    changes: Sequence[Change],
    identify: Callable[[Change], Item | None],
    conversation: Callable[[Sequence[Item]], Steps],
) -> Steps:
    """A conversation about the changes that `identify` finds a customer for; the others are refused alone."""
    items = [identify(change) for change in changes]
    known = [item for item in items if item is not None]
    results = iter((yield from conversation(known)) if known else ())
    return [NO_IDENTITY if item is None else next(results) for item in items]


def in_turns(requests: Sequence[Request], at_once: int) -> Generator[Sequence[Request], Sequence[Answer], list[Answer]]:
    """Send requests, `at_once` of them at a time, and return their answers in order."""
    answers: list[Answer] = []
    for start in range(0, len(requests), at_once):
        answers.extend((yield requests[start : start + at_once]))
    return answers


def refused(request: Request, answer: Response, now: float, reason: str) -> Result:
    """One item that the platform refused, in its words."""
    return result(Outcome.REFUSED, request, answer, now, reason[:REASON_CHARACTERS])


def named(
    request: Request, answer: Response, now: float, items: int, reasons: Mapping[int, str], rest: Result
) -> list[Result]:
    """`rest` for all `items` of a request but those that the answer gives a reason for: they are refused."""
    return [refused(request, answer, now, reasons[index]) if index in reasons else rest for index in range(items)]


def blamed(request: Request, answer: Response, now: float, items: int, reasons: Mapping[int, str]) -> list[Result]:
    """The results of a request that was refused as a whole: those that the answer gives a reason for are
    refused, the others sent again at once without them. Where it names nobody, its status decides for all.
    """
    if not any(index in reasons for index in range(items)):
        return [judge(request, answer, now, items)] * items
    again = Result(Outcome.RETRY, "batch_refused", answer.status, 0.0, answer.excerpt(), request)
    return named(request, answer, now, items, reasons, again)


def unreadable(request: Request, answer: Response, items: int) -> list[Result]:
    """The results of a 2xx whose body is needed and cannot be read: sent again, and if the body was longer than
    we read, in halves, whose answers are shorter.
    """
    cut = len(answer.body) >= request.cap and items > 1
    outcome = Outcome.SPLIT if cut else Outcome.RETRY
    return [Result(outcome, "unreadable_answer", answer.status, None, answer.excerpt(), request)] * items


def suspected(
    request: Request, answer: Response, now: float, items: int, reason: str, *, named: int = 0
) -> list[Result]:
    """The results where the platform refused some item and did not say which: found by halves. `named` others
    of the request it did name: a single suspect beside them is sent again at once, alone.
    """
    text = reason[:REASON_CHARACTERS]
    if items == 1 and named:
        return [Result(Outcome.RETRY, text, answer.status, 0.0, answer.excerpt(), request)]
    return [result(Outcome.REFUSED if items == 1 else Outcome.SPLIT, request, answer, now, text)] * items


def worst(results: Iterable[Result]) -> Result:
    """What becomes of a change that several requests are about: what stands in its way most, and longest."""
    return min(results, key=lambda found: (_WORST_FIRST.index(found.outcome), -(found.after or 0.0)))
