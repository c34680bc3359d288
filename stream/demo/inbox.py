"""What a receiver of segment changes keeps: what came, who is in which segment, and what was wrong."""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any

import orjson


def fingerprint(change: dict[str, Any]) -> bytes:
    """16 bytes that two changes share only if they say the same, in whatever order of their fields."""
    return blake2b(orjson.dumps(change, option=orjson.OPT_SORT_KEYS), digest_size=16).digest()


@dataclass(slots=True)
class Inbox:
    """Everything received, once each. ``differing`` and ``disordered`` stay empty if all is well."""

    #: Change id -> its fingerprint.
    changes: dict[str, bytes] = field(default_factory=dict)
    #: Segment -> the customers who are in it, as far as the receiver was told.
    members: dict[str, set[str]] = field(default_factory=dict)
    #: Messages that came again, and were known by their id.
    repeats: int = 0
    #: Ids that came again with other bytes.
    differing: list[str] = field(default_factory=list)
    #: Changes that did not follow upon the one before them of the same customer.
    disordered: list[str] = field(default_factory=list)
    _messages: dict[str, bytes] = field(default_factory=dict)
    _sequences: dict[str, int] = field(default_factory=dict)

    def take(self, message_id: str, body: bytes) -> list[dict[str, Any]]:
        """Take in a message whose signature was checked; returns the changes in it that are new.

        Raises ``ValueError`` if the body is neither a segment change nor a batch of them.
        """
        digest = blake2b(body, digest_size=16).digest()
        known = self._messages.get(message_id)
        if known is not None:
            self.repeats += 1
            if known != digest:
                self.differing.append(message_id)
            return []
        fresh = [change for change in _changes(body) if self._enter(change)]
        self._messages[message_id] = digest
        return fresh

    def _enter(self, change: dict[str, Any]) -> bool:
        """Note one change; False if it came before, in another message."""
        name, print_ = change["id"], fingerprint(change)
        known = self.changes.get(name)
        if known is not None:
            if known != print_:
                self.differing.append(name)
            return False
        self.changes[name] = print_
        customer, sequence = change["customer_id"], change["sequence"]
        if sequence != self._sequences.get(customer, 0) + 1:
            self.disordered.append(name)
        self._sequences[customer] = sequence
        members = self.members.setdefault(change["segment"], set())
        (members.add if change["action"] == "entered" else members.discard)(customer)
        return True


def _changes(body: bytes) -> list[dict[str, Any]]:
    """The changes in a body: its ``data``, one change or a list of them."""
    content = orjson.loads(body)
    data = content.get("data") if isinstance(content, dict) else None
    changes: list[Any] = data if isinstance(data, list) else [data]
    for change in changes:
        if not isinstance(change, dict) or not {"id", "customer_id", "segment", "sequence"} <= change.keys():
            raise ValueError("neither a segment change nor a batch of them")
    return changes
