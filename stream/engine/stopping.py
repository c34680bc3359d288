"""A graceful stop has one budget, which is spent in order: finish, write, commit, leave.

What is not written when the time for writing is over is left out: nothing is committed beyond what was acknowledged,
and whoever takes the partitions over replays the rest. A slow broker makes the stop no longer, but the next start.
"""

from __future__ import annotations

import asyncio
import threading
from typing import Final

from stream.engine.death import die

#: Until then (share of the budget) the batch in hand is finished and the last checkpoints are written.
WRITING: Final = 0.7
#: Until then what is covered is committed; the rest is for leaving the group.
COMMITTING: Final = 0.85
LEAVING: Final = 1.0


class StopBudget:
    """``seconds`` from now on, in the time of the running loop."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._clock = asyncio.get_running_loop().time
        self._began = self._clock()

    def left(self, share: float) -> float:
        """Seconds until this share of the budget is spent; negative afterwards."""
        return self._began + share * self.seconds - self._clock()


def end_after(seconds: float) -> None:
    """End the process loudly after ``seconds``, whatever it waits for by then. From a thread: the loop may hang."""
    reason = f"the stop was not over after {seconds:g} s, and what it has not written is replayed"
    timer = threading.Timer(seconds, die, (reason,))
    timer.daemon = True
    timer.start()
