"""Standard Webhooks signatures, scheme v1 (HMAC-SHA256), with several keys for rotation.

Source: https://github.com/standard-webhooks/standard-webhooks (spec 1.0.0). A secret is base64 behind an
optional `whsec_`, 24 to 64 bytes. What is signed is `<id>.<timestamp>.<body>`, byte for byte as sent.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Iterable, Mapping

PREFIX = "whsec_"
TOLERANCE = 300
"""Seconds by which a receiver's clock may differ from the timestamp (the spec's libraries use five
minutes).
"""


class InvalidKey(ValueError):
    """The text is no Standard Webhooks secret. The message never quotes it."""


class InvalidSignature(Exception):
    """A request is not what its sender signed; the message says which check failed."""


class SigningKey:
    """A secret, ready to sign. Shows nothing of itself in reprs and errors."""

    __slots__ = ("_mac",)

    def __init__(self, secret: bytes) -> None:
        if not 24 <= len(secret) <= 64:
            raise InvalidKey(f"a signing secret has 24 to 64 bytes after base64 decoding, this one has {len(secret)}")
        self._mac = hmac.new(secret, digestmod=hashlib.sha256)

    @classmethod
    def parse(cls, text: str) -> SigningKey:
        """Read `whsec_<base64>` (prefix and padding optional). Raises InvalidKey."""
        encoded = text.strip().removeprefix(PREFIX).rstrip("=")
        try:
            secret = base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
        except binascii.Error:
            raise InvalidKey("a signing secret is base64 behind an optional 'whsec_'; this one is not base64") from None
        return cls(secret)

    def signature(self, message: bytes) -> bytes:
        mac = self._mac.copy()  # the key's two blocks are hashed once, not per message
        mac.update(message)
        return mac.digest()

    def __repr__(self) -> str:
        return "SigningKey(**********)"


def sign(keys: Iterable[SigningKey], message_id: str, timestamp: int, body: bytes) -> str:
    """The value of `webhook-signature`: one `v1,<base64>` per key, in the order given (newest first).

    `message_id` holds no dot, else another id and timestamp could have the same signature.
    """
    if "." in message_id:
        raise ValueError("a message id that is signed may not contain '.'")
    message = b"%b.%d.%b" % (message_id.encode(), timestamp, body)
    return " ".join("v1," + base64.b64encode(key.signature(message)).decode() for key in keys)


def verify(keys: Iterable[SigningKey], headers: Mapping[str, str], body: bytes, now: float) -> None:
    """Check a request (header names in lower case) at `now` (Unix seconds). Raises InvalidSignature."""
    try:
        message_id = headers["webhook-id"]
        stamp = headers["webhook-timestamp"]
        given = headers["webhook-signature"]
    except KeyError as missing:
        raise InvalidSignature(f"the header {missing} is missing") from None
    if not (stamp.isascii() and stamp.isdigit()):
        raise InvalidSignature("webhook-timestamp is not a number of seconds")
    if abs(now - int(stamp)) > TOLERANCE:
        raise InvalidSignature("webhook-timestamp is too far from the present")
    message = b"%b.%b.%b" % (message_id.encode(), stamp.encode(), body)
    signatures = [token[3:] for token in given.split(" ") if token.startswith("v1,")]
    for key in keys:
        expected = base64.b64encode(key.signature(message)).decode()
        if any(hmac.compare_digest(expected.encode(), signature.encode()) for signature in signatures):
            return
    raise InvalidSignature("no signature matches")
