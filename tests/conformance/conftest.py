"""The program on every kind of server, under a clock that the test sets."""

from collections.abc import AsyncIterator

import pytest

from asgi_redis_guard import RedisManager
from tests.conformance.clockwork import Clockwork


@pytest.fixture
async def manager(backend: str) -> AsyncIterator[RedisManager]:
    async with RedisManager(backend, timeout=10) as manager:
        yield manager


@pytest.fixture
def clockwork(manager: RedisManager) -> Clockwork:
    return Clockwork(manager)
