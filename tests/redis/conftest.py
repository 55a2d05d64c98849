"""Managers that must leave nothing behind."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from asgi_redis_guard.redis.manager import RedisManager
from tests.redis.tools import PATIENCE


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
