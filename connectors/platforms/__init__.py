"""The platforms, found by discovery: a platform is one module of this package, and its name is the module's.

A platform module has `Config` (its options in destinations.yaml, a subclass of
`connectors.options.Options`) and `connect(config, environ, user_agent)`. It does no I/O: it builds requests
and reads responses.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from types import MappingProxyType
from typing import Protocol, cast

from connectors.changes import Change
from connectors.exchange import Request, Response, Steps
from connectors.options import Options
from connectors.rates import Window
from connectors.results import Result


class Connector(Protocol):
    """A destination's conversation with its platform. Platforms subclass it, for what most of them share.

    Instances hold secrets and show none of them in their repr. Times are Unix seconds and always arguments.
    """

    endpoint: str
    """Scheme and host: what logs may say."""
    account: str = ""
    """Which account the limits are counted for, without telling a secret (`connectors.secrets.fingerprint`)."""
    limits: Mapping[str, Sequence[Window]] = MappingProxyType({})
    """The platform's published rates: by the name that requests give (`Request.limit`), windows that all hold."""

    @property
    def hidden(self) -> Sequence[str]:
        """Every string that must never be written anywhere: secrets, tokens of the moment, secret parts of URLs."""
        ...

    def group(self, change: Change) -> str:
        """Changes of one group may share a parcel: usually one target and one direction."""
        return ""

    def prepare(self, now: float) -> Steps | None:
        """What must be had before anything is sent, an access token; None if nothing is needed at `now`.

        One conversation at a time, with one result: DELIVERED, RETRY or PAUSE.
        """
        return None

    def deliver(self, changes: Sequence[Change], now: float) -> Steps:
        """The delivery of these changes (of different customers, one group) in an attempt made at `now`.

        Yields requests, is sent answers, returns one result per change in their order. The same changes give
        the same requests in every attempt, but for signatures, tokens and what the platform said meanwhile.
        """
        ...

    def erase(self, customers: Sequence[Change], now: float) -> Steps:
        """The platform's deletion call for customers who are to be forgotten (`action` is `erased`)."""
        return nothing(customers, "erasure_not_supported")

    def ping(self, now: float) -> Request | None:
        """The cheapest request that shows whether the credentials are taken; None where there is none.

        Sent after `prepare`. 2xx means that they are.
        """
        return None

    def rehearse(self, request: Request) -> Response:
        """What the platform answers to a request of ours when all is well, made up: for showing a delivery
        to its end without sending it.
        """
        ...


def nothing(changes: Sequence[Change], reason: str) -> Steps:
    """A conversation without a request: every change is refused."""
    yield from ()
    return [Result.refused(reason)] * len(changes)


class Platform(Protocol):
    """What a module of this package offers."""

    @property
    def Config(self) -> type[Options]: ...

    def connect(self, config: Options, environ: Mapping[str, str], user_agent: str) -> Connector:
        """Raises `connectors.secrets.SecretMissing`, or ValueError where a secret is not usable."""


class _Platforms(Mapping[str, Platform]):
    """Imports a platform when it is asked for: nobody pays for, or stumbles over, those that are not used."""

    def __init__(self) -> None:
        self._names = sorted(
            module.name for module in pkgutil.iter_modules(__path__) if not module.name.startswith("_")
        )

    def __getitem__(self, name: str) -> Platform:
        if name not in self._names:
            raise KeyError(name)
        return cast(Platform, importlib.import_module(f"{__name__}.{name}"))

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


@cache
def discover() -> Mapping[str, Platform]:
    """Every platform by name."""
    return _Platforms()
