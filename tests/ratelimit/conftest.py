"""Stacks with limits, in this process; what passes time is the store's own clock, and no limit here is that quick."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from asgi_redis_guard import Guard, GuardMiddleware, RedisManager
from tests.drive import App
from tests.middleware.calls import TestRedis, settled
from tests.redis.tools import PATIENCE

Limited = Callable[..., GuardMiddleware]


class CountingManager(RedisManager):
    """Counts the round trips that guards make."""

    round_trips = 0

    def evaluate(self, *args: Any, **options: Any) -> Any:
        self.round_trips += 1
        return super().evaluate(*args, **options)


@pytest.fixture
async def manager() -> AsyncIterator[CountingManager]:
    async with CountingManager("memory://") as manager:
        yield manager


@pytest.fixture
def inner() -> App:
    """The app behind the guards."""
    return App()


@pytest.fixture
def limited(manager: CountingManager, inner: App) -> Limited:
    """Build a stack of guards, outermost first, around the app or another."""

    def build(*guards: Guard, app: Any = None, **options: Any) -> GuardMiddleware:
        return GuardMiddleware(app or inner, guards, redis=manager, **options)

    return build


@pytest.fixture
async def redis(backend: str) -> AsyncIterator[RedisManager]:
    """A manager on each kind of store in turn."""
    async with RedisManager(backend, timeout=PATIENCE) as redis:
        yield redis


@pytest.fixture
async def memory() -> AsyncIterator[TestRedis]:
    """A store in this process whose replies can be held back."""
    async with TestRedis(timeout=PATIENCE) as redis:
        yield redis
        await settled(redis)
