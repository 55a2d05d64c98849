"""Faults are no excuse for leaving something behind."""

from collections.abc import AsyncIterator

import pytest

from asgi_redis_guard import RedisManager
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
