"""What tests of locks share: managers on each kind of store, and of two processes as far as Redis can tell."""

from collections.abc import AsyncIterator

import pytest

from asgi_redis_guard import RedisManager
from tests.middleware.calls import TestRedis, settled
from tests.redis.conftest import nothing_is_left_running
from tests.redis.tools import PATIENCE

__all__ = ["nothing_is_left_running"]


@pytest.fixture
async def manager(backend: str) -> AsyncIterator[RedisManager]:
    """A manager on each kind of store in turn."""
    async with RedisManager(backend, timeout=PATIENCE) as manager:
        yield manager


@pytest.fixture
async def here(redis_url: str) -> AsyncIterator[RedisManager]:
    """The manager of one process, on Valkey."""
    async with RedisManager(redis_url, timeout=PATIENCE) as manager:
        yield manager


@pytest.fixture
async def there(redis_url: str) -> AsyncIterator[RedisManager]:
    """The manager of another process, on the same server."""
    async with RedisManager(redis_url, timeout=PATIENCE) as manager:
        yield manager


@pytest.fixture
async def memory() -> AsyncIterator[TestRedis]:
    """A store in this process whose replies can be held back."""
    async with TestRedis(timeout=PATIENCE) as redis:
        yield redis
        await settled(redis)
