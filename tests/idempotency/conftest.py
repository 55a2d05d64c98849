"""An app whose requests take effect once, on each kind of store in turn."""

from collections.abc import AsyncIterator

import pytest

from asgi_redis_guard import RedisManager
from tests.middleware.calls import TestRedis, settled
from tests.redis.tools import PATIENCE


@pytest.fixture
async def redis(backend: str) -> AsyncIterator[RedisManager]:
    """A manager on each kind of store in turn."""
    async with RedisManager(backend, timeout=PATIENCE) as redis:
        yield redis
        await settled(redis)


@pytest.fixture
async def memory() -> AsyncIterator[TestRedis]:
    """A store in this process that notes its rounds, and whose replies can be held back."""
    async with TestRedis(timeout=PATIENCE) as redis:
        yield redis
        await settled(redis)
