"""Whether Redis answers, as the deliverers would find it."""

from __future__ import annotations

from urllib.parse import unquote, urlsplit

import redis.asyncio
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from connectors.delivery import REDIS_SECONDS
from connectors.secrets import redact


async def unanswered(url: str) -> str | None:
    """Why Redis does not answer a PING; None where it does. One attempt, with the deliverers' time limits.

    What is said holds nothing of the URL but host and port: it may have a password.
    """
    try:
        client = redis.asyncio.from_url(
            url, socket_timeout=REDIS_SECONDS, socket_connect_timeout=REDIS_SECONDS, retry=Retry(NoBackoff(), 0)
        )
        password = urlsplit(url).password or ""
    except ValueError:  # its words quote the URL
        return "its URL cannot be read"
    try:
        await client.ping()
    except RedisError as error:
        return redact(str(error) or type(error).__name__, {password, unquote(password)} - {""})
    finally:
        await client.aclose()
    return None
