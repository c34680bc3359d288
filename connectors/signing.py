"""Standard Webhooks signatures, v1 (HMAC-SHA256) and v1a (Ed25519), with several keys for rotation.

Source: https://github.com/standard-webhooks/standard-webhooks (spec 1.0.0). A secret of v1 is base64 behind
an optional `whsec_`, 24 to 64 bytes; a key pair of v1a is `whsk_` (private, ours) and `whpk_` (public, the
receiver's). What is signed is `<id>.<timestamp>.<body>`, byte for byte as sent.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Iterable, Mapping
from typing import ClassVar, Protocol

from cryptography.exceptions import InvalidSignature as _WrongSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

PREFIX = "whsec_"
PRIVATE_PREFIX = "whsk_"
PUBLIC_PREFIX = "whpk_"
_LONGEST_STAMP = 20
"""Digits; Python refuses to read thousands of them."""
TOLERANCE = 300
"""Seconds by which a receiver's clock may differ from the timestamp (the spec's libraries use five
minutes).
"""


class InvalidKey(ValueError):
    """The text is no Standard Webhooks key. The message never quotes it."""


class InvalidSignature(Exception):
    """A request is not what its sender signed; the message says which check failed."""


class Signer(Protocol):
    """What signs. Shows nothing of itself in reprs and errors."""

    scheme: ClassVar[str]

    def signature(self, message: bytes) -> bytes: ...


class Verifier(Protocol):
    """What a receiver checks signatures of one scheme with."""

    scheme: ClassVar[str]

    def accepts(self, message: bytes, signature: bytes) -> bool: ...


class SigningKey:
    """A secret of v1, ready to sign and to verify."""

    __slots__ = ("_mac",)
    scheme: ClassVar[str] = "v1"

    def __init__(self, secret: bytes) -> None:
        if not 24 <= len(secret) <= 64:
            raise InvalidKey(f"a signing secret has 24 to 64 bytes after base64 decoding, this one has {len(secret)}")
        self._mac = hmac.new(secret, digestmod=hashlib.sha256)

    @classmethod
    def parse(cls, text: str) -> SigningKey:
        """Read `whsec_<base64>` (prefix and padding optional). Raises InvalidKey."""
        return cls(
            _decoded(text.strip().removeprefix(PREFIX), "a signing secret is base64 behind an optional 'whsec_'")
        )

    def signature(self, message: bytes) -> bytes:
        mac = self._mac.copy()  # the key's two blocks are hashed once, not per message
        mac.update(message)
        return mac.digest()

    def accepts(self, message: bytes, signature: bytes) -> bool:
        return hmac.compare_digest(self.signature(message), signature)

    def __repr__(self) -> str:
        return "SigningKey(**********)"


class PrivateKey:
    """A private key of v1a."""

    __slots__ = ("_key",)
    scheme: ClassVar[str] = "v1a"

    def __init__(self, seed: bytes) -> None:
        """`seed` is 32 bytes, or 64 with the public key behind it, as Go and libsodium keep them."""
        if len(seed) not in (32, 64):
            raise InvalidKey(f"a private key has 32 or 64 bytes after base64 decoding, this one has {len(seed)}")
        self._key = Ed25519PrivateKey.from_private_bytes(seed[:32])
        if len(seed) == 64 and seed[32:] != self._key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw):
            raise InvalidKey("the second half of the private key is not its public key")

    @classmethod
    def parse(cls, text: str) -> PrivateKey:
        """Read `whsk_<base64>`. Raises InvalidKey."""
        if not text.strip().startswith(PRIVATE_PREFIX):
            raise InvalidKey("a private key is base64 behind 'whsk_'")
        return cls(_decoded(text.strip().removeprefix(PRIVATE_PREFIX), "a private key is base64 behind 'whsk_'"))

    def signature(self, message: bytes) -> bytes:
        return self._key.sign(message)

    @property
    def public(self) -> str:
        """`whpk_<base64>`, for the receiver."""
        raw = self._key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        return PUBLIC_PREFIX + base64.b64encode(raw).decode()

    def __repr__(self) -> str:
        return "PrivateKey(**********)"


class PublicKey:
    """A public key of v1a."""

    __slots__ = ("_key",)
    scheme: ClassVar[str] = "v1a"

    def __init__(self, raw: bytes) -> None:
        if len(raw) != 32:
            raise InvalidKey(f"a public key has 32 bytes after base64 decoding, this one has {len(raw)}")
        self._key = Ed25519PublicKey.from_public_bytes(raw)

    @classmethod
    def parse(cls, text: str) -> PublicKey:
        """Read `whpk_<base64>`. Raises InvalidKey."""
        return cls(_decoded(text.strip().removeprefix(PUBLIC_PREFIX), "a public key is base64 behind 'whpk_'"))

    def accepts(self, message: bytes, signature: bytes) -> bool:
        try:
            self._key.verify(signature, message)
        except _WrongSignature:
            return False
        return True


def parse_signer(text: str) -> SigningKey | PrivateKey:
    """Read a key to sign with: `whsk_…` is one of v1a, anything else a secret of v1. Raises InvalidKey."""
    return PrivateKey.parse(text) if text.strip().startswith(PRIVATE_PREFIX) else SigningKey.parse(text)


def sign(keys: Iterable[Signer], message_id: str, timestamp: int, body: bytes) -> str:
    """The value of `webhook-signature`: `v1,<base64>` or `v1a,<base64>` per key, in the order given (newest
    first).

    `message_id` holds no dot, else another id and timestamp could have the same signature.
    """
    if "." in message_id:
        raise ValueError("a message id that is signed may not contain '.'")
    message = b"%b.%d.%b" % (message_id.encode(), timestamp, body)
    return " ".join(f"{key.scheme},{base64.b64encode(key.signature(message)).decode()}" for key in keys)


def timestamp(text: str, otherwise: str) -> int:
    """The number that a timestamp's header is. Raises InvalidSignature, which says `otherwise`."""
    if not (text.isascii() and text.isdigit() and len(text) <= _LONGEST_STAMP):
        raise InvalidSignature(otherwise)
    return int(text)


def verify(keys: Iterable[Verifier], headers: Mapping[str, str], body: bytes, now: float) -> None:
    """Check a request (header names in lower case) at `now` (Unix seconds). Raises InvalidSignature."""
    try:
        message_id = headers["webhook-id"]
        stamp = headers["webhook-timestamp"]
        given = headers["webhook-signature"]
    except KeyError as missing:
        raise InvalidSignature(f"the header {missing} is missing") from None
    if abs(now - timestamp(stamp, "webhook-timestamp is not a number of seconds")) > TOLERANCE:
        raise InvalidSignature("webhook-timestamp is too far from the present")
    message = b"%b.%b.%b" % (message_id.encode(), stamp.encode(), body)
    signatures = [_parted(token) for token in given.split(" ")]
    for key in keys:
        if any(key.accepts(message, signature) for scheme, signature in signatures if scheme == key.scheme):
            return
    raise InvalidSignature("no signature matches")


def _parted(token: str) -> tuple[str, bytes]:
    """A signature's scheme and bytes; no scheme where it is none."""
    scheme, _, encoded = token.partition(",")
    try:
        return scheme, base64.b64decode(encoded.encode(), validate=True)
    except (binascii.Error, UnicodeEncodeError):
        return "", b""


def _decoded(encoded: str, expected: str) -> bytes:
    encoded = encoded.rstrip("=")
    try:
        return base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
    except ValueError:  # binascii.Error, and text that is not ASCII
        raise InvalidKey(f"{expected}; this one is not base64") from None
