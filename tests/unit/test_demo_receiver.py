"""The receiving stand-in believes only what is signed, counts everything once, and answers by its seed."""

from __future__ import annotations

import json
from typing import Any

import aiohttp
import pytest
from standardwebhooks import Webhook

from stream.demo.inbox import Inbox
from stream.demo.receiver import BadSignature, Receiver, listening, verify

SECRET = "whsec_" + "c2VjcmV0IHNlY3JldCBzZWNyZXQgc2VjcmV0"
NOW = 1_772_445_600


def change(name: str, sequence: int = 1, action: str = "entered", customer: str = "c1") -> dict[str, Any]:
    return {
        "id": name,
        "customer_id": customer,
        "segment": "abandoned_cart",
        "action": action,
        "sequence": sequence,
    }


def body(*changes: dict[str, Any]) -> bytes:
    return json.dumps({"type": "segment.entered", "data": changes[0] if len(changes) == 1 else changes}).encode()


def signed(message_id: str, payload: bytes, at: int = NOW, secret: str = SECRET) -> dict[str, str]:
    """Headers by the reference implementation of Standard Webhooks."""
    from datetime import UTC, datetime

    signature = Webhook(secret).sign(message_id, datetime.fromtimestamp(at, UTC), payload.decode())
    return {"webhook-id": message_id, "webhook-timestamp": str(at), "webhook-signature": signature}


def receiver(failures: float = 0.0) -> tuple[Receiver, list[dict[str, Any]]]:
    seen: list[dict[str, Any]] = []
    return Receiver(SECRET, seed=1, failures=failures, on_change=seen.append), seen


def test_what_the_reference_implementation_signs_is_believed() -> None:
    payload = body(change("a"))
    assert verify(SECRET, signed("a", payload), payload, NOW) == "a"
    rotated = signed("a", payload)
    rotated["webhook-signature"] = "v1,bm9uc2Vuc2U= v1a,eA== " + rotated["webhook-signature"]
    assert verify(SECRET, rotated, payload, NOW) == "a"


@pytest.mark.parametrize(
    "headers",
    [
        {},
        signed("a", b"{}") | {"webhook-id": "b"},
        signed("a", b"{}") | {"webhook-timestamp": str(NOW + 1)},
        signed("a", b"{}") | {"webhook-timestamp": "now"},
        signed("a", b"{}") | {"webhook-signature": "v1,"},
        signed("a", b"{}") | {"webhook-signature": ""},
        signed("a", b"{} "),
        signed("a", b"{}", secret="whsec_" + "b3RoZXIgb3RoZXIgb3RoZXIgb3RoZXIh"),
        signed("a", b"{}", at=NOW - 301),
    ],
)
def test_anything_else_is_not_believed_and_changes_nothing(headers: dict[str, str]) -> None:
    with pytest.raises(BadSignature):
        verify(SECRET, headers, b"{}", NOW)
    platform, seen = receiver()
    assert platform.answer(headers, b"{}", NOW)[0] == 401
    assert (seen, len(platform.bad_signatures)) == ([], 1)


def test_a_repeat_is_known_by_its_id_and_counts_once() -> None:
    platform, seen = receiver()
    payload = body(change("a"))
    answers = [platform.answer(signed("a", payload), payload, NOW)[0] for _ in range(3)]
    assert answers == [204, 204, 204]
    assert [item["id"] for item in seen] == ["a"]
    assert (platform.inbox.repeats, platform.inbox.differing) == (2, [])


def test_a_repeat_with_other_bytes_is_a_fault() -> None:
    inbox = Inbox()
    inbox.take("a", body(change("a")))
    inbox.take("a", body(change("a", action="exited")))
    assert inbox.differing == ["a"]
    inbox.take("m", body(change("a"), change("b", 2)))
    assert inbox.differing == ["a"]
    inbox.take("n", body(change("b", 3), change("c", 3)))
    assert inbox.differing == ["a", "b"]


def test_a_gap_and_a_step_back_are_out_of_order() -> None:
    inbox = Inbox()
    for name, sequence in (("a", 1), ("b", 3), ("c", 2), ("d", 3)):
        inbox.take(name, body(change(name, sequence)))
    inbox.take("e", body(change("e", 1, customer="c2")))
    assert inbox.disordered == ["b", "c"]


def test_memberships_follow_the_changes() -> None:
    inbox = Inbox()
    inbox.take("m", body(change("a"), change("b", customer="c2")))
    inbox.take("c", body(change("c", 2, "exited")))
    assert inbox.members == {"abandoned_cart": {"c2"}}


def test_what_is_no_change_is_refused_and_not_remembered() -> None:
    platform, _ = receiver()
    for payload in (b"no", b"[]", b"{}", b'{"data": 1}', b'{"data": [{}]}'):
        assert platform.answer(signed("x", payload), payload, NOW)[0] == 400
    assert platform.answer(signed("x", body(change("x"))), body(change("x")), NOW)[0] == 204


def test_a_share_of_the_messages_fails_once_by_the_seed_and_succeeds_when_repeated() -> None:
    answers: dict[str, list[int]] = {}
    for _ in range(2):
        platform, seen = receiver(failures=0.5)
        for number in range(200):
            payload = body(change(f"m{number}", customer=f"c{number}"))
            headers = signed(f"m{number}", payload)
            pair = [platform.answer(headers, payload, NOW)[0] for _ in range(2)]
            assert answers.setdefault(f"m{number}", pair) == pair
        assert len(seen) == 200
        assert platform.inbox.repeats > len([first for first, _ in answers.values() if first == 204])
    firsts = [first for first, second in answers.values() if second == 204]
    assert len(firsts) == 200 and {204, 429, 503} == set(firsts)
    assert 60 < sum(first != 204 for first in firsts) < 140


async def test_the_server_answers_over_a_socket() -> None:
    import time

    platform, seen = receiver()
    payload = body(change("a"))
    async with listening(platform) as url, aiohttp.ClientSession() as session:
        async with session.post(url, data=payload, headers=signed("a", payload, at=int(time.time()))) as response:
            assert response.status == 204
        async with session.post(url, data=payload) as response:
            assert response.status == 401
    assert [item["id"] for item in seen] == ["a"]
    assert platform.answers == {204: 1, 401: 1}
