"""HubSpot's signatures, by HubSpot's own vectors and its library."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hubspot.utils.signature import Signature

from connectors.signing import InvalidSignature
from connectors.signing_hubspot import signature, verify

VECTORS = Path(__file__).parents[3] / "shared" / "specs" / "hubspot" / "signature-test-vectors.json"
ALL = ("v1", "v2", "v3")
SECRET = "yyyyyyyy-yyyy-yyyy-yyyy-yyyyyyyyyyyy"
URI = "https://www.example.com/webhook_uri?a=b"
NOW = 1_693_657_560.0
STAMP = "1693657560000"


def vectors() -> list[dict[str, Any]]:
    if not VECTORS.exists():
        return []
    found: list[dict[str, Any]] = json.loads(VECTORS.read_text("utf-8"))["vectors"]
    return found


def headers_of(version: str, given: str, stamp: str = STAMP) -> dict[str, str]:
    if version == "v3":
        return {"x-hubspot-signature-v3": given, "x-hubspot-request-timestamp": stamp}
    return {"x-hubspot-signature": given, "x-hubspot-signature-version": version}


@pytest.mark.skipif(not vectors(), reason=f"HubSpot's vectors are not here: {VECTORS.name}")
@pytest.mark.parametrize("vector", vectors(), ids=lambda vector: str(vector["version"]))
def test_hubspot_s_vectors_pass_and_tampered_ones_fail(vector: dict[str, Any]) -> None:
    secret, method, uri = vector["client_secret"], vector.get("method", "POST"), vector.get("uri", URI)
    headers = headers_of(vector["version"], vector["signature"], vector.get("timestamp_ms", STAMP))
    body = vector["body"].encode()
    verify([secret], method, uri, headers, body, NOW, ALL)
    verify(["another", secret], method, uri, headers, body, NOW, ALL)
    with pytest.raises(InvalidSignature, match="no signature matches"):
        verify([secret], method, uri, headers, body + b" ", NOW, ALL)
    with pytest.raises(InvalidSignature, match="no signature matches"):
        verify([secret[:-1] + "z"], method, uri, headers, body, NOW, ALL)
    if vector["version"] != "v1":
        with pytest.raises(InvalidSignature, match="no signature matches"):
            verify([secret], method, uri + "/", headers, body, NOW, ALL)


@pytest.mark.parametrize("version", ALL)
def test_what_hubspot_s_library_signs_is_what_we_compute(version: str) -> None:
    theirs = Signature.get_signature(SECRET, '{"a":"ü"}', version, http_uri=URI, http_method="PUT", timestamp=STAMP)
    assert signature(version, SECRET, "PUT", URI, '{"a":"ü"}'.encode(), STAMP) == theirs


def test_the_uri_is_decoded_as_hubspot_does() -> None:
    """The escapes that HubSpot's documentation lists, and no others."""
    plain = signature("v3", SECRET, "GET", "https://a.example/?q=a:b/c@d&p=%20%26", b"", STAMP)
    assert signature("v3", SECRET, "GET", "https://a.example/?q=a%3Ab%2fc%40d&p=%20%26", b"", STAMP) == plain


@pytest.mark.parametrize("shift", [-301, 301])
def test_an_old_request_is_not_taken_again(shift: int) -> None:
    headers = headers_of("v3", signature("v3", SECRET, "POST", URI, b"[]", STAMP))
    verify([SECRET], "POST", URI, headers, b"[]", NOW + shift / 301 * 299)
    with pytest.raises(InvalidSignature, match="too far"):
        verify([SECRET], "POST", URI, headers, b"[]", NOW + shift)


def test_versions_without_a_timestamp_have_to_be_asked_for() -> None:
    for version in ("v1", "v2"):
        headers = headers_of(version, signature(version, SECRET, "POST", URI, b"[]"))
        with pytest.raises(InvalidSignature, match="not accepted"):
            verify([SECRET], "POST", URI, headers, b"[]", NOW)
    late = headers_of("v3", "x", "1" * 5_000)
    for headers in ({}, {"x-hubspot-signature-v3": "ü"}, headers_of("v3", "ü"), headers_of("v9", "x"), late):
        with pytest.raises(InvalidSignature):
            verify([SECRET], "POST", URI, headers, b"[]", NOW)
