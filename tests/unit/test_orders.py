"""Laws of how a destination stands: an order to stand still, else the worst that a living replica says."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from schemas.deliveries import DestinationState
from stream.orders import SILENT, standings_of

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)


def said(state: str, ago: float = 0, **more: Any) -> DestinationState:
    """Something said so many seconds ago."""
    at = NOW - timedelta(seconds=ago)
    fields = {"destination": "crm", "by": "deliverer", "replica": "a", "since": at, "at": at, **more}
    return DestinationState(state=state, **fields)


def test_the_worst_of_the_replicas_is_told() -> None:
    """One of them that stands still is what somebody has to look at; of two, the one that does so for longer."""
    found = standings_of(
        {
            "crm/a": said("active"),
            "crm/b": said("paused", 10, reason="http_401"),
            "crm/c": said("paused", 20, reason="http_403"),
            "other/a": said("active"),
        },
        NOW,
    )
    assert found["crm"].now is not None
    assert (found["crm"].now.state, found["crm"].now.reason) == ("paused", "http_403")
    assert len(found["crm"].replicas) == 3
    assert found["other"].now is not None
    assert found["other"].now.state == "active"


def test_an_order_to_stand_still_comes_before_what_replicas_say() -> None:
    """One to go on does not: whether it does is theirs to say."""
    replicas = {"crm/a": said("broken", 5, reason="breaker_open")}
    paused = standings_of({"crm": said("paused", 3_600, by="operator", reason="lunch"), **replicas}, NOW)["crm"]
    resumed = standings_of({"crm": said("active", 3_600, by="operator"), **replicas}, NOW)["crm"]
    assert paused.now is not None
    assert resumed.now is not None
    assert (paused.now.reason, resumed.now.reason) == ("lunch", "breaker_open")


def test_a_replica_that_is_gone_or_silent_says_nothing_any_more() -> None:
    """It stopped, or it died; then nobody has the destination."""
    silent = SILENT.total_seconds() + 1
    found = standings_of({"crm/a": None, "crm/b": said("paused", silent)}, NOW)["crm"]
    assert found.now is None
    assert found.replicas == ()
    living = standings_of({"crm/a": None, "crm/b": said("active", silent - 2)}, NOW)["crm"]
    assert living.now is not None


def test_a_destination_whose_name_begins_like_another_is_another() -> None:
    """`crm` and `crm2`."""
    found = standings_of({"crm2/a": said("broken"), "crm/a": said("active")}, NOW)
    assert [len(standing.replicas) for standing in found.values()] == [1, 1]
