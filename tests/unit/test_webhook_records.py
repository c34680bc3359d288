"""Laws of what the deliverer writes down: it fits the published contracts, and holds no secret."""

from __future__ import annotations

import base64
import json

import pytest

from connectors.changes import Change
from connectors.records import LARGEST_DEAD_LETTER, Source, dead_letter, receipt
from connectors.secrets import redact
from schemas.deliveries import Receipt
from schemas.rejections import DeadLetter

NOW = 1_767_323_045.25
CHANGE = Change("0" * 32, "c1", "vip", "entered", "2026-01-02T03:04:05Z", 3, b"{}")


def letter(value: bytes | None) -> bytes:
    return dead_letter(
        value,
        source=Source("segment-changes", 3, 17),
        destination="crm",
        reason="refused",
        detail="http_422",
        status=422,
        response='{"error": "no"}',
        attempts=2,
        now=NOW,
    )


def test_a_receipt_fits_its_contract() -> None:
    """The model of `schemas` reads it, and knows every field."""
    written = receipt(CHANGE, destination="crm", status="delivered", attempts=2, latency_ms=12.3456, now=NOW)
    read = Receipt.model_validate_json(written)
    assert set(json.loads(written)) == set(Receipt.model_fields)
    assert (read.id, read.status, read.attempts, read.latency_ms) == (CHANGE.id, "delivered", 2, 12.346)
    assert json.loads(written)["at"] == json.loads(read.model_dump_json())["at"]


def test_a_dead_letter_fits_its_contract_and_holds_the_change() -> None:
    """So that it can be sent again."""
    written = letter(b'{"id":"a",  "n":1.50}')
    read = DeadLetter.model_validate_json(written)
    assert set(json.loads(written)) | {"payload"} == set(DeadLetter.model_fields)
    assert (read.change, read.status, read.attempts) == ({"id": "a", "n": 1.5}, 422, 2)
    assert b'{"id":"a",  "n":1.50}' in written


@pytest.mark.parametrize("value", [b"\xff\x00", b"{", b"[" * 100_000, b'{"a": "\xff"}'])
def test_bytes_that_are_no_json_stand_in_base64(value: bytes) -> None:
    """Nothing vanishes."""
    read = DeadLetter.model_validate_json(letter(value))
    assert read.payload is not None
    assert base64.b64decode(read.payload) == value
    assert read.change is None


@pytest.mark.parametrize("value", [None, b'"' + b"x" * LARGEST_DEAD_LETTER + b'"'])
def test_what_does_not_fit_is_named_by_its_place(value: bytes | None) -> None:
    """A broker refuses a record that is too large, and then everything behind it would wait."""
    written = letter(value)
    assert len(written) < 1000
    assert DeadLetter.model_validate_json(written).source.offset == 17


def test_what_a_receiver_quotes_is_redacted() -> None:
    """Receivers like to answer with what they were sent."""
    said = redact(
        "bad key whsec_abcdef for /hooks/T0PS3CRET (abcdef)",
        ["whsec_abcdef", "abcdef", "/hooks/T0PS3CRET", ""],
    )
    assert said == "bad key ********** for ********** (**********)"
