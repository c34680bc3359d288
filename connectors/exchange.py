"""Requests and responses without I/O: what platforms build and read, and what the sender carries.

A platform describes a delivery as a generator: it yields requests, is sent the responses, and returns one
result per change. So a delivery of several steps (a token, an upsert, then the membership) has the same
shape as a single POST, and can be tested or shown (`next(steps)`) with no network at all.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from connectors.results import Outcome, Result

EXCERPT_CHARACTERS = 500


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request. The URL's path and the headers may be secret: neither is part of the repr."""

    method: str
    url: str = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Response:
    """What came back: header names in lower case; the body read up to the sender's cap, still encoded."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)

    def excerpt(self) -> str:
        """The first characters of the body, for dead letters."""
        return self.body[: EXCERPT_CHARACTERS * 4].decode("utf-8", "replace")[:EXCERPT_CHARACTERS]


class Unreachable(Exception):
    """No response: `reason` is a word of `REASONS`. Never holds a URL, a header or a body."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class AddressRefused(Exception):
    """The destination resolves to an address that we do not connect to."""


Steps = Generator[Request, Response, Sequence[Result]]
Send = Callable[[Request], Awaitable[Response]]


async def converse(steps: Steps, send: Send, items: int) -> Sequence[Result]:
    """Carry a platform's conversation to its end and return its `items` results.

    Where the network fails and the platform says nothing about it, every change is to be retried.
    """
    try:
        request = next(steps)
        while True:
            try:
                response = await send(request)
            except (Unreachable, AddressRefused) as failure:
                request = steps.throw(failure)
            else:
                request = steps.send(response)
    except StopIteration as end:
        results: Sequence[Result] = end.value
    except Unreachable as failure:
        return [Result(Outcome.RETRY, failure.reason)] * items
    except AddressRefused:
        return [Result(Outcome.PAUSE, "address_refused")] * items
    if len(results) != items:
        raise RuntimeError(f"the platform gave {len(results)} results for {items} changes")
    return results


def origin(url: str) -> str:
    """Scheme, host and port of a URL: the part that may be logged."""
    parts = urlsplit(url)
    port = f":{parts.port}" if parts.port else ""
    return f"{parts.scheme}://{parts.hostname}{port}"
