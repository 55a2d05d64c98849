"""Faults are no excuse for leaving something behind."""

from collections.abc import AsyncIterator

import pytest

from asgi_redis_guard import RedisManager
from asgi_redis_guard.testing import FaultProxy
from tests.faults.locks import nothing_is_left_of
from tests.redis.conftest import nothing_is_left_running
from tests.redis.tools import PATIENCE

__all__ = ["nothing_is_left_running"]


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[RedisManager]:
    """A manager on the shared server, of which nothing may be left."""
    async with RedisManager(redis_url, timeout=PATIENCE) as redis:
        yield redis
        await nothing_is_left_of(redis)


@pytest.fixture
async def proxy(redis_url: str) -> AsyncIterator[FaultProxy]:
    """The same server behind a proxy that can be told to fail."""
    async with FaultProxy(redis_url) as proxy:
        yield proxy


@pytest.fixture
async def manager(proxy: FaultProxy) -> AsyncIterator[RedisManager]:
    """A manager whose server is behind that proxy."""
    async with RedisManager(proxy.url, timeout=PATIENCE) as manager:
        yield manager
