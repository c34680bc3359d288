"""The brokers of the integration tests."""

from tests.integration.conftest import broker as broker
