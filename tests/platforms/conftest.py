"""A platform's server, and a destination at it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.platforms.driver import Driver, driving
from tests.platforms.servers import PlatformServer, discover


@pytest.fixture
async def server(platform: str) -> AsyncIterator[PlatformServer]:
    async with discover()[platform]() as running:
        yield running


@pytest.fixture
async def driver(server: PlatformServer) -> AsyncIterator[Driver]:
    async with driving(server) as running:
        yield running
