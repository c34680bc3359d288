"""How each destination stands, and what an operator orders: the topic ``destination-states``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

from pydantic import ValidationError

from schemas import topics
from schemas.deliveries import DestinationState
from stream.definitions import writing
from stream.engine.reading import Reading
from stream.settings import Settings

#: A replica repeats itself every minute; one that has been silent for this long has died.
SILENT = timedelta(minutes=3)
#: The worst of several replicas is shown.
_WORST = ("disabled", "paused", "broken", "waiting", "active")


@dataclass(frozen=True, slots=True)
class Standing:
    """One destination: the order in force, if there is one, and what each living replica sees."""

    order: DestinationState | None
    replicas: tuple[DestinationState, ...]

    @property
    def now(self) -> DestinationState | None:
        """An order to stand still, else the worst that a replica says; None if no deliverer has it."""
        if self.order is not None and self.order.state != "active":
            return self.order
        return min(self.replicas, key=lambda state: (_WORST.index(state.state), state.since), default=None)


async def standings(settings: Settings, now: datetime) -> dict[str, Standing]:
    """Every destination that was ever spoken of. Raises ``KafkaError``."""
    topic = topics.name(topics.DESTINATION_STATES, settings.topic_prefix)
    newest: dict[str, DestinationState | None] = {}
    async with Reading.of(settings.kafka()) as reading:
        async for records in reading.records(topic, 0, *await reading.span(topic, 0)):
            for record in records:
                newest[(record.key or b"").decode("utf-8", "replace")] = _read(record.value)
    return standings_of(newest, now)


def standings_of(newest: Mapping[str, DestinationState | None], now: datetime) -> dict[str, Standing]:
    """What the newest record of each key says. Replicas that are gone or silent say nothing any more."""
    names = sorted({key.partition("/")[0] for key in newest})
    found: dict[str, Standing] = {}
    for name in names:
        said = [state for key, state in newest.items() if key.startswith(f"{name}/") and state is not None]
        living = tuple(state for state in said if now - state.at <= SILENT)
        found[name] = Standing(newest.get(name), living)
    return found


def _read(value: bytes | None) -> DestinationState | None:
    """A record; what this version does not understand says nothing."""
    try:
        return None if value is None else DestinationState.model_validate_json(value)
    except ValidationError:
        return None


async def order(settings: Settings, name: str, state: Literal["active", "paused"], reason: str, by: str) -> None:
    """Put an operator's order in force; every deliverer follows it within moments. Raises ``KafkaError``."""
    now = datetime.now(UTC)
    said = DestinationState(
        destination=name, state=state, reason=reason, since=now, by="operator", replica=by or "operator", at=now
    )
    topic = topics.name(topics.DESTINATION_STATES, settings.topic_prefix)
    async with writing(settings) as writes:
        await (await writes.send(topic, 0, name.encode(), said.model_dump_json().encode())).acknowledged()
