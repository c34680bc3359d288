"""How answers are read to the item."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from connectors.batches import NO_IDENTITY, blamed, identified, in_turns, named, suspected, unreadable, worst
from connectors.changes import Change
from connectors.exchange import Request, Response, Steps
from connectors.results import DELIVERED, Outcome, Result
from tests.platforms.changes import NOW, entered

REQUEST = Request("POST", "https://api.example.com", {}, b"", cap=100)


def answer(status: int, body: bytes = b"{}", **headers: str) -> Response:
    return Response(status, headers, body)


def outcomes(results: Sequence[Result]) -> list[Outcome]:
    return [result.outcome for result in results]


def test_who_is_not_identified_is_refused_and_the_others_keep_their_order() -> None:
    def conversation(found: Sequence[str]) -> Steps:
        answers = yield [REQUEST]
        assert len(answers) == 1
        return [Result.refused(name) for name in found]

    def identify(change: Change) -> str | None:
        return None if change.customer_id == "c2" else change.customer_id

    steps = identified(entered("c1", "c2", "c3"), identify, conversation)
    assert next(steps) == [REQUEST]
    with pytest.raises(StopIteration) as end:
        steps.send([answer(200)])
    assert end.value.value == [Result.refused("c1"), NO_IDENTITY, Result.refused("c3")]
    with pytest.raises(StopIteration) as end:
        next(identified(entered("c2"), identify, conversation))
    assert end.value.value == [NO_IDENTITY]


def test_requests_go_in_turns_and_answers_keep_their_order() -> None:
    requests = [Request("GET", f"https://api.example.com/{number}", {}, b"") for number in range(5)]
    steps = in_turns(requests, 2)
    assert next(steps) == requests[:2]
    assert steps.send([answer(200), answer(201)]) == requests[2:4]
    assert steps.send([answer(202), answer(203)]) == requests[4:]
    with pytest.raises(StopIteration) as end:
        steps.send([answer(204)])
    assert [one.status for one in end.value.value] == [200, 201, 202, 203, 204]


def test_a_batch_that_names_the_bad_is_sent_again_without_them() -> None:
    results = blamed(REQUEST, answer(400), NOW, 3, {1: "too old"})
    assert outcomes(results) == [Outcome.RETRY, Outcome.REFUSED, Outcome.RETRY]
    assert (results[0].after, results[1].reason, results[1].request) == (0.0, "too old", REQUEST)


@pytest.mark.parametrize("reasons", [{}, {7: "nobody's"}])
def test_a_batch_that_names_nobody_is_judged_by_its_status(reasons: dict[int, str]) -> None:
    assert outcomes(blamed(REQUEST, answer(400), NOW, 2, reasons)) == [Outcome.SPLIT] * 2
    assert outcomes(blamed(REQUEST, answer(400), NOW, 1, reasons)) == [Outcome.REFUSED]
    assert outcomes(blamed(REQUEST, answer(401), NOW, 2, reasons)) == [Outcome.PAUSE] * 2


def test_a_reason_is_cut() -> None:
    (result,) = named(REQUEST, answer(200), NOW, 1, {0: "x" * 5_000}, DELIVERED)
    assert len(result.reason) == 200


def test_a_suspect_is_refused_only_when_it_was_alone() -> None:
    """Beside others that were named, the last suspect is asked for once more, alone."""
    assert outcomes(suspected(REQUEST, answer(200), NOW, 1, "bad")) == [Outcome.REFUSED]
    assert outcomes(suspected(REQUEST, answer(200), NOW, 3, "bad", named=1)) == [Outcome.SPLIT] * 3
    (result,) = suspected(REQUEST, answer(200), NOW, 1, "bad", named=2)
    assert (result.outcome, result.after, result.reason) == (Outcome.RETRY, 0.0, "bad")


def test_an_answer_that_was_cut_is_asked_for_in_halves() -> None:
    assert outcomes(unreadable(REQUEST, answer(200, b"x" * 100), 2)) == [Outcome.SPLIT] * 2
    assert outcomes(unreadable(REQUEST, answer(200, b"x" * 100), 1)) == [Outcome.RETRY]
    assert outcomes(unreadable(REQUEST, answer(200, b"x" * 99), 2)) == [Outcome.RETRY] * 2


def test_the_worst_of_several_requests_decides() -> None:
    def retry(after: float | None) -> Result:
        return Result(Outcome.RETRY, after=after)

    refused, pause = Result.refused("x"), Result(Outcome.PAUSE)
    assert worst([DELIVERED, refused]) is refused
    assert worst([refused, retry(3.0)]) == retry(3.0)
    assert worst([retry(3.0), retry(None), retry(9.0)]) == retry(9.0)
    assert worst([retry(9.0), pause, DELIVERED]) is pause
    assert worst([DELIVERED, DELIVERED]) is DELIVERED
