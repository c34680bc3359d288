"""The loud end of the process: for anything that is neither bad data nor a stop that was asked for.

Faust acknowledges an event whose agent raised, and restarts the agent: a defect would burn the topic in
silence. A process that ends is started again by its supervisor and replays from its last checkpoint.
"""

import logging
import os
from typing import Final, NoReturn

EXIT_SOFTWARE: Final = 70
"""``EX_SOFTWARE`` of sysexits.h."""

log = logging.getLogger(__name__)


def die(reason: str, error: BaseException | None = None) -> NoReturn:
    """Log why, with the traceback, and end the process at once with code 70. From any thread."""
    log.critical("%s: the process ends, to restart from its last checkpoint", reason, exc_info=error)
    for handler in (*log.handlers, *logging.getLogger().handlers):
        handler.flush()
    os._exit(EXIT_SOFTWARE)
