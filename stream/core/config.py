"""The settings that decide what a log says. A change of one is a change of the code: see ``CoreSettings.code``."""

from __future__ import annotations

from dataclasses import astuple, dataclass, field
from hashlib import blake2b

from stream.core.changes import CODE
from stream.core.decode import Limits

SECOND = 1_000_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE


@dataclass(frozen=True, slots=True)
class CoreSettings:
    """Everything besides the log that a verdict depends on. Instants and lengths in µs of log time."""

    #: An event id is a duplicate for at least this long.
    dedup_horizon: int = 24 * HOUR
    #: The same content without an event id is a duplicate for exactly this long.
    content_horizon: int = 10 * SECOND
    #: Behaviour events that one customer may have per ``rate_width``; what is more comes from a bot.
    rate_limit: int = 300
    #: Width of the tumbling rate window.
    rate_width: int = MINUTE
    #: How far ahead of the last tick a producer's own timestamp may put the log's time (CreateTime topics).
    clock_skew: int = 5 * SECOND
    #: What a single event may be.
    limits: Limits = field(default_factory=Limits)

    @property
    def code(self) -> str:
        """What every change names: the code version and a digest of these settings."""
        return f"{CODE}.{blake2b(repr(astuple(self)).encode(), digest_size=4).hexdigest()}"
