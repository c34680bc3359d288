"""Our murmur2 is Kafka's."""

from __future__ import annotations

from aiokafka.partitioner import murmur2 as kafkas
from hypothesis import given
from hypothesis import strategies as st

from stream.core.routing import murmur2


@given(st.binary(max_size=40))
def test_murmur2_is_that_of_the_client_library(data: bytes) -> None:
    """Equal for every key, or a customer would have two records."""
    assert murmur2(data) == kafkas(data) & 0xFFFFFFFF
