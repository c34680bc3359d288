"""Bots by user agent: the list that the ``crawler-user-agents`` project keeps, with the verdicts remembered."""

from __future__ import annotations

from crawleruseragents import is_crawler

#: Characters of a user agent that are looked at; no crawler hides its name behind more.
MAX_LENGTH = 1024
#: Distinct user agents whose verdict is remembered; past it the memory starts anew.
REMEMBERED = 50_000


class BotAgents:
    """Answers whether a user agent is a known bot. A pure function of the text; the memory only makes it fast."""

    def __init__(self) -> None:
        #: What has been answered so far; to look here first saves a call.
        self.verdicts: dict[str, bool] = {}

    def __call__(self, user_agent: str) -> bool:
        verdict = self.verdicts.get(user_agent)
        if verdict is None:
            if len(self.verdicts) >= REMEMBERED:
                self.verdicts.clear()
            verdict = bool(is_crawler(user_agent[:MAX_LENGTH]))
            self.verdicts[user_agent] = verdict
        return verdict
