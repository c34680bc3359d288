"""Requests and responses without I/O: what platforms build and read, and what the sender carries.

A platform describes a delivery as a generator: it yields the requests that may travel at once, is sent
their answers in the same order, and returns one result per change. So a delivery of several steps (an
upsert per customer, then the membership of all) has the same shape as a single POST, and can be tested or
shown (`next(steps)`) with no network at all.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import msgspec

from connectors.results import Result

EXCERPT_CHARACTERS = 500

RESPONSE_CAP = 16 * 1024
"""Bytes of a response's body that are read where a request does not ask for more."""


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request. The URL's path and the headers may be secret: neither is part of the repr."""

    method: str
    url: str = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    limit: str = ""
    """Which of the connector's `limits` it counts against."""
    wait: float = 0.0
    """Seconds to let pass before it is sent: how a job is asked again."""
    cap: int = RESPONSE_CAP
    """Bytes of the response's body that are read; the rest is cut off."""


@dataclass(frozen=True, slots=True)
class Response:
    """What came back: header names in lower case; the body read up to the sender's cap, still encoded."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)

    def excerpt(self) -> str:
        """The first characters of the body, for dead letters."""
        return self.body[: EXCERPT_CHARACTERS * 4].decode("utf-8", "replace")[:EXCERPT_CHARACTERS]

    def json(self) -> Any:
        """The body as JSON; None if it is none (a cut body, a proxy's HTML page)."""
        try:
            return msgspec.json.decode(self.body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return None


class Unreachable(Exception):
    """No response: `reason` is a word of `REASONS`. Never holds a URL, a header or a body."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class AddressRefused(Exception):
    """The destination resolves to an address that we do not connect to."""


Answer = Response | Unreachable
"""What became of a request. That there was no response is a value here: the others' responses count."""

Steps = Generator[Sequence[Request], Sequence[Answer], Sequence[Result]]
Send = Callable[[Request], Awaitable[Response]]
"""Raises Unreachable or AddressRefused."""


def origin(url: str) -> str:
    """Scheme, host and port of a URL: the part that may be logged."""
    parts = urlsplit(url)
    port = f":{parts.port}" if parts.port else ""
    return f"{parts.scheme}://{parts.hostname}{port}"
