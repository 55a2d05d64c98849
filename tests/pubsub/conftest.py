"""Hubs that must leave nothing behind, and what tests of them wait with."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import pytest

from asgi_redis_guard.pubsub.hub import Hub
from asgi_redis_guard.redis.manager import RedisManager
from tests.redis.conftest import nothing_is_left_running

__all__ = ["hub", "manager", "nothing_is_left_running"]

#: No healthy server needs this long; nothing waits for it to pass.
PATIENCE = 10.0

MakeHub = Callable[..., AbstractAsyncContextManager[Hub]]


@pytest.fixture
async def manager(backend: str) -> AsyncIterator[RedisManager]:
    """A manager on each kind of store in turn."""
    async with RedisManager(backend, timeout=PATIENCE) as manager:
        yield manager


@pytest.fixture
async def hub(manager: RedisManager) -> Hub:
    """Its hub; a coroutine, because a hub belongs to the running loop."""
    return manager.pubsub


def quiet_manager(url: str, timeout: float = PATIENCE) -> RedisManager:
    """A manager that sends nothing by itself: these tests count connections, and put faults into single replies."""
    manager = RedisManager(url, timeout=timeout)
    assert hasattr(manager, "_audit_due")
    manager._audit_due = False
    return manager


@asynccontextmanager
async def hub_on(url: str, *, timeout: float = PATIENCE, **options: Any) -> AsyncIterator[Hub]:
    """A hub with options of its own, and a manager that belongs to it."""
    manager = quiet_manager(url, timeout)
    hub = Hub(manager, **options)
    try:
        yield hub
    finally:
        await hub.aclose()
        await manager.aclose()


async def within(awaitable: Awaitable[Any]) -> Any:
    """Await with patience that ends before the test's own."""
    async with asyncio.timeout(PATIENCE):
        return await awaitable


async def take(subscription: Any, count: int) -> list[Any]:
    """Take that many events."""
    return [await within(anext(subscription)) for _ in range(count)]


async def data(subscription: Any, count: int) -> list[Any]:
    """Take that many events, all of them messages, and return what is in them."""
    return [event.data for event in await take(subscription, count)]


async def eventually(true: Callable[[], object]) -> None:
    """Wait until something holds that no event tells of."""
    async with asyncio.timeout(PATIENCE):
        while not true():  # noqa: ASYNC110  (there is no event)
            await asyncio.sleep(0.002)
