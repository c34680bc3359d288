"""Laws of signing, by the scheme's own library and vectors."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from connectors.signing import InvalidKey, InvalidSignature, SigningKey, sign, verify

VECTORS = Path(__file__).parents[3] / "shared" / "specs" / "standard-webhooks" / "test-vectors.json"
NOW = 1_767_323_045

secrets = st.binary(min_size=24, max_size=64)
ids = st.text("0123456789abcdef_", min_size=1, max_size=40)
bodies = st.text(st.characters(exclude_categories=["Cs"])).map(str.encode)


def text_of(secret: bytes) -> str:
    return "whsec_" + base64.b64encode(secret).decode()


def vectors() -> list[dict[str, Any]]:
    if not VECTORS.exists():
        return []
    found: list[dict[str, Any]] = json.loads(VECTORS.read_text())["vectors"]
    return [vector for vector in found if vector["scheme"] == "v1"]


@given(secrets, ids, bodies)
def test_a_signature_is_the_library_s(secret: bytes, message_id: str, body: bytes) -> None:
    """What we sign is byte for byte what `standardwebhooks` signs."""
    theirs = Webhook(text_of(secret)).sign(message_id, datetime.fromtimestamp(NOW, UTC), body.decode())
    assert sign([SigningKey.parse(text_of(secret))], message_id, NOW, body) == theirs


@given(secrets, secrets, ids, bodies)
def test_during_a_rotation_either_key_verifies(old: bytes, new: bytes, message_id: str, body: bytes) -> None:
    """Several keys sign side by side, the newest first, and a receiver needs only one of them."""
    keys = [SigningKey(new), SigningKey(old)]
    now = int(datetime.now(UTC).timestamp())
    headers = {
        "webhook-id": message_id,
        "webhook-timestamp": str(now),
        "webhook-signature": sign(keys, message_id, now, body),
    }
    assert headers["webhook-signature"].split(" ")[0] == sign(keys[:1], message_id, now, body)
    for secret in (old, new):
        Webhook(text_of(secret)).verify(body, headers, json_parse=False)
        verify([SigningKey(secret)], headers, body, now)


@pytest.mark.skipif(not vectors(), reason=f"the scheme's vectors are not here: {VECTORS.name}")
def test_the_scheme_s_own_vectors_hold() -> None:
    """Valid ones verify and are what we sign, tampered ones fail."""
    for vector in vectors():
        key = SigningKey.parse(vector["secret"])
        headers = {name: str(vector[name]) for name in ("webhook-id", "webhook-timestamp", "webhook-signature")}
        body = vector["payload"].encode()
        if vector["valid"]:
            verify([key], headers, body, vector["webhook-timestamp"])
            ours = sign([key], vector["webhook-id"], vector["webhook-timestamp"], body)
            assert ours in headers["webhook-signature"].split(" ")
        else:
            with pytest.raises(InvalidSignature):
                verify([key], headers, body, vector["webhook-timestamp"])


@pytest.mark.parametrize(
    "change",
    [
        {"webhook-id": "other"},
        {"webhook-timestamp": str(NOW + 1)},
        {"webhook-timestamp": "now"},
        {"webhook-timestamp": "1" * 5_000},
        {"webhook-timestamp": str(NOW - 301)},
        {"webhook-signature": "v1"},
        {"webhook-signature": "v1,\N{SNOWMAN}"},
        {"webhook-signature": "v2,AAAA"},
        {"webhook-signature": ""},
    ],
)
def test_whatever_is_not_as_signed_is_refused(change: dict[str, str]) -> None:
    """Id, time, body and signature belong together, and the time is near."""
    key = SigningKey(b"k" * 32)
    headers = {
        "webhook-id": "a",
        "webhook-timestamp": str(NOW),
        "webhook-signature": sign([key], "a", NOW, b"{}"),
    }
    verify([key], headers, b"{}", NOW)
    for tampered, body in ((headers | change, b"{}"), (headers, b"{ }")):
        with pytest.raises(InvalidSignature):
            verify([key], tampered, body, NOW)
    for name in headers:
        with pytest.raises(InvalidSignature, match=name):
            verify([key], {other: headers[other] for other in headers if other != name}, b"{}", NOW)
    with pytest.raises(WebhookVerificationError):
        Webhook(text_of(b"x" * 32)).verify(b"{}", headers)


def test_padding_and_prefix_are_optional() -> None:
    """As the scheme's libraries have it."""
    secret = base64.b64encode(b"s" * 25).decode()
    forms = [secret, secret.rstrip("="), "whsec_" + secret, f" whsec_{secret}\n"]
    assert len({sign([SigningKey.parse(form)], "a", NOW, b"{}") for form in forms}) == 1


@pytest.mark.parametrize("text", ["", "whsec_", "whsec_!!!!", base64.b64encode(b"s" * 23).decode(), "passw0rd"])
def test_a_key_that_is_none_is_refused_without_being_quoted(text: str) -> None:
    """The message of an error may end in a log."""
    with pytest.raises(InvalidKey) as caught:
        SigningKey.parse(text)
    assert not text or text not in str(caught.value)


def test_a_key_does_not_show_itself() -> None:
    """Neither in a repr nor in what it is made of."""
    key = SigningKey(b"supersecretsupersecretsupersecret")
    assert "supersecret" not in f"{key!r} {key} {[key]}"


def test_an_id_with_a_dot_is_never_signed() -> None:
    """It could pass as another id and time."""
    with pytest.raises(ValueError, match="may not contain"):
        sign([SigningKey(b"k" * 32)], "a.1", NOW, b"{}")
