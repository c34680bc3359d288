"""How an answer is read where a platform has no rule of its own. Pure."""

from __future__ import annotations

from connectors.exchange import Answer, Request, Response
from connectors.results import DELIVERED, Outcome, Result, outcome_of
from connectors.retry import wait_asked


def judge(request: Request, answer: Answer, now: float, items: int = 1) -> Result:
    """The result that an answer's status stands for, for each of the `items` changes in the request.

    `now` (Unix seconds) is when it came: `Retry-After` may be a date.
    """
    if not isinstance(answer, Response):
        return Result(Outcome.RETRY, answer.reason, request=request)
    return result(outcome_of(answer.status, items), request, answer, now)


def result(
    outcome: Outcome, request: Request, answer: Response, now: float, reason: str = "", *, throttled: bool = False
) -> Result:
    """A result that the platform's own reading of `answer` decided; `reason` is else `http_<status>`.

    `throttled` marks a RETRY that says "too fast" by other means than a 429.
    """
    if outcome is Outcome.DELIVERED:
        return DELIVERED
    return Result(
        outcome,
        reason or f"http_{answer.status}",
        answer.status,
        wait_asked(answer.headers, now) if outcome is Outcome.RETRY else None,
        answer.excerpt(),
        request,
        throttled,
    )
