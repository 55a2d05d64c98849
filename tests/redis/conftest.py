"""Managers that must leave nothing behind."""

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest

from asgi_redis_guard.redis.manager import RedisManager
from tests.cluster import Cluster
from tests.redis.tools import PATIENCE
from tests.servers import redis62, valkey9


@pytest.fixture(autouse=True)
async def nothing_is_left_running() -> AsyncIterator[None]:
    """Fail where a task outlives the test."""
    before = asyncio.all_tasks()
    yield
    left = asyncio.all_tasks() - before - {asyncio.current_task()}
    assert not left, f"left behind: {left}"


@pytest.fixture
async def manager(redis_url: str) -> AsyncIterator[RedisManager]:
    """A manager on the shared Valkey; nothing of it depends on how fast that is."""
    async with RedisManager(redis_url, timeout=PATIENCE) as manager:
        yield manager


@pytest.fixture
async def each_manager(backend: str) -> AsyncIterator[RedisManager]:
    """A manager on each kind of store in turn."""
    async with RedisManager(backend, timeout=PATIENCE) as manager:
        yield manager


@pytest.fixture(scope="session", params=["valkey9", "redis62"])
def shared_cluster(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """Three primaries that tests share: never kill, pause or configure one of them."""
    with Cluster(3, binary={"valkey9": valkey9, "redis62": redis62}[request.param]()) as cluster:
        yield cluster


@pytest.fixture
def cluster(shared_cluster: Cluster) -> Cluster:
    """The cluster that tests share, which is empty. Slots that a test moves may stay where they are."""
    shared_cluster.flush()
    return shared_cluster


@pytest.fixture
async def on_cluster(cluster: Cluster) -> AsyncIterator[RedisManager]:
    """A manager on it."""
    async with RedisManager(cluster.url, timeout=PATIENCE) as manager:
        yield manager
