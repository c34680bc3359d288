"""The platforms, found by discovery: a platform is one module of this package, and its name is the module's.

A platform module has `Config` (its options in destinations.yaml, a subclass of
`connectors.options.Options`) and `connect(config, environ, user_agent)`. It does no I/O: it builds requests
and reads responses.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Protocol, cast

from connectors.changes import Change
from connectors.exchange import Steps
from connectors.options import Options


class Connector(Protocol):
    """A destination's conversation with its platform."""

    @property
    def endpoint(self) -> str:
        """Scheme and host: what logs may say."""

    @property
    def hidden(self) -> Sequence[str]:
        """Every string that must never be written anywhere: secrets, and secret parts of URLs."""

    def deliver(self, changes: Sequence[Change], now: float) -> Steps:
        """The delivery of these changes (of different customers) in an attempt made at `now` (Unix seconds).

        Yields requests, is sent responses, returns one result per change in their order. May let
        `Unreachable` pass through.
        """


class Platform(Protocol):
    """What a module of this package offers."""

    @property
    def Config(self) -> type[Options]: ...

    def connect(self, config: Options, environ: Mapping[str, str], user_agent: str) -> Connector:
        """Raises `connectors.secrets.SecretMissing`, or ValueError where a secret is not usable."""


@cache
def discover() -> Mapping[str, Platform]:
    """Every platform by name."""
    names = sorted(module.name for module in pkgutil.iter_modules(__path__) if not module.name.startswith("_"))
    return {name: cast(Platform, importlib.import_module(f"{__name__}.{name}")) for name in names}
