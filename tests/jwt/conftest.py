"""A stack with one `JWTAuth`, at a time that stands still."""

import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import pytest

from asgi_redis_guard import GuardMiddleware, JWTAuth, RedisManager, RevocationList
from asgi_redis_guard.jwt.jwks.source import JWKSKeys
from asgi_redis_guard.testing import ManualClock
from tests.drive import App
from tests.jwt.publisher import Publisher, key
from tests.jwt.tokens import NOW, SECRET
from tests.redis.tools import PATIENCE
from tests.tls import Certificates

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


@pytest.fixture
async def publisher(certificates: Certificates) -> AsyncIterator[Publisher]:
    """A server that publishes one key, `a`."""
    async with Publisher(certificates) as publisher:
        publisher.publish(key())
        yield publisher


@pytest.fixture
def clock() -> ManualClock:
    """The time, which stands still."""
    return ManualClock(NOW)


@pytest.fixture
def trusting(certificates: Certificates) -> Callable[..., JWKSKeys]:
    """Make keys of others, whose server's certificate is trusted: `trusting(url, issuer=…)`."""
    context = ssl.create_default_context(cafile=certificates.ca)

    def make(*args: Any, **options: Any) -> JWKSKeys:
        return JWKSKeys(*args, **{"context": context, "timeout": PATIENCE, **options})

    return make


@pytest.fixture
def site(
    manager: CountingManager, inner: App, publisher: Publisher, clock: ManualClock, trusting: Callable[..., JWKSKeys]
) -> Callable[..., GuardMiddleware]:
    """Build a stack that takes the publisher's tokens: `site(cooldown=10)`; `jwt` are options of the guard."""

    def build(*args: Any, jwt: Mapping[str, Any] = {}, **options: Any) -> GuardMiddleware:
        keys = trusting(*(args or (() if "issuer" in options else (publisher.url,))), **options)
        return GuardMiddleware(inner, [JWTAuth(keys=keys, **jwt)], redis=manager, clock=clock)

    return build
