"""What the process that delivers is told: Kafka, topics, groups, limits. Given by the caller; nothing here
reads a setting.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from typing import Any


def _distribution_version() -> str:
    try:
        return version("livesegments")
    except PackageNotFoundError:  # run from a source tree that was not installed
        return "0"


@dataclass(frozen=True)
class DeliverySettings:
    """All times are seconds."""

    kafka: Mapping[str, Any] = field(repr=False)
    """Arguments for every aiokafka client: `bootstrap_servers`, `ssl_context`, `sasl_mechanism`, …"""
    changes_topic: str = "segment-changes"
    dead_letters_topic: str = "dead-letters"
    deliveries_topic: str = "deliveries"
    redeliveries_topic: str = "redeliveries"
    destination_states_topic: str = "destination-states"
    redis_url: str | None = field(default=None, repr=False)
    """Where replicas share the ledger and the rates: `redis://[user:password@]host:port/db`, or `rediss://`. Without
    it both are kept in memory, and a destination must have one replica only.
    """
    replica: str = field(default_factory=lambda: f"{socket.gethostname()}-{os.getpid()}")
    """Names this process among the replicas, in `destination-states`."""
    group_prefix: str = "livesegments-deliver-"
    """A destination's consumer group is this and its name."""
    user_agent: str = field(default_factory=lambda: f"livesegments/{_distribution_version()}")
    commit_interval: float = 1.0
    stop_grace: float = 10.0
    """How long a graceful stop waits for requests in flight."""
    handover_grace: float = 5.0
    """How long a rebalance waits for them: less than its timeout, else the group goes on without us."""
    session_timeout: float = 10.0
    heartbeat_interval: float = 3.0
    rebalance_timeout: float = 30.0
    fetch_wait_ms: int = 50
    """Longest that a broker holds a fetch when there is nothing new; what comes meanwhile ends the wait."""
    pending_limit: int = 20_000
    """Unfinished changes that a destination holds; beyond it, partitions are not read on."""
    fetch_records: int = 500
    state_interval: float = 60.0
    """How often a replica repeats how its destinations stand."""
    ledger_ttl: float = 45 * 86_400.0
    """How long Redis remembers what a customer was sent: longer than `segment-changes` keeps a change."""
    stall_limit: float = 120.0
    """A consumer that has something to read and does not move for this long is started again."""
