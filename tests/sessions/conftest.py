"""A store of each kind in turn, and one in this process, with a note of every round."""

from collections.abc import AsyncIterator

import pytest

from asgi_redis_guard import RedisManager
from tests.middleware.calls import TestRedis, noting
from tests.redis.conftest import cluster, shared_cluster
from tests.redis.tools import PATIENCE
from tests.sessions.visits import Site

__all__ = ["cluster", "shared_cluster"]


@pytest.fixture
async def redis(backend: str) -> AsyncIterator[RedisManager]:
    """A manager on each kind of server in turn."""
    async with RedisManager(backend, timeout=PATIENCE) as manager:
        yield manager


@pytest.fixture
def site(redis: RedisManager) -> Site:
    """Sessions as they are without an option."""
    return Site(redis)


@pytest.fixture
async def memory() -> AsyncIterator[TestRedis]:
    """A store in this process that notes its rounds, and can be away."""
    async with noting() as redis:
        yield redis
