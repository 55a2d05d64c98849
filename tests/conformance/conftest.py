"""The program on every kind of server, under a clock that the test sets; whole, and cut by slots."""

from collections.abc import AsyncIterator

import pytest

from asgi_redis_guard import RedisManager
from tests.conformance.clockwork import Clockwork
from tests.cutting import cut


@pytest.fixture(params=["whole", "cut"])
def way(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
async def manager(backend: str, way: str) -> AsyncIterator[RedisManager]:
    async with RedisManager(backend, timeout=10) as manager:
        if way == "cut":
            cut(manager)
        yield manager


@pytest.fixture
def clockwork(manager: RedisManager, way: str) -> Clockwork:
    return Clockwork(manager, cut=way == "cut")
