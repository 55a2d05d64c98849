"""A stack with one `JWTAuth`, at a time that stands still."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from asgi_redis_guard import GuardMiddleware, JWTAuth, RedisManager, RevocationList
from tests.drive import App
from tests.jwt.tokens import NOW, SECRET

Guarded = Callable[..., GuardMiddleware]


class CountingManager(RedisManager):
    """Everything in this process; counts the round trips that guards would make."""

    def __init__(self) -> None:
        super().__init__("memory://")
        self.round_trips = 0

    def evaluate(self, *args: Any, **options: Any) -> Any:
        self.round_trips += 1
        return super().evaluate(*args, **options)


@pytest.fixture
async def manager() -> AsyncIterator[CountingManager]:
    async with CountingManager() as manager:
        yield manager


@pytest.fixture
def inner() -> App:
    """The app behind the guard."""
    return App()


@pytest.fixture
def guarded(manager: CountingManager, inner: App) -> Guarded:
    """Build the stack: `guarded(cookie="token")`."""

    def build(app: Any = None, key: Any = SECRET, **options: Any) -> GuardMiddleware:
        return GuardMiddleware(app or inner, [JWTAuth(key, **options)], redis=manager, clock=lambda: NOW)

    return build


@pytest.fixture
async def redis(backend: str) -> AsyncIterator[RedisManager]:
    """A manager on each kind of server in turn."""
    async with RedisManager(backend, timeout=10) as manager:
        yield manager


@pytest.fixture
def revocations(redis: RedisManager) -> RevocationList:
    """The blacklist there."""
    return RevocationList(redis)
