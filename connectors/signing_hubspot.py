"""Signatures of the requests that HubSpot sends (webhooks, workflows), versions 1 to 3. Pure.

Source: https://developers.hubspot.com/docs/apps/legacy-apps/authentication/validating-requests. Versions 1 and
2 have no timestamp, so that a recorded request can be sent again: only version 3 is taken unless told
otherwise.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Collection, Mapping, Sequence

from connectors.signing import InvalidSignature, timestamp

MAX_AGE = 300.0
"""Seconds after which a request of version 3 is too old."""

_ESCAPES = {
    "%3A": ":", "%2F": "/", "%3F": "?", "%40": "@", "%21": "!", "%24": "$", "%27": "'", "%28": "(", "%29": ")",
    "%2A": "*", "%2C": ",", "%3B": ";",
}  # fmt: skip
"""What HubSpot decodes in a URI before it signs it; everything else stays as it is on the wire."""


def verify(
    secrets: Sequence[str],
    method: str,
    uri: str,
    headers: Mapping[str, str],
    body: bytes,
    now: float,
    versions: Collection[str] = ("v3",),
) -> None:
    """Check a request (header names in lower case; `uri` as HubSpot called it, with host and query) at `now`
    (Unix seconds) by the app's client secrets, of which one may be on its way out. Raises InvalidSignature.
    """
    if "x-hubspot-signature-v3" in headers:
        version, given = "v3", headers["x-hubspot-signature-v3"]
        stamp = headers.get("x-hubspot-request-timestamp", "")
        signed = timestamp(stamp, "x-hubspot-request-timestamp is not a number of milliseconds")
        if abs(now - signed / 1000) > MAX_AGE:
            raise InvalidSignature("x-hubspot-request-timestamp is too far from the present")
    elif "x-hubspot-signature" in headers:
        version, given, stamp = headers.get("x-hubspot-signature-version", "v1"), headers["x-hubspot-signature"], ""
    else:
        raise InvalidSignature("there is no signature")
    if version not in versions:
        raise InvalidSignature(f"a signature of version {version[:10]} is not accepted")
    expected = [signature(version, secret, method, uri, body, stamp) for secret in secrets]
    if not any(hmac.compare_digest(one.encode(), given.encode()) for one in expected):
        raise InvalidSignature("no signature matches")


def signature(version: str, secret: str, method: str, uri: str, body: bytes, timestamp: str = "") -> str:
    """What HubSpot signs a request with; `timestamp` is milliseconds, for version 3. Raises ValueError."""
    if version == "v1":
        return hashlib.sha256(secret.encode() + body).hexdigest()
    if version == "v2":
        return hashlib.sha256((secret + method + uri).encode() + body).hexdigest()
    if version == "v3":
        decoded = re.sub("%[0-9A-Fa-f]{2}", lambda found: _ESCAPES.get(found[0].upper(), found[0]), uri)
        message = (method + decoded).encode() + body + timestamp.encode()
        return base64.b64encode(hmac.digest(secret.encode(), message, "sha256")).decode()
    raise ValueError("HubSpot's signatures have the versions v1, v2 and v3")
