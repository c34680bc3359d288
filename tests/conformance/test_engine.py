"""The behavioural suite on the engine: real broker, real worker process; the same laws as in ``test_interpreter``."""

from __future__ import annotations

from pathlib import Path

import pytest
import pytest_asyncio

from stream.core.config import CoreSettings
from stream.interpreter import Interpreter
from tests.conformance.checks import Said, by_customer, check
from tests.conformance.scenarios import BOOK, MINUTE, SCENARIOS, START, UNTIL, Scenario, merged
from tests.installation import installation
from tests.integration.conftest import Broker


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def said(broker: Broker, tmp_path_factory: pytest.TempPathFactory) -> Said:
    """All scenarios, once through the engine."""
    directory: Path = tmp_path_factory.mktemp("engine")
    async with installation(broker.address, directory, embedded=broker.kind == "tansu") as here:
        await here.apply(BOOK, START - 10 * MINUTE)
        worker = await here.start_worker()
        await here.send(merged())
        await here.tick(UNTIL)
        await here.producer.flush()
        await here.all_in([worker])
        return by_customer(await here.changes())


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda s: s.customer)
def test_scenario(scenario: Scenario, said: Said) -> None:
    """Each scenario's law."""
    check(scenario, said)


def test_the_engine_and_the_interpreter_say_the_same_byte_for_byte(said: Said) -> None:
    """Two interpreters of one core cannot drift."""
    log = Interpreter(BOOK, CoreSettings(rate_limit=100_000))
    for at, key, value in merged():
        log.pipe(at, key, value)
    log.advance(UNTIL)
    assert by_customer(log.changes) == said
