"""Standard Webhooks with Ed25519 (v1a): vectors, rotation, and a webhook that signs with both schemes."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks.webhooks import Webhook as Oracle
from standardwebhooks.webhooks import WebhookVerificationError

from connectors.platforms import webhook
from connectors.signing import (
    InvalidKey,
    InvalidSignature,
    PrivateKey,
    PublicKey,
    SigningKey,
    Verifier,
    parse_signer,
    sign,
    verify,
)
from tests.platforms.changes import change

VECTORS = Path(__file__).parents[3] / "shared" / "specs" / "standard-webhooks" / "test-vectors.json"
NOW = 1_767_323_045
SEED = bytes(range(32))
PRIVATE = "whsk_" + base64.b64encode(SEED).decode()
SECRET = "whsec_" + base64.b64encode(b"0123456789abcdef0123456789abcdef").decode()

seeds = st.binary(min_size=32, max_size=32)


def vectors() -> list[dict[str, Any]]:
    if not VECTORS.exists():
        return []
    found: list[dict[str, Any]] = json.loads(VECTORS.read_text("utf-8"))["vectors"]
    return found


def headers_of(message_id: str, stamp: int, signatures: str) -> dict[str, str]:
    return {"webhook-id": message_id, "webhook-timestamp": str(stamp), "webhook-signature": signatures}


@pytest.mark.skipif(not vectors(), reason=f"the scheme's vectors are not here: {VECTORS.name}")
@pytest.mark.parametrize("vector", vectors(), ids=lambda vector: str(vector["name"]))
def test_the_vectors_are_judged_as_they_say(vector: dict[str, Any]) -> None:
    """And where one is valid, it is not after any byte of it changed, nor with a key that is not its own."""
    key: Verifier = (
        PublicKey.parse(vector["public_key"]) if "public_key" in vector else SigningKey.parse(vector["secret"])
    )
    stamp, body = vector["webhook-timestamp"], vector["payload"].encode()
    headers = headers_of(vector["webhook-id"], stamp, vector["webhook-signature"])
    if not vector["valid"]:
        with pytest.raises(InvalidSignature):
            verify([key], headers, body, stamp)
        return
    verify([key], headers, body, stamp)
    tampered = [
        (headers, body[:-1] + b"]"),
        (headers | {"webhook-id": vector["webhook-id"] + "x"}, body),
        (headers | {"webhook-timestamp": str(stamp + 1)}, body),
    ]
    for other, text in tampered:
        with pytest.raises(InvalidSignature, match="no signature matches"):
            verify([key], other, text, stamp)
    strangers: list[Verifier] = [PublicKey.parse(PrivateKey(SEED).public), SigningKey.parse(SECRET)]
    with pytest.raises(InvalidSignature, match="no signature matches"):
        verify(strangers, headers, body, stamp)


@pytest.mark.skipif(not vectors(), reason=f"the scheme's vectors are not here: {VECTORS.name}")
def test_the_vector_of_ed25519_is_what_we_sign() -> None:
    (vector,) = (vector for vector in vectors() if vector["scheme"] == "v1a")
    key = PrivateKey(base64.b64decode(vector["secret_seed_b64"]))
    assert key.public == vector["public_key"]
    signed = sign([key], vector["webhook-id"], vector["webhook-timestamp"], vector["payload"].encode())
    assert signed == vector["webhook-signature"]


@given(seeds, st.binary(max_size=200))
def test_what_is_signed_verifies_with_the_public_key_alone(seed: bytes, body: bytes) -> None:
    key = parse_signer("whsk_" + base64.b64encode(seed).decode())
    assert isinstance(key, PrivateKey)
    signed = sign([key], "m1", NOW, body)
    verify([PublicKey.parse(key.public)], headers_of("m1", NOW, signed), body, NOW)
    raw = base64.b64decode(key.public.removeprefix("whpk_"))
    Ed25519PublicKey.from_public_bytes(raw).verify(
        base64.b64decode(signed.removeprefix("v1a,")), b"m1.%d.%b" % (NOW, body)
    )


def test_a_signature_counts_only_under_its_own_scheme() -> None:
    """What one scheme signed does not pass for the other's, and rubbish passes for nothing."""
    secret = SigningKey.parse(SECRET)
    signed = sign([secret], "m1", NOW, b"{}")
    for given_ in (signed.replace("v1,", "v1a,"), "v1", "v1,", "v1,\udcff", "v1,!!", ",", "", "v2," + signed[3:]):
        with pytest.raises(InvalidSignature, match="no signature matches"):
            verify([secret, PublicKey.parse(PrivateKey(SEED).public)], headers_of("m1", NOW, given_), b"{}", NOW)


def test_a_private_key_may_carry_its_public_half() -> None:
    """As Go and libsodium write it; the halves must belong together."""
    public = base64.b64decode(PrivateKey(SEED).public.removeprefix("whpk_"))
    both = PrivateKey.parse("whsk_" + base64.b64encode(SEED + public).decode())
    assert both.public == PrivateKey(SEED).public
    with pytest.raises(InvalidKey, match="second half"):
        PrivateKey(SEED + bytes(32))
    for text in ("whsk_", "whsk_abc", "whsk_" + "A" * 44 + "ü", "whsk_" + base64.b64encode(bytes(31)).decode()):
        with pytest.raises(InvalidKey) as error:
            parse_signer(text)
        assert text.removeprefix("whsk_") not in str(error.value) or text == "whsk_"
    assert base64.b64encode(SEED).decode() not in repr(PrivateKey(SEED))


def test_a_webhook_signs_with_each_of_its_keys() -> None:
    """Secrets and private keys side by side, in the order given; a receiver needs one of them."""
    config = webhook.Config.model_validate(
        {"url": "https://a.example/", "secret": [{"env": "NEW"}, {"env": "PAIR"}, {"env": "OLD"}]}
    )
    other = "whsec_" + base64.b64encode(b"f" * 32).decode()
    environ = {"NEW": SECRET, "PAIR": PRIVATE, "OLD": other}
    connector = webhook.connect(config, environ, "test")
    (request,) = next(connector.deliver([change()], NOW))
    signatures = request.headers["webhook-signature"].split(" ")
    assert [signature.partition(",")[0] for signature in signatures] == ["v1", "v1a", "v1"]
    for key in (SigningKey.parse(SECRET), PublicKey.parse(PrivateKey(SEED).public), SigningKey.parse(other)):
        verify([key], request.headers, request.body, NOW)
    for text in environ.values():
        assert text in connector.hidden and text.partition("_")[2] in connector.hidden
    with pytest.raises(WebhookVerificationError):  # at another time, as the library reads the clock
        Oracle(SECRET).verify(request.body, dict(request.headers))
